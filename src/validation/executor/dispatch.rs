//! The dispatcher of an open load, which releases each arrival when it is due.
//!
//! In production the dispatcher is a separate thread. Tokio's timers have a resolution of a millisecond (15 ms on
//! Windows), which is too coarse for short response times.

use std::iter::Peekable;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use super::super::machine;
use super::super::plan::IntendedStarts;
use super::super::workload::Workload;
use super::run::Run;

/// Maximum sleep of the dispatcher, so that it notices the end of the run.
const NAP: Duration = Duration::from_millis(20);
/// Interval at which the dispatcher checks whether the run has started.
const WAIT_FOR_START: Duration = Duration::from_micros(50);
/// Time before an arrival during which the dispatcher spins instead of sleeping, if the machine has more than two
/// cores.
const SPIN: Duration = Duration::from_micros(200);

impl<W: Workload> Run<W> {
    /// Releases all arrivals that are due. Returns the time of the next arrival; `None` at the end of the plan.
    fn release_due(&self, plan: &mut Peekable<IntendedStarts>) -> Option<u64> {
        let queue = self.arrivals.as_ref()?;
        let now_ns = self.clock.now_ns();
        while let Some(next) = plan.next_if(|&next| next <= now_ns && !self.is_cut_short()) {
            queue.admit(next, self.in_window(next));
        }
        plan.peek().copied().filter(|_| !self.is_cut_short())
    }

    /// Releases the arrivals in a task of the caller's runtime. On a virtual clock, each arrival is released exactly
    /// when it is due.
    pub(super) async fn dispatch_here(&self) {
        let Some(queue) = &self.arrivals else { return };
        let mut plan = queue.plan.clone().peekable();
        while let Some(next) = self.release_due(&mut plan) {
            tokio::time::sleep_until(self.clock.at(next)).await;
        }
        queue.end();
    }

    /// Releases the arrivals in a separate thread, precisely on a real clock. The call sets `begun` when it runs, and
    /// returns only when the run is closed. So the tracker's counts include neither the start nor the end of the
    /// thread.
    pub(super) fn dispatch_blocking(&self, begun: &AtomicBool) {
        let Some(queue) = &self.arrivals else { return };
        let spin = if machine::cores() > 2 { SPIN } else { Duration::ZERO };
        let mut plan = queue.plan.clone().peekable();
        begun.store(true, Relaxed);
        while !self.clock.has_started() && !self.closed.load(Relaxed) {
            std::thread::sleep(WAIT_FOR_START);
        }
        while let Some(next) = self.release_due(&mut plan).filter(|_| !self.closed.load(Relaxed)) {
            let left = Duration::from_nanos(next.saturating_sub(self.clock.now_ns()));
            if left > spin {
                std::thread::sleep((left - spin).min(NAP));
            } else {
                std::hint::spin_loop();
            }
        }
        queue.end();
        while !self.closed.load(Relaxed) {
            std::thread::sleep(NAP);
        }
    }
}
