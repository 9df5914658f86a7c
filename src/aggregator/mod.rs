//! The aggregator: ticks the epoch, books rings that have gone quiet, and makes snapshots.
//!
//! It is an optimisation, not a condition for correctness: a thread whose ring is full helps itself, and a flush books
//! everything. So before `main`, after `exit`, in a forked child, and where no thread can be had, the books still
//! close. What the aggregator adds: a tick about every millisecond, which bounds how far an interpolated time can be
//! off; rings of threads that went to sleep are booked; frees that wait for another thread's nursery are settled; and where
//! booking is dear, it is done on another processor than the program's thread. A program with one thread may be without it for
//! good: `recorder::background_thread` says when it is started.
//!
//! [`Aggregator::step`] does all of it once, without sleeping, spawning or reading a clock, so that a test can drive
//! it; [`Aggregator::relieve`] does that last part of it more often. `worker` is the thread around it; `snapshot` is the view
//! that queries and dumps take.

pub(crate) mod alarm;
pub(crate) mod naming;
#[cfg(test)]
pub(crate) mod oracle_tests;
pub(crate) mod rows;
mod shared;
pub(crate) mod snapshot;
mod stacks;
mod trace_file;
pub(crate) mod tracing;
mod triggers;
pub(crate) mod tuning;
pub(crate) mod watch;
pub(crate) mod worker;

use crate::fold::batch::Part;
use crate::ledger::{Ledger, estimate};
use crate::profile::DataQualityMode;
use crate::quality::{self, Knobs};
use crate::recorder::{background_thread, segments, state};
use crate::ring::lane::{COSTLY_WORDS, Lane, SEGMENT_SLOTS, SEGMENT_WORDS, bump};

/// Steps between two looks for frees that wait for another thread's nursery.
const STEPS_PER_SETTLING: u64 = 64;
/// Steps without an event after which a lane is quiet. Fewer would take the books of threads that are only waiting
/// for a processor.
pub(crate) const STEPS_UNTIL_QUIET: u32 = 8;
/// Words that may wait in a ring before it is booked although its thread is still writing, where threads help, and
/// should have.
pub(crate) const WAITING_WORDS_HELPED: u64 = 4 * SEGMENT_WORDS;

/// Words that are booked between two times of opening a lane's latch, where that is dear: its thread may need its segments.
const RELIEF_WORDS: u64 = 2 * COSTLY_WORDS;
/// Rounds of that in one go: more than a ring holds, usually.
const RELIEF_ROUNDS_MAX: u32 = 32;
/// Words that should wait in a ring at the next relief.
const RELIEF_WORDS_AIMED: u64 = SEGMENT_WORDS;
/// Nanoseconds from one relief to the next.
const RELIEF_NS_MIN: u64 = 50_000;
const RELIEF_NS_MAX: u64 = 1_000_000;

/// What the tuner may turn of the aggregator itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Shortest pause between two steps, in nanoseconds.
    pub(crate) floor_interval_ns: u64,
    /// Words that may wait in a ring before it is booked although its thread is still writing, where threads do not
    /// help.
    pub(crate) drain_threshold_words: u64,
}

impl Default for Pace {
    fn default() -> Self {
        let Knobs { floor_interval_ns, drain_threshold_words, .. } = Knobs::DEFAULT;
        Pace { floor_interval_ns, drain_threshold_words }
    }
}

/// What the aggregator remembers from one step to the next.
#[derive(Debug, Default)]
pub(crate) struct Aggregator {
    pub(crate) pace: Pace,
    /// Whether there is a processor on which it can relieve the program's threads.
    pub(crate) may_relieve: bool,
    steps: u64,
    /// Where each lane's head stood at the last step, and for how many steps it has.
    heads: Vec<(u64, u32)>,
    /// The lanes whose threads left their words to this one, at the last step.
    relieved: Vec<u32>,
    /// How often they are booked, in nanoseconds.
    relief_ns: u64,
}

// `quality` tells how large a ring becomes without knowing the ring: the two must agree.
const _: () = assert!(quality::RING_SEGMENT_WORDS == SEGMENT_WORDS);
const _: () = assert!(quality::RING_SEGMENTS_MIN == segments::SEGMENTS_HOME);
const _: () = assert!(quality::RING_SEGMENTS_MAX == segments::SEGMENTS_MAX);
const _: () = assert!((quality::RING_SEGMENTS_MAX as u64) < SEGMENT_SLOTS);
const _: () = assert!(1 << quality::tuner::SAMPLING_SHIFT_MIN == estimate::mean_bytes(1));
const _: () = assert!(1 << quality::tuner::SAMPLING_SHIFT_MAX == estimate::mean_bytes(estimate::RATE_MAX));

/// Forgets what is known of the parent, in a forked child.
pub(crate) fn forget() {
    watch::forget();
    alarm::forget();
    tuning::forget();
    worker::forget();
    tracing::forget();
}

/// What a step found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Step {
    /// Lanes that were written to since the last step.
    pub(crate) active: usize,
    /// Lanes that this step booked.
    pub(crate) folded: usize,
    /// Whether waiting frees are due to be settled with [`Ledger::flush`].
    pub(crate) settle: bool,
}

impl Aggregator {
    /// An aggregator that has a processor on which it can relieve the program's threads, or has none.
    pub(crate) fn new(may_relieve: bool) -> Aggregator {
        Aggregator { may_relieve, relief_ns: RELIEF_NS_MIN, ..Aggregator::default() }
    }

    /// Goes round once. `now_ns` is the time of the tick. The caller's thread must be in an own section; whether
    /// `settle` is followed is the caller's, because it needs the caller's lane.
    pub(crate) fn step(&mut self, ledger: &Ledger, now_ns: u64) -> Step {
        ledger.ticks.push(now_ns);
        self.steps += 1;
        let count = ledger.lanes.count() as usize;
        if self.heads.len() < count {
            self.heads.resize(count, (0, 0));
        }
        let mut step = Step::default();
        self.relieved.clear();
        let helps = state::mode() != DataQualityMode::BestEffort;
        let busy_words = if helps { WAITING_WORDS_HELPED } else { self.pace.drain_threshold_words };
        for (index, last) in self.heads.iter_mut().enumerate() {
            let Some(lane) = ledger.lane(index as u32) else { continue };
            let head = lane.head().observe();
            let moved = last.0 != head;
            *last = if moved { (head, 0) } else { (head, last.1.saturating_add(1)) };
            step.active += usize::from(moved);
            let waiting = words_waiting(lane, head);
            if moved && self.may_relieve && background_thread::can_offload(lane, ledger) {
                self.relieved.push(index as u32);
                continue;
            }
            let due = last.1 >= STEPS_UNTIL_QUIET || waiting >= busy_words;
            step.folded += usize::from(waiting > 0 && due && fold(ledger, lane, Part::ALL));
        }
        background_thread::share_offload(self.relieved.len());
        step.folded += self.book_relieved(ledger);
        let has_reason = ledger.live.waiting() > 0 || ledger.is_sampling_used();
        step.settle = self.steps.is_multiple_of(STEPS_PER_SETTLING) && has_reason;
        step
    }

    /// After how many nanoseconds the lanes whose threads leave their words to this one are to be booked again; `None` if there
    /// are none.
    pub(crate) fn relief_ns(&self) -> Option<u64> {
        (!self.relieved.is_empty()).then_some(self.relief_ns)
    }

    /// Books them, `slept_ns` nanoseconds after the last time.
    pub(crate) fn relieve(&mut self, ledger: &Ledger, slept_ns: u64) {
        let waiting =
            |index: &u32| ledger.lane(*index).map_or(0, |lane| words_waiting(lane, lane.head().observe()));
        let fullest = self.relieved.iter().map(waiting).max().unwrap_or(0);
        let aimed_ns = slept_ns.saturating_mul(RELIEF_WORDS_AIMED) / fullest.max(1);
        let slowly_ns = aimed_ns.clamp(self.relief_ns / 2, self.relief_ns * 2);
        self.relief_ns = slowly_ns.clamp(RELIEF_NS_MIN, RELIEF_NS_MAX);
        self.book_relieved(ledger);
    }

    /// By parts, and all lanes up to about the same time: a block that one thread makes and another frees should not be long in
    /// the books of one alone, nor its free come first.
    fn book_relieved(&self, ledger: &Ledger) -> usize {
        let worth_it = |index: &u32| {
            let lane = ledger.lane(*index)?;
            (words_waiting(lane, lane.head().observe()) >= COSTLY_WORDS).then_some(lane)
        };
        let (mut folded, mut not_before_ns) = (0, 0);
        for _ in 0..RELIEF_ROUNDS_MAX {
            let lanes = || self.relieved.iter().filter_map(worth_it);
            let others = lanes().filter(|lane| lane.folder.reached_ns() >= not_before_ns);
            let Some(last) = others.min_by_key(|lane| lane.folder.reached_ns()) else { break };
            if !fold(ledger, last, Part::of_words(RELIEF_WORDS)) {
                // Its own thread is at it.
                not_before_ns = last.folder.reached_ns() + 1;
                continue;
            }
            let until_ns = last.folder.reached_ns();
            let part = Part { words: RELIEF_WORDS, until_ns };
            let are_behind = lanes().filter(|lane| lane.folder.reached_ns() < until_ns);
            folded += 1 + are_behind.filter(|lane| fold(ledger, lane, part)).count();
        }
        folded
    }
}

/// Words that wait in a ring whose head was seen at `head`.
fn words_waiting(lane: &Lane, head: u64) -> u64 {
    head - lane.folder.tail.observe().min(head)
}

/// Books a ring, or a part of it, unless someone else is at it.
fn fold(ledger: &Ledger, lane: &Lane, part: Part) -> bool {
    let done = ledger.try_fold(lane, part);
    if done {
        bump(&lane.folder.folds_away);
    }
    done
}
