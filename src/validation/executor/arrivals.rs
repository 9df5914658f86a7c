//! Hands the arrivals of an open load to its workers.
//!
//! The dispatcher decides *that* an arrival is due and the worker that takes it learns *when* it was due, so the
//! intended start never passes through a timer. In production the dispatcher is a thread of its own: tokio's timers
//! have a grain of a millisecond (fifteen on Windows), which would be most of a short response time. A queue without
//! limit needs no memory: dispatcher and workers walk two copies of the same plan.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::super::plan::{IntendedStarts, LoadModel, Overload};
use super::super::workload::Workload;
use super::Run;

/// The longest that the dispatcher sleeps at once, so that a stopped run is noticed.
const NAP: Duration = Duration::from_millis(20);
/// How often the dispatcher looks whether the run has begun.
const WAIT_FOR_START: Duration = Duration::from_micros(50);
/// How long before an arrival the dispatcher stops sleeping and watches the clock, where there are cores to spare.
const SPIN: Duration = Duration::from_micros(200);

enum Backlog {
    /// A second copy of the plan: the next one is the oldest not taken.
    Plan(IntendedStarts),
    /// The arrivals that were let in, at most as many as there are workers.
    Admitted(VecDeque<u64>),
}

/// Arrivals that are due.
pub(in super::super) struct ArrivalQueue {
    plan: IntendedStarts,
    backlog: Mutex<Backlog>,
    due: Semaphore,
    workers: usize,
    /// Arrivals let in and not finished: waiting or being executed.
    inside: AtomicUsize,
    released: AtomicU64,
    taken: AtomicU64,
    pub dropped_in_window: AtomicU64,
    /// Arrivals of the window, dropped ones included.
    pub arrivals_in_window: AtomicU64,
}

impl ArrivalQueue {
    pub fn new(plan: IntendedStarts, load: &LoadModel) -> Self {
        let workers = load.workers();
        let drops = matches!(load, LoadModel::Open { overload: Overload::Drop, .. });
        let backlog = if drops {
            Backlog::Admitted(VecDeque::with_capacity(workers))
        } else {
            Backlog::Plan(plan.clone())
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

    fn backlog(&self) -> MutexGuard<'_, Backlog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next arrival and gives its intended start; `None` when there will be no more.
    pub async fn take(&self) -> Option<u64> {
        self.due.acquire().await.ok()?.forget();
        let mut backlog = self.backlog();
        if self.taken.load(Relaxed) >= self.released.load(Relaxed) {
            return None;
        }
        self.taken.fetch_add(1, Relaxed);
        match &mut *backlog {
            Backlog::Plan(plan) => plan.next(),
            Backlog::Admitted(list) => list.pop_front(),
        }
    }

    /// Notes that an arrival that was taken is finished.
    pub fn finished_one(&self) {
        self.inside.fetch_sub(1, Relaxed);
    }

    /// Ends the waiting of all workers, now.
    pub fn close(&self) {
        self.due.close();
    }

    /// Arrivals let in that no worker has taken.
    pub fn waiting(&self) -> u64 {
        self.released.load(Relaxed).saturating_sub(self.taken.load(Relaxed))
    }

    /// Whether every arrival let in is finished.
    pub fn is_drained(&self) -> bool {
        let _backlog = self.backlog();
        self.inside.load(Relaxed) == 0
    }

    /// The arrivals that nobody took.
    pub fn left_over(&self) -> Vec<u64> {
        let mut backlog = self.backlog();
        let left = self.released.load(Relaxed).saturating_sub(self.taken.load(Relaxed)) as usize;
        match &mut *backlog {
            Backlog::Plan(plan) => plan.take(left).collect(),
            Backlog::Admitted(list) => list.drain(..).collect(),
        }
    }

    /// Lets in an arrival that is due, or turns it away.
    fn admit(&self, intended_ns: u64, in_window: bool) {
        let mut backlog = self.backlog();
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

impl<W: Workload> Run<W> {
    /// Releases all arrivals that are due and gives the time of the next one.
    fn release_due(&self, plan: &mut std::iter::Peekable<IntendedStarts>) -> Option<u64> {
        let queue = self.arrivals.as_ref()?;
        let now_ns = self.clock.now_ns();
        loop {
            let next = *plan.peek()?;
            if next > now_ns || self.is_cut_short() {
                return Some(next);
            }
            plan.next();
            queue.admit(next, self.in_window(next));
        }
    }

    fn end_of_plan(&self) {
        if let Some(queue) = &self.arrivals {
            // Each worker finds nothing left, and goes.
            queue.due.add_permits(self.users.len());
        }
    }

    /// The dispatcher as a task: exact on a virtual clock.
    pub(super) async fn dispatch_here(&self) {
        let Some(queue) = &self.arrivals else { return };
        let mut plan = queue.plan.clone().peekable();
        while let Some(next) = self.release_due(&mut plan) {
            if self.is_cut_short() {
                break;
            }
            tokio::time::sleep_until(self.clock.at(next)).await;
        }
        self.end_of_plan();
    }

    /// The dispatcher as a thread: precise on a real clock. It says when it has begun, and ends only when the run is
    /// closed, so that neither its birth nor its death falls into the account of the tracker.
    pub(super) fn dispatch_blocking(&self, begun: &AtomicBool) {
        let Some(queue) = &self.arrivals else { return };
        let spin = if super::super::machine::cores() > 2 { SPIN } else { Duration::ZERO };
        let mut plan = queue.plan.clone().peekable();
        begun.store(true, Relaxed);
        while !self.clock.has_started() && !self.closed.load(Relaxed) {
            std::thread::sleep(WAIT_FOR_START);
        }
        while let Some(next) = self.release_due(&mut plan) {
            if self.is_cut_short() || self.closed.load(Relaxed) {
                break;
            }
            let left = Duration::from_nanos(next.saturating_sub(self.clock.now_ns()));
            if left > spin {
                std::thread::sleep((left - spin).min(NAP));
            } else {
                std::hint::spin_loop();
            }
        }
        self.end_of_plan();
        while !self.closed.load(Relaxed) {
            std::thread::sleep(NAP);
        }
    }
}
