//! The bounds of a thread's stack, kept in its lane. They are found when a window is opened, and extended as the stack
//! gets deeper.

use std::sync::atomic::compiler_fence;

use crate::ring::lane::Walker;
use crate::sys::errno::KeptErrno;
use crate::sys::frame::{self, Bounds, Known};
use crate::sys::sync::Ordering;

/// Looks for the thread's stack at the thread's 1st, 2nd, 4th, 8th ... window without bounds. Without bounds no stack
/// is walked, and each fold looks up how much stack is free.
#[cold]
pub(super) fn find_bounds(walker: &Walker) {
    // relaxed, both: only the lane's thread writes the number.
    let tries = walker.tries.load(Ordering::Relaxed) + 1;
    walker.tries.store(tries, Ordering::Relaxed);
    if !tries.is_power_of_two() {
        return;
    }
    let _errno = KeptErrno::keep();
    if let Some(known) = frame::known() {
        store_known(walker, known);
    }
}

/// Stores the known part of the thread's stack. A signal handler may interrupt the stores and store other bounds. That
/// is harmless: any `low` and any `high` stored for a thread bound a part of the same stack.
fn store_known(walker: &Walker, known: Known) {
    // relaxed, all: only the lane's thread writes them; its signal handlers see program order.
    walker.low.store(known.bounds.low, Ordering::Relaxed);
    walker.floor.store(known.floor, Ordering::Relaxed);
    compiler_fence(Ordering::SeqCst);
    walker.high.store(known.bounds.high, Ordering::Relaxed);
}

/// Returns the bounds of the thread's stack if the stack pointer `sp` lies within the stack. Otherwise returns `None`:
/// the thread runs on another stack, such as that of a signal handler or of a coroutine.
#[inline(always)]
pub(super) fn bounds_around(walker: &Walker, sp: u64) -> Option<Bounds> {
    known_bounds(walker, sp).or_else(|| extended_bounds(walker, bounds_of(walker), sp))
}

/// Returns the bounds of the thread's stack if the stack pointer `sp` lies within the part that is known.
#[inline(always)]
pub(super) fn known_bounds(walker: &Walker, sp: u64) -> Option<Bounds> {
    let bounds = bounds_of(walker);
    (bounds.low..bounds.high).contains(&sp).then_some(bounds)
}

#[inline(always)]
fn bounds_of(walker: &Walker) -> Bounds {
    // relaxed, both: only the lane's thread writes them.
    Bounds { low: walker.low.load(Ordering::Relaxed), high: walker.high.load(Ordering::Relaxed) }
}

/// Returns whether the current stack has `bytes` bytes left. On the thread's regular stack, this takes a system call
/// only where the thread has not been as deep before.
#[inline(never)]
pub(super) fn has_room(walker: &Walker, bytes: u64) -> bool {
    let sp = frame::registers().sp;
    let low = sp.saturating_sub(bytes);
    // relaxed, both: only the lane's thread writes them.
    let (floor, high) = (walker.floor.load(Ordering::Relaxed), walker.high.load(Ordering::Relaxed));
    // Within the main thread's limit, the system extends the stack when the program itself reads it. The check of
    // `frame::has_room` by a system call would not extend the stack under an emulator.
    let is_within_limit = floor > 0 && (floor..high).contains(&low) && sp < high;
    is_within_limit || bounds_around(walker, low).is_some_and(|bounds| sp < bounds.high) || {
        let _errno = KeptErrno::keep();
        frame::has_room(bytes)
    }
}

/// Extends the bounds of the thread's stack down to the stack pointer `sp`. Returns the bounds if `sp` lies within
/// them.
#[cold]
#[inline(never)]
fn extended_bounds(walker: &Walker, bounds: Bounds, sp: u64) -> Option<Bounds> {
    // relaxed: only the lane's thread writes it.
    let known = Known { bounds, floor: walker.floor.load(Ordering::Relaxed) };
    if !known.may_hold(sp) {
        return None;
    }
    let _errno = KeptErrno::keep();
    let known = frame::extend(known, sp);
    store_known(walker, known);
    known.holds(sp).then_some(known.bounds)
}
