//! Settings of the background thread that the program changes while it runs: interval, tuner and callback. A call of
//! the program leaves a request, and the background thread takes the request at its next sample of the quality
//! counters.

use crate::profile::{QualityIndicator, TuningGoal};

/// A function of the program that is called when the completeness crosses its target.
pub(crate) type Callback = Box<dyn FnMut(&QualityIndicator) + Send>;

/// Requests that the background thread has not taken yet.
pub(crate) struct Requests {
    /// Minimum pause between two rounds, in nanoseconds.
    pub(crate) interval_ns: Option<u64>,
    /// The new goal of the tuner. `Some(None)` ends the tuner; `None` is no request.
    pub(crate) tuner: Option<Option<TuningGoal>>,
    /// The new callback for crossings of the target.
    pub(crate) callback: Option<Callback>,
}

impl Requests {
    pub(super) const NONE: Requests = Requests { interval_ns: None, tuner: None, callback: None };
}
