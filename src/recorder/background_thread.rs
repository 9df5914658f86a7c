//! When heapledger's own thread, the aggregator's, is started, and how long windows are with and without it.
//!
//! The thread is an optimisation (see `aggregator`), and it has a price that is not its own work: glibc leaves the locks of its
//! allocator out while a process has a single thread, and that was a sixth of the time of a program that parses JSON.
//! So a program that has one thread, and asks for nothing that only the other one can do, is left alone with it:
//!
//! | what asks for the thread | why |
//! | --- | --- |
//! | a second thread of the program has made an event | its ring may go quiet, and glibc locks anyway |
//! | a trace, a black box, an alarm, the tuner, triggers | they live on that thread |
//! | `BestEffort` | nobody else books |
//! | the end of sampling, objects that were not found | they are looked at by that thread |
//! | a query | it may ask for the trend |
//! | many windows that stayed open for long | only its ticks can date their events |
//! | booking has been dear for long, and there is a second processor | it can be done there |
//! | `HeapLedger::background(true)` | it is asked for by name |
//!
//! Booking is dear where nearly every event goes to the shared table, and waits there for memory. Where the thread is there, and there
//! is a second processor, the lane's own thread leaves such words to it while it keeps up; once
//! [`OFFLOAD_SEGMENTS_MAX`] segments wait, fewer where many threads do so, it helps again, a little at a time. Not while there is a trace:
//! whoever books fills it, and heapledger's own thread must not wait for room in it. A program with one thread gets it for this as well,
//! though not for a moment's work: what it spares such a program is more than glibc's locks take.
//!
//! A window is dated by its two ends. Samples come so rarely that each has a window of its own, and an exact date. While nobody
//! ticks, a long one is opened only where the one before was filled so fast that this one will be as short as a tick, else one of
//! seven words. Where the program paused in the midst of a window all the same, the dates of that window are uncertain by as much
//! as the pause, which is said with the snapshot ([`crate::profile`]); where that is more than one window in
//! [`QUICK_PER_SLOW`], the thread is started.

use super::options::Background;
use super::process::{OFFLOAD_SEGMENTS_MAX, PROCESS};
use super::stacks;
use super::state::{self, Level, State};
use crate::ledger::Ledger;
use crate::profile::{ClockMode, DataQualityMode};
use crate::ring::lane::{Lane, SEGMENT_WORDS, WINDOW_WORDS};
use crate::sys::platform;
use crate::sys::sync::Ordering;

/// Words of a window while nobody ticks and the program is not known to be fast.
const WINDOW_WORDS_UNTICKED: u64 = 7;
/// Turns of a lane after which the thread is worth having at all.
const TURNS_BEFORE: u64 = 8;
/// Bytes of stack for it: it writes no dumps, so this is plenty.
const STACK_BYTES: usize = 256 << 10;
/// Nanoseconds for which a window may stay open: about a tick.
const QUICK_NS: u64 = 1_000_000;
/// Quick windows that make up for one that was not. With many, a machine whose other work interrupts a program every few
/// milliseconds would decide whether it gets the thread.
const QUICK_PER_SLOW: u32 = 8;
/// Slow windows in a row that are borne.
const SLOW_BORNE: u32 = 8;

/// The same where many threads do: more than these few would only wait for a thread that cannot keep up.
const OFFLOAD_SEGMENTS_MIN: u32 = 3;
/// Segments of all threads together, while these are few.
const OFFLOAD_SEGMENTS_OF_ALL: u32 = 64;

/// Dear folds, less others, that a program with one thread bears: some hundred thousand events.
const DEAR_BORNE: u32 = 512;

const ABSENT: u32 = 0;
const WANTED: u32 = 1;
const ASKED: u32 = 2;
const TICKS: u32 = 3;
/// It ticks, and there is a second processor, so that it may relieve the program's threads.
const RELIEVES: u32 = 4;

/// Tells that the thread ticks, and whether it may relieve the program's threads.
pub(crate) fn runs(may_relieve: bool) {
    // relaxed: windows may become longer at any time.
    PROCESS.control.background.store(if may_relieve { RELIEVES } else { TICKS }, Ordering::Relaxed);
}

/// Whether the thread books for a lane whose own thread then need not.
pub(super) fn relieves(lane: &Lane, ledger: &Ledger) -> bool {
    // relaxed: a hint. Where nobody comes after all, more and more waits, and the lane's thread helps itself.
    PROCESS.control.background.load(Ordering::Relaxed) == RELIEVES && can_be_left(lane, ledger)
}

/// Has so many threads share what may be left in all.
pub(crate) fn share_out_among(lanes: usize) {
    let share = share_of(lanes);
    // relaxed, both: a hint to the lanes' threads. It is stored where it differs, so that they do not lose its line.
    if PROCESS.control.offload_segments.load(Ordering::Relaxed) != share {
        PROCESS.control.offload_segments.store(share, Ordering::Relaxed);
    }
}

fn share_of(lanes: usize) -> u32 {
    let share = OFFLOAD_SEGMENTS_OF_ALL / u32::try_from(lanes).unwrap_or(u32::MAX).max(1);
    share.clamp(OFFLOAD_SEGMENTS_MIN, OFFLOAD_SEGMENTS_MAX)
}

/// Segments of words that a thread may leave.
fn left_segments() -> u32 {
    // relaxed: as above.
    PROCESS.control.offload_segments.load(Ordering::Relaxed)
}

/// Whether a thread that leaves its words to heapledger's own has to help all the same, so many of them wait.
pub(super) fn are_too_many(words: u64) -> bool {
    words >= u64::from(left_segments()) * SEGMENT_WORDS
}

/// Segments that a lane may have because its words are left to heapledger's thread; 0 if they are not.
pub(super) fn segments_for_left(lane: &Lane, ledger: &Ledger) -> u32 {
    if relieves(lane, ledger) { left_segments() + 1 } else { 0 }
}

/// Whether what waits in a lane can be left to heapledger's own thread.
pub(crate) fn can_be_left(lane: &Lane, ledger: &Ledger) -> bool {
    // Another mode would rather shed than wait, should that thread be interrupted with the lane's latch in its hand.
    lane.folder.is_dear()
        && state::mode() == DataQualityMode::PerfectAccuracy
        && !ledger.is_ordered()
        && !ledger.tap.is_open()
}

/// Has the thread started at the next turn of any thread that records enough: someone wants to know what only it can tell.
pub(crate) fn want() {
    // relaxed, both: a hint. It is not there, or the exchange fails.
    let _ = PROCESS.control.background.compare_exchange(ABSENT, WANTED, Ordering::Relaxed, Ordering::Relaxed);
}

/// Has the thread started, unless it was before.
pub(super) fn start() {
    // relaxed, all: of two that start it, one wins.
    let state = PROCESS.control.background.load(Ordering::Relaxed);
    if state <= WANTED
        && PROCESS
            .control
            .background
            .compare_exchange(state, ASKED, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
        && let Some(hooks) = state::hooks()
    {
        // If it cannot be had, helping closes the books all the same.
        platform::spawn(STACK_BYTES, hooks.aggregator);
    }
}

/// Has the thread started if there is enough to do for it. At a turn of the lane's thread.
pub(super) fn start_if_due(lane: &Lane, ledger: &Ledger) {
    // relaxed, all: hints, and the lane's own line.
    let state = PROCESS.control.background.load(Ordering::Relaxed);
    if state <= WANTED
        && state::current() == State::Running
        && lane.cold.turns.load(Ordering::Relaxed) >= TURNS_BEFORE
        && is_worth_it(lane, ledger, state == WANTED)
        && is_at_home(ledger)
    {
        start();
    }
}

/// Whether this is the process that the ledger is of. A child that shares its parent's memory until it executes something would
/// take the thread with it when it ends, and whatever latch that holds.
fn is_at_home(ledger: &Ledger) -> bool {
    // relaxed: written before the ledger was published.
    ledger.facts.process_id.load(Ordering::Relaxed) == platform::process_id()
}

fn is_worth_it(lane: &Lane, ledger: &Ledger, is_wanted: bool) -> bool {
    let options = state::options();
    match options.background {
        Background::Never => false,
        Background::Always => true,
        Background::AsNeeded => {
            is_wanted
                || ledger.lanes.count() > 1
                || state::mode() == DataQualityMode::BestEffort
                || state::level() == Level::AfterSampling
                || stacks::has_news()
                || is_dear_for_long(lane, ledger)
                || lane.cold.slow_windows.load(Ordering::Relaxed) > QUICK_PER_SLOW * SLOW_BORNE
        }
    }
}

/// Whether a lane's words have been dear to book for long, and could be booked on another processor.
fn is_dear_for_long(lane: &Lane, ledger: &Ledger) -> bool {
    if lane.folder.dear_balance() < DEAR_BORNE || !can_be_left(lane, ledger) {
        return false;
    }
    // Not at every turn: it is a question to the system.
    lane.folder.forget_dear_balance();
    platform::processors() > 1
}

/// How long the next window is, whose first record has so many words. The one before had `words_before` and was open for
/// `open_ns`.
pub(super) fn window_words(lane: &Lane, record_words: u64, words_before: u64, open_ns: u64) -> u64 {
    // relaxed: the lane's own line.
    let is_sampled = lane.cold.level.load(Ordering::Relaxed) == Level::Sampled as u32;
    if is_sampled || state::options().clock == ClockMode::PerEvent {
        return record_words;
    }
    // relaxed, all: a hint, and the lane's own line.
    if PROCESS.control.background.load(Ordering::Relaxed) >= TICKS {
        return WINDOW_WORDS;
    }
    let slow = &lane.cold.slow_windows;
    let before = slow.load(Ordering::Relaxed);
    let now =
        if open_ns > QUICK_NS { before.saturating_add(QUICK_PER_SLOW) } else { before.saturating_sub(1) };
    slow.store(now, Ordering::Relaxed);
    let is_quick = open_ns.saturating_mul(WINDOW_WORDS) <= QUICK_NS.saturating_mul(words_before);
    if is_quick { WINDOW_WORDS } else { WINDOW_WORDS_UNTICKED.max(record_words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_threads_leave_much_and_many_little() {
        let shares = [0, 1, 4, 8, 21, 1_000].map(share_of);
        assert_eq!(
            shares,
            [OFFLOAD_SEGMENTS_MAX, OFFLOAD_SEGMENTS_MAX, 16, 8, OFFLOAD_SEGMENTS_MIN, OFFLOAD_SEGMENTS_MIN]
        );
    }
}
