//! Closing and opening the gate of a lane.
//!
//! The gate is the lane's `limit`, the end of the words that its thread may write. It is 0 while a record is written,
//! inside an [`InternalScope`](super::internal::InternalScope) or
//! [`RecordingPaused`](super::internal::RecordingPaused), and while events are sampled out.

use std::sync::atomic::compiler_fence;

use super::slot;
use super::state::Level;
use crate::ring::lane::Lane;
use crate::sys::sync::{AtomicU32, Ordering};

/// Increments the depth of an internal scope or of a pause, and closes the gate.
pub(super) fn enter(lane: &Lane, depth: &AtomicU32) {
    // The depth is written first: a signal handler that finds the gate closed must see the reason.
    // relaxed: only this thread writes the depth; its signal handlers see program order.
    depth.store(depth.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    compiler_fence(Ordering::SeqCst);
    slot::mark_slot(lane, false);
    lane.close_gate();
    compiler_fence(Ordering::SeqCst);
}

/// Decrements the depth of an internal scope or of a pause, and opens the gate if nothing else keeps it closed.
pub(super) fn leave(lane: &Lane, depth: &AtomicU32) {
    compiler_fence(Ordering::SeqCst);
    // relaxed: only this thread writes the depth.
    depth.store(depth.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
    compiler_fence(Ordering::SeqCst);
    open_if_due(lane);
}

/// Opens the gate of the calling thread's lane, unless the thread is in a scope of `internal` or its events are sampled
/// out. If events are sampled out, marks the thread's slot instead, so that the hot path samples them out without the
/// slow path.
pub(super) fn open_if_due(lane: &Lane) {
    if is_in_scope(lane) {
        return;
    }
    // relaxed: only this thread writes the level.
    let records_all = lane.cold.level.load(Ordering::Relaxed) == Level::Full as u32;
    slot::mark_slot(lane, !records_all);
    if records_all {
        lane.open_gate(lane.cold.window_end.load(Ordering::Relaxed));
    }
}

/// Returns whether the lane's thread is in a scope of `internal`, which keeps the gate closed.
fn is_in_scope(lane: &Lane) -> bool {
    // relaxed: only this thread writes the depths.
    lane.cold.own_depth.load(Ordering::Relaxed) + lane.cold.paused_depth.load(Ordering::Relaxed) > 0
}

/// Returns whether the lane's thread is in an internal scope.
pub(super) fn is_internal(lane: &Lane) -> bool {
    // relaxed: only the lane's thread writes it.
    lane.cold.own_depth.load(Ordering::Relaxed) > 0
}

/// Returns whether the thread writes no record and is in no scope of `internal`.
pub(super) fn is_idle(lane: &Lane) -> bool {
    let cold = &lane.cold;
    let load = |word: &AtomicU32| word.load(Ordering::Relaxed);
    load(&cold.writing) + load(&cold.paused_depth) + load(&cold.own_depth) == 0
}

/// Runs `body`. Meanwhile events of signal handlers are counted as `reentrant`, whatever the gate's value.
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
