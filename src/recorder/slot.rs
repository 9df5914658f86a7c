//! The thread-local slot: the address of the thread's lane, or a number that tells why the thread has none.
//!
//! | slot | meaning | an event is |
//! | --- | --- | --- |
//! | `FRESH` | no event yet | the one that claims a lane |
//! | `OPENING` | the thread is opening the ledger or claiming its lane | a signal handler's: lost, `reentrant` |
//! | `GONE` | the lane was retired: the thread's last destructor has run | lost, `tls_teardown` |
//! | `REFUSED` | there was no memory for a lane | lost, `no_memory` |
//! | `OFF` | nothing is recorded in this process | ignored |
//! | `LOADING` | the thread runs `at_load` | the allocation of `at_load`: the one that claims a lane, internal |
//!
//! The address carries a mark bit ([`SAMPLES_OUT`]) while events of the thread are sampled out. Only an address without
//! the bit is a multiple of the lane's alignment, so the hot path needs a single test of the slot.

use std::ptr::without_provenance;
use std::sync::atomic::compiler_fence;

use super::state;
use crate::ring::lane::Lane;
use crate::sys::sync::Ordering;
use crate::sys::tls;

pub(super) const FRESH: *const () = tls::UNSET;

pub(super) const OPENING: *const () = without_provenance(2);

pub(super) const GONE: *const () = without_provenance(3);

pub(super) const REFUSED: *const () = without_provenance(4);

pub(super) const OFF: *const () = without_provenance(5);

pub(super) const LOADING: *const () = without_provenance(6);

/// Upper bound of the slot values that are no addresses.
const SLOTS_BOUND: usize = 7;

/// Mark bit in the address of a lane whose events are sampled out: see `sampling`.
const SAMPLES_OUT: usize = 32;

/// Alignment of lanes. Slot values below it are no addresses.
const LANE_ALIGN: usize = align_of::<Lane>();

const _: () =
    assert!(SAMPLES_OUT.is_power_of_two() && SAMPLES_OUT < LANE_ALIGN && SLOTS_BOUND <= SAMPLES_OUT);

/// Returns the lane of the calling thread if all its events are recorded, otherwise the slot's value.
#[inline(always)]
pub(super) fn recording_lane() -> Result<&'static Lane, *const ()> {
    let slot = tls::get();
    if !slot.addr().is_multiple_of(LANE_ALIGN) {
        return Err(slot);
    }
    // SAFETY: T1, only the address of a lane without a mark, stored by `claim`, is such a multiple; lanes are never
    // released.
    Ok(unsafe { &*slot.cast::<Lane>() })
}

/// Returns the lane in a slot with the mark bit: events of its thread are sampled out, and the thread is in no scope.
#[inline(always)]
pub(super) fn sampling_lane(slot: *const ()) -> Option<&'static Lane> {
    if slot.addr() & SAMPLES_OUT == 0 {
        return None;
    }
    // SAFETY: T1, the address of a lane, and the mark.
    Some(unsafe { &*slot.byte_sub(SAMPLES_OUT).cast::<Lane>() })
}

/// Returns the lane in a slot, with or without the mark bit; `None` for any other value.
#[inline(always)]
pub(super) fn lane_of_slot(slot: *const ()) -> Option<&'static Lane> {
    if slot.addr() < LANE_ALIGN {
        return None;
    }
    // SAFETY: T1, any other value is the address of a lane, stored by `claim`, with or without a mark; lanes are never
    // released.
    Some(unsafe { &*slot.map_addr(|address| address & !SAMPLES_OUT).cast::<Lane>() })
}

/// Sets or clears the mark bit in the slot of the calling thread, whose lane this is. A signal handler may have forked
/// before this call, or may fork during it: the lane then belongs to the parent's ledger, and the slot becomes
/// [`FRESH`].
pub(super) fn mark_slot(lane: &Lane, passes: bool) {
    let ledger = || state::ledger().map(std::ptr::from_ref);
    let (before, slot) = (ledger(), tls::get());
    let wanted = slot_of(lane).wrapping_byte_add(if passes { SAMPLES_OUT } else { 0 });
    if slot == wanted || lane_of_slot(slot).is_none_or(|named| !std::ptr::eq(named, lane)) {
        return;
    }
    tls::set_lane(wanted, lane.scope_word());
    compiler_fence(Ordering::SeqCst);
    if ledger() != before {
        tls::set(FRESH);
    }
}

/// Returns the slot's value for a lane, without the mark bit.
pub(super) fn slot_of(lane: &Lane) -> *const () {
    std::ptr::from_ref(lane).cast()
}
