//! The decisions of a tuner, and their log.

use std::collections::VecDeque;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::knobs::Knobs;
use super::stats::TrackingStats;
use crate::profile::{DataQualityMode, Degradation};

/// Maximum number of decisions in a log. Older decisions are dropped and counted.
pub const DECISIONS_MAX: usize = 64;

/// A decision of the tuner: a new setting of one knob, or an advice to the user. The `Display` of a new setting is
/// `name: old -> new`, the form of a [`Change`](crate::profile::Change).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ConfigAdjustment {
    /// Leave every knob as it is.
    #[default]
    Maintain,
    /// An advice: every knob has its original setting, and there is headroom. So the program may make more events.
    IncreaseThroughput,
    /// An advice: every knob is at its bound. Only fewer simultaneous events of the program would help.
    ReduceConcurrency,
    /// Set the mode.
    SetMode {
        /// The previous mode.
        from: DataQualityMode,
        /// The new mode.
        to: DataQualityMode,
    },
    /// Set the level of recording.
    SetDegradation {
        /// The previous level.
        from: Degradation,
        /// The new level.
        to: Degradation,
    },
    /// Set the mean number of bytes between sampled blocks.
    SetSampling {
        /// Base-2 logarithm of the previous mean number of bytes.
        from_shift: u32,
        /// Base-2 logarithm of the new mean number of bytes.
        to_shift: u32,
    },
    /// Set the size of the rings.
    SetRingSegments {
        /// Previous number of segments of each ring.
        from: u32,
        /// New number of segments of each ring.
        to: u32,
    },
    /// Set the minimum pause between two rounds of the background thread.
    SetFloorInterval {
        /// Previous pause, in nanoseconds.
        from_ns: u64,
        /// New pause, in nanoseconds.
        to_ns: u64,
    },
    /// Set the number of waiting words at which the background thread books a ring.
    SetDrainThreshold {
        /// Previous number of words.
        from_words: u64,
        /// New number of words.
        to_words: u64,
    },
}

impl ConfigAdjustment {
    /// Whether this adjustment sets a knob. The other kinds leave every knob unchanged.
    pub const fn is_change(&self) -> bool {
        !matches!(
            self,
            ConfigAdjustment::Maintain
                | ConfigAdjustment::IncreaseThroughput
                | ConfigAdjustment::ReduceConcurrency
        )
    }

    /// Sets the knob of this adjustment in `knobs`.
    pub fn apply_to(&self, knobs: &mut Knobs) {
        match *self {
            ConfigAdjustment::Maintain
            | ConfigAdjustment::IncreaseThroughput
            | ConfigAdjustment::ReduceConcurrency => {}
            ConfigAdjustment::SetMode { to, .. } => knobs.mode = to,
            ConfigAdjustment::SetDegradation { to, .. } => knobs.degradation = to,
            ConfigAdjustment::SetSampling { to_shift, .. } => knobs.sampling_shift = to_shift,
            ConfigAdjustment::SetRingSegments { to, .. } => knobs.ring_segments = to,
            ConfigAdjustment::SetFloorInterval { to_ns, .. } => knobs.floor_interval_ns = to_ns,
            ConfigAdjustment::SetDrainThreshold { to_words, .. } => knobs.drain_threshold_words = to_words,
        }
    }
}

impl fmt::Display for ConfigAdjustment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigAdjustment::Maintain => f.write_str("maintain"),
            ConfigAdjustment::IncreaseThroughput => f.write_str("advice: there is room for more load"),
            ConfigAdjustment::ReduceConcurrency => f.write_str("advice: every knob is at its bound"),
            ConfigAdjustment::SetMode { from, to } => write!(f, "mode: {} -> {}", from.name(), to.name()),
            ConfigAdjustment::SetDegradation { from, to } => write!(f, "degradation: {from} -> {to}"),
            ConfigAdjustment::SetSampling { from_shift, to_shift } => {
                let bytes = |shift: &u32| 1u64.checked_shl(*shift).unwrap_or(u64::MAX);
                write!(f, "bytes between samples: {} -> {}", bytes(from_shift), bytes(to_shift))
            }
            ConfigAdjustment::SetRingSegments { from, to } => write!(f, "ring_segments: {from} -> {to}"),
            ConfigAdjustment::SetFloorInterval { from_ns, to_ns } => {
                write!(f, "floor_interval_ns: {from_ns} -> {to_ns}")
            }
            ConfigAdjustment::SetDrainThreshold { from_words, to_words } => {
                write!(f, "drain_threshold_words: {from_words} -> {to_words}")
            }
        }
    }
}

/// State of a process in one interval, as the tuner judges it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Pressure {
    /// No pressure: the figures need no change, or are unknown. No knob is set.
    #[default]
    None,
    /// Completeness is below the target.
    Losing,
    /// Recording takes longer than its budget.
    Slow,
    /// Events wait too long to be booked.
    Lagging,
    /// Completeness is 1, or above the target by at least the hysteresis. At least half of the latency budget is
    /// unused. Events wait for at most half a second to be booked.
    Headroom,
}

/// A decision with the figures that led to it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Time, in nanoseconds since the start of the ledger.
    pub at_ns: u64,
    /// The adjustment that was decided.
    pub adjustment: ConfigAdjustment,
    /// The pressure that was the reason.
    pub pressure: Pressure,
    /// The figures that led to the decision.
    pub stats: TrackingStats,
}

/// The last decisions, oldest first. The log holds up to [`DECISIONS_MAX`] of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DecisionLog {
    decisions: VecDeque<Decision>,
    forgotten: u64,
}

impl DecisionLog {
    /// Adds a decision. An advice that repeats the last decision is not added.
    pub(super) fn push(&mut self, decision: Decision) {
        let repeats = self.decisions.back().is_some_and(|last| last.adjustment == decision.adjustment);
        if repeats && !decision.adjustment.is_change() {
            return;
        }
        if self.decisions.len() == DECISIONS_MAX {
            self.decisions.pop_front();
            self.forgotten += 1;
        }
        self.decisions.push_back(decision);
    }

    /// Returns the decisions that the log still holds, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Decision> + ExactSizeIterator {
        self.decisions.iter()
    }

    /// Returns the number of decisions that were dropped from the log.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }
}
