//! A request to end a run early.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// A handle that ends the window of a run early, from any thread. All clones stop the same run.
///
/// # Examples
/// ```
/// let stop = heapledger::validation::StopHandle::default();
/// stop.stop();
/// assert!(stop.is_stopped());
/// ```
#[derive(Debug, Clone, Default)]
pub struct StopHandle(Arc<AtomicBool>);

impl StopHandle {
    /// Ends the window now; the run still gives its results.
    pub fn stop(&self) {
        self.0.store(true, Relaxed);
    }

    /// Whether [`stop`](Self::stop) was called.
    pub fn is_stopped(&self) -> bool {
        self.0.load(Relaxed)
    }
}
