//! Queries of the running process, and changes of its settings.

use super::access::{tracked_report, whole_profile, with_ledger};
use crate::aggregator::{self, background, counters, monitor, tuning};
use crate::ledger::estimate;
use crate::profile::{self, DataQualityMode, HeapStats, Profile, QualityIndicator};
use crate::quality::{DecisionLog, Degradation, WorkloadCharacteristics};
use crate::recorder::internal::RecordingPaused;
use crate::recorder::{background_thread, state, thread};
use crate::tracked::{self, TrackedReport};

/// Whether a [`HeapLedger`](crate::HeapLedger) is the global allocator of this process and has recorded an event.
///
/// Also returns `false` if `HEAPLEDGER=off` disabled the recording. Then all figures of every query are zero, and
/// [`QualityIndicator::installed`] is `false`.
pub fn is_installed() -> bool {
    state::ledger().is_some()
}

/// Books all events that any thread recorded before the call.
///
/// After this call, queries include every event that had returned before the call. Other threads are not stopped. If
/// several threads call `flush` at the same time, they share the work.
pub fn flush() {
    with_ledger(background::flush);
}

/// Returns the current completeness of the data. See [`QualityIndicator`].
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
        // No ledger could be opened, or this is a forked child without a ledger. All events of such a process are lost.
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

/// Returns the totals of the heap as of the last booking. The totals are exact after [`flush`], while no other thread
/// allocates.
///
/// If events were lost, the totals are lower bounds. [`HeapStats::coverage`] has the number of lost events, and the
/// `Display` of the totals states it.
///
/// All totals are zero if no [`HeapLedger`](crate::HeapLedger) is installed (see [`is_installed`]).
///
/// ```
/// println!("{}", heapledger::stats());
/// ```
pub fn stats() -> HeapStats {
    with_ledger(|ledger, scope| {
        let _paused = RecordingPaused::enter(scope);
        counters::stats(ledger)
    })
    .unwrap_or_default()
}

/// Sets the name of the calling thread in dumps and reports. Keeps the first 47 bytes of the name.
///
/// Without this call, a thread has the name that the system keeps, which is cut to 15 bytes. A thread can give its
/// whole name when it starts; thread pools have a hook for this:
///
/// ```
/// std::thread::Builder::new().name("connection-acceptor-1".into()).spawn(|| {
///     heapledger::name_thread(std::thread::current().name().unwrap_or_default());
/// });
/// ```
pub fn name_thread(name: &str) {
    with_ledger(|ledger, scope| {
        if let Some(lane) = scope.lane() {
            let _paused = RecordingPaused::enter(scope);
            thread::set_name(ledger, lane, name);
        }
    });
}

/// Returns estimates for all blocks, computed from the samples of a sampling mode, with standard errors. While every
/// block is recorded and no event is lost, the figures are exact and their errors are zero. If events were lost, the
/// totals are lower bounds, and the errors do not cover the lost events ([`profile::Estimates::coverage`]). All figures
/// are zero if no [`HeapLedger`](crate::HeapLedger) is installed.
///
/// The totals of [`stats`] are exact in every mode, because events that are sampled out are counted with their size.
/// Estimates are for questions that need the sampled blocks themselves. A comparison with the totals shows how good the
/// sample is.
pub fn estimates() -> profile::Estimates {
    with_ledger(|ledger, scope| {
        let _paused = RecordingPaused::enter(scope);
        counters::estimates(ledger)
    })
    .unwrap_or_default()
}

/// Changes the quality mode of the running process. Each thread uses the new mode from its next event on. Every later
/// snapshot and dump lists the change, with its time. Has no effect without an installed
/// [`HeapLedger`](crate::HeapLedger).
///
/// ```
/// heapledger::set_mode(heapledger::DataQualityMode::HighThroughput);
/// ```
pub fn set_mode(mode: DataQualityMode) {
    change_recording(|| state::set_mode(mode));
}

/// Changes the level of recording: the detail in which events are recorded. Each thread uses the new level from its
/// next event on; the stack of that event may still be taken by the previous level. Every later snapshot and dump lists
/// the change, with its time.
///
/// Events that are not recorded are counted with their size, so [`stats`] stays exact at every level. Only recorded
/// events have a stack and a time.
pub fn set_degradation(degradation: Degradation) {
    change_recording(|| state::set_level(tuning::level_of(degradation)));
}

/// Changes a setting by which events are recorded or sampled out. Then books all earlier events, so that the transition
/// ends at once if no other thread records.
fn change_recording(change: impl FnOnce()) {
    with_ledger(|ledger, scope| {
        {
            let _paused = RecordingPaused::enter(scope);
            change();
        }
        if ledger.live.is_in_transition() {
            background::flush(ledger, scope);
        }
    });
    background_thread::start_if_needed();
}

/// Changes the mean number of bytes between two sampled blocks. `bytes` is rounded up to a power of two from 1 KiB to
/// 16 MiB. Blocks that are already sampled keep their weight.
pub fn set_sampling_bytes(bytes: u64) {
    with_ledger(|_, scope| {
        let _paused = RecordingPaused::enter(scope);
        state::set_sampling_rate(estimate::rate_of(bytes));
    });
}

/// Returns the decisions that the tuner of [`HeapLedger::auto_tune`](crate::HeapLedger::auto_tune) has made so far,
/// each with the figures that led to it. The log is empty if there is no tuner.
pub fn tuner_log() -> DecisionLog {
    with_ledger(|_, _| tuning::log()).unwrap_or_default()
}

impl WorkloadCharacteristics {
    /// Returns the workload of the running process: its threads, rate and waits as measured so far, and the needs that
    /// the mode in force implies. All measurements are zero if no [`HeapLedger`](crate::HeapLedger) is installed.
    pub fn measured() -> WorkloadCharacteristics {
        with_ledger(|ledger, scope| {
            let _paused = RecordingPaused::enter(scope);
            let threads = counters::program_threads(ledger);
            WorkloadCharacteristics::from_counters(&counters::quality(ledger), threads, ledger.clock.now_ns())
        })
        .unwrap_or_else(|| WorkloadCharacteristics::from_counters(&QualityIndicator::default(), 0, 0))
    }
}

/// Returns all figures of the heap at one moment, or `None` if no [`HeapLedger`](crate::HeapLedger) is installed.
///
/// The ledger is frozen while its figures are copied. Other threads continue to record. If several threads call
/// `snapshot` at the same time, they get copies of one snapshot, which began after all these calls.
pub fn snapshot() -> Option<Profile> {
    with_ledger(|ledger, scope| background::snapshot(|| whole_profile(ledger, scope, "request")))
}

/// Returns the last events that the bounded history holds, oldest first. The list is empty if no
/// [`HeapLedger`](crate::HeapLedger) is installed.
///
/// Events of heapledger's blocks are omitted. The program itself frees the results of heapledger's functions, such as
/// this list. The history recognises such a free by the allocation of the result. If the history of the thread no
/// longer has that allocation, the free is listed as if the block were the program's. The ledger and all sums count the
/// free correctly in any case.
pub fn history() -> Vec<profile::Event> {
    flush();
    with_ledger(aggregator::history::history).unwrap_or_default()
}

/// Returns the figures of the program's [`Tracked`](crate::Tracked) pointers. The pointers are counted even without an
/// installed [`HeapLedger`](crate::HeapLedger). Figures of events that pass through the rings are as of the last
/// booking (see [`flush`]).
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
