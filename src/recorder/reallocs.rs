//! The two halves of a realloc, where they take their time: everything about them that the hot path leaves out.
//!
//! The first half is recorded before the inner allocator is called, because from then on someone else may get the old address; it
//! counts the event. The second says what became of it. In between, the thread may have begun to leave events out, or a handler may
//! have forked: half an event is none that could be left out, and none that a child could have made.

use super::gate::is_idle;
use super::options::Opener;
use super::record::{Record, RecordKind};
use super::slow_path::{Gate, alloc, gate_of, lane, marked};
use super::stacks::stack_aside;
use super::window::write;
use super::{sampling, slot};
use crate::ring::event::{self, Tag, Traits};
use crate::ring::lane::Lane;
use crate::sys::tls;

/// How the first half of a realloc was taken, for its second half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begun {
    /// It was lost, or nothing is recorded.
    Not,
    /// It is in the ring.
    Recorded,
    /// The thread leaves events out: the old block's free was dealt with.
    Apart,
}

#[cold]
pub(super) fn begin_aside(opener: Opener<'_>, address: u64, size: u64) -> Begun {
    lane(opener).map_or(Begun::Not, |lane| begin(lane, lane.close_gate(), address, size))
}

#[cold]
pub(super) fn begin(lane: &Lane, limit: u64, address: u64, size: u64) -> Begun {
    let limit = match gate_of(lane, limit) {
        Gate::Apart => {
            sampling::free(lane, address, size);
            return Begun::Apart;
        }
        Gate::At(limit) => limit,
    };
    sampling::forget_own(lane, address);
    let record = if event::is_narrow(address, 0) {
        Record::new(&[event::begin_word(address, size)], RecordKind::Free)
    } else {
        Record::new(
            &event::wide_words(Tag::Begin, Traits::default(), [address, size, 0, 0]),
            RecordKind::Free,
        )
    };
    if write(lane, limit, &record) { Begun::Recorded } else { Begun::Not }
}

pub(super) fn refused(begun: Begun, address: u64, size: u64, traits: Traits) {
    let Some(lane) = slot::lane_of_slot(tls::get()) else { return };
    if begun == Begun::Apart {
        // The old block lives on: it is taken up again as if it were new.
        let limit = lane.close_gate();
        alloc(lane, limit, address, size, traits, stack_aside(lane, limit, size));
        return sampling::restored(lane, size);
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
        sampling::note_own(lane, address);
    }
}

/// Where the gate stands for the second half of a recorded realloc. If it was closed only because the lane has begun to leave
/// events out, maybe with the first half itself, the window counts as full: half an event is none that could be left out.
fn limit_of_second_half(lane: &Lane, limit: u64) -> u64 {
    if limit == 0 && is_idle(lane) && sampling::left_out(lane) { 1 } else { limit }
}

/// The second half of a realloc, of which the first was recorded or dealt with.
#[cold]
pub(super) fn end_aside(opener: Opener<'_>, begun: Begun, moved @ [_, new, size]: [u64; 3], traits: Traits) {
    let Some(lane) = lane_of_begun(opener, begun) else { return };
    let limit = match begun {
        Begun::Recorded => limit_of_second_half(lane, lane.close_gate()),
        Begun::Apart | Begun::Not => lane.close_gate(),
    };
    let stack = stack_aside(lane, limit, size);
    match begun {
        Begun::Apart => alloc(lane, limit, new, size, traits, stack),
        Begun::Recorded => end(lane, limit, moved, traits, stack),
        Begun::Not => {}
    }
}

/// The second half of a realloc from `old` to `new`.
#[cold]
pub(super) fn end(lane: &Lane, limit: u64, [old, new, size]: [u64; 3], traits: Traits, stack: u32) {
    let traits = marked(lane, traits);
    let record = if event::is_narrow(new, size) && event::is_narrow(old, 0) {
        Record::new(&event::moved_words(old, new, size, traits, stack), RecordKind::SecondHalf)
    } else {
        let fields = [new, size, u64::from(stack), old];
        Record::new(&event::wide_words(Tag::Moved, traits, fields), RecordKind::SecondHalf)
    };
    if write(lane, limit, &record) {
        sampling::note_own(lane, new);
    }
}

/// The lane for the second half of a realloc. A first half that was recorded is in the ring of the thread that forked this process,
/// if it has none here: then the old block is not in this ledger, and nothing ends it.
fn lane_of_begun(opener: Opener<'_>, begun: Begun) -> Option<&'static Lane> {
    match begun {
        Begun::Recorded => slot::lane_of_slot(tls::get()),
        Begun::Apart | Begun::Not => lane(opener),
    }
}
