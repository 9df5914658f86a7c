//! The quality monitor of the process. The background thread and every query give samples of the quality counters to
//! the monitor.

use super::background::BACKGROUND;
use super::description::settings;
use crate::profile::{QualityIndicator, Settings};
use crate::quality::{QualityCounters, QualitySample, QualityView};

/// Returns the quality indicator from counters that were read at `at_ns`, with `retained` events in the history. Also
/// gives the counters to the monitor, which provides the trend, the windowed completeness and the recommendation.
/// Allocates, so the function must be called in an internal scope.
pub(crate) fn indicator(counters: QualityCounters, retained: u64, at_ns: u64) -> QualityIndicator {
    let view = feed(&counters, at_ns);
    counters.assemble(retained, view.as_ref(), &settings())
}

/// Returns the quality indicator of a process that has ended, from its counters and settings. The figures that the
/// monitor provides are missing.
pub(crate) fn of_ended(counters: QualityIndicator, settings: &Settings) -> QualityIndicator {
    let retained = counters.retained;
    QualityCounters::new(counters).assemble(retained, None, settings)
}

/// Gives the counters to the monitor, and returns the monitor's figures of the last spans of time. Returns `None` while
/// another thread uses the monitor.
pub(super) fn feed(counters: &QualityCounters, at_ns: u64) -> Option<QualityView> {
    BACKGROUND.monitor.with(1, |monitor| {
        monitor.push(QualitySample::of(counters, at_ns));
        monitor.view()
    })
}
