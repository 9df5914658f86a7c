//! One round of the background thread. A round notes its time as a tick, looks at every lane (a thread's ring with its
//! counters), and books the lanes that need booking.
//!
//! [`Aggregator::round`] makes one round without sleeping, spawning or reading a clock, so that a test can drive it.
//! [`Aggregator::offload`] repeats one part of a round between two rounds. It books the *offloaded* lanes, whose
//! threads leave their words to the background thread because booking is costly.

use crate::fold::batch::Part;
use crate::ledger::{Ledger, estimate};
use crate::profile::DataQualityMode;
use crate::quality::{self, Knobs};
use crate::recorder::{background_thread, segments, state};
use crate::ring::lane::{COSTLY_WORDS, Lane, SEGMENT_SLOTS, SEGMENT_WORDS, bump};

/// Number of rounds between two regular flushes. A flush pairs frees with blocks that are still in other lanes. It is
/// left out if no free waits for its block and sampling is not in use. An urgent flush does not wait for these rounds.
const ROUNDS_PER_FLUSH: u64 = 64;
/// Number of waiting frees above which a flush is due at once: a quarter of the frees that can wait in one shard of the
/// live table.
const WAITING_FREES_MANY: u64 = 1 << 14;
/// Number of rounds without an event after which a lane is idle. With a smaller number, lanes of threads that only wait
/// for a processor would count as idle.
pub(super) const ROUNDS_UNTIL_IDLE: u32 = 8;
/// Maximum number of words that may wait in the ring of a running thread, in modes in which threads help. If more words
/// wait, the thread has not booked its full ring itself, so the background thread books it.
pub(super) const WAITING_WORDS_HELPED: u64 = 4 * SEGMENT_WORDS;

/// Number of words of an offloaded lane that are booked each time its latch is taken. While the latch is free, the
/// lane's thread can take segments of the ring.
const OFFLOAD_WORDS: u64 = 2 * COSTLY_WORDS;
/// Maximum number of parts of `OFFLOAD_WORDS` words that one call of `offload` books. All these parts together have
/// more words than most rings.
const OFFLOAD_ROUNDS_MAX: u32 = 32;
/// Target number of words that wait in the fullest offloaded ring at the next call of `offload`.
const OFFLOAD_WORDS_AIMED: u64 = SEGMENT_WORDS;
/// Minimum time between two calls of `offload`, in nanoseconds.
const OFFLOAD_NS_MIN: u64 = 50_000;
const OFFLOAD_NS_MAX: u64 = 1_000_000;

/// The settings of the aggregator that the tuner may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    /// Minimum pause between two rounds, in nanoseconds.
    pub(super) floor_interval_ns: u64,
    /// Maximum number of words that may wait in the ring of a running thread, in modes in which threads do not help.
    pub(super) drain_threshold_words: u64,
}

impl Default for Pace {
    fn default() -> Self {
        let Knobs { floor_interval_ns, drain_threshold_words, .. } = Knobs::DEFAULT;
        Pace { floor_interval_ns, drain_threshold_words }
    }
}

/// The state of the aggregator between two rounds.
#[derive(Debug, Default)]
pub(super) struct Aggregator {
    pub(super) pace: Pace,
    /// Whether there is a second processor, so that threads may leave their words to the background thread.
    pub(super) may_offload: bool,
    rounds: u64,
    /// Number of the lane of the thread that makes the rounds. Events of this lane do not count as activity.
    pub(super) own_lane: Option<u32>,
    /// Whether a flush will be due after some rounds, even without new events.
    pub(super) may_help: bool,
    /// Head of each lane at the last round, and number of rounds since the head moved.
    heads: Vec<(u64, u32)>,
    /// Lanes whose threads left their words to the background thread at the last round.
    offloaded: Vec<u32>,
    /// Time between two bookings of the offloaded lanes, in nanoseconds.
    offload_ns: u64,
}

// `quality` states the sizes of a ring without using the ring, so the two must agree.
const _: () = assert!(quality::RING_SEGMENT_WORDS == SEGMENT_WORDS);
const _: () = assert!(quality::RING_SEGMENTS_MIN == segments::SEGMENTS_HOME);
const _: () = assert!(quality::RING_SEGMENTS_MAX == segments::SEGMENTS_MAX);
const _: () = assert!((quality::RING_SEGMENTS_MAX as u64) < SEGMENT_SLOTS);
const _: () = assert!(1 << quality::tuner::SAMPLING_SHIFT_MIN == estimate::mean_bytes(1));
const _: () = assert!(1 << quality::tuner::SAMPLING_SHIFT_MAX == estimate::mean_bytes(estimate::RATE_MAX));

/// The result of a round.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Round {
    /// Number of lanes that were written to since the last round, without the lane of the calling thread.
    pub(super) active: usize,
    /// Number of lanes that this round booked.
    pub(super) folded: usize,
    /// Whether the caller should call [`Ledger::flush`] with its lane, because frees wait for blocks in other lanes.
    pub(super) flush_due: bool,
}

impl Aggregator {
    pub(super) fn new(may_offload: bool) -> Aggregator {
        Aggregator { may_offload, offload_ns: OFFLOAD_NS_MIN, ..Aggregator::default() }
    }

    /// Makes one round at the time `now_ns`. The calling thread must be in an internal scope.
    pub(super) fn round(&mut self, ledger: &Ledger, now_ns: u64) -> Round {
        ledger.ticks.push(now_ns);
        self.rounds += 1;
        let count = ledger.lanes.count() as usize;
        if self.heads.len() < count {
            self.heads.resize(count, (0, 0));
        }
        let mut round = Round::default();
        self.offloaded.clear();
        let helps = state::mode() != DataQualityMode::BestEffort;
        let busy_words = if helps { WAITING_WORDS_HELPED } else { self.pace.drain_threshold_words };
        for (index, last) in self.heads.iter_mut().enumerate() {
            let Some(lane) = ledger.lane(index as u32) else { continue };
            let head = lane.head().observe();
            let moved = last.0 != head;
            *last = if moved { (head, 0) } else { (head, last.1.saturating_add(1)) };
            round.active += usize::from(moved && self.own_lane != Some(index as u32));
            let waiting = words_waiting(lane, head);
            if moved && self.may_offload && background_thread::can_offload(lane, ledger) {
                self.offloaded.push(index as u32);
                continue;
            }
            let due = last.1 >= ROUNDS_UNTIL_IDLE || waiting >= busy_words;
            round.folded +=
                usize::from(waiting > 0 && due && fold(ledger, lane, Part::ALL, std::iter::empty()));
        }
        background_thread::share_offload(self.offloaded.len());
        round.folded += self.book_offloaded(ledger);
        let waiting = ledger.live.waiting();
        self.may_help = waiting > 0 || ledger.is_sampling_used();
        let is_urgent = ledger.live.is_in_transition() || waiting > WAITING_FREES_MANY;
        round.flush_due = is_urgent || self.rounds.is_multiple_of(ROUNDS_PER_FLUSH) && self.may_help;
        round
    }

    /// Whether a thread of the program has recorded an event since the last round.
    pub(super) fn has_new_events(&self, ledger: &Ledger) -> bool {
        let is_new = |index: u32, lane: &Lane| {
            self.own_lane != Some(index)
                && self.heads.get(index as usize).is_none_or(|(head, _)| *head != lane.head().observe())
        };
        (0..ledger.lanes.count()).any(|index| ledger.lane(index).is_some_and(|lane| is_new(index, lane)))
    }

    /// Returns the time until the offloaded lanes should be booked again, in nanoseconds, or `None` if there are none.
    pub(super) fn offload_ns(&self) -> Option<u64> {
        (!self.offloaded.is_empty()).then_some(self.offload_ns)
    }

    /// Books the offloaded lanes. `slept_ns` is the time that has passed since their last booking, in nanoseconds. From
    /// this time and the fullest ring, computes how long to wait until the next booking.
    pub(super) fn offload(&mut self, ledger: &Ledger, slept_ns: u64) {
        let waiting =
            |index: &u32| ledger.lane(*index).map_or(0, |lane| words_waiting(lane, lane.head().observe()));
        let fullest = self.offloaded.iter().map(waiting).max().unwrap_or(0);
        let aimed_ns = slept_ns.saturating_mul(OFFLOAD_WORDS_AIMED) / fullest.max(1);
        let slowly_ns = aimed_ns.clamp(self.offload_ns / 2, self.offload_ns * 2);
        self.offload_ns = slowly_ns.clamp(OFFLOAD_NS_MIN, OFFLOAD_NS_MAX);
        self.book_offloaded(ledger);
    }

    /// Books the offloaded lanes in small parts: first a part of the lane with the oldest words, then the other lanes
    /// up to the same time. So most frees find their block in the nursery of another lane, and the other frees do not
    /// wait long for their block. Returns the number of booked parts.
    fn book_offloaded(&self, ledger: &Ledger) -> usize {
        let enough_waits = |index: &u32| {
            let lane = ledger.lane(*index)?;
            (words_waiting(lane, lane.head().observe()) >= COSTLY_WORDS).then_some(lane)
        };
        let (mut folded, mut not_before_ns) = (0, 0);
        for _ in 0..OFFLOAD_ROUNDS_MAX {
            let lanes = || self.offloaded.iter().filter_map(enough_waits);
            let others = lanes().filter(|lane| lane.folder.reached_ns() >= not_before_ns);
            let Some(last) = others.min_by_key(|lane| lane.folder.reached_ns()) else { break };
            let partners = |of: &'static Lane| {
                let others = self.offloaded.iter().filter_map(|index| ledger.lane(*index));
                others.filter(move |lane| !std::ptr::eq(*lane, of))
            };
            if !fold(ledger, last, Part::of_words(OFFLOAD_WORDS), partners(last)) {
                // Another thread is booking the lane.
                not_before_ns = last.folder.reached_ns() + 1;
                continue;
            }
            let until_ns = last.folder.reached_ns();
            let part = Part { words: OFFLOAD_WORDS, until_ns };
            let are_behind = lanes().filter(|lane| lane.folder.reached_ns() < until_ns);
            folded += 1 + are_behind.filter(|lane| fold(ledger, lane, part, partners(lane))).count();
        }
        folded
    }
}

/// Returns the number of words that wait in a ring whose head was observed at `head`.
fn words_waiting(lane: &Lane, head: u64) -> u64 {
    head - lane.folder.tail.observe().min(head)
}

/// Books a ring, or a part of it, unless another thread is booking it.
fn fold<'a>(ledger: &Ledger, lane: &'a Lane, part: Part, partners: impl Iterator<Item = &'a Lane>) -> bool {
    let done = ledger.try_fold_with(lane, part, partners, Part::NONE);
    if done {
        bump(&lane.folder.folds_away);
    }
    done
}
