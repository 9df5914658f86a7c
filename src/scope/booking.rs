//! Books the events that threads recorded before a query, while the threads continue to record.

use crate::ledger::Ledger;
use crate::ring::lane::Lane;
use crate::sys::latch;

/// Maximum number of rounds for which a query waits for events of other threads. The rounds take about a second.
const BOOKING_ROUNDS_MAX: u32 = 20_000;

/// Books the calling thread's ring. With the per-event clock, this may take several rounds, because an event is booked
/// only after the earlier events of other threads. Returns `false` if the ring is not booked after `BOOKING_ROUNDS_MAX`
/// rounds.
pub(super) fn book(lane: &Lane, ledger: &Ledger) -> bool {
    until(|| {
        ledger.fold(lane);
        lane.folder.tail.observe() == lane.head().own()
    })
}

/// Books the events that any thread recorded before the call. Returns `false` if they are not booked after
/// `BOOKING_ROUNDS_MAX` rounds.
pub(super) fn book_all(lane: &Lane, ledger: &Ledger) -> bool {
    let asked_ns = ledger.clock.now_ns();
    let is_booked = |other: &Lane| {
        other.folder.tail.observe() == other.head().observe() || other.folder.reached_ns() >= asked_ns
    };
    until(|| {
        ledger.flush(lane);
        // Without the per-event clock, a flush books every ring to its end.
        !ledger.is_ordered() || ledger.lanes().all(is_booked)
    })
}

/// Repeats `work` until it returns `true`, at most `BOOKING_ROUNDS_MAX` times. Returns whether `work` returned `true`.
fn until(mut work: impl FnMut() -> bool) -> bool {
    for round in 0..BOOKING_ROUNDS_MAX {
        if work() {
            return true;
        }
        latch::wait(round);
    }
    false
}
