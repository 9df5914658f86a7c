//! Records that the hot path does not write.
//!
//! An event reaches this module when its record does not fit into the window, when the epoch has changed, when the
//! record is wide, when the gate is closed, or when the thread has no lane. [`admit`] decides whether the event is
//! recorded or sampled out; [`window`](super::window), [`sampling`](super::sampling) and [`thread`](super::thread) do
//! the rest.

use super::gate::{self, is_idle, is_internal};
use super::options::Opener;
use super::process::PROCESS;
use super::record::{alloc_record, free_record, whole_free_record};
use super::stacks::{stack_on_sampling_lane, stack_slow};
use super::window::write;
use super::{sampling, slot, thread};
use crate::ring::event::Traits;
use crate::ring::lane::Lane;
use crate::sys::sync::Ordering;
use crate::sys::tls;

/// Records an allocation or samples it out, for a thread that has no lane yet or whose events are sampled out. Returns
/// `block`, so that the caller can end in a tail call.
#[cold]
pub(super) fn alloc_slow(opener: Opener<'_>, block: *mut u8, size: usize, traits: Traits) -> *mut u8 {
    if let Some(lane) = lane(opener) {
        let (limit, size) = (lane.close_gate(), size as u64);
        alloc(lane, limit, block.addr() as u64, size, traits, stack_slow(lane, limit, size));
    }
    block
}

/// Records a free or samples it out, for a thread that has no lane yet or whose events are sampled out.
#[cold]
pub(super) fn free_slow(opener: Opener<'_>, address: u64, size: u64) {
    if let Some(lane) = lane(opener) {
        free(lane, lane.close_gate(), address, size);
    }
}

/// Records an allocation, or samples it out. `limit` is the value that closing the gate returned.
#[cold]
pub(super) fn alloc(lane: &Lane, limit: u64, address: u64, size: u64, traits: Traits, stack: u32) {
    match admit(lane, limit) {
        Admission::SampledOut => sampling::alloc(lane, address, size, traits),
        Admission::Recorded(admitted) => {
            // This is the first event after the return to the full level. Its stack was not taken, because the gate was
            // closed.
            let is_first = limit == 0 && admitted != 0;
            let stack = if is_first { stack_on_sampling_lane(lane, size) } else { stack };
            // Done before the record, whose traits say that the block is in the sampled set.
            let period = sampling::note_internal_alloc(lane, address);
            let traits = with_internal_mark(lane, traits, period);
            if !write(lane, admitted, &alloc_record(address, size, traits, stack)) {
                sampling::note_internal_free(lane, address);
            }
        }
    }
}

/// Records a free, or samples it out. `limit` is the value that closing the gate returned.
#[cold]
pub(super) fn free(lane: &Lane, limit: u64, address: u64, size: u64) {
    match admit(lane, limit) {
        Admission::SampledOut => sampling::free(lane, address, size),
        Admission::Recorded(limit) => {
            sampling::note_internal_free(lane, address);
            // The freed block may be a sampled-out block of the program, for example a block that a callback replaces.
            let record = match is_internal(lane) {
                true => whole_free_record(address, size, Traits::default().as_own()),
                false => free_record(address, size),
            };
            write(lane, limit, &record);
        }
    }
}

/// Returns the calling thread's lane. Claims a lane if the thread has none.
pub(super) fn lane(opener: Opener<'_>) -> Option<&'static Lane> {
    slot::lane_of_slot(tls::get()).or_else(|| thread::lane_for_event(opener))
}

/// Returns the traits of an allocation. In an internal scope they get the internal mark and `period`, the sampling
/// period in which the block is in the sampled set.
pub(super) fn with_internal_mark(lane: &Lane, traits: Traits, period: u64) -> Traits {
    if is_internal(lane) { traits.as_own().with_period(period) } else { traits }
}

/// The decision whether an event is recorded.
pub(super) enum Admission {
    /// The event is recorded, with this limit of the window; the limit is 0 if the gate was closed.
    Recorded(u64),
    /// The event is passed to `sampling`.
    SampledOut,
}

/// Decides by the level in force whether an event is recorded. The level is read again if events of the lane are
/// sampled out, and after a change of the epoch, because another thread may already have sampled out the allocation of
/// the freed block. The level is not read again while the thread writes a record or is in a scope of `internal`.
pub(super) fn admit(lane: &Lane, limit: u64) -> Admission {
    // A closed gate on a lane at the full level means that this event interrupts another event.
    let may_have_changed = limit != 0 && lane.epoch() != PROCESS.epoch.now();
    if !(sampling::samples_out(lane) || may_have_changed) || !is_idle(lane) {
        return Admission::Recorded(limit);
    }
    if !sampling::update_level(lane) {
        // The level is full again, so the window counts as full.
        return Admission::Recorded(limit.max(1));
    }
    gate::open_if_due(lane);
    Admission::SampledOut
}

/// Counts an allocation that the inner allocator refused.
#[cold]
#[inline(never)]
pub(super) fn count_failed() {
    let failed = slot::lane_of_slot(tls::get())
        .map_or(&PROCESS.counters.failed_without_lane, |lane| &lane.cold.failed);
    // relaxed: a sum.
    failed.fetch_add(1, Ordering::Relaxed);
}
