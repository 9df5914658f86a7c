//! The decisions of a tuner, and the log of them.

use std::collections::VecDeque;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::knobs::Knobs;
use super::stats::TrackingStats;
use crate::profile::{DataQualityMode, Degradation};

/// Decisions that a log holds; older ones are dropped and counted.
pub const DECISIONS_MAX: usize = 64;

/// A new setting for one knob, or none. Its `Display` is `name: old -> new`, the form of a record of change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ConfigAdjustment {
    /// Leave everything as it is.
    #[default]
    Maintain,
    /// Advice only: every knob has its original setting and there is headroom, so the program may do more.
    IncreaseThroughput,
    /// Advice only: every knob is at its bound, and only the program could make fewer events at once.
    ReduceConcurrency,
    /// Another mode.
    SetMode {
        /// The mode before.
        from: DataQualityMode,
        /// The mode to set.
        to: DataQualityMode,
    },
    /// Another rung of the ladder.
    SetDegradation {
        /// The rung before.
        from: Degradation,
        /// The rung to set.
        to: Degradation,
    },
    /// Another distance between samples where blocks are sampled.
    SetSampling {
        /// Mean bytes between two samples before, as a power of two.
        from_shift: u32,
        /// Mean bytes between two samples to set, as a power of two.
        to_shift: u32,
    },
    /// Rings of another size.
    SetRingSegments {
        /// Segments of each ring before.
        from: u32,
        /// Segments of each ring to set.
        to: u32,
    },
    /// Another pause of the aggregator.
    SetFloorInterval {
        /// Nanoseconds before.
        from_ns: u64,
        /// Nanoseconds to set.
        to_ns: u64,
    },
    /// Another fill of a ring at which the aggregator books it.
    SetDrainThreshold {
        /// Words before.
        from_words: u64,
        /// Words to set.
        to_words: u64,
    },
}

impl ConfigAdjustment {
    /// Whether this sets a knob. The other three kinds are advice.
    pub const fn is_change(&self) -> bool {
        !matches!(
            self,
            ConfigAdjustment::Maintain
                | ConfigAdjustment::IncreaseThroughput
                | ConfigAdjustment::ReduceConcurrency
        )
    }

    /// Sets the knob.
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

/// The state of a process, as a tuner sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Pressure {
    /// Between the levels, or unknown: no knob is set.
    #[default]
    None,
    /// Completeness is below the target.
    Losing,
    /// Recording takes longer than its budget.
    Slow,
    /// Events wait too long to be booked.
    Lagging,
    /// Completeness is clearly above the target and half of the budget is unused.
    Headroom,
}

/// A decision with the figures that led to it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Time, in nanoseconds since the start of the ledger.
    pub at_ns: u64,
    /// The decision.
    pub adjustment: ConfigAdjustment,
    /// The reason.
    pub pressure: Pressure,
    /// The figures that led to it.
    pub stats: TrackingStats,
}

/// The last decisions, oldest first; at most [`DECISIONS_MAX`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DecisionLog {
    decisions: VecDeque<Decision>,
    forgotten: u64,
}

impl DecisionLog {
    /// Adds a decision, unless it repeats an advice.
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

    /// The decisions that the log still holds, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Decision> + ExactSizeIterator {
        self.decisions.iter()
    }

    /// Decisions that were dropped from the log.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }
}
