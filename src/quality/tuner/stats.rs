//! What a tuner is told.

use serde::{Deserialize, Serialize};

use crate::profile::LossCounts;
use crate::quality::monitor::Window;

/// Figures of the recording over one interval, usually since the last time the tuner was asked.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TrackingStats {
    /// End of the interval, in nanoseconds since the start of the ledger.
    pub at_ns: u64,
    /// Events settled in the interval: recorded or lost.
    pub events: u64,
    /// Recorded ÷ settled, from 0 to 1; 1 when nothing was settled.
    pub completeness: f64,
    /// Events lost in the interval, by reason.
    pub lost: LossCounts,
    /// Mean time that recording one event took its thread, in nanoseconds, from self-sampling; 0 when none was taken.
    pub avg_latency_ns: f64,
    /// Time that 99 of 100 sampled events stayed below, in nanoseconds; 0 when none was taken.
    pub p99_latency_ns: u64,
    /// Age of the oldest event not booked yet, in nanoseconds.
    pub lag_ns: u64,
    /// Most words that waited in one ring.
    pub ring_high_water_words: u64,
    /// Times a thread booked its own ring (helped), in the interval.
    pub folds_at_home: u64,
    /// Times another thread booked a ring, in the interval.
    pub folds_away: u64,
    /// Times a thread with a full ring had to wait for its books, in the interval.
    pub waits: u64,
    /// Spare segments taken from the overflow pool, in the interval.
    pub spare_segments: u64,
}

impl Default for TrackingStats {
    /// An interval in which nothing happened, and so nothing was lost.
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
    /// The figures that a window of a monitor has; latencies, lag, rings and folds are left at zero.
    pub fn of_window(window: &Window) -> TrackingStats {
        TrackingStats {
            at_ns: window.end_ns,
            events: window.settled(),
            completeness: window.completeness(),
            lost: window.lost,
            waits: window.waits,
            ..TrackingStats::default()
        }
    }
}
