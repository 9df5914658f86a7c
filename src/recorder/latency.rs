//! Timing of window changes: one change in [`CHANGES_PER_SAMPLE`] is timed.
//!
//! The hot path is not timed, because it takes only a few nanoseconds, less than two clock readings. [`TurnTimes`]
//! documents the measured quantities.

use super::state;
use crate::profile::TurnTimes;
use crate::ring::lane::{Lane, SEGMENT_WORDS, SLOW_PATH_BUCKETS, WINDOW_WORDS, add, bump};
use crate::sys::sync::Ordering;

/// Number of window changes per timed change: a prime that does not divide the number of windows of a segment. With
/// another number, either all or none of the changes that fold the ring could be timed.
const CHANGES_PER_SAMPLE: u64 = 13;

// A prime that does not divide a number is coprime to it.
const _: () = assert!(!(SEGMENT_WORDS / (WINDOW_WORDS + 1)).is_multiple_of(CHANGES_PER_SAMPLE));
const _: () = assert!(SLOW_PATH_BUCKETS == crate::profile::TURN_BUCKETS);

/// Runs a window change of the lane's thread, counts it, and times one in [`CHANGES_PER_SAMPLE`].
pub(super) fn counted<T>(lane: &Lane, change: impl FnOnce() -> T) -> T {
    // relaxed, here and below: counters that only the lane's thread writes.
    let is_due = lane.cold.slow_paths.load(Ordering::Relaxed) % CHANGES_PER_SAMPLE == CHANGES_PER_SAMPLE - 1;
    bump(&lane.cold.slow_paths);
    let Some(ledger) = state::ledger().filter(|_| is_due) else {
        return change();
    };
    let began_ns = ledger.clock.now_ns();
    let done = change();
    let took_ns = ledger.clock.now_ns().saturating_sub(began_ns);
    add(&lane.cold.timed_ns, took_ns);
    if let Some(bucket) = lane.cold.slow_path_ns.get(TurnTimes::bucket_of(took_ns)) {
        bucket.store(bucket.load(Ordering::Relaxed).saturating_add(1), Ordering::Relaxed);
    }
    done
}

/// Returns the times of a lane's window changes.
pub(crate) fn of_lane(lane: &Lane) -> TurnTimes {
    let mut times = TurnTimes {
        turns: lane.cold.slow_paths.load(Ordering::Relaxed),
        timed_ns: lane.cold.timed_ns.load(Ordering::Relaxed),
        ..TurnTimes::default()
    };
    for (into, bucket) in times.durations.iter_mut().zip(&lane.cold.slow_path_ns) {
        *into = u64::from(bucket.load(Ordering::Relaxed));
        times.timed += *into;
    }
    times
}
