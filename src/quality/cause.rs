//! The cause that weighs most on the quality of the data.
//!
//! There is one cause at a time, because there is one recommendation. The order is that of harm: events that are
//! missing come before pairings that do not add up (which are often a consequence of what is missing), those before
//! what was left out by choice, and figures that are complete but slow to come last. Among the losses, the newest
//! window speaks first: what was lost in it can be helped now; what was lost before can be helped in the next run.

use serde::{Deserialize, Serialize};

use super::monitor::QualityWindow;
use crate::profile::{LossReason, QualityIndicator};

/// Waiting more often than once in this many events is too often: a wait takes up to some ten microseconds, a nanosecond or
/// more for each of the events.
pub const EVENTS_PER_WAIT_MIN: u64 = 10_000;
/// Figures are out of date when the oldest event in flight is older than this, in nanoseconds: ten seconds.
pub const LAG_NS_MAX: u64 = 10_000_000_000;

/// The cause that weighs most on the quality of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum QualityCause {
    /// There is none.
    None,
    /// Nothing is recorded: no `HeapLedger` is the global allocator.
    NotInstalled,
    /// Events were lost, most of them for this reason.
    Lost(LossReason),
    /// Frees without an allocation, though no event was lost.
    UnmatchedFrees,
    /// Allocations of addresses that were still in use, though no event was lost.
    DoubleAllocations,
    /// Frees that could belong to two blocks.
    AmbiguousPairings,
    /// Frees with another size than the allocation's.
    LayoutMismatches,
    /// Events were left out by sampling.
    SampledOut,
    /// Threads with a full ring waited more than once in [`EVENTS_PER_WAIT_MIN`] events.
    Waits,
    /// Events in flight are older than [`LAG_NS_MAX`].
    Lag,
}

/// The cause, from the counters of the lifetime and, if there is one, of the newest window.
pub fn cause(quality: &QualityIndicator, newest: Option<&QualityWindow>) -> QualityCause {
    if !quality.installed {
        return QualityCause::NotInstalled;
    }
    if let Some(reason) = newest.and_then(QualityWindow::cause).or_else(|| quality.lost.dominant()) {
        return QualityCause::Lost(reason);
    }
    let anomalies = &quality.anomalies;
    // While events are in flight, a free may only be booked before its allocation, and so an address may seem to be in use.
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

/// Whether threads wait too often, in the newest window if there is one: earlier waits cost nothing now.
fn waits_too_often(quality: &QualityIndicator, newest: Option<&QualityWindow>) -> bool {
    let (waits, recorded) = waits_among(quality, newest);
    waits.saturating_mul(EVENTS_PER_WAIT_MIN) > recorded
}

/// Waits, and the events recorded in the same time.
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
