//! The quality of the recorded data: which events are missing, why, and which setting improves the data.
//!
//! The counters and the [`QualityIndicator`](crate::QualityIndicator) are plain data in `profile`. This module consists
//! of pure functions and plain structs: time and counters are arguments, and decisions are return values. Other modules
//! take the samples, apply the decisions and print.
//!
//! ```text
//!  counters ─► monitor ─► windows, trend ──► cause ─► advice ─► sentence ─► recommendation
//!                  │                                                │
//!                  └────► thresholds ─► crossing, at most a line per 10 s
//!  stats ──────► tuner ──► adjustment of one knob, and a log of why
//!  workload ───► recommend ─► execution mode
//! ```
//!
//! * `assemble` completes an indicator from counters, history and monitor; [`display`] prints it.
//! * [`monitor`] compares the newest window of time with the window before it.
//! * [`cause`](cause()) finds the cause that harms the data most; [`advice`](advice()) names a setting and a value.
//! * [`thresholds`] detects when completeness crosses a threshold, and limits how often a crossing is printed.
//! * [`tuner`] changes one setting of the recorder (a *knob*) at a time, towards a target completeness and a time
//!   budget.
//! * [`recommend`] names the execution mode that suits a workload.
//! * [`error`] defines the error for invalid settings.

mod advice;
mod assemble;
mod cause;
pub mod display;
pub mod error;
pub mod monitor;
pub mod recommend;
mod ring_size;
mod sentence;
pub mod thresholds;
pub mod tuner;

pub use advice::{Advice, Loss, advice, advice_for};
pub(crate) use assemble::QualityCounters;
pub use cause::{EVENTS_PER_WAIT_MIN, LAG_NS_MAX, QualityCause, cause};
pub use display::{WithEmoji, completeness_percent, shows_emoji};
pub use error::InvalidSetting;
pub use monitor::{MonitorConfig, QualityMonitor, QualitySample, QualityView, QualityWindow};
pub use recommend::{ExecutionMode, WorkloadCharacteristics, recommend_mode};
pub use ring_size::{RING_SEGMENT_WORDS, RING_SEGMENTS_MAX, RING_SEGMENTS_MIN, ring_events, ring_segments};
pub use thresholds::{LineLimit, Threshold, ThresholdCrossing, ThresholdWatch};
pub use tuner::{
    AutoTuner, ConfigAdjustment, Decision, DecisionLog, KnobBounds, Knobs, Pressure, TrackingStats,
};

pub use crate::profile::Degradation;

/// Misspelt name of [`CompletenessTrend`](crate::CompletenessTrend), kept because the first specification of the
/// project has it.
#[doc(hidden)]
pub type CompletnessTrend = crate::profile::CompletenessTrend;
