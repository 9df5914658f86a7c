//! How long turns take, by timing some of them.
//!
//! Only turns: the short path takes a few nanoseconds, less than two readings of a clock. What is measured and what
//! is not is told to readers in [`TurnTimes`].

use super::state;
use crate::profile::TurnTimes;
use crate::ring::lane::{Lane, SEGMENT_WORDS, TURN_BUCKETS, WINDOW_WORDS, add, bump};
use crate::sys::sync::Ordering;

/// One turn in so many is timed; a prime. Coprime to the turns of a segment: else it would always, or never, be the
/// turn that books the ring.
const TURNS_PER_SAMPLE: u64 = 13;

// A prime that does not divide it has no factor in common.
const _: () = assert!(!(SEGMENT_WORDS / (WINDOW_WORDS + 1)).is_multiple_of(TURNS_PER_SAMPLE));
const _: () = assert!(TURN_BUCKETS == crate::profile::TURN_BUCKETS);

/// Makes a turn of the lane's thread, counts it, and times it if it is due.
pub(super) fn counted<T>(lane: &Lane, turn: impl FnOnce() -> T) -> T {
    // relaxed, here and below: counters of the lane, written by its thread.
    let is_due = lane.cold.turns.load(Ordering::Relaxed) % TURNS_PER_SAMPLE == TURNS_PER_SAMPLE - 1;
    bump(&lane.cold.turns);
    let Some(ledger) = state::ledger().filter(|_| is_due) else {
        return turn();
    };
    let began_ns = ledger.clock.now_ns();
    let done = turn();
    let took_ns = ledger.clock.now_ns().saturating_sub(began_ns);
    add(&lane.cold.timed_ns, took_ns);
    if let Some(bucket) = lane.cold.turn_ns.get(TurnTimes::bucket_of(took_ns)) {
        bucket.store(bucket.load(Ordering::Relaxed).saturating_add(1), Ordering::Relaxed);
    }
    done
}

/// The counts of a lane.
pub(crate) fn of_lane(lane: &Lane) -> TurnTimes {
    let mut times = TurnTimes {
        turns: lane.cold.turns.load(Ordering::Relaxed),
        timed_ns: lane.cold.timed_ns.load(Ordering::Relaxed),
        ..TurnTimes::default()
    };
    for (into, bucket) in times.durations.iter_mut().zip(&lane.cold.turn_ns) {
        *into = u64::from(bucket.load(Ordering::Relaxed));
        times.timed += *into;
    }
    times
}
