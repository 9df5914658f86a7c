//! The recording path of most events. Its budget is about 30 instructions per event, including two stores for the words
//! of an allocation and one store that publishes them.
//!
//! The path has these steps: find the lane, close its gate, check that the record fits into the window and that the
//! window is of the current epoch, write the words, count, publish, open the gate. All other work is in `slow_path`.
//!
//! An event leaves the path at the first test if the thread's slot is not the plain address of a lane. Then most events
//! of the thread are sampled out (`sampling`), nothing is recorded in this process, or the thread has no lane yet.
//!
//! The fences order only the compiler. A signal handler of the same thread sees program order, and must find the gate
//! closed whenever the words are half written.

use std::sync::atomic::compiler_fence;

use super::options::Opener;
use super::process::PROCESS;
use super::reallocs::FirstHalf;
use super::{reallocs, sampling, slot, slow_path, stacks};
use crate::ring::event::{self, Traits};
use crate::ring::lane::{Lane, WALKS_ONLY};
use crate::sys::sync::Ordering;

/// Records an allocation whose block the inner allocator has returned. Returns the block, so that the caller can end in
/// a tail call and saves no register.
#[inline(always)]
pub(super) fn record_alloc(opener: Opener<'_>, block: *mut u8, size: usize, traits: Traits) -> *mut u8 {
    let lane = match slot::recording_lane() {
        Ok(lane) => lane,
        Err(slot) if sampling::samples_out_alloc(slot, size as u64) => return block,
        Err(_) => return slow_path::alloc_slow(opener, block, size, traits),
    };
    let limit = lane.close_gate();
    compiler_fence(Ordering::SeqCst);
    let (head, address) = (lane.head().own(), block.addr() as u64);
    // One test for all rare cases.
    let is_plain = lane.stack_needs() | event::excess(address, size as u64) == 0;
    if !(is_plain && has_room(lane, limit, head + event::ALLOC_WORDS)) {
        return alloc_with_stack(lane, limit, block, size, traits);
    }
    lane.attempt();
    write(lane, limit, head, event::alloc_words(address, size as u64, traits, 0));
    block
}

/// Records an allocation that needs its stack, a new window, or both.
#[inline(never)]
fn alloc_with_stack(lane: &Lane, limit: u64, block: *mut u8, size: usize, traits: Traits) -> *mut u8 {
    let stack = match lane.stack_needs() {
        WALKS_ONLY => stacks::stack_outside_scopes(lane, limit, size as u64),
        0 => 0,
        _ => return alloc_in_scope(lane, limit, block, size, traits),
    };
    write_alloc(lane, limit, block, size, traits, stack)
}

/// Records an allocation of a thread that is in a scope of the program.
#[inline(never)]
fn alloc_in_scope(lane: &Lane, limit: u64, block: *mut u8, size: usize, traits: Traits) -> *mut u8 {
    let stack = stacks::stack_in_scope(lane, limit, size as u64);
    write_alloc(lane, limit, block, size, traits, stack)
}

/// Writes the record of an allocation, or leaves it to the slow path.
#[inline(always)]
fn write_alloc(lane: &Lane, limit: u64, block: *mut u8, size: usize, traits: Traits, stack: u32) -> *mut u8 {
    let (address, size) = (block.addr() as u64, size as u64);
    let head = lane.head().own();
    if fits(lane, limit, head + event::ALLOC_WORDS, address, size) {
        lane.attempt();
        write(lane, limit, head, event::alloc_words(address, size, traits, stack));
    } else {
        slow_path::alloc(lane, limit, address, size, traits, stacks::at_new_window(lane, stack));
    }
    block
}

/// A free that is not recorded yet: its thread has no lane, or closing the gate of its lane returned `limit`.
#[derive(Clone, Copy)]
pub(super) struct Pending {
    lane: Option<&'static Lane>,
    limit: u64,
}

/// Records a free before the inner allocator frees the block, or returns the arguments of [`free_pending`]. The caller
/// can then end in a tail call, to [`free_pending`] or to the inner allocator, and saves no register.
#[inline(always)]
pub(super) fn record_free(block: *mut u8, size: usize) -> Result<(), Pending> {
    let (address, size) = (block.addr() as u64, size as u64);
    let lane = match slot::recording_lane() {
        Ok(lane) => lane,
        Err(slot) if sampling::samples_out_free(slot, address, size) => return Ok(()),
        Err(_) => return Err(Pending { lane: None, limit: 0 }),
    };
    let limit = lane.close_gate();
    compiler_fence(Ordering::SeqCst);
    let head = lane.head().own();
    if !fits(lane, limit, head + event::FREE_WORDS, address, 0) {
        return Err(Pending { lane: Some(lane), limit });
    }
    lane.attempt();
    write(lane, limit, head, [event::free_word(address, size)]);
    Ok(())
}

/// Records a free that [`record_free`] did not record, because it needs a new window or a lane.
#[cold]
pub(super) fn free_pending(pending: Pending, opener: Opener<'_>, block: *mut u8, size: usize) {
    let (address, size) = (block.addr() as u64, size as u64);
    match pending.lane {
        Some(lane) => slow_path::free(lane, pending.limit, address, size),
        None => slow_path::free_slow(opener, address, size),
    }
}

/// Records the first half of a realloc. Called before the inner allocator, because during that call another thread may
/// get the old address.
#[inline(always)]
pub(super) fn record_realloc_begin(opener: Opener<'_>, block: *mut u8, size: usize) -> FirstHalf {
    let (address, size) = (block.addr() as u64, size as u64);
    let lane = match slot::recording_lane() {
        Ok(lane) => lane,
        Err(slot) if sampling::samples_out_free(slot, address, size) => return FirstHalf::SampledOut,
        Err(_) => return reallocs::begin_slow(opener, address, size),
    };
    let limit = lane.close_gate();
    compiler_fence(Ordering::SeqCst);
    let head = lane.head().own();
    if !fits(lane, limit, head + event::FREE_WORDS, address, 0) {
        return reallocs::begin(lane, limit, address, size);
    }
    lane.attempt();
    write(lane, limit, head, [event::begin_word(address, size)]);
    FirstHalf::Recorded
}

/// Records a realloc that the inner allocator refused. `size` is the old size, which the block keeps.
#[cold]
pub(super) fn record_realloc_refused(begun: FirstHalf, block: *mut u8, size: usize, traits: Traits) {
    if begun != FirstHalf::Lost {
        reallocs::refused(begun, block.addr() as u64, size as u64, traits);
    }
}

/// Records the second half of a realloc.
#[inline(always)]
pub(super) fn record_realloc_end(
    opener: Opener<'_>,
    begun: FirstHalf,
    old: *mut u8,
    new: *mut u8,
    size: usize,
    traits: Traits,
) {
    let (old, new, size) = (old.addr() as u64, new.addr() as u64, size as u64);
    match (slot::recording_lane(), begun) {
        (_, FirstHalf::Lost) => {}
        (Ok(lane), FirstHalf::Recorded) => moved_with_stack(lane, [old, new, size], traits),
        (Err(slot), FirstHalf::SampledOut) if sampling::samples_out_alloc(slot, size) => {}
        _ => reallocs::end_slow(opener, begun, [old, new, size], traits),
    }
}

/// Writes the second half of a recorded realloc, with the stack of the call.
#[inline(never)]
fn moved_with_stack(lane: &Lane, moved: [u64; 3], traits: Traits) {
    let size = moved[2];
    let limit = lane.close_gate();
    compiler_fence(Ordering::SeqCst);
    let stack = match lane.stack_needs() {
        WALKS_ONLY => stacks::stack_outside_scopes(lane, limit, size),
        0 => 0,
        _ => return moved_in_scope(lane, limit, moved, traits),
    };
    write_moved(lane, limit, moved, traits, stack);
}

/// Writes the second half of a recorded realloc of a thread that is in a scope of the program.
#[inline(never)]
fn moved_in_scope(lane: &Lane, limit: u64, moved: [u64; 3], traits: Traits) {
    let stack = stacks::stack_in_scope(lane, limit, moved[2]);
    write_moved(lane, limit, moved, traits, stack);
}

/// Writes the record of the second half of a realloc, or leaves it to the slow path.
#[inline(always)]
fn write_moved(lane: &Lane, limit: u64, moved @ [old, new, size]: [u64; 3], traits: Traits, stack: u32) {
    let head = lane.head().own();
    if !fits(lane, limit, head + event::MOVED_WORDS, old | new, size) {
        return reallocs::end(lane, limit, moved, traits, stacks::at_new_window(lane, stack));
    }
    // The event was counted with its first half.
    write(lane, limit, head, event::moved_words(old, new, size, traits, stack));
}

/// Returns whether a narrow record that ends at word `end` suffices and fits into the current window, and the window is
/// of the current epoch.
#[inline(always)]
fn fits(lane: &Lane, limit: u64, end: u64, address: u64, size: u64) -> bool {
    event::is_narrow(address, size) && has_room(lane, limit, end)
}

/// Returns whether a record that ends at word `end` fits into the current window, and the window is of the current
/// epoch.
#[inline(always)]
fn has_room(lane: &Lane, limit: u64, end: u64) -> bool {
    end <= limit && lane.epoch() == PROCESS.epoch.now()
}

/// Writes a record at the head, publishes it, and opens the gate.
#[inline(always)]
fn write<const WORDS: usize>(lane: &Lane, limit: u64, head: u64, words: [u64; WORDS]) {
    // SAFETY: I2, the record ends at or below the limit, so it lies in the current segment.
    let places = unsafe { lane.own_words::<WORDS>(head) };
    for (place, word) in places.iter().zip(words) {
        // relaxed: published with the head.
        place.store(word, Ordering::Relaxed);
    }
    lane.head().publish(head + WORDS as u64);
    compiler_fence(Ordering::SeqCst);
    lane.open_gate(limit);
}
