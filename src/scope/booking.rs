//! Booking of what was recorded before a question, whatever other threads do.

use crate::ledger::Ledger;
use crate::ring::lane::Lane;
use crate::sys::latch;

/// Maximum number of rounds that a question waits for events of other threads; about a second.
const BOOKING_ROUNDS_MAX: u32 = 20_000;

/// Books the calling thread's ring. Where every event has a time stamp, its events wait for earlier events of other
/// threads. Returns `false` if they wait for too long.
pub(super) fn book(lane: &Lane, ledger: &Ledger) -> bool {
    until(|| {
        ledger.fold(lane);
        lane.folder.tail.observe() == lane.head().own()
    })
}

/// Books what any thread recorded before the call, as [`book`] does.
pub(super) fn book_all(lane: &Lane, ledger: &Ledger) -> bool {
    let asked_ns = ledger.clock.now_ns();
    let is_booked = |other: &Lane| {
        other.folder.tail.observe() == other.head().observe() || other.folder.reached_ns() >= asked_ns
    };
    until(|| {
        ledger.flush(lane);
        // Without stamps a flush books every ring to its end.
        !ledger.is_ordered() || ledger.lanes().all(is_booked)
    })
}

/// Repeats `work` until it returns `true`. Returns `false` if it does not for too long.
fn until(mut work: impl FnMut() -> bool) -> bool {
    for round in 0..BOOKING_ROUNDS_MAX {
        if work() {
            return true;
        }
        latch::wait(round);
    }
    false
}
