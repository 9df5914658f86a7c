//! Settings of the background thread that the program changes while it runs: interval, tuner and callback. A query
//! leaves the request; the thread takes it at its next sample.

use crate::profile::{QualityIndicator, TuningGoal};

/// A function of the program that is called at a crossing of the target.
pub(crate) type Callback = Box<dyn FnMut(&QualityIndicator) + Send>;

/// Requests that the background thread has not taken yet.
pub(crate) struct Requests {
    /// Minimum pause between two rounds, in nanoseconds.
    pub(crate) interval_ns: Option<u64>,
    /// The goal of the tuner; `Some(None)` ends the tuner.
    pub(crate) tuner: Option<Option<TuningGoal>>,
    /// The callback at a crossing of the target.
    pub(crate) callback: Option<Callback>,
}

impl Requests {
    pub(super) const NONE: Requests = Requests { interval_ns: None, tuner: None, callback: None };
}
