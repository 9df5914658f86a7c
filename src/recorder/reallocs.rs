//! The two halves of a realloc, off the hot path.
//!
//! The first half is recorded before the call of the inner allocator, because from then on another thread may get the
//! old address. The event is counted with the first half; the second half records the result. Between the halves the
//! level may change, or a signal handler may fork. So the second half of a recorded event is never sampled out, and is
//! never written by a forked child.

use super::gate::{is_idle, is_internal};
use super::options::Opener;
use super::record::{Record, RecordKind};
use super::slow_path::{Admission, admit, alloc, lane, with_internal_mark};
use super::stacks::stack_slow;
use super::window::write;
use super::{sampling, slot};
use crate::ring::event::{self, Tag, Traits};
use crate::ring::lane::Lane;
use crate::sys::tls;

/// The result of the first half of a realloc, which the second half needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FirstHalf {
    /// The event is lost, or the process records nothing.
    Lost,
    /// The record is written to the ring.
    Recorded,
    /// Events of the thread are sampled out, and so was the free of the old block.
    SampledOut,
}

/// Records the first half of a realloc for a thread that has no lane yet, or whose events are sampled out.
#[cold]
pub(super) fn begin_slow(opener: Opener<'_>, address: u64, size: u64) -> FirstHalf {
    lane(opener).map_or(FirstHalf::Lost, |lane| begin(lane, lane.close_gate(), address, size))
}

/// Records the first half of a realloc, or samples out the free of the old block.
#[cold]
pub(super) fn begin(lane: &Lane, limit: u64, address: u64, size: u64) -> FirstHalf {
    let limit = match admit(lane, limit) {
        Admission::SampledOut => {
            sampling::free(lane, address, size);
            return FirstHalf::SampledOut;
        }
        Admission::Recorded(limit) => limit,
    };
    sampling::note_internal_free(lane, address);
    // In an internal scope the record carries the whole size, as every internal free does.
    let record = if event::is_narrow(address, 0) && !is_internal(lane) {
        Record::new(&[event::begin_word(address, size)], RecordKind::Free)
    } else {
        Record::new(
            &event::wide_words(Tag::Begin, Traits::default(), [address, size, 0, 0]),
            RecordKind::Free,
        )
    };
    if write(lane, limit, &record) { FirstHalf::Recorded } else { FirstHalf::Lost }
}

/// Records the second half of a realloc that the inner allocator refused.
pub(super) fn refused(begun: FirstHalf, address: u64, size: u64, traits: Traits) {
    let Some(lane) = slot::lane_of_slot(tls::get()) else { return };
    if begun == FirstHalf::SampledOut {
        // The old block stays live: it is recorded again as a new block.
        let limit = lane.close_gate();
        alloc(lane, limit, address, size, traits, stack_slow(lane, limit, size));
        return sampling::count_restored(lane, size);
    }
    let record = if event::is_narrow(address, 0) {
        Record::new(&[event::refused_word(address)], RecordKind::SecondHalf)
    } else {
        Record::new(
            &event::wide_words(Tag::Refused, Traits::default(), [address, 0, 0, 0]),
            RecordKind::SecondHalf,
        )
    };
    let limit = limit_of_second_half(lane, lane.close_gate());
    if write(lane, limit, &record) {
        sampling::note_internal_alloc(lane, address);
    }
}

/// Returns the limit for the second half of a recorded realloc. If the gate is closed only because events are sampled
/// out since the first half, returns 1, at which the window counts as full: the second half is always recorded.
fn limit_of_second_half(lane: &Lane, limit: u64) -> u64 {
    if limit == 0 && is_idle(lane) && sampling::samples_out(lane) { 1 } else { limit }
}

/// Records the second half of a realloc off the hot path: the thread has no lane, or its events are sampled out now, or
/// were sampled out at the first half.
#[cold]
pub(super) fn end_slow(
    opener: Opener<'_>,
    begun: FirstHalf,
    moved @ [_, new, size]: [u64; 3],
    traits: Traits,
) {
    let Some(lane) = lane_of_begun(opener, begun) else { return };
    let limit = match begun {
        FirstHalf::Recorded => limit_of_second_half(lane, lane.close_gate()),
        FirstHalf::SampledOut | FirstHalf::Lost => lane.close_gate(),
    };
    let stack = stack_slow(lane, limit, size);
    match begun {
        FirstHalf::SampledOut => alloc(lane, limit, new, size, traits, stack),
        FirstHalf::Recorded => end(lane, limit, moved, traits, stack),
        FirstHalf::Lost => {}
    }
}

/// Records the second half of a successful realloc. The block is now at `new`; the first half recorded the old address
/// `old`.
#[cold]
pub(super) fn end(lane: &Lane, limit: u64, [old, new, size]: [u64; 3], traits: Traits, stack: u32) {
    let traits = with_internal_mark(lane, traits, sampling::note_internal_alloc(lane, new));
    let record = if event::is_narrow(new, size) && event::is_narrow(old, 0) {
        Record::new(&event::moved_words(old, new, size, traits, stack), RecordKind::SecondHalf)
    } else {
        let fields = [new, size, u64::from(stack), old];
        Record::new(&event::wide_words(Tag::Moved, traits, fields), RecordKind::SecondHalf)
    };
    if !write(lane, limit, &record) {
        sampling::note_internal_free(lane, new);
    }
}

/// Returns the lane for the second half of a realloc. Returns `None` if the first half was recorded and the thread has
/// no lane now. Then the process was forked between the two halves: the old block is in the parent's ledger, and the
/// child records nothing.
fn lane_of_begun(opener: Opener<'_>, begun: FirstHalf) -> Option<&'static Lane> {
    match begun {
        FirstHalf::Recorded => slot::lane_of_slot(tls::get()),
        FirstHalf::SampledOut | FirstHalf::Lost => lane(opener),
    }
}
