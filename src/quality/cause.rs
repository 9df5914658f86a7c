//! What weighs most on the quality of the data.
//!
//! There is one cause at a time, because there is one recommendation. The order is that of harm: events that are
//! missing come before pairings that do not add up (which are often a consequence of what is missing), those before
//! what was left out by choice, and figures that are complete but slow to come last. Among the losses, the newest
//! window speaks first: what was lost in it can be helped now; what was lost before can be helped in the next run.

use serde::{Deserialize, Serialize};

use super::monitor::Window;
use crate::profile::{LossReason, QualityIndicator};

/// Events for which one wait is too much: a wait is up to some ten microseconds, which would be a nanosecond and more
/// for each of so many events.
pub const EVENTS_PER_WAIT_MIN: u64 = 10_000;
/// Age of the oldest event in flight, in nanoseconds, from which figures are out of date: ten seconds.
pub const LAG_NS_MAX: u64 = 10_000_000_000;

/// The one thing that weighs most on the quality of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Cause {
    /// Nothing does.
    None,
    /// Nothing is recorded: no `HeapLedger` is the global allocator.
    NotInstalled,
    /// Events were lost, most of them for this reason.
    Lost(LossReason),
    /// Frees that no allocation accounts for, though nothing was lost.
    UnmatchedFrees,
    /// Allocations of addresses that were still taken, though nothing was lost.
    DoubleAllocations,
    /// Frees that two blocks could account for.
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
pub fn cause(quality: &QualityIndicator, newest: Option<&Window>) -> Cause {
    if !quality.installed {
        return Cause::NotInstalled;
    }
    if let Some(reason) = newest.and_then(Window::cause).or_else(|| quality.lost.dominant()) {
        return Cause::Lost(reason);
    }
    let anomalies = &quality.anomalies;
    // While events are in flight, a free can merely be booked before its allocation, which makes a taken address, too.
    let settled = quality.in_flight == 0;
    let found = [
        (settled && anomalies.unmatched_frees > 0, Cause::UnmatchedFrees),
        (settled && anomalies.double_allocations > 0, Cause::DoubleAllocations),
        (anomalies.layout_mismatches > 0, Cause::LayoutMismatches),
        (anomalies.ambiguous_pairings > 0, Cause::AmbiguousPairings),
        (quality.sampled_out > 0, Cause::SampledOut),
        (waits_too_often(quality, newest), Cause::Waits),
        (quality.in_flight > 0 && quality.lag_ns > LAG_NS_MAX, Cause::Lag),
    ];
    found.into_iter().find(|(applies, _)| *applies).map_or(Cause::None, |(_, cause)| cause)
}

/// The newest window decides, if there is one: waits of long ago cost nothing now.
fn waits_too_often(quality: &QualityIndicator, newest: Option<&Window>) -> bool {
    let (waits, recorded) = waits_among(quality, newest);
    waits.saturating_mul(EVENTS_PER_WAIT_MIN) > recorded
}

/// Waits, and the events among which they were.
pub(super) fn waits_among(quality: &QualityIndicator, newest: Option<&Window>) -> (u64, u64) {
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
        let table: [(Cause, Plant); 10] = [
            (Cause::None, |_| ()),
            (Cause::NotInstalled, |q| q.installed = false),
            (Cause::Lost(LossReason::TableFull), |q| q.lost = losing(LossReason::TableFull)),
            (Cause::UnmatchedFrees, |q| q.anomalies.unmatched_frees = 1),
            (Cause::DoubleAllocations, |q| q.anomalies.double_allocations = 1),
            (Cause::AmbiguousPairings, |q| q.anomalies.ambiguous_pairings = 1),
            (Cause::LayoutMismatches, |q| q.anomalies.layout_mismatches = 1),
            (Cause::SampledOut, |q| q.sampled_out = 1),
            (Cause::Waits, |q| q.waits = 101),
            (Cause::Lag, |q| (q.in_flight, q.lag_ns) = (1, LAG_NS_MAX + 1)),
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
        assert_eq!(cause(&quality, None), Cause::None);
    }

    #[test]
    fn the_newest_window_speaks_before_the_lifetime() {
        let mut quality = calm();
        quality.lost.add(LossReason::RingFull, 1_000);
        quality.lost.add(LossReason::Reentrant, 1);
        let losing = Window { lost: losing(LossReason::Reentrant), recorded: 9, ..Window::default() };
        assert_eq!(cause(&quality, Some(&losing)), Cause::Lost(LossReason::Reentrant));
        let clean = Window { recorded: 9, ..Window::default() };
        assert_eq!(cause(&quality, Some(&clean)), Cause::Lost(LossReason::RingFull));
    }

    #[test]
    fn waits_count_against_the_events_of_the_same_time() {
        let quality = QualityIndicator { waits: 1_000_000, ..calm() };
        let now = |waits, recorded| Window { waits, recorded, ..Window::default() };
        assert_eq!(cause(&quality, Some(&now(0, 0))), Cause::None);
        assert_eq!(cause(&quality, Some(&now(1, 10_000))), Cause::None);
        assert_eq!(cause(&quality, Some(&now(1, 9_999))), Cause::Waits);
    }
}
