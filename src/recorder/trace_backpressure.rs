//! Giving the writer of the trace time, before a thread books its own ring.
//!
//! It is the one place where a thread waits for a trace, and it holds nothing but its closed gate then. The mode says
//! for how long:
//!
//! | mode | waits |
//! | --- | --- |
//! | `PerfectAccuracy` | as long as the writer gives a chunk back at least once a second |
//! | `HighAccuracy` | a millisecond |
//! | others | not at all |
//!
//! After that it goes on, and what then finds no chunk is in the ledger and not in the trace, which is counted. A writer
//! that has kept a thread waiting for a second in vain is waited for again only after it has given a chunk back. Each wait
//! is counted.

use super::state;
use crate::ledger::Ledger;
use crate::profile::DataQualityMode;
use crate::ring::lane::Lane;
use crate::sys::latch;
use crate::sys::sync::Ordering;

/// Nanoseconds without a sign of life of the writer after which a thread goes on, in `PerfectAccuracy`.
const STALL_NS_MAX: u64 = 1_000_000_000;
/// Nanoseconds that a thread waits at most, in `HighAccuracy`.
const BRIEF_NS_MAX: u64 = 1_000_000;

/// Waits while the trace is behind, as the mode says.
#[inline]
pub(super) fn wait_for_trace(ledger: &Ledger, lane: &Lane, mode: DataQualityMode) {
    if ledger.tap.is_open() && ledger.tap.is_short(ledger.lanes.count()) {
        wait(ledger, lane, mode);
    }
}

#[cold]
fn wait(ledger: &Ledger, lane: &Lane, mode: DataQualityMode) {
    let tap = &ledger.tap;
    let bound_ns = match mode {
        DataQualityMode::PerfectAccuracy => STALL_NS_MAX,
        DataQualityMode::HighAccuracy => BRIEF_NS_MAX,
        DataQualityMode::HighThroughput | DataQualityMode::BestEffort => return,
    };
    // relaxed: the thread's own line.
    if lane.cold.own_depth.load(Ordering::Relaxed) > 0 || !tap.is_worth_waiting() {
        // heapledger's own threads must not wait for each other.
        return;
    }
    let began_ns = ledger.clock.now_ns();
    let (mut spent, mut alive_ns, mut round) = (tap.spent_so_far(), began_ns, 0u32);
    while tap.is_open() && tap.is_short(ledger.lanes.count()) && state::current().records() {
        latch::wait(round);
        round = round.saturating_add(1);
        let now_ns = ledger.clock.now_ns();
        if mode == DataQualityMode::PerfectAccuracy && tap.spent_so_far() != spent {
            (spent, alive_ns) = (tap.spent_so_far(), now_ns);
        }
        if now_ns.saturating_sub(alive_ns) > bound_ns {
            if mode == DataQualityMode::PerfectAccuracy {
                tap.note_stall(spent);
            }
            break;
        }
        if !tap.is_worth_waiting() {
            break;
        }
    }
    tap.count_wait(ledger.clock.now_ns().saturating_sub(began_ns));
}
