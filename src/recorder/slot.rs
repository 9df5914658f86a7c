//! The thread-local slot: the address of the thread's lane, or a number that tells why the thread has no lane.
//!
//! | slot | meaning | treatment of an event |
//! | --- | --- | --- |
//! | `FRESH` | the thread has recorded no event | claims a lane |
//! | `OPENING` | the thread opens the ledger or claims its lane | comes from a signal handler: lost, `reentrant` |
//! | `GONE` | the lane was retired: the thread's last destructor has run | lost, `tls_teardown` |
//! | `REFUSED` | there was no memory for a lane | lost, `no_memory` |
//! | `OFF` | the process records nothing | ignored |
//! | `LOADING` | the thread runs `at_load` | the internal allocation of `at_load`: claims a lane |
//!
//! The address carries a mark bit ([`SAMPLES_OUT`]) while events of the thread are sampled out. Only an address without
//! the bit is a multiple of the lane's alignment, so the hot path needs only one test of the slot.

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

/// Upper bound of the slot values that are not addresses.
const SLOTS_BOUND: usize = 7;

/// Mark bit in the address of a lane whose events are sampled out: see `sampling`.
const SAMPLES_OUT: usize = 32;

/// Alignment of lanes. Slot values below this number are not addresses.
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
    // SAFETY: T1, the only slot values that are multiples of the alignment are addresses of lanes without the mark bit,
    // stored by `claim`; lanes are never released.
    Ok(unsafe { &*slot.cast::<Lane>() })
}

/// Returns the lane in a slot with the mark bit: events of its thread are sampled out, and the thread is in no scope.
#[inline(always)]
pub(super) fn sampling_lane(slot: *const ()) -> Option<&'static Lane> {
    if slot.addr() & SAMPLES_OUT == 0 {
        return None;
    }
    // SAFETY: T1, a slot value with the mark bit is the address of a lane plus the bit.
    Some(unsafe { &*slot.byte_sub(SAMPLES_OUT).cast::<Lane>() })
}

/// Returns the lane in a slot, with or without the mark bit; `None` if the slot holds no address.
#[inline(always)]
pub(super) fn lane_of_slot(slot: *const ()) -> Option<&'static Lane> {
    if slot.addr() < LANE_ALIGN {
        return None;
    }
    // SAFETY: T1, every value from the alignment on is the address of a lane, stored by `claim`, with or without the
    // mark bit; lanes are never released.
    Some(unsafe { &*slot.map_addr(|address| address & !SAMPLES_OUT).cast::<Lane>() })
}

/// Sets or clears the mark bit in the slot of the calling thread, whose lane is `lane`. A signal handler may fork
/// before or during this call. In the child the lane belongs to the parent's ledger, and the slot becomes [`FRESH`].
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

/// Returns the slot value of a lane, without the mark bit.
pub(super) fn slot_of(lane: &Lane) -> *const () {
    std::ptr::from_ref(lane).cast()
}
