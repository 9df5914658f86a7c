//! The quality monitor of the process: the background thread and every query feed it.

use super::background::BACKGROUND;
use super::description::settings;
use crate::profile::QualityIndicator;
use crate::quality::{QualityCounters, QualitySample, QualityView};

/// Makes the indicator of counters that were read at `at_ns`, with `retained` events in the history. Feeds the monitor, whose
/// windows give trend, windowed completeness and recommendation. Allocates: call it in an internal scope.
pub(crate) fn indicator(counters: QualityCounters, retained: u64, at_ns: u64) -> QualityIndicator {
    let view = feed(&counters, at_ns);
    counters.assemble(retained, view.as_ref(), &settings())
}

/// Feeds the counters to the monitor and returns what its windows show. `None` while another thread feeds it.
pub(super) fn feed(counters: &QualityCounters, at_ns: u64) -> Option<QualityView> {
    BACKGROUND.monitor.with(1, |monitor| {
        monitor.push(QualitySample::of(counters, at_ns));
        monitor.view()
    })
}
