//! Progress of a run for a status line. The thread that coordinates the run writes the progress; any thread may read
//! it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::sync::lock;

/// The progress of a benchmark's current run. All clones show the same progress.
///
/// # Examples
/// ```
/// use heapledger::validation::LiveStatus;
/// assert_eq!(LiveStatus::default().read().answered, 0);
/// ```
#[derive(Debug, Clone, Default)]
pub struct LiveStatus(Arc<Mutex<Live>>);

/// Progress of a run at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// Number of users or workers of the run; 0 before the first run.
    pub users: usize,
    /// Planned length of ramp, warm-up and window together.
    pub planned: Duration,
    /// Elapsed part of `planned`.
    pub elapsed: Duration,
    /// Number of answered requests in the whole run, including the warm-up.
    pub answered: u64,
    /// Number of requests in the whole run that ended without an answer.
    pub failed: u64,
    /// Number of requests in progress.
    pub active: u64,
    /// Number of waits for a connection, plus arrivals that wait for a worker.
    pub pending: u64,
}

impl LiveStatus {
    /// Returns the current progress.
    pub fn read(&self) -> Live {
        *lock(&self.0)
    }

    pub(super) fn write(&self, live: Live) {
        *lock(&self.0) = live;
    }
}
