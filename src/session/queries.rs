//! Queries of the running process, and the settings that can change while it runs.

use super::access::{tracked_report, whole_profile, with_ledger};
use crate::aggregator::{self, counters, monitor, tuning};
use crate::ledger::estimate;
use crate::profile::{self, DataQualityMode, HeapStats, Profile, QualityIndicator};
use crate::quality::{DecisionLog, Degradation, WorkloadCharacteristics};
use crate::recorder::internal::RecordingPaused;
use crate::recorder::state;
use crate::tracked::{self, TrackedReport};

/// Whether a [`HeapLedger`](crate::HeapLedger) is the global allocator of this process and records (or has recorded).
///
/// `false` also when `HEAPLEDGER=off` switched it off. Then every query returns zeros and says so.
pub fn is_installed() -> bool {
    state::ledger().is_some()
}

/// Books all that any thread recorded before the call.
///
/// When it returns, queries see every event that had returned before it was called. Other threads are not stopped.
pub fn flush() {
    with_ledger(|ledger, scope| {
        if let Some(lane) = scope.lane() {
            let _paused = RecordingPaused::enter(scope);
            ledger.flush(lane);
        }
    });
}

/// How complete the data is, now. See [`QualityIndicator`].
///
/// ```
/// let quality = heapledger::quality();
/// assert!(quality.is_conserved());
/// ```
pub fn quality() -> QualityIndicator {
    let quality = with_ledger(|ledger, scope| {
        let counters = {
            let _paused = RecordingPaused::enter(scope);
            counters::quality(ledger)
        };
        monitor::indicator(counters, aggregator::history::retained(ledger, scope), ledger.clock.now_ns())
    });
    quality.unwrap_or_else(|| {
        // No ledger could be opened, or this is a forked child that is to have none: if there were events, all of
        // them are lost, and that is what it says.
        let lost = state::lost_without_lane();
        let attempted = lost.total();
        QualityIndicator {
            installed: attempted > 0,
            current_completeness: QualityIndicator::completeness_of(0, attempted),
            attempted,
            lost,
            ..QualityIndicator::default()
        }
    })
}

/// Totals of the heap as of the last booking; exact after [`flush`], while no other thread allocates.
///
/// All zeros when no [`HeapLedger`](crate::HeapLedger) is installed (see [`is_installed`]).
pub fn stats() -> HeapStats {
    with_ledger(|ledger, scope| {
        let _paused = RecordingPaused::enter(scope);
        counters::stats(ledger)
    })
    .unwrap_or_default()
}

/// What the samples of a sampling mode say of all blocks, with their standard errors; exact figures with an error of
/// zero while every block is recorded. All zeros when no [`HeapLedger`](crate::HeapLedger) is installed.
///
/// The totals of [`stats`] are exact in every mode, because events that sampling leaves out are counted with their
/// size. Estimates are for what needs the sample itself; comparing the two shows how good the sample is.
pub fn estimates() -> profile::Estimates {
    with_ledger(|ledger, scope| {
        let _paused = RecordingPaused::enter(scope);
        counters::estimates(ledger)
    })
    .unwrap_or_default()
}

/// Changes the quality mode of the running process. Each thread follows at its next event; the change, with its
/// time, is in every later snapshot and dump. Without an installed [`HeapLedger`](crate::HeapLedger) nothing happens.
///
/// ```
/// heapledger::set_mode(heapledger::DataQualityMode::HighThroughput);
/// ```
pub fn set_mode(mode: DataQualityMode) {
    with_ledger(|_, scope| {
        let _paused = RecordingPaused::enter(scope);
        state::set_mode(mode);
    });
}

/// Takes a step on the ladder of degradation, up or down: how much of each event is recorded. Each thread follows at
/// its next event, whose stack may still be taken, or not, as before; the step, with its time, is in every later
/// snapshot and dump.
///
/// What is left out is counted with its size, so [`stats`] stays exact on every rung; who allocated and when is known
/// of what was recorded only.
pub fn set_degradation(degradation: Degradation) {
    with_ledger(|_, scope| {
        let _paused = RecordingPaused::enter(scope);
        state::set_level(tuning::level_of(degradation));
    });
}

/// Changes how much is sampled while blocks are sampled: the mean distance between two samples, in bytes, rounded up
/// to a power of two from 1 KiB to 16 MiB. Blocks that were sampled before keep their weight.
pub fn set_sampling_bytes(bytes: u64) {
    with_ledger(|_, scope| {
        let _paused = RecordingPaused::enter(scope);
        state::set_sampling_rate(estimate::rate_of(bytes));
    });
}

/// What the tuner of [`HeapLedger::auto_tune`] decided so far, each decision with the figures that led to it. Empty
/// when there is none.
pub fn tuner_log() -> DecisionLog {
    with_ledger(|_, _| tuning::log()).unwrap_or_default()
}

impl WorkloadCharacteristics {
    /// What the running process asks of its recorder: threads, rate and waits as measured so far; what the user wants
    /// is taken from the mode in force. Zeros when no [`HeapLedger`](crate::HeapLedger) is installed.
    pub fn measured() -> WorkloadCharacteristics {
        with_ledger(|ledger, scope| {
            let _paused = RecordingPaused::enter(scope);
            let threads = counters::program_threads(ledger);
            WorkloadCharacteristics::from_counters(&counters::quality(ledger), threads, ledger.clock.now_ns())
        })
        .unwrap_or_else(|| WorkloadCharacteristics::from_counters(&QualityIndicator::default(), 0, 0))
    }
}

/// Everything that is known of the heap, as of one moment; `None` when no [`HeapLedger`](crate::HeapLedger) is installed.
///
/// Books are held for as long as copying takes; other threads go on recording.
pub fn snapshot() -> Option<Profile> {
    with_ledger(|ledger, scope| whole_profile(ledger, scope, "request"))
}

/// The last events that the bounded history holds, newest last. Empty when no [`HeapLedger`](crate::HeapLedger) is installed.
///
/// heapledger's own events are left out. The program's free of an answer that heapledger gave it, such as this list, is
/// known for one by the answer's allocation: where that is no longer in the same thread's part of the history, the free
/// is listed as if its block were the program's. The books and all sums know better.
pub fn history() -> Vec<profile::Event> {
    flush();
    with_ledger(aggregator::history::history).unwrap_or_default()
}

/// What is known of the program's [`Tracked`](crate::Tracked) pointers. They are counted whether a [`HeapLedger`](crate::HeapLedger) is
/// installed or not; what of it went through the rings is told as of the last booking (see [`flush`]).
pub fn tracked() -> TrackedReport {
    with_ledger(|ledger, _| tracked_report(ledger)).unwrap_or_else(tracked::report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{DumpError, dump};

    #[test]
    fn without_an_installed_allocator_queries_say_so() {
        assert!(!is_installed());
        assert!(!quality().installed);
        assert_eq!(stats(), HeapStats::default());
        assert!(snapshot().is_none() && history().is_empty());
        assert!(matches!(dump("/dev/null"), Err(DumpError::NotInstalled)));
    }
}
