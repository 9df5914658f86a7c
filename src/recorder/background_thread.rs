//! The start of the background thread, the work that is offloaded to it, and the length of windows with and without it.
//!
//! The background thread runs the aggregator, which books idle rings and reads the clock (see `aggregator`). The thread
//! has a price: glibc's allocator takes no locks while a process has a single thread, and these locks took a sixth of
//! the time of a program that parses JSON. So a program gets the background thread only for one of these reasons:
//!
//! | reason to start | why |
//! | --- | --- |
//! | a second thread of the program has recorded an event | its ring may become idle, and glibc takes locks already |
//! | a trace, a black box, an alarm, the tuner, triggers, signals | the background thread runs them |
//! | mode `BestEffort` | no other thread folds |
//! | sampling has ended, or a walk met code in no known object | the thread ends `AfterSampling`, lists objects |
//! | a query | the query may ask for the trend of the completeness |
//! | many windows stayed open for long | only clock readings of the background thread can date their events |
//! | folding has been costly for long on a machine with two processors | the fold is offloaded |
//! | `HeapLedger::background(true)` | explicit |
//!
//! # Where it is started
//!
//! An event never starts the thread. The event may come from a signal handler that interrupted the program in
//! `pthread_create` or in `malloc`, where glibc holds a lock that `pthread_create` takes: the program's thread would
//! wait for itself. So an event only notes that there is a reason ([`note_if_due`]). The background thread starts at
//! the next place where the program cannot be inside such a call:
//!
//! | place | threads started |
//! | --- | --- |
//! | load of the program, or of the library with heapledger (`at_load`) | all threads that the settings ask for |
//! | `fork`, in the child | the same threads; they wait for the child's first event |
//! | a public function | the background thread, if an event noted a reason |
//! | the end of a thread that has a lane, before the main thread ends | the background thread, if there is a reason |
//!
//! If no thread of a program ends, the program calls no function of heapledger, and its settings ask for no thread,
//! then the program runs without the background thread.
//!
//! # Offloading
//!
//! Folding is costly where nearly every event goes to the shared table and waits there for memory. With a second
//! processor, the lane's thread then leaves its words to the background thread: it *offloads* them. Once
//! [`OFFLOAD_SEGMENTS_MAX`] segments wait, or fewer where many threads offload, the lane's thread helps again, and
//! folds one part at a time. No thread offloads during a trace, because a fold fills the trace, and the background
//! thread must not wait for room in the trace. A program with one thread gets the background thread for offloading only
//! after a long run of costly folds, because the gain must exceed the cost of glibc's locks.
//!
//! # Length of a window
//!
//! The times of a window's events are interpolated between its two ends. A *tick* of the background thread advances the
//! epoch, which ends every window within about a millisecond. Without ticks, a long window is opened only after a
//! window that filled so fast that the next one will be as short as a tick; otherwise the window has seven words. If
//! the program nevertheless pauses within a window, the times of the window's events are uncertain by the length of the
//! pause, and the snapshot says so ([`crate::profile`]). If more than one window in [`QUICK_PER_SLOW`] contains such a
//! pause, the background thread is started. A sampled event has a window for itself, and so an exact time.

use super::internal::InternalScope;
use super::options::Background;
use super::process::{OFFLOAD_SEGMENTS_MAX, PROCESS};
use super::state::{self, Level, State};
use super::{objects, stamps};
use crate::ledger::Ledger;
use crate::profile::DataQualityMode;
use crate::ring::lane::{Lane, SEGMENT_WORDS, WINDOW_WORDS};
use crate::stack::unwind;
use crate::sys::sync::{Ordering, fence};
use crate::sys::{own_threads, platform, sleeper};

/// Words of a window when the background thread does not tick, unless the last window filled quickly.
const WINDOW_WORDS_UNTICKED: u64 = 7;
/// Minimum number of windows of a lane before the background thread may start.
const WINDOWS_BEFORE: u64 = 8;
/// Bytes of the background thread's stack, on which no dump is written.
const STACK_BYTES: usize = 256 << 10;
/// Maximum time in which a quick window fills, in nanoseconds: about a tick.
const QUICK_NS: u64 = 1_000_000;
/// Number of quick windows that outweigh one slow window. With a larger number, other load that interrupts the program
/// every few milliseconds would decide whether the background thread starts.
const QUICK_PER_SLOW: u32 = 8;
/// Number of consecutive slow windows that are tolerated before the background thread starts.
const SLOW_WINDOWS_TOLERATED: u32 = 8;

/// Minimum number of segments that each thread may offload, however many threads there are. It is low, because the
/// background thread cannot keep up with many threads.
const OFFLOAD_SEGMENTS_MIN: u32 = 3;
/// Number of segments that all threads together may offload.
const OFFLOAD_SEGMENTS_OF_ALL: u32 = 64;

/// Number of costly folds, minus the number of other folds, after which a program with one thread offloads. It
/// corresponds to some hundred thousand events.
const COSTLY_FOLDS_TOLERATED: u32 = 512;

/// State: there is no background thread.
const ABSENT: u32 = 0;
/// State: there is no background thread; it is due at the next window of a thread that has recorded enough.
const REQUESTED: u32 = 1;
/// State: there is no background thread; the next place that may start a thread starts it.
const DUE: u32 = 2;
/// State: the background thread is spawned, or being spawned.
const STARTING: u32 = 3;
/// State: the background thread runs.
const TICKING: u32 = 4;
/// State: the background thread runs, and there is a second processor, so the program's threads may offload.
const OFFLOADING: u32 = 5;
/// State: no thread of the program is left, so heapledger's threads end.
const OVER: u32 = 6;

/// State of the sleep: the background thread works, or sleeps for a short time without being woken.
const AWAKE: u32 = 0;
/// State of the sleep: the background thread sleeps until a thread wakes it, or for seconds.
const ASLEEP: u32 = 1;

/// Maximum number of milliseconds that the thread that ends the process waits for the other threads of heapledger.
const LAST_ROUNDS_MAX: u32 = 2_000;

/// Notes that the background thread ticks, and whether the program's threads may offload to it.
pub(crate) fn mark_running(may_offload: bool) {
    // relaxed: windows may become longer at any time.
    PROCESS.control.background.store(if may_offload { OFFLOADING } else { TICKING }, Ordering::Relaxed);
}

/// Returns whether heapledger's threads are the only threads left. Called by these threads while they have nothing to
/// do; each of them ends after the result `true`, so that the process ends as it does without heapledger. The C library
/// calls `exit(0)` in the last thread. For that, this function starts a thread with a stack of the default size,
/// because the program's exit handlers and the dump run on it.
pub(crate) fn is_program_over() -> bool {
    let state = &PROCESS.control.background;
    // relaxed, both: one of the threads starts the last thread; the others see the state now or later.
    if state.load(Ordering::Relaxed) == OVER {
        return true;
    }
    if !own_threads::are_alone() {
        return false;
    }
    if state.swap(OVER, Ordering::Relaxed) != OVER {
        own_threads::spawn(0, be_last);
        wake();
    }
    true
}

/// The body of the last thread. The thread claims no lane, so that events of exit handlers are recorded like those of
/// any thread of the program.
fn be_last() {
    own_threads::name(c"exit");
    for _ in 0..LAST_ROUNDS_MAX {
        if own_threads::is_last() {
            break;
        }
        platform::sleep_ns(1_000_000);
    }
    own_threads::take_signals();
}

/// Returns whether a lane's words are offloaded to the background thread.
pub(super) fn offloads(lane: &Lane, ledger: &Ledger) -> bool {
    // relaxed: a hint. If the background thread does not fold the words, more words wait and the lane's thread helps.
    PROCESS.control.background.load(Ordering::Relaxed) == OFFLOADING && can_offload(lane, ledger)
}

/// Divides [`OFFLOAD_SEGMENTS_OF_ALL`] among the threads of `lanes` lanes.
pub(crate) fn share_offload(lanes: usize) {
    let share = share_of(lanes);
    // relaxed, both: a hint. Stored only on a change, so that readers keep the cache line.
    if PROCESS.control.offload_segments.load(Ordering::Relaxed) != share {
        PROCESS.control.offload_segments.store(share, Ordering::Relaxed);
    }
}

fn share_of(lanes: usize) -> u32 {
    let share = OFFLOAD_SEGMENTS_OF_ALL / u32::try_from(lanes).unwrap_or(u32::MAX).max(1);
    share.clamp(OFFLOAD_SEGMENTS_MIN, OFFLOAD_SEGMENTS_MAX)
}

/// Returns the number of segments of words that each thread may offload.
fn offload_segments() -> u32 {
    // relaxed: a hint.
    PROCESS.control.offload_segments.load(Ordering::Relaxed)
}

/// Returns whether a thread that offloads has to help, because `words` waiting words are too many.
pub(super) fn exceeds_offload(words: u64) -> bool {
    words >= u64::from(offload_segments()) * SEGMENT_WORDS
}

/// Returns the number of segments that a lane may hold while it offloads; 0 if it does not offload.
pub(super) fn offload_segments_of(lane: &Lane, ledger: &Ledger) -> u32 {
    if offloads(lane, ledger) { offload_segments() + 1 } else { 0 }
}

/// Returns whether a lane's waiting words can be offloaded.
pub(crate) fn can_offload(lane: &Lane, ledger: &Ledger) -> bool {
    lane.folder.is_costly() && may_book_others(ledger)
}

/// Returns whether a thread may book the lanes of other running threads.
pub(super) fn may_book_others(ledger: &Ledger) -> bool {
    // In the other modes, events are dropped if the thread is interrupted while it holds another lane's latch.
    state::mode() == DataQualityMode::PerfectAccuracy
        && !ledger.is_ordered()
        && !ledger.trace_buffer.is_open()
}

/// Requests the background thread: it is due at the next window of a thread that has recorded enough.
pub(crate) fn request() {
    // relaxed, both: a hint. The exchange fails if the thread exists or is requested already.
    let _ =
        PROCESS.control.background.compare_exchange(ABSENT, REQUESTED, Ordering::Relaxed, Ordering::Relaxed);
}

/// Starts the background thread unless it was started before. Must not be called from an event; see the module's
/// documentation.
pub(super) fn start() {
    // relaxed, all: of two callers, one wins the exchange and starts the thread.
    let state = PROCESS.control.background.load(Ordering::Relaxed);
    if state <= DUE
        && PROCESS
            .control
            .background
            .compare_exchange(state, STARTING, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
        && let Some(hooks) = state::hooks()
    {
        // If the thread cannot be spawned, helping threads fold all words.
        spawn(STACK_BYTES, hooks.aggregator);
    }
}

/// Starts a thread of heapledger. Allocations during the start are recorded as internal.
pub(super) fn spawn(stack_bytes: usize, body: fn()) -> bool {
    let _scope = platform::ALLOCATES.then(InternalScope::enter);
    own_threads::spawn(stack_bytes, body)
}

/// Starts the background thread if an event has noted a reason. Must not be called from an event.
pub(crate) fn start_if_due() {
    // relaxed: a hint, which `start` checks again.
    if PROCESS.control.background.load(Ordering::Relaxed) == DUE
        && state::current() == State::Running
        && state::ledger().is_some_and(owns_ledger)
    {
        start();
    }
}

/// Wakes the background thread at the end of a thread of the program. Starts the background thread if an event has
/// noted a reason, or if the program has had several threads that together have recorded enough. Starts nothing after
/// the end of the main thread, because the calling thread may be the last thread.
pub(super) fn start_at_thread_end(ledger: &Ledger) {
    // The background thread ends with the last thread of the program.
    wake();
    if own_threads::has_main_thread_ended() {
        return;
    }
    let control = &PROCESS.control.background;
    // relaxed, all: hints.
    let state = control.load(Ordering::Relaxed);
    if state <= REQUESTED
        && state::options().background == Background::AsNeeded
        && ledger.lanes.count() > 1
        && ledger.lanes().map(|lane| lane.cold.slow_paths.load(Ordering::Relaxed)).sum::<u64>()
            >= WINDOWS_BEFORE
    {
        // The exchange fails if another thread has noted a reason, or has started the background thread.
        let _ = control.compare_exchange(state, DUE, Ordering::Relaxed, Ordering::Relaxed);
    }
    start_if_due();
}

/// Starts the background thread if the mode or the level in force needs it. Called after a change of the mode or the
/// level. Must not be called from an event.
pub(crate) fn start_if_needed() {
    let needs = state::mode() == DataQualityMode::BestEffort || state::level() == Level::AfterSampling;
    if needs && state::options().background != Background::Never {
        // relaxed: a hint.
        let due = |state| (state < DUE).then_some(DUE);
        let _ = PROCESS.control.background.fetch_update(Ordering::Relaxed, Ordering::Relaxed, due);
        start_if_due();
    }
}

/// Starts the background thread, because the program asked for it, unless the options forbid the thread. Returns
/// whether the thread runs or is being started. Must not be called from an event.
pub(crate) fn start_on_request() -> bool {
    if state::options().background != Background::Never {
        // relaxed: a hint.
        let due = |state| (state < DUE).then_some(DUE);
        let _ = PROCESS.control.background.fetch_update(Ordering::Relaxed, Ordering::Relaxed, due);
        start_if_due();
    }
    // relaxed: a hint.
    matches!(PROCESS.control.background.load(Ordering::Relaxed), STARTING | TICKING | OFFLOADING)
}

/// Waits until the ledger is open, and returns whether events are recorded. In a forked child, threads of heapledger
/// start before the child's first event, which opens the ledger.
pub(crate) fn wait_for_ledger() -> bool {
    let mut pause_ns = 1_000_000;
    while matches!(state::current(), State::Unopened | State::Opening) {
        if is_program_over() {
            return false;
        }
        platform::sleep_ns(pause_ns);
        pause_ns = (2 * pause_ns).min(64_000_000);
    }
    state::current().records()
}

/// Notes a reason to start the background thread, if there is a reason, or wakes that thread if it sleeps. Called by
/// the lane's thread at a new window.
pub(super) fn note_if_due(lane: &Lane, ledger: &Ledger) {
    // relaxed, all: hints, and words that only the lane's thread writes.
    let state = PROCESS.control.background.load(Ordering::Relaxed);
    if state > REQUESTED {
        wake();
    } else if lane.cold.slow_paths.load(Ordering::Relaxed) >= WINDOWS_BEFORE
        && is_worth_it(lane, ledger, state == REQUESTED)
    {
        // The exchange fails if another thread has noted a reason, or has started the background thread.
        let _ = PROCESS.control.background.compare_exchange(state, DUE, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// Sleeps for `ns` nanoseconds, or until [`wake`] is called; does not sleep if `is_work_left` returns true. Returns
/// whether [`wake`] was called meanwhile. Called by the background thread, with a function that advances the epoch and
/// then looks at all lanes.
///
/// No event is missed: an event that the function does not see belongs to an earlier window, or it finds the new epoch,
/// opens a window and wakes the thread.
pub(crate) fn sleep_until_woken(ns: u64, is_work_left: impl FnOnce() -> bool) -> bool {
    let asleep = &PROCESS.control.background_sleep;
    asleep.store(ASLEEP, Ordering::Relaxed);
    // Release: pairs with the acquire in `wake`; a thread that finds the new epoch sees `ASLEEP`.
    fence(Ordering::Release);
    if !is_work_left() {
        sleeper::sleep_while(asleep, ASLEEP, ns);
    }
    // relaxed: a wake-up that this load misses has come too late for this sleep.
    asleep.swap(AWAKE, Ordering::Relaxed) == AWAKE
}

/// Ends the sleep of the background thread. May be called in an event and in a signal handler; errno is kept.
pub(crate) fn wake() {
    // Acquire: pairs with the release in `sleep_until_woken`.
    fence(Ordering::Acquire);
    let asleep = &PROCESS.control.background_sleep;
    // relaxed, both: only the thread that changes the word wakes the sleeper, and the word protects no data.
    if asleep.load(Ordering::Relaxed) != AWAKE && asleep.swap(AWAKE, Ordering::Relaxed) != AWAKE {
        sleeper::wake(asleep);
    }
}

/// Returns whether this process owns the ledger. A child of `vfork` shares its parent's memory, but does not own it. A
/// thread that is started in this child would end with the child, maybe while it holds latches.
fn owns_ledger(ledger: &Ledger) -> bool {
    // relaxed: written before the ledger was published.
    ledger.facts.process_id.load(Ordering::Relaxed) == platform::process_id()
}

/// Returns whether one of the reasons to start the background thread applies; the module's documentation lists them.
fn is_worth_it(lane: &Lane, ledger: &Ledger, is_requested: bool) -> bool {
    let options = state::options();
    match options.background {
        Background::Never => false,
        Background::Always => true,
        Background::AsNeeded => {
            is_requested
                || ledger.lanes.count() > 1
                || state::mode() == DataQualityMode::BestEffort
                || state::level() == Level::AfterSampling
                || objects::has_unknown_code()
                || is_costly_for_long(lane, ledger)
                || lane.cold.slow_windows.load(Ordering::Relaxed) > QUICK_PER_SLOW * SLOW_WINDOWS_TOLERATED
        }
    }
}

/// Returns whether folding the lane has been costly for long, and another processor could fold it.
fn is_costly_for_long(lane: &Lane, ledger: &Ledger) -> bool {
    if lane.folder.costly_balance() < COSTLY_FOLDS_TOLERATED || !can_offload(lane, ledger) {
        return false;
    }
    // The reset makes the following system call rare.
    lane.folder.reset_costly_balance();
    platform::processors() > 1
}

/// Returns the length of the next window, in words. The window's first record has `record_words` words. The previous
/// window had `words_before` words and was open for `open_ns` nanoseconds.
pub(super) fn window_words(
    lane: &Lane,
    ledger: &Ledger,
    record_words: u64,
    words_before: u64,
    open_ns: u64,
) -> u64 {
    // relaxed, all: a hint, and words that only the lane's thread writes.
    let is_ticking = PROCESS.control.background.load(Ordering::Relaxed) >= TICKING;
    let is_sampled = lane.cold.level.load(Ordering::Relaxed) == Level::Sampled as u32;
    // The background thread has a lane as well.
    let has_had_other_threads = ledger.lanes.count() > 1 + u32::from(is_ticking);
    if is_sampled || stamps::is_each_event_stamped(has_had_other_threads) {
        return record_words;
    }
    if is_ticking {
        return WINDOW_WORDS;
    }
    let slow = &lane.cold.slow_windows;
    let before = slow.load(Ordering::Relaxed);
    let now =
        if open_ns > QUICK_NS { before.saturating_add(QUICK_PER_SLOW) } else { before.saturating_sub(1) };
    slow.store(now, Ordering::Relaxed);
    if open_ns.saturating_mul(WINDOW_WORDS) <= QUICK_NS.saturating_mul(words_before) {
        WINDOW_WORDS
    } else if unwind::watches_noted() {
        // An object that is watched may be unloaded before the next event.
        record_words
    } else {
        WINDOW_WORDS_UNTICKED.max(record_words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_ends_at_a_wake_up_and_does_not_begin_where_work_is_left() {
        const HOUR_NS: u64 = 3_600_000_000_000;
        assert!(!sleep_until_woken(HOUR_NS, || true));
        if !sleeper::CAN_BE_WOKEN {
            return;
        }
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| sleep_until_woken(HOUR_NS, || false));
            while !sleeper.is_finished() {
                wake();
                std::thread::yield_now();
            }
            assert!(sleeper.join().unwrap());
        });
        // A wake-up between the look for work and the sleep is not missed.
        assert!(sleep_until_woken(HOUR_NS, || {
            wake();
            false
        }));
    }

    #[test]
    fn the_share_of_a_thread_shrinks_with_the_number_of_threads_within_its_bounds() {
        let shares = [0, 1, 4, 8, 21, 1_000].map(share_of);
        assert_eq!(
            shares,
            [OFFLOAD_SEGMENTS_MAX, OFFLOAD_SEGMENTS_MAX, 16, 8, OFFLOAD_SEGMENTS_MIN, OFFLOAD_SEGMENTS_MIN]
        );
    }
}
