//! The queue of arrivals that are due in an open load.
//!
//! The dispatcher releases an arrival when it is due. The worker that takes the arrival reads the intended start from
//! the plan, so a late timer cannot change the intended start. An unlimited queue needs no memory, because dispatcher
//! and workers iterate over two copies of the same plan.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use tokio::sync::Semaphore;

use super::super::plan::{IntendedStarts, LoadModel, Overload};
use super::super::sync::lock;

enum Backlog {
    /// A second copy of the plan. Its next item is the oldest arrival that waits.
    Plan(IntendedStarts),
    /// The intended starts of the admitted arrivals, at most as many as there are workers.
    Admitted(VecDeque<u64>),
}

/// The queue of arrivals that are due.
pub(in super::super) struct ArrivalQueue {
    pub plan: IntendedStarts,
    backlog: Mutex<Backlog>,
    due: Semaphore,
    workers: usize,
    /// Number of admitted arrivals that are not finished: waiting or in progress.
    inside: AtomicUsize,
    released: AtomicU64,
    taken: AtomicU64,
    pub dropped_in_window: AtomicU64,
    /// Number of arrivals in the window, including dropped arrivals.
    pub arrivals_in_window: AtomicU64,
}

impl ArrivalQueue {
    pub fn new(plan: IntendedStarts, load: &LoadModel) -> Self {
        let workers = load.workers();
        let backlog = match load {
            LoadModel::Open { overload: Overload::Drop, .. } => {
                Backlog::Admitted(VecDeque::with_capacity(workers))
            }
            _ => Backlog::Plan(plan.clone()),
        };
        Self {
            plan,
            backlog: Mutex::new(backlog),
            due: Semaphore::new(0),
            workers,
            inside: AtomicUsize::new(0),
            released: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            dropped_in_window: AtomicU64::new(0),
            arrivals_in_window: AtomicU64::new(0),
        }
    }

    /// Waits for the next arrival and returns its intended start; `None` at the end of the load.
    pub async fn take(&self) -> Option<u64> {
        self.due.acquire().await.ok()?.forget();
        let mut backlog = lock(&self.backlog);
        if self.waiting() == 0 {
            return None;
        }
        self.taken.fetch_add(1, Relaxed);
        match &mut *backlog {
            Backlog::Plan(plan) => plan.next(),
            Backlog::Admitted(list) => list.pop_front(),
        }
    }

    /// Records that a worker has finished the request of an arrival.
    pub fn finished_one(&self) {
        self.inside.fetch_sub(1, Relaxed);
    }

    /// Ends the load: each worker finishes once all released arrivals are taken.
    pub fn end(&self) {
        self.due.add_permits(self.workers);
    }

    /// Ends the waits of all workers now.
    pub fn close(&self) {
        self.due.close();
    }

    /// Returns the number of released arrivals that no worker has taken.
    pub fn waiting(&self) -> u64 {
        self.released.load(Relaxed).saturating_sub(self.taken.load(Relaxed))
    }

    /// Whether every admitted arrival is finished.
    pub fn is_drained(&self) -> bool {
        let _backlog = lock(&self.backlog);
        self.inside.load(Relaxed) == 0
    }

    /// Removes the arrivals that no worker has taken, and returns their intended starts in nanoseconds.
    pub fn take_rest(&self) -> Vec<u64> {
        let waiting = self.waiting() as usize;
        match &mut *lock(&self.backlog) {
            Backlog::Plan(plan) => plan.take(waiting).collect(),
            Backlog::Admitted(list) => list.drain(..).collect(),
        }
    }

    /// Admits an arrival that is due, or drops it if all workers are busy and the load drops arrivals.
    pub fn admit(&self, intended_ns: u64, in_window: bool) {
        let mut backlog = lock(&self.backlog);
        self.arrivals_in_window.fetch_add(u64::from(in_window), Relaxed);
        if let Backlog::Admitted(list) = &mut *backlog {
            if self.inside.load(Relaxed) >= self.workers {
                self.dropped_in_window.fetch_add(u64::from(in_window), Relaxed);
                return;
            }
            list.push_back(intended_ns);
        }
        self.inside.fetch_add(1, Relaxed);
        self.released.fetch_add(1, Relaxed);
        drop(backlog);
        self.due.add_permits(1);
    }
}
