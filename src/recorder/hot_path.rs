//! The recording path. Budget: about 20 instructions an event, two stores for the words and one to publish them.
//!
//! Read it top to bottom: find the lane, close its gate, see that the record fits into the window and that the
//! window is of this epoch, write the words, count, publish, open the gate. Everything else is `turn`'s, and `sampling`'s where not all is
//! recorded.
//!
//! The fences are for the compiler only: a signal handler of the same thread sees program order, and must find the
//! gate closed whenever the words are half written.

use std::sync::atomic::compiler_fence;

use super::allocator::Opener;
use super::lifecycle::EPOCH;
use super::turn::Begun;
use super::{sampling, thread, turn};
use crate::ring::event::{self, Traits};
use crate::ring::lane::Lane;
use crate::sys::sync::Ordering;
use crate::sys::tls;

/// Records a block that the inner allocator has just given out.
#[inline(always)]
pub(super) fn record_alloc(opener: Opener<'_>, block: *mut u8, size: usize, traits: Traits) {
    let (address, size) = (block.addr() as u64, size as u64);
    let Some(lane) = thread::lane_of_slot(tls::get()) else {
        return turn::alloc_without_lane(opener, address, size, traits);
    };
    let limit = lane.close_gate();
    compiler_fence(Ordering::SeqCst);
    if lane.walks() || !fits(lane, limit, address, size) {
        // In tail position, so that nothing has to be kept across the walk.
        return record_aside(lane, limit, address, size, traits);
    }
    write_alloc(lane, limit, address, size, traits, 0);
}

/// An allocation that needs its stack, or a turn of the window, or both; or is not to be recorded.
#[inline(never)]
fn record_aside(lane: &Lane, limit: u64, address: u64, size: u64, traits: Traits) {
    if limit != 0 || !sampling::passes_over_alloc(lane, size) {
        record_with_stack(lane, limit, address, size, traits);
    }
}

/// Apart, so that an event which is passed over saves no registers.
#[inline(never)]
fn record_with_stack(lane: &Lane, limit: u64, address: u64, size: u64, traits: Traits) {
    let stack = turn::stack_at(lane, limit, size);
    if fits(lane, limit, address, size) {
        write_alloc(lane, limit, address, size, traits, stack);
    } else {
        turn::alloc(lane, limit, address, size, traits, stack);
    }
}

/// Whether two words go into the window at hand, which is of this epoch, and two are enough.
#[inline(always)]
fn fits(lane: &Lane, limit: u64, address: u64, size: u64) -> bool {
    let after = lane.head().own() + event::ALLOC_WORDS;
    after <= limit && lane.epoch() == EPOCH.now() && event::is_narrow(address, size)
}

#[inline(always)]
fn write_alloc(lane: &Lane, limit: u64, address: u64, size: u64, traits: Traits, stack: u32) {
    let head = lane.head().own();
    let [first, second] = event::alloc_words(address, size, traits, stack);
    // SAFETY: I2, both words are below the limit, so in the current segment.
    unsafe {
        // relaxed: published with the head.
        lane.own_word(head).store(first, Ordering::Relaxed);
        lane.own_word(head + 1).store(second, Ordering::Relaxed);
    }
    publish(lane, head + event::ALLOC_WORDS, limit);
}

/// Records a block that the inner allocator is about to take back.
#[inline(always)]
pub(super) fn record_free(opener: Opener<'_>, block: *mut u8, size: usize) {
    let (address, size) = (block.addr() as u64, size as u64);
    let Some(lane) = thread::lane_of_slot(tls::get()) else {
        return turn::free_without_lane(opener, address, size);
    };
    let limit = lane.close_gate();
    compiler_fence(Ordering::SeqCst);
    let head = lane.head().own();
    let after = head + 1;
    if after > limit || lane.epoch() != EPOCH.now() || !event::is_narrow(address, 0) {
        return free_at_turn(lane, limit, address, size);
    }
    // SAFETY: I2, the word is below the limit, so in the current segment.
    unsafe {
        // relaxed: published with the head.
        lane.own_word(head).store(event::free_word(address, size), Ordering::Relaxed);
    }
    publish(lane, after, limit);
}

/// A free that needs a turn of the window, or is not to be recorded.
#[inline(never)]
fn free_at_turn(lane: &Lane, limit: u64, address: u64, size: u64) {
    if limit != 0 || !sampling::passes_over_free(lane, address, size) {
        turn::free(lane, limit, address, size);
    }
}

#[inline(always)]
fn publish(lane: &Lane, head: u64, limit: u64) {
    lane.attempt();
    lane.head().publish(head);
    compiler_fence(Ordering::SeqCst);
    lane.open_gate(limit);
}

/// Records the first half of a realloc: the old block may be given to someone else from now on.
#[inline]
pub(super) fn record_realloc_begin(opener: Opener<'_>, block: *mut u8, size: usize) -> Begun {
    turn::realloc_begin(opener, block.addr() as u64, size as u64)
}

/// Records that a realloc was refused; `size` is the old one, which the block keeps.
#[inline]
pub(super) fn record_realloc_refused(
    opener: Opener<'_>,
    begun: Begun,
    block: *mut u8,
    size: usize,
    traits: Traits,
) {
    if begun != Begun::Not {
        turn::realloc_refused(opener, begun, block.addr() as u64, size as u64, traits);
    }
}

/// Records the second half of a realloc.
#[inline]
pub(super) fn record_realloc_end(
    opener: Opener<'_>,
    begun: Begun,
    old: *mut u8,
    new: *mut u8,
    size: usize,
    traits: Traits,
) {
    if begun != Begun::Not {
        turn::realloc_end(opener, begun, old.addr() as u64, new.addr() as u64, size as u64, traits);
    }
}
