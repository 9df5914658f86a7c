//! The lane of a thread, claimed at the thread's first event and retired at its end.
//!
//! [`slot`](super::slot) documents the values of the thread-local slot in the life of a thread.

use super::gate::{enter, is_idle, while_writing};
use super::internal::InternalScope;
use super::options::Opener;
use super::process::PROCESS;
use super::record::{Record, RecordKind};
use super::slot::{FRESH, GONE, LOADING, OFF, OPENING, REFUSED, lane_of_slot, slot_of};
use super::state::{self, Level, State};
use super::window::write;
use super::{background_thread, black_box, lifecycle, stacks, stamps, trace_backpressure};
use crate::fold::state::Fold;
use crate::ledger::Ledger;
use crate::ledger::fold_state::{LaneFigures, fold_state_of};
use crate::ledger::rows::Row;
use crate::profile::LossReason;
use crate::ring::event;
use crate::ring::lane::Lane;
use crate::sys::errno::KeptErrno;
use crate::sys::latch::wait;
use crate::sys::sync::Ordering;
use crate::sys::{own_threads, platform, tls};

/// Maximum number of rounds in which an ending thread waits for events of other threads; about a second.
const ENDING_ROUNDS_MAX: u32 = 20_000;

/// Claims a lane for a thread that has none, and opens the ledger first if necessary. If the thread gets no lane, the
/// event is counted as lost. It is not counted if nothing is recorded in this process, or if the event may come from
/// heapledger itself.
#[cold]
pub(super) fn lane_for_event(opener: Opener<'_>) -> Option<&'static Lane> {
    let slot = tls::get();
    match slot {
        FRESH => {}
        LOADING => tls::set(FRESH),
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
            if slot == LOADING
                && let Some(lane) = lane
            {
                // The function `at_load` leaves this scope.
                enter(lane, &lane.cold.own_depth);
            }
            black_box::write_metadata_once();
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

/// Counts a lost event of a thread without a lane.
fn lose<T>(reason: LossReason) -> Option<T> {
    state::count_lost_without_lane(reason);
    None
}

/// Returns the calling thread's lane. Claims a lane if events are recorded and the thread has none.
pub(crate) fn lane_or_claim() -> Option<&'static Lane> {
    match tls::get() {
        FRESH if state::current().records() => claim(),
        slot => lane_of_slot(slot),
    }
}

impl InternalScope {
    /// Enters an internal scope; claims a lane for the calling thread if it has none.
    pub(crate) fn enter() -> InternalScope {
        lane_or_claim().map_or_else(InternalScope::without_lane, InternalScope::on)
    }
}

/// Claims a lane for the calling thread, and writes the record of the thread's start.
fn claim() -> Option<&'static Lane> {
    let _errno = KeptErrno::keep();
    let ledger = state::ledger()?;
    tls::set(OPENING);
    let Some((lane, _reused)) = ledger.claim_lane() else {
        tls::set(REFUSED);
        return None;
    };
    stamps::note_claimed_lane();
    let row = start_row(ledger, lane);
    if tls::arm() && own_threads::is_main_thread() {
        own_threads::main_thread_lives();
    }
    forget_thread(lane);
    tls::set_lane(slot_of(lane), lane.scope_word());
    // No window is open yet. With limit 1 the window counts as full, not as closed.
    write(lane, 1, &Record::new(&[event::thread_word(true, row)], RecordKind::Control));
    stacks::prepare(lane);
    Some(lane)
}

/// Assigns the thread a row of the thread table, and stores the current figures of its lane, from which the thread
/// starts.
fn start_row(ledger: &Ledger, lane: &Lane) -> u32 {
    let number = ledger.rows.next(&ledger.pages);
    let row = ledger.rows.get(&ledger.pages, number);
    // relaxed, all: reporting only; the row is found through the lane's fold state, which the latch protects.
    name_row(row);
    row.os_id.store(platform::thread_id(), Ordering::Relaxed);
    row.started_ns.store(ledger.clock.now_ns(), Ordering::Relaxed);
    row.ended_ns.store(0, Ordering::Relaxed);
    row.threads.fetch_add(1, Ordering::Relaxed);
    let _taken = lane.folder.latch.take();
    // SAFETY: B3, the latch is held.
    let state = unsafe { &mut *fold_state_of(lane).as_ptr() };
    state.row = number;
    state.inherited = LaneFigures::read(lane);
    number
}

/// Stores the name of the calling thread. The system keeps only the first 15 bytes of a name. std has the whole name,
/// but only for threads that it has started; for any other thread std allocates, and panics after the thread's local
/// data is gone. So std is asked only in a program in which std starts all threads (`HEAPLEDGER_STD_THREADS`, which
/// `cargo heapledger test` sets).
fn name_row(row: &Row) {
    let name = system_name();
    row.set_name(&name);
    let is_whole = name[name.len() - 2] == 0;
    if is_whole || !state::options().has_std_threads || own_threads::is_main_thread() {
        return;
    }
    // std sets its name before the first allocation of the thread.
    let thread = std::thread::current();
    if let Some(whole) = thread.name().filter(|whole| whole.as_bytes().starts_with(&name[..name.len() - 1])) {
        row.set_name(whole.as_bytes());
    }
}

/// Returns the name that the system has for the calling thread.
fn system_name() -> [u8; 16] {
    let mut name = [0; 16];
    platform::thread_name(&mut name);
    name
}

/// Stores `name` as the name of the lane's thread.
pub(crate) fn set_name(ledger: &Ledger, lane: &Lane, name: &str) {
    let _taken = lane.folder.latch.take();
    // SAFETY: B3, the latch is held.
    let row = unsafe { fold_state_of(lane).as_ref() }.row;
    ledger.rows.get(&ledger.pages, row).set_name(name.as_bytes());
}

/// Ends the calling thread's use of its lane: folds the ring to its end, empties the nursery, and releases the lane for
/// the next thread.
fn end() {
    let _errno = KeptErrno::keep();
    if own_threads::is_main_thread() {
        own_threads::main_thread_ends();
    }
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
    let state = unsafe { &mut *fold_state_of(lane).as_ptr() };
    let row = ledger.rows.get(&ledger.pages, state.row);
    let figures = LaneFigures::read(lane);
    row.figures.add(&figures.since(&state.inherited));
    // Threads of the C library and of thread pools set their name after their first event.
    row.set_system_name(&system_name());
    // relaxed: reporting only.
    row.ended_ns.store(ledger.clock.now_ns().max(1), Ordering::Relaxed);
    state.inherited = figures;
    state.row = crate::ledger::entry::ROW_OF_OTHERS;
    // Drops first halves of reallocs whose second halves were lost.
    state.under_way.fill(Default::default());
    drop(taken);
    // No record of this thread is under way, and the next thread reads the level at its first event.
    lane.store_level(|| Level::AfterSampling as u32);
    // relaxed: the exchange in `retire` publishes it.
    ledger.lanes.retire(lane.cold.index.load(Ordering::Relaxed));
    background_thread::start_at_thread_end(ledger);
}

/// Folds an ending thread's words in the order of their stamps. The fold stops at the stamp of an event that another
/// thread has begun and not finished, so several rounds may be necessary. If the words were folded out of order, a free
/// of another lane's block could stay unmatched.
fn fold_to_the_end_in_order(ledger: &Ledger, lane: &Lane) {
    for round in 0..ENDING_ROUNDS_MAX {
        ledger.fold_in_order();
        if lane.folder.tail.observe() == lane.head().own() {
            return;
        }
        wait(round);
    }
}

/// Marks the calling thread as a thread of heapledger in the thread table.
pub(crate) fn mark_background(lane: &Lane) {
    let Some(ledger) = state::ledger() else { return };
    let _taken = lane.folder.latch.take();
    // SAFETY: B3, the latch is held.
    let row = unsafe { fold_state_of(lane).as_ref() }.row;
    // relaxed: reporting only.
    ledger.rows.get(&ledger.pages, row).own.store(1, Ordering::Relaxed);
}

/// Clears the state that the lane's previous thread left; that thread may have ended inside a scope. Signal handlers of
/// the new thread find the lane only afterwards. Its gate is then closed, so at the full level their events are counted
/// as `reentrant`.
fn forget_thread(lane: &Lane) {
    // relaxed, all: only the lane's thread writes them.
    lane.cold.writing.store(0, Ordering::Relaxed);
    lane.cold.own_depth.store(0, Ordering::Relaxed);
    lane.cold.paused_depth.store(0, Ordering::Relaxed);
    // In a forked child, the thread that forked stays in its scope.
    lane.set_scope(PROCESS.scope_at_fork.swap(0, Ordering::Relaxed));
    lane.cold.level.store(Level::Full as u32, Ordering::Relaxed);
    stacks::forget_stack(lane);
    // The first record of the thread opens a window, and then the thread looks for its stack.
    lane.cold.window_end.store(lane.head().own(), Ordering::Relaxed);
}

/// Writes the record of the thread's end.
fn thread_ends(lane: &Lane) {
    // The gate is closed before the latch is taken: otherwise an event of a signal handler that finds the ring full
    // would wait for the latch.
    let limit = match lane.close_gate() {
        // The gate was closed only because events are sampled out.
        0 if is_idle(lane) => 1,
        limit => limit,
    };
    let row = row_of(lane);
    write(lane, limit, &Record::new(&[event::thread_word(false, row)], RecordKind::Control));
}

/// Returns the thread's row in the thread table. Meanwhile events of signal handlers are lost, because they would wait
/// for the latch.
fn row_of(lane: &Lane) -> u32 {
    while_writing(lane, || {
        let _taken = lane.folder.latch.take();
        // SAFETY: B3, the latch is held.
        unsafe { crate::ledger::fold_state::fold_state_of(lane).as_ref() }.row
    })
}
