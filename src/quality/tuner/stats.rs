//! The figures on which a tuner decides.

use serde::{Deserialize, Serialize};

use crate::profile::{LossCounts, QualityIndicator};
use crate::quality::monitor::QualityWindow;

/// Figures of the recording over one interval, usually the time since the last decision.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TrackingStats {
    /// End of the interval, in nanoseconds since the start of the ledger.
    pub at_ns: u64,
    /// Number of events recorded or lost in the interval.
    pub events: u64,
    /// Completeness in the interval, from 0 to 1: recorded ÷ (recorded + lost). 1 if both are zero.
    pub completeness: f64,
    /// Numbers of events lost in the interval, by reason.
    pub lost: LossCounts,
    /// Mean time that an event of the interval spent on the slow path, in nanoseconds, derived from timed slow paths. 0
    /// if no slow path was timed. The short path, which most events take, is not measured: see
    /// [`TurnTimes`](crate::profile::TurnTimes).
    pub avg_latency_ns: f64,
    /// 99th percentile of the time that an event spent on the slow path, in nanoseconds, rounded up to a power of two.
    /// Events on the short path count with 0. The figure is 0 if no slow path was timed.
    pub p99_latency_ns: u64,
    /// Age of the oldest event that is not booked yet, in nanoseconds.
    pub lag_ns: u64,
    /// Maximum number of words that waited in one ring to be booked.
    pub ring_high_water_words: u64,
    /// Number of times in the interval that a thread booked its ring itself.
    pub folds_at_home: u64,
    /// Number of times in the interval that another thread booked a ring.
    pub folds_away: u64,
    /// Number of times in the interval that a thread with a full ring had to wait until another thread had booked the
    /// ring.
    pub waits: u64,
    /// Number of ring segments that full rings took from the shared overflow pool in the interval.
    pub spare_segments: u64,
}

impl Default for TrackingStats {
    /// Returns an interval without events, and so without loss.
    fn default() -> Self {
        TrackingStats {
            at_ns: 0,
            events: 0,
            completeness: 1.0,
            lost: LossCounts::default(),
            avg_latency_ns: 0.0,
            p99_latency_ns: 0,
            lag_ns: 0,
            ring_high_water_words: 0,
            folds_at_home: 0,
            folds_away: 0,
            waits: 0,
            spare_segments: 0,
        }
    }
}

impl TrackingStats {
    /// Returns the figures of the interval between two readings of the counters of a process. The second reading was at
    /// `at_ns`. Counters that decreased count as unchanged.
    ///
    /// `ring_high_water_words` is an argument, because the value in the counters covers the whole process.
    pub fn between(
        before: &QualityIndicator,
        now: &QualityIndicator,
        at_ns: u64,
        ring_high_water_words: u64,
    ) -> TrackingStats {
        let rise = |of: fn(&QualityIndicator) -> u64| of(now).saturating_sub(of(before));
        let lost = now.lost.since(&before.lost);
        let recorded = rise(|quality| quality.recorded);
        let events = recorded.saturating_add(lost.total());
        let made = events.saturating_add(rise(|quality| quality.sampled_out));
        let turns = now.turn_times.since(&before.turn_times);
        TrackingStats {
            at_ns,
            events,
            completeness: QualityIndicator::completeness_of(recorded, lost.total()),
            lost,
            avg_latency_ns: turns.mean_ns_of(made),
            p99_latency_ns: turns.p99_ns_of(made),
            lag_ns: now.lag_ns,
            ring_high_water_words,
            folds_at_home: rise(|quality| quality.folds_at_home),
            folds_away: rise(|quality| quality.folds_away),
            waits: rise(|quality| quality.waits),
            spare_segments: rise(|quality| quality.spare_segments),
        }
    }

    /// Returns the figures of a monitor's window. Figures that a window lacks are zero: latencies, lag, rings and
    /// folds.
    pub fn of_window(window: &QualityWindow) -> TrackingStats {
        TrackingStats {
            at_ns: window.end_ns,
            events: window.resolved(),
            completeness: window.completeness(),
            lost: window.lost,
            waits: window.waits,
            ..TrackingStats::default()
        }
    }
}
