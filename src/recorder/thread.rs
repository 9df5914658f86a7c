//! A thread's lane: claimed at its first event, retired at its end.
//!
//! The thread's slot holds the address of its lane, or one of a few small numbers that say why it has none:
//!
//! | slot | meaning | an event is |
//! | --- | --- | --- |
//! | `FRESH` | the thread has made no event yet | the one that claims a lane |
//! | `OPENING` | the thread is opening the ledger or claiming its lane | a signal handler's: lost, `reentrant` |
//! | `GONE` | the thread's lane was retired: its last destructor has run | lost, `tls_teardown` |
//! | `REFUSED` | there was no memory for a lane | lost, `no_memory` |
//! | `OFF` | nothing is recorded in this process | not looked at |
//!
//! The address bears a mark ([`PASSING`]) while the thread leaves events out and works for the program. Only an address without
//! it is a multiple of 64, so the hot path asks one question of the slot.

use std::ptr::without_provenance;
use std::sync::atomic::compiler_fence;

use super::allocator::Opener;
use super::lifecycle::{self, State};
use super::turn;
use crate::fold::state::Fold;
use crate::ledger::Ledger;
use crate::ledger::books::{LaneFigures, books_of};
use crate::profile::LossReason;
use crate::ring::lane::Lane;
use crate::sys::errno::KeptErrno;
use crate::sys::latch::wait;
use crate::sys::sync::Ordering;
use crate::sys::{platform, tls};

pub(super) const FRESH: *const () = tls::UNSET;
pub(super) const OPENING: *const () = without_provenance(2);
const GONE: *const () = without_provenance(3);
const REFUSED: *const () = without_provenance(4);
pub(super) const OFF: *const () = without_provenance(5);
/// Slots that are no addresses are below it.
const SLOTS_BOUND: usize = 6;
/// Added to the address of a lane whose thread may pass over most of its events: see `sampling`.
const PASSING: usize = 32;
/// Steps that an ending thread waits for the others' events; about a second.
const ENDING_ROUNDS_MAX: u32 = 20_000;
/// What addresses of lanes are multiples of. Slots below it are no addresses.
const LANE_ALIGN: usize = align_of::<Lane>();

// The mark is a bit that neither an address of a lane nor any other slot has.
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
    let ledger = || lifecycle::ledger().map(std::ptr::from_ref);
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

fn slot_of(lane: &Lane) -> *const () {
    std::ptr::from_ref(lane).cast()
}

/// What a thread without a lane does with an event: gets a lane, or counts why not.
#[cold]
pub(super) fn lane_for_event(opener: Opener<'_>) -> Option<&'static Lane> {
    let slot = tls::get();
    match slot {
        FRESH => {}
        GONE => {
            return lose(if lifecycle::state() == State::Stopped {
                LossReason::AfterShutdown
            } else {
                LossReason::TlsTeardown
            });
        }
        REFUSED => return lose(LossReason::NoMemory),
        OPENING if platform::ALLOCATES => return None,
        OPENING => return lose(LossReason::Reentrant),
        OFF => return None,
        _ => return lane_of_slot(slot),
    }
    let _errno = KeptErrno::keep();
    let mut state = lifecycle::state();
    if matches!(state, State::Unopened | State::Opening) {
        state = lifecycle::open(opener.options, opener.hooks);
    }
    match state {
        State::Running | State::Draining => {
            let lane = claim();
            super::black_box::label_once();
            lane.or_else(|| lose(LossReason::NoMemory))
        }
        State::Stopped => lose(LossReason::AfterShutdown),
        State::ChildOff => lose(LossReason::ForkedChild),
        State::Off => {
            tls::set(OFF);
            None
        }
        State::Unopened | State::Opening | State::Failed => lose(LossReason::NoMemory),
    }
}

fn lose<T>(reason: LossReason) -> Option<T> {
    lifecycle::lose_unlaned(reason);
    None
}

/// The calling thread's lane; a thread without one gets one if events are recorded at all.
pub(super) fn lane_or_claim() -> Option<&'static Lane> {
    match tls::get() {
        FRESH if lifecycle::state().records() => claim(),
        slot => lane_of_slot(slot),
    }
}

/// Claims a lane for the calling thread and writes the record of its start.
fn claim() -> Option<&'static Lane> {
    let _errno = KeptErrno::keep();
    let ledger = lifecycle::ledger()?;
    tls::set(OPENING);
    let Some((lane, _reused)) = ledger.claim_lane() else {
        tls::set(REFUSED);
        return None;
    };
    let row = start_row(ledger, lane);
    tls::arm();
    tls::set(slot_of(lane));
    turn::thread_starts(lane, row);
    super::stacks::thread_starts(lane);
    Some(lane)
}

/// Gives the thread a row, and notes what the lane's figures are before it.
fn start_row(ledger: &Ledger, lane: &Lane) -> u32 {
    let number = ledger.rows.next(&ledger.pages);
    let row = ledger.rows.get(&ledger.pages, number);
    let mut name = [0; 16];
    platform::thread_name(&mut name);
    // relaxed, all of them: the row is read by people, and found through books that the latch protects.
    row.set_name(&name);
    row.os_id.store(platform::thread_id(), Ordering::Relaxed);
    row.started_ns.store(ledger.clock.now_ns(), Ordering::Relaxed);
    row.ended_ns.store(0, Ordering::Relaxed);
    row.threads.fetch_add(1, Ordering::Relaxed);
    let _taken = lane.folder.latch.take();
    // SAFETY: B3, the latch is held.
    let books = unsafe { &mut *books_of(lane).as_ptr() };
    books.row = number;
    books.inherited = LaneFigures::read(lane);
    number
}

/// The end of a thread: its lane is folded to the end, its nursery emptied, and both go to the next thread.
pub(super) fn end() {
    let _errno = KeptErrno::keep();
    let Some(lane) = lane_of_slot(tls::get()) else {
        tls::set(GONE);
        return;
    };
    let Some(ledger) = lifecycle::ledger() else {
        tls::set(GONE);
        return;
    };
    turn::thread_ends(lane);
    lane.close_gate();
    tls::set(GONE);
    super::pacing::wait_for_trace(ledger, lane, lifecycle::mode());
    if ledger.is_ordered() {
        fold_to_the_end_in_order(ledger, lane);
    }
    let taken = lane.folder.latch.take();
    let mut fold = Fold::begin(ledger, lane, &taken);
    fold.run();
    fold.empty_nursery();
    // SAFETY: B3, the latch is held and the fold is over.
    let books = unsafe { &mut *books_of(lane).as_ptr() };
    let row = ledger.rows.get(&ledger.pages, books.row);
    let figures = LaneFigures::read(lane);
    row.figures.add(&figures.since(&books.inherited));
    // relaxed: a figure for people.
    row.ended_ns.store(ledger.clock.now_ns().max(1), Ordering::Relaxed);
    books.inherited = figures;
    books.row = crate::ledger::entry::ROW_OF_OTHERS;
    // Reallocs whose second halves were lost.
    books.under_way.fill(Default::default());
    drop(taken);
    // relaxed: the retiring exchange publishes it.
    ledger.lanes.retire(lane.cold.index.load(Ordering::Relaxed));
}

/// Books all that an ending thread has recorded. Another thread that was put to sleep in the midst of an event bounds
/// an ordered fold, so it may take several; booked out of order, a free of another lane's block would find none.
fn fold_to_the_end_in_order(ledger: &Ledger, lane: &Lane) {
    for round in 0..ENDING_ROUNDS_MAX {
        ledger.fold_in_order();
        if lane.folder.tail.observe() == lane.head().own() {
            return;
        }
        wait(round);
    }
}

/// Marks the calling thread as one of heapledger's own, in the table of threads.
pub(crate) fn mark_own(lane: &Lane) {
    let Some(ledger) = lifecycle::ledger() else { return };
    let _taken = lane.folder.latch.take();
    // SAFETY: B3, the latch is held.
    let row = unsafe { books_of(lane).as_ref() }.row;
    // relaxed: a remark for people.
    ledger.rows.get(&ledger.pages, row).own.store(1, Ordering::Relaxed);
}
