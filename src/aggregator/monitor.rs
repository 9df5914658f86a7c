//! The quality monitor of the process. The background thread and every query give it samples.

use super::background::BACKGROUND;
use super::description::settings;
use crate::profile::{QualityIndicator, Settings};
use crate::quality::{QualityCounters, QualitySample, QualityView};

/// Returns the indicator of counters that were read at `at_ns`, with `retained` events in the history. Gives a sample
/// to the monitor, whose windows provide trend, windowed completeness and recommendation. Allocates, so it must be
/// called in an internal scope.
pub(crate) fn indicator(counters: QualityCounters, retained: u64, at_ns: u64) -> QualityIndicator {
    let view = feed(&counters, at_ns);
    counters.assemble(retained, view.as_ref(), &settings())
}

/// Returns the indicator of a process that has ended, from its counters and settings. The figures that come from the
/// monitor's windows are missing.
pub(crate) fn of_ended(counters: QualityIndicator, settings: &Settings) -> QualityIndicator {
    let retained = counters.retained;
    QualityCounters::new(counters).assemble(retained, None, settings)
}

/// Gives the counters to the monitor, and returns the figures of its windows. Returns `None` while another thread uses
/// the monitor.
pub(super) fn feed(counters: &QualityCounters, at_ns: u64) -> Option<QualityView> {
    BACKGROUND.monitor.with(1, |monitor| {
        monitor.push(QualitySample::of(counters, at_ns));
        monitor.view()
    })
}
