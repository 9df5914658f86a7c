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

use super::gate::{is_idle, while_writing};
use super::internal::InternalScope;
use super::options::Opener;
use super::record::{Record, RecordKind};
use super::slot::{FRESH, GONE, OFF, OPENING, REFUSED, lane_of_slot, slot_of};
use super::state::{self, State};
use super::window::write;
use super::{black_box, lifecycle, stacks, trace_backpressure};
use crate::fold::state::Fold;
use crate::ledger::Ledger;
use crate::ledger::books::{LaneFigures, books_of};
use crate::profile::LossReason;
use crate::ring::event;
use crate::ring::lane::Lane;
use crate::sys::errno::KeptErrno;
use crate::sys::latch::wait;
use crate::sys::sync::Ordering;
use crate::sys::{platform, tls};

/// Steps that an ending thread waits for the others' events; about a second.
const ENDING_ROUNDS_MAX: u32 = 20_000;

// The mark is a bit that neither an address of a lane nor any other slot has.

/// RecordKind a thread without a lane does with an event: gets a lane, or counts why not.
#[cold]
pub(super) fn lane_for_event(opener: Opener<'_>) -> Option<&'static Lane> {
    let slot = tls::get();
    match slot {
        FRESH => {}
        GONE => {
            return lose(if state::current() == State::Stopped {
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
    let mut state = state::current();
    if matches!(state, State::Unopened | State::Opening) {
        state = lifecycle::open(opener.options, opener.hooks, &(end as fn()));
    }
    match state {
        State::Running | State::Draining => {
            let lane = claim();
            black_box::label_once();
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
    state::lose_unlaned(reason);
    None
}

/// The calling thread's lane; a thread without one gets one if events are recorded at all.
pub(super) fn lane_or_claim() -> Option<&'static Lane> {
    match tls::get() {
        FRESH if state::current().records() => claim(),
        slot => lane_of_slot(slot),
    }
}

impl InternalScope {
    /// Begins a section, with the thread's lane, which it is given if it had none.
    pub(crate) fn enter() -> InternalScope {
        lane_or_claim().map_or_else(InternalScope::without_lane, InternalScope::on)
    }
}

/// Claims a lane for the calling thread and writes the record of its start.
fn claim() -> Option<&'static Lane> {
    let _errno = KeptErrno::keep();
    let ledger = state::ledger()?;
    tls::set(OPENING);
    let Some((lane, _reused)) = ledger.claim_lane() else {
        tls::set(REFUSED);
        return None;
    };
    let row = start_row(ledger, lane);
    tls::arm();
    tls::set(slot_of(lane));
    thread_starts(lane, row);
    stacks::thread_starts(lane);
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
fn end() {
    let _errno = KeptErrno::keep();
    let Some(lane) = lane_of_slot(tls::get()) else {
        tls::set(GONE);
        return;
    };
    let Some(ledger) = state::ledger() else {
        tls::set(GONE);
        return;
    };
    thread_ends(lane);
    lane.close_gate();
    tls::set(GONE);
    trace_backpressure::wait_for_trace(ledger, lane, state::mode());
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
    let Some(ledger) = state::ledger() else { return };
    let _taken = lane.folder.latch.take();
    // SAFETY: B3, the latch is held.
    let row = unsafe { books_of(lane).as_ref() }.row;
    // relaxed: a remark for people.
    ledger.rows.get(&ledger.pages, row).own.store(1, Ordering::Relaxed);
}

fn thread_starts(lane: &Lane, row: u32) {
    // relaxed, all: the thread's own line. The one before may have been ended in the midst of anything.
    lane.cold.writing.store(0, Ordering::Relaxed);
    lane.cold.own_depth.store(0, Ordering::Relaxed);
    lane.cold.quiet_depth.store(0, Ordering::Relaxed);
    // There is no window yet; with this limit it counts as full, not as closed.
    write(lane, 1, &Record::new(&[event::thread_word(true, row)], RecordKind::Control));
}

fn thread_ends(lane: &Lane) {
    // Closed before the latch is taken: an event of a handler that finds the ring full would wait for it.
    let limit = match lane.close_gate() {
        // It was closed only because the lane leaves events out.
        0 if is_idle(lane) => 1,
        limit => limit,
    };
    let row = row_of(lane);
    write(lane, limit, &Record::new(&[event::thread_word(false, row)], RecordKind::Control));
}

/// The row in a lane's books. An event of a handler meanwhile must not wait for their latch, whatever is left out.
fn row_of(lane: &Lane) -> u32 {
    while_writing(lane, || {
        let _taken = lane.folder.latch.take();
        // SAFETY: B3, the latch is held.
        unsafe { crate::ledger::books::books_of(lane).as_ref() }.row
    })
}
