//! Completeness and cost of the tracker, the recorder of allocations under test.
//!
//! Throughput under a tracker that loses half of the events is worthless. A benchmark can therefore have a probe, which
//! reads the tracker's counters before the first user (a simulated client) starts and after the last user has finished.
//! The counters answer three questions:
//!
//! * **Conservation.** Does `observed = aggregated + dropped` hold once no event is in flight? Any difference, however
//!   small, is a bug of the tracker.
//! * **Completeness.** How large is aggregated ÷ observed? Both counts come from the tracker itself, so the ratio alone
//!   proves little.
//! * **The oracle.** Does the tracker's count equal the workload's? A workload with an exactly known number of
//!   allocations and frees gives a count that is independent of the tracker. The harness itself allocates and frees
//!   nothing between the two snapshots.
//!
//! Cost is measured in pairs of runs with the tracker on and off, in the order on, off, off, on. A drift of the machine
//! then affects both kinds of runs in the same way. The confidence interval is computed from the paired differences.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::stats::{mean, mean_interval};
use crate::profile::{LossReason, QualityIndicator};

/// Counters of a tracker at one moment. Their unit is the event (an allocation or a free), unless stated otherwise. An
/// event is *booked* when the tracker has added the event to its statistics.
///
/// The struct has only the counters that completeness needs, because it is read ten times a second while users run. The
/// memory of the tracker is in the tracker's dump. The threads of a run are in
/// [`ConcurrentTestResult::os_threads`](super::ConcurrentTestResult::os_threads).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackerSnapshot {
    /// Observed events.
    pub observed: u64,
    /// Observed events that the tracker has booked.
    pub aggregated: u64,
    /// Observed events that are not booked yet.
    pub in_flight: u64,
    /// Events lost because a buffer was full.
    pub dropped_ring_full: u64,
    /// Events lost because they occurred inside the tracker.
    pub dropped_reentrant: u64,
    /// Events lost at the end of a thread.
    pub dropped_teardown: u64,
    /// Events lost for other reasons.
    pub dropped_other: u64,
    /// Events of the tracker itself, which no other counter includes.
    pub own: u64,
    /// Age of the oldest event that is not booked yet, in nanoseconds.
    pub lag_ns: u64,
}

impl TrackerSnapshot {
    /// Returns the number of lost events.
    pub const fn dropped(&self) -> u64 {
        self.dropped_ring_full + self.dropped_reentrant + self.dropped_teardown + self.dropped_other
    }

    /// Whether every observed event is booked, lost or in flight.
    pub const fn is_conserved(&self) -> bool {
        self.observed == self.aggregated + self.dropped() + self.in_flight
    }

    /// Returns events booked ÷ (booked + lost) since `earlier`; `None` if there were none.
    pub(super) fn share_since(&self, earlier: &Self) -> Option<f64> {
        let gained = self.since(earlier);
        let ended = gained.aggregated + gained.dropped();
        (ended > 0).then(|| gained.aggregated as f64 / ended as f64)
    }

    /// Returns the increase of each counter since `earlier`. `in_flight` and `lag_ns` keep their current values.
    const fn since(&self, earlier: &Self) -> Self {
        Self {
            observed: self.observed.saturating_sub(earlier.observed),
            aggregated: self.aggregated.saturating_sub(earlier.aggregated),
            in_flight: self.in_flight,
            dropped_ring_full: self.dropped_ring_full.saturating_sub(earlier.dropped_ring_full),
            dropped_reentrant: self.dropped_reentrant.saturating_sub(earlier.dropped_reentrant),
            dropped_teardown: self.dropped_teardown.saturating_sub(earlier.dropped_teardown),
            dropped_other: self.dropped_other.saturating_sub(earlier.dropped_other),
            own: self.own.saturating_sub(earlier.own),
            lag_ns: self.lag_ns,
        }
    }
}

impl From<&QualityIndicator> for TrackerSnapshot {
    /// Takes the counts of the program's events, without the events of the tracker.
    fn from(q: &QualityIndicator) -> Self {
        let [full, reentrant, teardown] =
            [LossReason::RingFull, LossReason::Reentrant, LossReason::TlsTeardown].map(|r| q.lost.get(r));
        Self {
            observed: q.attempted.saturating_sub(q.own_events),
            aggregated: q.recorded.saturating_sub(q.own_events),
            in_flight: q.in_flight,
            dropped_ring_full: full,
            dropped_reentrant: reentrant,
            dropped_teardown: teardown,
            dropped_other: q.lost.total() - full - reentrant - teardown,
            own: q.own_events,
            lag_ns: q.lag_ns,
        }
    }
}

/// The error of a tracker that did not book all events in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{in_flight} events were still in flight: let the tracker's thread run, or wait longer")]
pub struct QuiesceError {
    /// Events still in flight.
    pub in_flight: u64,
}

/// Access to a tracker. The benchmark calls the probe while users run, so a call must not disturb the users.
pub trait TrackerProbe: Send + Sync {
    /// Returns the current counters, consistent with each other. Except for `in_flight` and `lag_ns`, the counters
    /// never decrease.
    fn snapshot(&self) -> TrackerSnapshot;

    /// Waits until all events recorded before the call are booked.
    ///
    /// # Errors
    /// Returns a [`QuiesceError`] if events are still in flight after `limit`.
    fn quiesce(&self, limit: Duration) -> Result<(), QuiesceError>;

    /// Switches the tracker on or off. Returns whether the tracker can be switched. If not, its cost is measured by
    /// comparing two processes.
    fn set_enabled(&self, _on: bool) -> bool {
        false
    }
}

/// Numbers of lost events, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropBreakdown {
    /// Events lost because a buffer was full.
    pub ring_full: u64,
    /// Events lost because they occurred inside the tracker.
    pub reentrant: u64,
    /// Events lost at the end of a thread.
    pub teardown: u64,
    /// Events lost for other reasons.
    pub other: u64,
}

impl DropBreakdown {
    /// Returns the sum over all reasons.
    pub const fn total(&self) -> u64 {
        self.ring_full + self.reentrant + self.teardown + self.other
    }
}

/// Completeness of the tracker over one run, from the start of the users to the end of the last user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LevelCompleteness {
    /// Observed events.
    pub observed: u64,
    /// Events that the tracker booked.
    pub aggregated: u64,
    /// Lost events.
    pub dropped: DropBreakdown,
    /// Events booked ÷ events observed, from 0 to 1; `None` without events.
    pub completeness: Option<f64>,
    /// Whether observed = booked + lost once no event is in flight.
    pub conserved: bool,
    /// Number of events that the workload must have caused, by its count; `None` if unknown.
    pub oracle_expected: Option<u64>,
    /// Events observed − events expected; `None` if the expected number is unknown.
    pub oracle_error: Option<i64>,
    /// Events booked ÷ (booked + lost) between the two consecutive samples with the lowest share.
    pub min_slice: Option<f64>,
    /// Events per second over the run.
    pub events_per_s: Option<f64>,
    /// Highest number of events per second between two consecutive samples.
    pub peak_events_per_s: Option<f64>,
    /// Maximum age of an event that was not booked yet, in milliseconds.
    pub lag_max_ms: f64,
    /// Whether all events were booked in time at the end.
    pub quiesced: bool,
}

impl LevelCompleteness {
    /// Computes the completeness from a snapshot before the run, one after it, and samples in between. Each sample has
    /// its time in nanoseconds.
    pub fn between(
        before: &TrackerSnapshot,
        after: &TrackerSnapshot,
        samples: &[(u64, TrackerSnapshot)],
        elapsed: Duration,
        expected: Option<u64>,
        quiesced: bool,
    ) -> Self {
        let d = after.since(before);
        let dropped = DropBreakdown {
            ring_full: d.dropped_ring_full,
            reentrant: d.dropped_reentrant,
            teardown: d.dropped_teardown,
            other: d.dropped_other,
        };
        let seconds = elapsed.as_secs_f64();
        let slices = samples.windows(2).map(|w| (w[1].0 - w[0].0, w[1].1.since(&w[0].1)));
        let rate = |(ns, s): (u64, TrackerSnapshot)| (ns > 0).then(|| s.observed as f64 * 1e9 / ns as f64);
        // The tracker recognises its own event only once the event is booked; until then the event looks like the
        // program's. At rest the program has no events in flight, so it observed exactly the events that are booked or
        // lost.
        let observed = if quiesced { d.aggregated + d.dropped() } else { d.observed };
        Self {
            observed,
            aggregated: d.aggregated,
            dropped,
            completeness: (observed > 0).then(|| d.aggregated as f64 / observed as f64),
            conserved: after.is_conserved()
                && d.observed + before.in_flight == d.aggregated + d.dropped() + d.in_flight,
            oracle_expected: expected,
            oracle_error: expected.map(|e| observed as i64 - e as i64),
            min_slice: samples.windows(2).filter_map(|w| w[1].1.share_since(&w[0].1)).reduce(f64::min),
            events_per_s: (seconds > 0.0).then(|| observed as f64 / seconds),
            peak_events_per_s: slices.filter_map(rate).reduce(f64::max),
            lag_max_ms: samples.iter().map(|(_, s)| s.lag_ns).max().unwrap_or(0) as f64 / 1e6,
            quiesced,
        }
    }

    /// Whether every event was observed and booked, and the count equals the workload's count if there is one.
    pub fn is_perfect(&self) -> bool {
        self.conserved && self.quiesced && self.dropped.total() == 0 && self.oracle_error.unwrap_or(0) == 0
    }
}

/// Cost of the tracker, from pairs of runs with the tracker on and off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Overhead {
    /// Relative loss of throughput: 1 − the geometric mean, over the pairs, of throughput on ÷ throughput off. Negative
    /// if noise exceeds the cost.
    pub throughput_loss: f64,
    /// 95 % confidence interval of `throughput_loss`, never above 1; `None` with a single pair.
    pub interval: Option<(f64, f64)>,
    /// Relative increase of the median response time.
    pub p50_rise: Option<f64>,
    /// Relative increase of the processor time per answer; `None` if not measured. Other programs do not change the
    /// processor time, so this figure is better than `throughput_loss` on a shared machine.
    pub cpu_rise: Option<f64>,
    /// 95 % confidence interval of `cpu_rise`; `None` with a single pair.
    pub cpu_interval: Option<(f64, f64)>,
    /// Number of pairs.
    pub pairs: usize,
}

/// Figures of two runs, one with the tracker on and one with it off.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct OverheadPair {
    /// Requests per second with the tracker on.
    pub on_rps: f64,
    /// Requests per second with the tracker off.
    pub off_rps: f64,
    /// Median response time with the tracker on, in milliseconds.
    pub on_p50_ms: Option<f64>,
    /// Median response time with the tracker off, in milliseconds.
    pub off_p50_ms: Option<f64>,
    /// Processor time per answer with the tracker on, in milliseconds.
    pub on_cpu_ms: Option<f64>,
    /// Processor time per answer with the tracker off, in milliseconds.
    pub off_cpu_ms: Option<f64>,
}

impl Overhead {
    /// Computes the cost over paired runs; `None` if no pair has a throughput with the tracker off.
    ///
    /// # Examples
    /// ```
    /// use heapledger::validation::{Overhead, OverheadPair};
    /// let pair = |on_rps, off_rps| OverheadPair { on_rps, off_rps, ..Default::default() };
    /// let cost = Overhead::from_pairs(&[pair(90.0, 100.0), pair(80.0, 100.0)]).unwrap();
    /// assert!((cost.throughput_loss - 0.1515).abs() < 1e-4);
    /// ```
    pub fn from_pairs(pairs: &[OverheadPair]) -> Option<Self> {
        let usable = pairs.iter().filter(|p| p.off_rps > 0.0);
        // The mean is taken over the logarithms of the ratios. A factor and its inverse then cancel, and the interval
        // of a throughput never reaches below zero.
        let rates: Vec<f64> = usable.map(|p| (p.on_rps / p.off_rps).ln()).collect();
        let ratios = |figures: fn(&OverheadPair) -> (Option<f64>, Option<f64>)| -> Vec<f64> {
            let ratio = |(on, off): (Option<f64>, Option<f64>)| Some((on? / off.filter(|o| *o > 0.0)?).ln());
            pairs.iter().filter_map(|p| ratio(figures(p))).filter(|r| r.is_finite()).collect()
        };
        let rise = |of: &[f64]| mean(of).map(f64::exp_m1);
        let between = |of: &[f64]| {
            let ends = mean_interval(of).map(|(_, (low, high))| (low.exp_m1(), high.exp_m1()));
            ends.filter(|(low, high)| low.is_finite() && high.is_finite())
        };
        let cpu = ratios(|p| (p.on_cpu_ms, p.off_cpu_ms));
        Some(Self {
            throughput_loss: -rise(&rates)?,
            interval: between(&rates).map(|(low, high)| (-high, -low)),
            p50_rise: rise(&ratios(|p| (p.on_p50_ms, p.off_p50_ms))),
            cpu_rise: rise(&cpu),
            cpu_interval: between(&cpu),
            pairs: rates.len(),
        })
    }

    /// Whether the loss of throughput is known to within a factor of two. If not, the pairs show only that the
    /// throughputs differ.
    pub fn is_telling(&self) -> bool {
        is_telling(-self.throughput_loss, self.interval.map(|(low, high)| (-high, -low)))
    }
}

/// Whether a relative change is known to within a factor of two. Without an interval, the change itself must be at most
/// a factor of two.
pub(super) fn is_telling(change: f64, interval: Option<(f64, f64)>) -> bool {
    match interval {
        Some((low, high)) => 1.0 + high <= 2.0 * (1.0 + low),
        None => (-0.5..=1.0).contains(&change),
    }
}

/// Returns the order of runs with the tracker on (`true`) and off: A B B A repeatedly, `pairs` runs of each.
pub fn interleaved(pairs: usize) -> impl Iterator<Item = bool> {
    (0..2 * pairs).map(|i| matches!(i % 4, 0 | 3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(observed: u64, aggregated: u64, ring_full: u64, in_flight: u64) -> TrackerSnapshot {
        TrackerSnapshot {
            observed,
            aggregated,
            dropped_ring_full: ring_full,
            in_flight,
            ..Default::default()
        }
    }

    fn between(b: TrackerSnapshot, a: TrackerSnapshot, expected: Option<u64>) -> LevelCompleteness {
        LevelCompleteness::between(&b, &a, &[], Duration::from_secs(2), expected, true)
    }

    #[test]
    fn all_booked_is_one_and_perfect() {
        let l = between(snapshot(10, 10, 0, 0), snapshot(1010, 1010, 0, 0), Some(1000));
        assert_eq!((l.completeness, l.oracle_error, l.is_perfect()), (Some(1.0), Some(0), true));
        assert_eq!(l.events_per_s, Some(500.0));
    }

    #[test]
    fn losses_and_the_oracle_are_told_apart() {
        let l = between(snapshot(0, 0, 0, 0), snapshot(1000, 900, 100, 0), Some(1000));
        assert_eq!((l.completeness, l.dropped.ring_full, l.conserved), (Some(0.9), 100, true));
        assert!(!l.is_perfect());
        // The tracker claims that it observed and booked all events; the oracle disproves the claim.
        let l = between(snapshot(0, 0, 0, 0), snapshot(900, 900, 0, 0), Some(1000));
        assert_eq!((l.completeness, l.oracle_error, l.is_perfect()), (Some(1.0), Some(-100), false));
        // An event that is neither booked nor lost is a bug of the tracker.
        let l = between(snapshot(0, 0, 0, 0), snapshot(1000, 900, 99, 0), None);
        assert!(!l.conserved && !l.is_perfect());
    }

    #[test]
    fn an_event_of_the_trackers_own_in_flight_is_none_of_the_programs() {
        for (before, after) in [(1, 0), (0, 1), (1, 1)] {
            let (before, after) =
                (snapshot(10 + before, 10, 0, before), snapshot(1010 + after, 1010, 0, after));
            let l = between(before, after, Some(1000));
            assert_eq!(
                (l.observed, l.completeness, l.oracle_error, l.conserved),
                (1000, Some(1.0), Some(0), true)
            );
        }
    }

    #[test]
    fn nothing_observed_has_no_completeness() {
        let l = between(snapshot(5, 5, 0, 0), snapshot(5, 5, 0, 0), Some(0));
        assert_eq!((l.completeness, l.is_perfect()), (None, true));
    }

    #[test]
    fn the_worst_slice_is_kept() {
        let samples =
            [(0, snapshot(0, 0, 0, 0)), (100, snapshot(100, 50, 50, 0)), (200, snapshot(300, 250, 50, 0))];
        let l = LevelCompleteness::between(
            &samples[0].1,
            &samples[2].1,
            &samples,
            Duration::from_nanos(200),
            None,
            true,
        );
        assert_eq!(l.min_slice, Some(0.5));
        assert_eq!(l.peak_events_per_s, Some(2e9));
    }

    #[test]
    fn cost_comes_from_pairs_in_balanced_order() {
        assert_eq!(interleaved(2).collect::<Vec<_>>(), [true, false, false, true]);
        let pair = |on_rps, off_rps| OverheadPair {
            on_rps,
            off_rps,
            on_p50_ms: Some(1.1),
            off_p50_ms: Some(1.0),
            on_cpu_ms: Some(1.3),
            off_cpu_ms: Some(1.0),
        };
        let o = Overhead::from_pairs(&[pair(95.0, 100.0), pair(93.0, 100.0), pair(94.0, 100.0)]).unwrap();
        let (low, high) = o.interval.unwrap();
        assert!((o.throughput_loss - 0.06).abs() < 1e-4 && low < 0.06 && high > 0.06 && o.pairs == 3);
        assert!((o.p50_rise.unwrap() - 0.1).abs() < 1e-9 && (o.cpu_rise.unwrap() - 0.3).abs() < 1e-9);
        assert!(o.is_telling());
        assert_eq!(Overhead::from_pairs(&[pair(1.0, 0.0)]), None);
    }

    /// Computed without logarithms, the interval of these three unequal pairs was −209 to +260 %.
    #[test]
    fn no_interval_of_a_throughput_reaches_below_nothing() {
        let pair = |on_rps, off_rps| OverheadPair { on_rps, off_rps, ..Default::default() };
        let o = Overhead::from_pairs(&[pair(30.0, 100.0), pair(300.0, 100.0), pair(90.0, 100.0)]).unwrap();
        let (low, high) = o.interval.unwrap();
        assert!(low < 0.0 && high <= 1.0 && !o.is_telling(), "{o:?}");
        // A factor and its inverse are no change.
        let o = Overhead::from_pairs(&[pair(50.0, 100.0), pair(200.0, 100.0)]).unwrap();
        assert!(o.throughput_loss.abs() < 1e-12, "{o:?}");
        // A pair without an answer with the tracker on loses everything, and gives no interval.
        let o = Overhead::from_pairs(&[pair(0.0, 100.0), pair(90.0, 100.0)]).unwrap();
        assert_eq!((o.throughput_loss, o.interval), (1.0, None));
    }
}
