//! Backpressure of the trace: a thread waits for the trace's writer before it folds its ring.
//!
//! A thread waits for the trace only here. During the wait the thread holds no latch, and its gate is closed. The mode
//! bounds the wait:
//!
//! | mode | waits |
//! | --- | --- |
//! | `PerfectAccuracy` | as long as the writer frees a chunk at least once a second |
//! | `HighAccuracy` | a millisecond |
//! | others | not at all |
//!
//! After the wait the thread folds. Events for which no chunk of the trace buffer is free are in the ledger but not in
//! the trace, and are counted as lost for the trace. After a second without progress of the writer, no thread waits
//! again until the writer has freed a chunk. Each wait is counted.

use super::state;
use crate::ledger::Ledger;
use crate::profile::DataQualityMode;
use crate::ring::lane::Lane;
use crate::sys::latch;
use crate::sys::sync::Ordering;

/// Maximum wait without progress of the writer in `PerfectAccuracy`, in nanoseconds.
const STALL_NS_MAX: u64 = 1_000_000_000;
/// Maximum wait in `HighAccuracy`, in nanoseconds.
const BRIEF_NS_MAX: u64 = 1_000_000;

/// Waits, within the bound of the mode, while the trace buffer has too few free chunks.
#[inline]
pub(super) fn wait_for_trace(ledger: &Ledger, lane: &Lane, mode: DataQualityMode) {
    if ledger.trace_buffer.is_open() && ledger.trace_buffer.is_short(ledger.lanes.count()) {
        wait(ledger, lane, mode);
    }
}

/// Waits for chunks, and counts the wait.
#[cold]
fn wait(ledger: &Ledger, lane: &Lane, mode: DataQualityMode) {
    let trace_buffer = &ledger.trace_buffer;
    let bound_ns = match mode {
        DataQualityMode::PerfectAccuracy => STALL_NS_MAX,
        DataQualityMode::HighAccuracy => BRIEF_NS_MAX,
        DataQualityMode::HighThroughput | DataQualityMode::BestEffort => return,
    };
    // relaxed: only the lane's thread writes it.
    if lane.cold.own_depth.load(Ordering::Relaxed) > 0 || !trace_buffer.is_worth_waiting() {
        // Threads of heapledger must not wait for each other.
        return;
    }
    let began_ns = ledger.clock.now_ns();
    let (mut spent, mut alive_ns, mut round) = (trace_buffer.spent_so_far(), began_ns, 0u32);
    while trace_buffer.is_open() && trace_buffer.is_short(ledger.lanes.count()) && state::current().records()
    {
        latch::wait(round);
        round = round.saturating_add(1);
        let now_ns = ledger.clock.now_ns();
        if mode == DataQualityMode::PerfectAccuracy && trace_buffer.spent_so_far() != spent {
            (spent, alive_ns) = (trace_buffer.spent_so_far(), now_ns);
        }
        if now_ns.saturating_sub(alive_ns) > bound_ns {
            if mode == DataQualityMode::PerfectAccuracy {
                trace_buffer.note_stall(spent);
            }
            break;
        }
        if !trace_buffer.is_worth_waiting() {
            break;
        }
    }
    trace_buffer.count_wait(ledger.clock.now_ns().saturating_sub(began_ns));
}
