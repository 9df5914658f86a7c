//! Completeness as people meet it.
//!
//! The counters and the [`QualityIndicator`](crate::QualityIndicator) that is made of them are plain data in
//! `profile`. This room says what they mean and what to do about them. Everything in it is a pure function or a plain
//! struct: time and counters come in as arguments, and what should be done goes out as data. The live side samples,
//! applies and prints.
//!
//! ```text
//!  counters ─► monitor ─► windows, trend ──► cause ─► advice ─► sentence ─► recommendation
//!                  │                                                │
//!                  └────► thresholds ─► crossing, at most a line per 10 s
//!  stats ──────► tuner ──► adjustment of one knob, and a log of why
//!  workload ───► recommend ─► execution mode
//! ```
//!
//! * [`display`] puts an indicator into words.
//! * [`monitor`] compares the newest window of time with the one before it.
//! * [`cause`](cause()) finds what weighs most; [`advice`](advice()) says what to set to which value.
//! * [`thresholds`] says when completeness crossed one, and limits how often that is printed.
//! * [`tuner`] turns one knob at a time towards a target and a budget.
//! * [`recommend`] names the execution mode that suits a workload.
//! * [`error`] is what a setting that means nothing is refused with.

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
pub use cause::{Cause, EVENTS_PER_WAIT_MIN, LAG_NS_MAX, cause};
pub use display::{WithEmoji, completeness_percent, shows_emoji};
pub use error::InvalidSetting;
pub use monitor::{MonitorConfig, QualityMonitor, QualitySample, QualityView, Window};
pub use recommend::{ExecutionMode, WorkloadCharacteristics, recommend_mode};
pub use ring_size::{RING_SEGMENT_WORDS, RING_SEGMENTS_MAX, RING_SEGMENTS_MIN, ring_events, ring_segments};
pub use thresholds::{Crossing, LineLimit, Threshold, ThresholdWatch};
pub use tuner::{
    AutoTuner, ConfigAdjustment, Decision, DecisionLog, KnobBounds, Knobs, Pressure, TrackingStats,
};

pub use crate::profile::Degradation;

/// The seed document's spelling of [`CompletenessTrend`](crate::CompletenessTrend).
#[doc(hidden)]
pub type CompletnessTrend = crate::profile::CompletenessTrend;
