//! What a run is doing at this moment, for a status line: written by the coordinator, read by anybody.
//!
//! Reading and writing are plain relaxed loads and stores of a few numbers, so that watching a run disturbs it no more
//! than not watching it. The numbers of one reading may be of two neighbouring looks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A view of the run that a benchmark is in. Clones look at the same one.
///
/// # Examples
/// ```
/// use heapledger::validation::LiveStatus;
/// assert_eq!(LiveStatus::default().read().answered, 0);
/// ```
#[derive(Debug, Clone, Default)]
pub struct LiveStatus(Arc<Cells>);

#[derive(Debug, Default)]
struct Cells {
    users: AtomicU64,
    planned_ns: AtomicU64,
    elapsed_ns: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
    active: AtomicU64,
    pending: AtomicU64,
}

/// One reading.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Live {
    /// Users or workers of the run; 0 before the first.
    pub users: usize,
    /// How long ramp, warm-up and window take by plan.
    pub planned: Duration,
    /// How much of it is over.
    pub elapsed: Duration,
    /// Requests of the whole run that were answered, warm-up included.
    pub answered: u64,
    /// Requests of the whole run that ended otherwise.
    pub failed: u64,
    /// Requests under way.
    pub active: u64,
    /// Waits for a connection, and arrivals that no worker has taken.
    pub pending: u64,
}

impl LiveStatus {
    /// The numbers now.
    pub fn read(&self) -> Live {
        let c = &*self.0;
        Live {
            users: c.users.load(Relaxed) as usize,
            planned: Duration::from_nanos(c.planned_ns.load(Relaxed)),
            elapsed: Duration::from_nanos(c.elapsed_ns.load(Relaxed)),
            answered: c.answered.load(Relaxed),
            failed: c.failed.load(Relaxed),
            active: c.active.load(Relaxed),
            pending: c.pending.load(Relaxed),
        }
    }

    pub(super) fn write(&self, live: &Live) {
        let c = &*self.0;
        c.users.store(live.users as u64, Relaxed);
        c.planned_ns.store(live.planned.as_nanos() as u64, Relaxed);
        c.elapsed_ns.store(live.elapsed.as_nanos() as u64, Relaxed);
        c.answered.store(live.answered, Relaxed);
        c.failed.store(live.failed, Relaxed);
        c.active.store(live.active, Relaxed);
        c.pending.store(live.pending, Relaxed);
    }
}
