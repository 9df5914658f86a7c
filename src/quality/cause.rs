//! The cause that harms the quality of the data most.
//!
//! An indicator has one recommendation, so only one cause is returned. Causes are checked in descending order of harm:
//! lost events, inconsistent pairings of allocations and frees, events that were sampled out, waits of threads, and
//! figures that are out of date. Losses in the newest window come before earlier losses, because a new setting can
//! still stop them in this run.

use serde::{Deserialize, Serialize};

use super::monitor::QualityWindow;
use crate::profile::{LossReason, QualityIndicator};

/// Minimum number of events per wait. With fewer events per wait, threads wait too often. At this number, a wait of ten
/// microseconds costs one nanosecond per event.
pub const EVENTS_PER_WAIT_MIN: u64 = 10_000;
/// Maximum age of the oldest event in flight, in nanoseconds: ten seconds. If the event is older, the figures are out
/// of date.
pub const LAG_NS_MAX: u64 = 10_000_000_000;

/// The cause that harms the quality of the data most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum QualityCause {
    /// Nothing harms the data.
    None,
    /// No event is recorded, because no `HeapLedger` is the global allocator.
    NotInstalled,
    /// Events were lost, most of them for the given reason.
    Lost(LossReason),
    /// There are frees without an allocation, although no event was lost.
    UnmatchedFrees,
    /// There are allocations at addresses that were still in use, although no event was lost.
    DoubleAllocations,
    /// There are frees that could belong to either of two blocks.
    AmbiguousPairings,
    /// There are frees with another size than the allocation.
    LayoutMismatches,
    /// Events were sampled out.
    SampledOut,
    /// Threads with a full ring waited more than once in [`EVENTS_PER_WAIT_MIN`] events.
    Waits,
    /// The oldest event in flight is older than [`LAG_NS_MAX`].
    Lag,
}

/// Returns the cause, from the counters of the whole process and of the newest window, if there is one.
pub fn cause(quality: &QualityIndicator, newest: Option<&QualityWindow>) -> QualityCause {
    if !quality.installed {
        return QualityCause::NotInstalled;
    }
    if let Some(reason) = newest.and_then(QualityWindow::cause).or_else(|| quality.lost.dominant()) {
        return QualityCause::Lost(reason);
    }
    let anomalies = &quality.anomalies;
    // While events are in flight, a free may be booked before its allocation. Then its address may seem to be unknown
    // or still in use.
    let none_in_flight = quality.in_flight == 0;
    let found = [
        (none_in_flight && anomalies.unmatched_frees > 0, QualityCause::UnmatchedFrees),
        (none_in_flight && anomalies.double_allocations > 0, QualityCause::DoubleAllocations),
        (anomalies.layout_mismatches > 0, QualityCause::LayoutMismatches),
        (anomalies.ambiguous_pairings > 0, QualityCause::AmbiguousPairings),
        (quality.sampled_out > 0, QualityCause::SampledOut),
        (waits_too_often(quality, newest), QualityCause::Waits),
        (quality.in_flight > 0 && quality.lag_ns > LAG_NS_MAX, QualityCause::Lag),
    ];
    found.into_iter().find(|(applies, _)| *applies).map_or(QualityCause::None, |(_, cause)| cause)
}

/// Whether threads wait too often. If there is a newest window, earlier waits do not count, because they no longer slow
/// down the program.
fn waits_too_often(quality: &QualityIndicator, newest: Option<&QualityWindow>) -> bool {
    let (waits, recorded) = waits_among(quality, newest);
    waits.saturating_mul(EVENTS_PER_WAIT_MIN) > recorded
}

/// Returns the number of waits, and the number of events recorded in the same time.
pub(super) fn waits_among(quality: &QualityIndicator, newest: Option<&QualityWindow>) -> (u64, u64) {
    newest.map_or((quality.waits, quality.recorded), |window| (window.waits, window.recorded))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::LossCounts;

    fn calm() -> QualityIndicator {
        QualityIndicator { installed: true, recorded: 1_000_000, ..QualityIndicator::default() }
    }

    fn losing(reason: LossReason) -> LossCounts {
        let mut lost = LossCounts::default();
        lost.add(reason, 1);
        lost
    }

    #[test]
    fn each_cause_follows_from_its_counters() {
        type Plant = fn(&mut QualityIndicator);
        let table: [(QualityCause, Plant); 10] = [
            (QualityCause::None, |_| ()),
            (QualityCause::NotInstalled, |q| q.installed = false),
            (QualityCause::Lost(LossReason::TableFull), |q| q.lost = losing(LossReason::TableFull)),
            (QualityCause::UnmatchedFrees, |q| q.anomalies.unmatched_frees = 1),
            (QualityCause::DoubleAllocations, |q| q.anomalies.double_allocations = 1),
            (QualityCause::AmbiguousPairings, |q| q.anomalies.ambiguous_pairings = 1),
            (QualityCause::LayoutMismatches, |q| q.anomalies.layout_mismatches = 1),
            (QualityCause::SampledOut, |q| q.sampled_out = 1),
            (QualityCause::Waits, |q| q.waits = 101),
            (QualityCause::Lag, |q| (q.in_flight, q.lag_ns) = (1, LAG_NS_MAX + 1)),
        ];
        for (expected, plant) in table {
            let mut quality = calm();
            plant(&mut quality);
            assert_eq!(cause(&quality, None), expected);
        }
    }

    #[test]
    fn what_passes_by_itself_is_no_cause() {
        let mut quality = calm();
        (quality.in_flight, quality.lag_ns, quality.waits) = (5, LAG_NS_MAX, 100);
        quality.anomalies.unmatched_frees = 3;
        quality.anomalies.double_allocations = 3;
        assert_eq!(cause(&quality, None), QualityCause::None);
    }

    #[test]
    fn the_newest_window_speaks_before_the_lifetime() {
        let mut quality = calm();
        quality.lost.add(LossReason::RingFull, 1_000);
        quality.lost.add(LossReason::Reentrant, 1);
        let losing =
            QualityWindow { lost: losing(LossReason::Reentrant), recorded: 9, ..QualityWindow::default() };
        assert_eq!(cause(&quality, Some(&losing)), QualityCause::Lost(LossReason::Reentrant));
        let clean = QualityWindow { recorded: 9, ..QualityWindow::default() };
        assert_eq!(cause(&quality, Some(&clean)), QualityCause::Lost(LossReason::RingFull));
    }

    #[test]
    fn waits_count_against_the_events_of_the_same_time() {
        let quality = QualityIndicator { waits: 1_000_000, ..calm() };
        let now = |waits, recorded| QualityWindow { waits, recorded, ..QualityWindow::default() };
        assert_eq!(cause(&quality, Some(&now(0, 0))), QualityCause::None);
        assert_eq!(cause(&quality, Some(&now(1, 10_000))), QualityCause::None);
        assert_eq!(cause(&quality, Some(&now(1, 9_999))), QualityCause::Waits);
    }
}
