//! The completeness of the data: counters, and figures derived from the counters.

use serde::{Deserialize, Serialize};

use super::loss::LossCounts;
use super::settings::DataQualityMode;

/// Number of events that a set of figures contains, and number of lost events that the figures lack.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Number of events that were recorded.
    pub recorded_events: u64,
    /// Number of events that were lost. The figures do not contain them.
    pub lost_events: u64,
}

impl Coverage {
    /// Returns recorded ÷ (recorded + lost), from 0 to 1. Returns 1 if both are zero.
    pub fn completeness(&self) -> f64 {
        QualityIndicator::completeness_of(self.recorded_events, self.lost_events)
    }

    /// Whether no event was lost. If events were lost, totals are lower bounds.
    pub fn is_complete(&self) -> bool {
        self.lost_events == 0
    }
}

/// A figure that was estimated from a sample, and its error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The estimate. It is unbiased: over many samples it is right on average.
    pub value: f64,
    /// One standard error, in the unit of the value. For bytes, the true value is within three standard errors of the
    /// estimate in more than 99 % of all samples. For numbers of very small blocks, this percentage is slightly lower,
    /// because one sampled block represents thousands of blocks.
    pub standard_error: f64,
}

impl std::ops::Add for Estimate {
    type Output = Estimate;

    /// Returns the estimate of the sum of two independently sampled figures.
    fn add(self, other: Estimate) -> Estimate {
        let standard_error = self.standard_error.hypot(other.standard_error);
        Estimate { value: self.value + other.value, standard_error }
    }
}

/// Estimates for all blocks, from a sample and from the blocks that were recorded exactly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimates {
    /// Number of blocks allocated so far.
    pub total_blocks: Estimate,
    /// Bytes allocated so far.
    pub total_bytes: Estimate,
    /// Number of blocks that are live now.
    pub live_blocks: Estimate,
    /// Bytes that are live now.
    pub live_bytes: Estimate,
    /// Mean number of bytes allocated from one sampled block to the next. 0 while every block is recorded.
    pub mean_bytes_between_samples: u64,
    /// Number of blocks sampled so far.
    pub sampled_blocks: u64,
    /// Numbers of events that the estimates contain and lack. If events were lost, the estimated totals are lower
    /// bounds, and the standard errors do not cover the lost events.
    #[serde(default)]
    pub coverage: Coverage,
}

/// Number of buckets of [`TurnTimes::durations`].
pub const TURN_BUCKETS: usize = 32;

/// Durations of the slow path of recording.
///
/// Most events take the short path, which only writes to the ring. The short path lasts a few nanoseconds, less than
/// two readings of a clock, so it is not measured. About one event in eighty takes the slow path, because the current
/// *window* (a run of words behind one time stamp) is full. On the slow path the thread writes a time stamp and
/// sometimes books its ring, waits, or sheds events. The thread measures the wall-clock time of one slow path in 13.
/// The measured time includes time in which the thread had no processor. Events that are sampled out do not take the
/// slow path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnTimes {
    /// Number of slow paths taken.
    pub turns: u64,
    /// Number of slow paths that were timed.
    pub timed: u64,
    /// Sum of the durations of the timed slow paths, in nanoseconds.
    pub timed_ns: u64,
    /// Number of timed slow paths by duration: bucket 0 holds durations of 0 ns, bucket *n* durations from 2ⁿ⁻¹ to 2ⁿ−1
    /// ns, and the last bucket all durations from 2³⁰ ns on.
    pub durations: [u64; TURN_BUCKETS],
}

impl TurnTimes {
    /// Returns the bucket of a duration in nanoseconds.
    pub const fn bucket_of(ns: u64) -> usize {
        let bits = (u64::BITS - ns.leading_zeros()) as usize;
        if bits < TURN_BUCKETS { bits } else { TURN_BUCKETS - 1 }
    }

    /// Returns the mean duration of a slow path, in nanoseconds, or `None` if no slow path was timed.
    pub fn mean_ns(&self) -> Option<f64> {
        (self.timed > 0).then(|| self.timed_ns as f64 / self.timed as f64)
    }

    /// Returns the 99th percentile of the durations of slow paths, in nanoseconds, rounded up to a power of two.
    /// Returns `None` if no slow path was timed.
    pub fn p99_ns(&self) -> Option<u64> {
        (self.timed > 0).then(|| self.exceeded_by(0.01))
    }

    /// Returns the mean time that an event spent on the slow path, in nanoseconds. `events` is the number of all
    /// events, on both paths, that were made while the slow paths were counted. Returns 0 if no slow path was timed.
    pub fn mean_ns_of(&self, events: u64) -> f64 {
        self.mean_ns().map_or(0.0, |mean| mean * self.turns as f64 / events.max(1) as f64)
    }

    /// Returns the 99th percentile of the time that an event spent on the slow path, in nanoseconds, rounded up to a
    /// power of two. `events` is as for [`TurnTimes::mean_ns_of`]. An event on the short path counts with 0. Returns 0
    /// if no slow path was timed.
    pub fn p99_ns_of(&self, events: u64) -> u64 {
        if self.timed == 0 {
            return 0;
        }
        self.exceeded_by(0.01 * events as f64 / self.turns.max(1) as f64)
    }

    /// Returns a duration that at most the given share of the timed slow paths exceeds. The duration is in nanoseconds,
    /// rounded up to the end of its bucket.
    fn exceeded_by(&self, share: f64) -> u64 {
        let may_exceed = (self.timed as f64 * share) as u64;
        let mut beyond = 0u64;
        for (bucket, turns) in self.durations.iter().enumerate().rev() {
            beyond = beyond.saturating_add(*turns);
            if beyond > may_exceed {
                return if bucket == 0 { 0 } else { 1 << bucket };
            }
        }
        0
    }

    /// Adds the times of another thread.
    pub(crate) fn add(&mut self, other: &TurnTimes) {
        // The sum saturates, because counts can come from a file.
        let own =
            [&mut self.turns, &mut self.timed, &mut self.timed_ns].into_iter().chain(&mut self.durations);
        let others = [other.turns, other.timed, other.timed_ns].into_iter().chain(other.durations);
        for (sum, more) in own.zip(others) {
            *sum = sum.saturating_add(more);
        }
    }

    /// Returns the difference to an earlier reading. A counter that decreased has the difference 0.
    pub fn since(&self, before: &TurnTimes) -> TurnTimes {
        TurnTimes {
            turns: self.turns.saturating_sub(before.turns),
            timed: self.timed.saturating_sub(before.timed),
            timed_ns: self.timed_ns.saturating_sub(before.timed_ns),
            durations: std::array::from_fn(|n| self.durations[n].saturating_sub(before.durations[n])),
        }
    }
}

/// Direction in which completeness changes from one window of time to the next. Differences of no more than the dead
/// band (`MonitorConfig::dead_band`) count as no change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CompletenessTrend {
    /// Completeness is higher in the newer window than in the older one, by more than the dead band.
    Improving,
    /// Completeness is equal in both windows, within the dead band.
    Stable,
    /// Completeness is lower in the newer window than in the older one, by more than the dead band.
    Degrading,
    /// The windows have too few events for a comparison.
    #[default]
    Unknown,
}

/// Numbers of inconsistent pairings of allocations and frees. The unit is events. All are zero for a correct program in
/// the default mode.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anomalies {
    /// Number of frees of an address without a recorded allocation.
    pub unmatched_frees: u64,
    /// Number of allocations at an address whose earlier block has no recorded free.
    pub double_allocations: u64,
    /// Number of frees that could belong to either of two blocks at the same address, within the error of the clock.
    /// The recorder chose one of them.
    pub ambiguous_pairings: u64,
    /// Number of frees whose layout has a different size than the layout of the allocation.
    pub layout_mismatches: u64,
}

impl Anomalies {
    /// Returns the difference to an earlier count. A count that decreased has the difference 0.
    pub fn since(&self, before: &Anomalies) -> Anomalies {
        Anomalies {
            unmatched_frees: self.unmatched_frees.saturating_sub(before.unmatched_frees),
            double_allocations: self.double_allocations.saturating_sub(before.double_allocations),
            ambiguous_pairings: self.ambiguous_pairings.saturating_sub(before.ambiguous_pairings),
            layout_mismatches: self.layout_mismatches.saturating_sub(before.layout_mismatches),
        }
    }

    /// Returns the number of all anomalies. The sum saturates, because counts can come from a file.
    pub const fn total(&self) -> u64 {
        self.unmatched_frees
            .saturating_add(self.double_allocations)
            .saturating_add(self.ambiguous_pairings)
            .saturating_add(self.layout_mismatches)
    }
}

/// The completeness of the data, the reasons for loss, and the cost of recording, for a whole process.
///
/// Law: `attempted = recorded + lost.total() + in_flight`. While threads record, `in_flight` is computed as
/// the number of attempted events that are neither recorded nor lost. It is never negative.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct QualityIndicator {
    /// Whether a `HeapLedger` is the global allocator of this process. If `false`, all counters are zero.
    pub installed: bool,
    /// Share of the events that were recorded, from 0 to 1: recorded ÷ (recorded + lost). 1 if both are zero.
    pub current_completeness: f64,
    /// The target completeness, from 0 to 1.
    pub target_completeness: f64,
    /// Completeness of the newest window of time, or `None` if the window has too few events.
    pub windowed_completeness: Option<f64>,
    /// Trend of completeness from the second newest window of time to the newest window.
    pub trend: CompletenessTrend,
    /// The recommended change, in one sentence that names a setting and a value. Empty if there is no recommendation.
    pub recommendation: String,
    /// The quality mode in force.
    pub mode: DataQualityMode,
    /// Number of events of the program: allocations, frees and reallocs that have returned or are in progress.
    pub attempted: u64,
    /// Number of events booked into the ledger.
    pub recorded: u64,
    /// Number of events that are not booked yet: they are in a ring, or in a call that has not returned.
    pub in_flight: u64,
    /// Numbers of lost events, by reason.
    pub lost: LossCounts,
    /// Number of events that were sampled out.
    pub sampled_out: u64,
    /// Number of booked events that the bounded history still holds.
    pub retained: u64,
    /// Number of booked events that have left the bounded history: `recorded - retained`.
    pub evicted: u64,
    /// Numbers of inconsistent pairings of allocations and frees.
    pub anomalies: Anomalies,
    /// Number of booked events of heapledger itself, in queries, dumps and its background thread. These events are part
    /// of `recorded`, but no total of the program counts them.
    pub own_events: u64,
    /// Age of the oldest event that is not booked yet, in nanoseconds. 0 if all events are booked.
    pub lag_ns: u64,
    /// Highest number of words that waited in one ring to be booked.
    pub ring_high_water_words: u64,
    /// Number of times that a thread booked its ring itself.
    pub folds_at_home: u64,
    /// Number of times that another thread booked a ring.
    pub folds_away: u64,
    /// Number of times that a thread with a full ring had to wait until another thread had booked the ring.
    pub waits: u64,
    /// Number of ring segments that full rings took from the shared overflow pool.
    pub spare_segments: u64,
    /// Durations of the slow path of recording.
    pub turn_times: TurnTimes,
    /// Memory that heapledger holds, in bytes: the sum of [`own_memory`](Self::own_memory).
    pub own_bytes: u64,
    /// The memory in `own_bytes`, by purpose. All 0 in files of earlier versions.
    #[serde(default)]
    pub own_memory: OwnMemory,
    /// Processor time of the background thread, in nanoseconds. Booking in the threads of the program is not included.
    pub own_cpu_ns: u64,
}

/// Memory that heapledger holds, in bytes of whole pages. Reserved memory that is not used does not count. So the sum
/// is the part of the process's resident memory that heapledger uses, without the stacks of heapledger's threads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnMemory {
    /// Rings of threads, with their counters, and spare segments.
    pub rings: u64,
    /// The tables of live blocks.
    pub live_blocks: u64,
    /// The tables of the sites' figures. Also the tables in which each thread collects changes before they are added to
    /// these figures.
    pub sites: u64,
    /// The table of stacks, and the tables for walking stacks, including copies of unwind tables on the program's heap.
    pub stacks: u64,
    /// Everything else: the timeline, threads, scopes, buffers of a trace, and pages that are kept for the next table.
    pub tables: u64,
}

impl OwnMemory {
    /// Returns the sum.
    pub fn total(&self) -> u64 {
        let OwnMemory { rings, live_blocks, sites, stacks, tables } = *self;
        [rings, live_blocks, sites, stacks, tables].into_iter().fold(0, u64::saturating_add)
    }
}

impl QualityIndicator {
    /// Whether every event is accounted for: `attempted = recorded + lost + in_flight`.
    pub fn is_conserved(&self) -> bool {
        let sides = [self.recorded, self.lost.total(), self.in_flight].map(u128::from);
        u128::from(self.attempted) == sides.iter().sum::<u128>()
    }

    /// Whether no event was lost and no event was sampled out.
    pub fn is_complete(&self) -> bool {
        self.lost.total() == 0 && self.sampled_out == 0
    }

    /// Returns recorded ÷ (recorded + lost), from 0 to 1. Returns 1 if both are zero.
    pub fn completeness_of(recorded: u64, lost: u64) -> f64 {
        if recorded == 0 && lost == 0 { 1.0 } else { recorded as f64 / (recorded as f64 + lost as f64) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns times of 13,000 slow paths, 1,000 of them timed: 900 of 100 ns, 90 of 1,000 ns, 10 of 100,000 ns.
    fn times() -> TurnTimes {
        let mut durations = [0; TURN_BUCKETS];
        for (ns, turns) in [(100, 900), (1_000, 90), (100_000, 10)] {
            durations[TurnTimes::bucket_of(ns)] += turns;
        }
        TurnTimes { turns: 13_000, timed: 1_000, timed_ns: 90_000 + 90_000 + 1_000_000, durations }
    }

    #[test]
    fn slow_paths_have_a_mean_and_a_99th_percentile() {
        assert_eq!((times().mean_ns(), times().p99_ns()), (Some(1_180.0), Some(1_024)));
        assert_eq!((TurnTimes::default().mean_ns(), TurnTimes::default().p99_ns()), (None, None));
    }

    #[test]
    fn an_event_on_the_short_path_counts_with_zero() {
        // One event in 40 takes the slow path. So the slowest 1 % of all events are the slowest 40 % of the slow paths.
        let events = 40 * times().turns;
        assert_eq!((times().mean_ns_of(events), times().p99_ns_of(events)), (1_180.0 / 40.0, 128));
        // One event in 200 takes the slow path, so more than 99 of 100 events stay on the short path.
        assert_eq!(times().p99_ns_of(200 * times().turns), 0);
        // Every event takes the slow path.
        assert_eq!(times().p99_ns_of(times().turns), 1_024);
        assert_eq!((times().mean_ns_of(0), TurnTimes::default().p99_ns_of(0)), (1_180.0 * 13_000.0, 0));
    }

    #[test]
    fn the_buckets_cover_every_duration() {
        let bucket = TurnTimes::bucket_of;
        assert_eq!([bucket(0), bucket(1), bucket(2), bucket(3), bucket(u64::MAX)], [0, 1, 2, 2, 31]);
        assert_eq!((bucket((1 << 30) - 1), bucket(1 << 30)), (30, 31));
    }

    #[test]
    fn times_since_a_reading_are_the_difference() {
        let mut later = times();
        (later.turns, later.timed, later.timed_ns) = (13_013, 1_001, times().timed_ns + 7);
        later.durations[3] += 1;
        let between = later.since(&times());
        assert_eq!((between.turns, between.timed, between.timed_ns, between.durations[3]), (13, 1, 7, 1));
        assert_eq!(times().since(&later).turns, 0);
    }
}
