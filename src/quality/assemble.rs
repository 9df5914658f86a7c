//! Completes the counters of a process to a [`QualityIndicator`].

use std::ops::Deref;

use super::advice::advice;
use super::monitor::QualityView;
use crate::profile::{QualityIndicator, Settings};

/// The counters of a process at one moment: an indicator whose figures of history, windows and advice are not set yet.
///
/// Only [`QualityCounters::assemble`] makes an indicator from the counters, so a query, a snapshot and a callback
/// receive the same figures.
#[derive(Debug, Clone, Default)]
pub(crate) struct QualityCounters(QualityIndicator);

impl QualityCounters {
    /// Returns the counters of an indicator. [`QualityCounters::assemble`] later sets the figures of history, windows
    /// and advice.
    pub(crate) fn new(counters: QualityIndicator) -> QualityCounters {
        QualityCounters(counters)
    }

    /// Returns the complete indicator. `retained` is the number of heap events in the history, and `view` has the
    /// figures of the monitor. If `view` is `None`, the trend is unknown.
    pub(crate) fn assemble(
        self,
        retained: u64,
        view: Option<&QualityView>,
        settings: &Settings,
    ) -> QualityIndicator {
        let mut quality = self.0;
        // The history may be read slightly later than the counters.
        quality.retained = retained.min(quality.recorded);
        quality.evicted = quality.recorded - quality.retained;
        let unknown = QualityView::default();
        let view = view.unwrap_or(&unknown);
        quality.windowed_completeness = view.windowed_completeness;
        quality.trend = view.trend;
        quality.recommendation = advice(&quality, settings, view.newest.as_ref()).to_string();
        quality
    }
}

impl Deref for QualityCounters {
    type Target = QualityIndicator;

    fn deref(&self) -> &QualityIndicator {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{CompletenessTrend, LossCounts, LossReason};

    fn counters() -> QualityCounters {
        let mut lost = LossCounts::default();
        lost.add(LossReason::ForkedChild, 10);
        QualityCounters::new(QualityIndicator {
            installed: true,
            attempted: 100,
            recorded: 90,
            lost,
            ..Default::default()
        })
    }

    #[test]
    fn an_indicator_has_the_figures_of_the_history_and_of_the_windows() {
        let view = QualityView {
            windowed_completeness: Some(0.5),
            trend: CompletenessTrend::Degrading,
            ..QualityView::default()
        };
        let quality = counters().assemble(64, Some(&view), &Settings::default());
        assert_eq!((quality.retained, quality.evicted), (64, 26));
        assert_eq!((quality.windowed_completeness, quality.trend), (Some(0.5), CompletenessTrend::Degrading));
        assert!(quality.recommendation.contains("ForkPolicy::Fresh"));
    }

    #[test]
    fn a_history_that_was_read_later_holds_no_more_than_was_recorded() {
        let quality = counters().assemble(91, None, &Settings::default());
        assert_eq!((quality.retained, quality.evicted), (90, 0));
        assert_eq!((quality.windowed_completeness, quality.trend), (None, CompletenessTrend::Unknown));
        assert!(quality.recommendation.contains("ForkPolicy::Fresh"), "it needs no window");
    }
}
