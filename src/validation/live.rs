//! Progress of a run, for a status line: written by the coordinator, readable from any thread.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::sync::lock;

/// The progress of a benchmark's current run. Clones share it.
///
/// # Examples
/// ```
/// use heapledger::validation::LiveStatus;
/// assert_eq!(LiveStatus::default().read().answered, 0);
/// ```
#[derive(Debug, Clone, Default)]
pub struct LiveStatus(Arc<Mutex<Live>>);

/// Progress at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// Users or workers of the run; 0 before the first run.
    pub users: usize,
    /// Planned length of ramp, warm-up and window.
    pub planned: Duration,
    /// Elapsed part of it.
    pub elapsed: Duration,
    /// Answered requests of the whole run, warm-up included.
    pub answered: u64,
    /// Other finished requests of the whole run.
    pub failed: u64,
    /// Requests in progress.
    pub active: u64,
    /// Waits for a connection, and arrivals that wait for a worker.
    pub pending: u64,
}

impl LiveStatus {
    /// The current progress.
    pub fn read(&self) -> Live {
        *lock(&self.0)
    }

    pub(super) fn write(&self, live: Live) {
        *lock(&self.0) = live;
    }
}
