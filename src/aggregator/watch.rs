//! Watching quality over time: the monitor's windows, fed by the aggregator and by every query.

use super::shared::Shared;
use super::snapshot;
use crate::profile::QualityIndicator;
use crate::quality::{MonitorConfig, QualityCounters, QualityMonitor, QualitySample, QualityView};

static MONITOR: Shared<QualityMonitor> = Shared::empty();

/// The indicator of the counters that were read at `at_ns`, with `retained` events in the history: feeds the monitor, and
/// takes trend, windowed completeness and recommendation from its windows. Allocates: called in an own section.
pub(crate) fn indicator(counters: QualityCounters, retained: u64, at_ns: u64) -> QualityIndicator {
    let view = feed(&counters, at_ns);
    counters.assemble(retained, view.as_ref(), &snapshot::settings())
}

/// Feeds the counters to the monitor and returns what its windows show. A query can have ended one meanwhile.
pub(super) fn feed(quality: &QualityIndicator, at_ns: u64) -> Option<QualityView> {
    with_monitor(|monitor| {
        monitor.push(QualitySample::of(quality, at_ns));
        monitor.view()
    })
}

fn with_monitor<T>(work: impl FnOnce(&mut QualityMonitor) -> T) -> Option<T> {
    MONITOR.with(|| QualityMonitor::new(MonitorConfig::default()).ok(), work)
}

/// Starts afresh, in a forked child.
pub(super) fn forget() {
    MONITOR.forget();
}
