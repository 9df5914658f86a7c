//! The turn of a window: everything about a record that the hot path leaves out.
//!
//! A record comes here when it does not fit into the window, when the epoch has changed, when it is wide, when the
//! gate is closed, or when the thread has no lane. In the usual case, once in some eighty events, the window is full:
//! the turn closes it (its mark learns its length), takes the time, and opens the next one. Every eighth or so
//! time the segment is full as well: then the thread folds what it wrote (it *helps*) and goes on in a segment whose
//! words are folded. Where folding is dear it does so more often, and books less at one time; or leaves it to heapledger's own
//! thread, as long as that keeps up (see `background_thread`).
//!
//! When there is none, because someone else holds the lane's latch, the mode decides:
//!
//! | mode | then |
//! | --- | --- |
//! | `PerfectAccuracy` | try again `max_retries` times, take a spare segment, wait for the latch |
//! | `HighAccuracy` | the same, but an allocation is shed where a free waits |
//! | `HighThroughput` | take a spare segment, shed |
//! | `BestEffort` | shed |

use super::gate::{self, is_idle, is_own};
use super::options::Opener;
use super::process::PROCESS;
use super::record::{alloc_record, free_record, whole_free_record};
use super::stacks::stack_aside;
use super::window::write;
use super::{sampling, slot, thread};
use crate::ring::event::Traits;
use crate::ring::lane::Lane;
use crate::sys::sync::Ordering;
use crate::sys::tls;

/// An allocation of a thread that has no lane yet, or leaves events out.
#[cold]
pub(super) fn alloc_aside(opener: Opener<'_>, block: *mut u8, size: usize, traits: Traits) -> *mut u8 {
    if let Some(lane) = lane(opener) {
        let (limit, size) = (lane.close_gate(), size as u64);
        alloc(lane, limit, block.addr() as u64, size, traits, stack_aside(lane, limit, size));
    }
    block
}

#[cold]
pub(super) fn free_aside(opener: Opener<'_>, address: u64, size: u64) {
    if let Some(lane) = lane(opener) {
        free(lane, lane.close_gate(), address, size);
    }
}

#[cold]
pub(super) fn alloc(lane: &Lane, limit: u64, address: u64, size: u64, traits: Traits, stack: u32) {
    match gate_of(lane, limit) {
        Gate::Apart => sampling::alloc(lane, address, size, traits),
        Gate::At(limit) => {
            if write(lane, limit, &alloc_record(address, size, marked(lane, traits), stack)) {
                sampling::note_own(lane, address);
            }
        }
    }
}

#[cold]
pub(super) fn free(lane: &Lane, limit: u64, address: u64, size: u64) {
    match gate_of(lane, limit) {
        Gate::Apart => sampling::free(lane, address, size),
        Gate::At(limit) => {
            sampling::forget_own(lane, address);
            let is_whole = sampling::may_mean_what_was_left_out(lane);
            let record = if is_whole { whole_free_record(address, size) } else { free_record(address, size) };
            write(lane, limit, &record);
        }
    }
}

pub(super) fn lane(opener: Opener<'_>) -> Option<&'static Lane> {
    slot::lane_of_slot(tls::get()).or_else(|| thread::lane_for_event(opener))
}

/// The traits of an allocation, with the mark of heapledger's own if the thread is in such a section.
pub(super) fn marked(lane: &Lane, traits: Traits) -> Traits {
    if is_own(lane) { traits.as_own() } else { traits }
}

/// Where the gate of a lane stood, and what that means.
pub(super) enum Gate {
    /// It stood at this limit; 0 if it was closed.
    At(u64),
    /// The lane leaves events out.
    Apart,
}

/// Takes up the level that is in force, unless the lane is in the midst of something: an event is recorded or left out as others
/// leave out what it is about. The block that is freed here may be one that another thread has left out already.
pub(super) fn gate_of(lane: &Lane, limit: u64) -> Gate {
    // A gate that is closed although the lane records everything is that of an event which this one interrupts.
    let may_have_changed = limit != 0 && lane.epoch() != PROCESS.epoch.now();
    if !(sampling::left_out(lane) || may_have_changed) || !is_idle(lane) {
        return Gate::At(limit);
    }
    if !sampling::leaves_out(lane) {
        // Should the lane have gone back to recording all, its window counts as full.
        return Gate::At(limit.max(1));
    }
    gate::open_if_due(lane);
    Gate::Apart
}

/// Counts an allocation that the inner allocator refused. Out of the hot path: it is rare.
#[cold]
#[inline(never)]
pub(super) fn count_failed() {
    let failed = slot::lane_of_slot(tls::get())
        .map_or(&PROCESS.counters.failed_without_lane, |lane| &lane.cold.failed);
    // relaxed: a sum.
    failed.fetch_add(1, Ordering::Relaxed);
}
