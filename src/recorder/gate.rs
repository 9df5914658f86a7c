//! Sections in which a thread works for heapledger: *own* and *quiet* ones.

use std::sync::atomic::compiler_fence;

use super::slot;
use super::state::Level;
use crate::ring::lane::Lane;
use crate::sys::sync::{AtomicU32, Ordering};

pub(super) fn enter(lane: &Lane, depth: &AtomicU32) {
    // The depth first: a handler that finds the gate closed must find out why.
    // relaxed: this thread's line; handlers of the same thread see program order.
    depth.store(depth.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    compiler_fence(Ordering::SeqCst);
    slot::may_pass(lane, false);
    lane.close_gate();
    compiler_fence(Ordering::SeqCst);
}

pub(super) fn leave(lane: &Lane, depth: &AtomicU32) {
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
    let records_all = lane.cold.level.load(Ordering::Relaxed) == Level::Full as u32;
    slot::may_pass(lane, !records_all);
    if records_all {
        lane.open_gate(lane.cold.window_end.load(Ordering::Relaxed));
    }
}

/// Whether the lane's gate has to stay closed after a record.
fn is_in_section(lane: &Lane) -> bool {
    // relaxed: as in `enter`.
    lane.cold.own_depth.load(Ordering::Relaxed) + lane.cold.quiet_depth.load(Ordering::Relaxed) > 0
}

/// Whether the thread works for heapledger itself.
pub(super) fn is_own(lane: &Lane) -> bool {
    // relaxed: the thread's own line.
    lane.cold.own_depth.load(Ordering::Relaxed) > 0
}

/// Whether no record of the thread is being written, and it works for the program.
pub(super) fn is_idle(lane: &Lane) -> bool {
    let cold = &lane.cold;
    let load = |word: &AtomicU32| word.load(Ordering::Relaxed);
    load(&cold.writing) + load(&cold.quiet_depth) + load(&cold.own_depth) == 0
}

/// Does something during which events of handlers are refused, whatever the gate says.
#[inline(always)]
pub(super) fn while_writing<T>(lane: &Lane, body: impl FnOnce() -> T) -> T {
    let before = lane.cold.writing.load(Ordering::Relaxed);
    lane.cold.writing.store(1, Ordering::Relaxed);
    compiler_fence(Ordering::SeqCst);
    let result = body();
    compiler_fence(Ordering::SeqCst);
    lane.cold.writing.store(before, Ordering::Relaxed);
    result
}
