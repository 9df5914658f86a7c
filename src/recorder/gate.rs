//! Sections in which a thread works for heapledger: *own* and *quiet* ones.

use std::sync::atomic::compiler_fence;

use super::lifecycle;
use super::thread;
use crate::ring::lane::Lane;
use crate::sys::sync::{AtomicU32, AtomicU64, Ordering};
use crate::sys::tls;

/// Refused allocations of threads without a lane.
static FAILED: AtomicU64 = AtomicU64::new(0);

/// Counts an allocation that the inner allocator refused. Out of the hot path: it is rare.
#[cold]
#[inline(never)]
pub(super) fn count_failed() {
    let failed = thread::lane_of_slot(tls::get()).map_or(&FAILED, |lane| &lane.cold.failed);
    // relaxed: a sum.
    failed.fetch_add(1, Ordering::Relaxed);
}

/// Forgets the parent's count, in a forked child.
pub(super) fn forget() {
    // relaxed: there is one thread.
    FAILED.store(0, Ordering::Relaxed);
}

/// Refused allocations of threads that had no lane.
pub(crate) fn failed_without_lane() -> u64 {
    // relaxed: a sum.
    FAILED.load(Ordering::Relaxed)
}

/// While this lives, the thread's events are recorded as heapledger's own. Sections may nest.
#[derive(Debug)]
pub(crate) struct Own {
    lane: Option<&'static Lane>,
}

/// While this lives, the thread holds a latch: its events could not be recorded and are counted as `reentrant`.
/// Nothing in such a section allocates; only signal handlers can.
#[derive(Debug)]
pub(crate) struct Quiet {
    lane: Option<&'static Lane>,
}

impl Own {
    /// Begins a section, with the thread's lane, which it is given if it had none.
    pub(crate) fn enter() -> Own {
        let lane = thread::lane_or_claim();
        if let Some(lane) = lane {
            enter(lane, &lane.cold.own_depth);
        }
        Own { lane }
    }

    /// The thread's lane.
    pub(crate) fn lane(&self) -> Option<&'static Lane> {
        self.lane
    }
}

impl Quiet {
    pub(crate) fn enter(own: &Own) -> Quiet {
        if let Some(lane) = own.lane {
            enter(lane, &lane.cold.quiet_depth);
        }
        Quiet { lane: own.lane }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(lane) = self.lane {
            leave(lane, &lane.cold.own_depth);
        }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if let Some(lane) = self.lane {
            leave(lane, &lane.cold.quiet_depth);
        }
    }
}

fn enter(lane: &Lane, depth: &AtomicU32) {
    // The depth first: a handler that finds the gate closed must find out why.
    // relaxed: this thread's line; handlers of the same thread see program order.
    depth.store(depth.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    compiler_fence(Ordering::SeqCst);
    thread::may_pass(lane, false);
    lane.close_gate();
    compiler_fence(Ordering::SeqCst);
}

fn leave(lane: &Lane, depth: &AtomicU32) {
    compiler_fence(Ordering::SeqCst);
    // relaxed: as in `enter`.
    depth.store(depth.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
    compiler_fence(Ordering::SeqCst);
    open_if_due(lane);
}

/// Opens the gate of the calling thread's lane, unless it has to stay closed: in a section, or when the lane leaves events
/// out. In the latter case the thread may pass over events again.
pub(super) fn open_if_due(lane: &Lane) {
    if is_in_section(lane) {
        return;
    }
    // relaxed: as in `enter`.
    let records_all = lane.cold.level.load(Ordering::Relaxed) == lifecycle::Level::Full as u32;
    thread::may_pass(lane, !records_all);
    if records_all {
        lane.open_gate(lane.cold.window_end.load(Ordering::Relaxed));
    }
}

/// Whether the lane's gate has to stay closed after a record.
fn is_in_section(lane: &Lane) -> bool {
    // relaxed: as in `enter`.
    lane.cold.own_depth.load(Ordering::Relaxed) + lane.cold.quiet_depth.load(Ordering::Relaxed) > 0
}
