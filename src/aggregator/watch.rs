//! Watching quality over time: the monitor's windows, fed by the aggregator and by every query.

use super::shared::Shared;
use crate::profile::{QualityIndicator, Settings};
use crate::quality::{MonitorConfig, QualityMonitor, QualitySample, QualityView};

static MONITOR: Shared<QualityMonitor> = Shared::empty();

/// Feeds the counters of `quality` to the monitor and fills in what follows from its windows: trend, windowed
/// completeness, recommendation. Allocates for the recommendation: called in an own section.
pub(crate) fn complete(quality: &mut QualityIndicator, settings: &Settings, at_ns: u64) {
    let view = with_monitor(|monitor| {
        monitor.push(QualitySample::of(quality, at_ns));
        monitor.view()
    });
    if let Some(view) = view {
        view.complete(quality, settings);
    }
}

/// Feeds the counters of `quality` to the monitor and says what its windows show. A query can have ended one meanwhile.
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
