//! The thread's slot: the address of its lane, or why it has none.

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

/// Slots that are no addresses are below it.
const SLOTS_BOUND: usize = 6;

/// Added to the address of a lane whose thread may pass over most of its events: see `sampling`.
const PASSING: usize = 32;

/// What addresses of lanes are multiples of. Slots below it are no addresses.
const LANE_ALIGN: usize = align_of::<Lane>();

const _: () = assert!(PASSING.is_power_of_two() && PASSING < LANE_ALIGN && SLOTS_BOUND <= PASSING);

/// The lane of the calling thread, if it records everything; else what its slot holds.
#[inline(always)]
pub(super) fn recording_lane() -> Result<&'static Lane, *const ()> {
    let slot = tls::get();
    if !slot.addr().is_multiple_of(LANE_ALIGN) {
        return Err(slot);
    }
    // SAFETY: T1, only the address of a lane without a mark, stored by `claim`, is such a multiple; lanes are never released.
    Ok(unsafe { &*slot.cast::<Lane>() })
}

/// The lane in a slot whose thread leaves events out, and is not in the midst of heapledger's work.
#[inline(always)]
pub(super) fn passing_lane(slot: *const ()) -> Option<&'static Lane> {
    if slot.addr() & PASSING == 0 {
        return None;
    }
    // SAFETY: T1, the address of a lane, and the mark.
    Some(unsafe { &*slot.byte_sub(PASSING).cast::<Lane>() })
}

/// The lane in a slot, if it is one.
#[inline(always)]
pub(super) fn lane_of_slot(slot: *const ()) -> Option<&'static Lane> {
    if slot.addr() < LANE_ALIGN {
        return None;
    }
    // SAFETY: T1, any other value is the address of a lane, stored by `claim`, with or without a mark; lanes are never
    // released.
    Some(unsafe { &*slot.map_addr(|address| address & !PASSING).cast::<Lane>() })
}

/// Says whether the calling thread, whose lane this is, may pass over events from now on. A handler may have forked meanwhile, or do
/// so here: then the lane is of the parent's ledger, and the slot is not to name it.
pub(super) fn may_pass(lane: &Lane, passes: bool) {
    let ledger = || state::ledger().map(std::ptr::from_ref);
    let (before, slot) = (ledger(), tls::get());
    let wanted = slot_of(lane).wrapping_byte_add(if passes { PASSING } else { 0 });
    if slot == wanted || lane_of_slot(slot).is_none_or(|named| !std::ptr::eq(named, lane)) {
        return;
    }
    tls::set(wanted);
    compiler_fence(Ordering::SeqCst);
    if ledger() != before {
        tls::set(FRESH);
    }
}

pub(super) fn slot_of(lane: &Lane) -> *const () {
    std::ptr::from_ref(lane).cast()
}
