//! The completeness of the data: counters, and the figures that follow from them.

use serde::{Deserialize, Serialize};

use super::loss::LossCounts;
use super::settings::DataQualityMode;

/// A figure that was estimated from a sample, with its error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The estimate. Unbiased: over many samples it is right on average.
    pub value: f64,
    /// One standard error, in the unit of the value. The truth lies within three of them in more than 990 of 1,000
    /// samples of bytes; numbers of very small blocks, of which one stands for thousands, are a little worse.
    pub standard_error: f64,
}

impl std::ops::Add for Estimate {
    type Output = Estimate;

    /// The estimate of a sum of two independently sampled figures.
    fn add(self, other: Estimate) -> Estimate {
        let standard_error = self.standard_error.hypot(other.standard_error);
        Estimate { value: self.value + other.value, standard_error }
    }
}

/// Estimates for all blocks, from a sample and from the blocks that were recorded exactly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimates {
    /// Blocks allocated so far.
    pub total_blocks: Estimate,
    /// Bytes allocated so far.
    pub total_bytes: Estimate,
    /// Blocks live now.
    pub live_blocks: Estimate,
    /// Bytes live now.
    pub live_bytes: Estimate,
    /// Mean distance between two samples, in bytes; 0 while every block is recorded.
    pub mean_bytes_between_samples: u64,
    /// Blocks that were sampled so far.
    pub sampled_blocks: u64,
}

/// Buckets of [`TurnTimes::durations`].
pub const TURN_BUCKETS: usize = 32;

/// Times of the slow path of recording.
///
/// Most events take the short path, a few nanoseconds: less than two readings of a clock, so it is not measured. About one
/// event in eighty finds the window of its ring full and takes the slow path: the thread writes a time mark and, sometimes,
/// books its own ring, waits, or sheds. The thread itself times one slow path in 13 by the wall clock; a thread that loses the
/// processor meanwhile makes it long. Events that are sampled out take no slow path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnTimes {
    /// Slow paths taken.
    pub turns: u64,
    /// Slow paths that were timed.
    pub timed: u64,
    /// Sum of the timed ones, in nanoseconds.
    pub timed_ns: u64,
    /// Timed slow paths by duration: bucket 0 holds those of 0 ns, bucket *n* those from 2ⁿ⁻¹ to 2ⁿ−1 ns, the last one all
    /// from 2³⁰ ns on.
    pub durations: [u64; TURN_BUCKETS],
}

impl TurnTimes {
    /// The bucket of a duration in nanoseconds.
    pub const fn bucket_of(ns: u64) -> usize {
        let bits = (u64::BITS - ns.leading_zeros()) as usize;
        if bits < TURN_BUCKETS { bits } else { TURN_BUCKETS - 1 }
    }

    /// Mean duration of a slow path, in nanoseconds; `None` when none was timed.
    pub fn mean_ns(&self) -> Option<f64> {
        (self.timed > 0).then(|| self.timed_ns as f64 / self.timed as f64)
    }

    /// Nanoseconds that 99 of 100 slow paths stayed below, rounded up to a power of two; `None` when none was timed.
    pub fn p99_ns(&self) -> Option<u64> {
        (self.timed > 0).then(|| self.exceeded_by(0.01))
    }

    /// Mean time that `events` events spent on the slow path, in nanoseconds; 0 when none was timed.
    pub fn mean_ns_of(&self, events: u64) -> f64 {
        self.mean_ns().map_or(0.0, |mean| mean * self.turns as f64 / events.max(1) as f64)
    }

    /// Nanoseconds on the slow path that 99 of 100 of `events` events stayed below, rounded up to a power of two; an event on
    /// the short path counts with 0.
    pub fn p99_ns_of(&self, events: u64) -> u64 {
        if self.timed == 0 {
            return 0;
        }
        self.exceeded_by(0.01 * events as f64 / self.turns.max(1) as f64)
    }

    /// The end of the first bucket that at most this share of the timed slow paths exceeds.
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
        self.turns += other.turns;
        self.timed += other.timed;
        self.timed_ns += other.timed_ns;
        for (sum, turns) in self.durations.iter_mut().zip(other.durations) {
            *sum += turns;
        }
    }

    /// The difference to an earlier reading. Counters that decreased count as 0.
    pub fn since(&self, before: &TurnTimes) -> TurnTimes {
        TurnTimes {
            turns: self.turns.saturating_sub(before.turns),
            timed: self.timed.saturating_sub(before.timed),
            timed_ns: self.timed_ns.saturating_sub(before.timed_ns),
            durations: std::array::from_fn(|n| self.durations[n].saturating_sub(before.durations[n])),
        }
    }
}

/// The direction in which completeness changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CompletenessTrend {
    /// Higher in the newer window than in the older one, by more than the dead band.
    Improving,
    /// Equal in both windows, within the dead band.
    Stable,
    /// Lower in the newer window.
    Degrading,
    /// Too few events to tell.
    #[default]
    Unknown,
}

/// Inconsistent pairings of allocations and frees. Unit: events. All are zero for a correct program in the default mode.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anomalies {
    /// Frees of an address without a recorded allocation.
    pub unmatched_frees: u64,
    /// Allocations of an address whose earlier block was never seen freed.
    pub double_allocations: u64,
    /// Frees that could belong to two blocks of the same address, within the error of the clock; one was chosen.
    pub ambiguous_pairings: u64,
    /// Frees whose layout gave another size than the allocation's.
    pub layout_mismatches: u64,
}

impl Anomalies {
    /// The difference to an earlier count. Counts that decreased have 0.
    pub fn since(&self, before: &Anomalies) -> Anomalies {
        Anomalies {
            unmatched_frees: self.unmatched_frees.saturating_sub(before.unmatched_frees),
            double_allocations: self.double_allocations.saturating_sub(before.double_allocations),
            ambiguous_pairings: self.ambiguous_pairings.saturating_sub(before.ambiguous_pairings),
            layout_mismatches: self.layout_mismatches.saturating_sub(before.layout_mismatches),
        }
    }

    /// All anomalies together. It saturates: counts can come from a file.
    pub const fn total(&self) -> u64 {
        self.unmatched_frees
            .saturating_add(self.double_allocations)
            .saturating_add(self.ambiguous_pairings)
            .saturating_add(self.layout_mismatches)
    }
}

/// The completeness of the data, the reasons for loss, and the cost of recording.
///
/// Law: `attempted = recorded + lost.total() + in_flight`. While threads record, `in_flight` is computed from the others;
/// it is never negative.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct QualityIndicator {
    /// Whether a `HeapLedger` is the global allocator of this process. When `false`, every other figure is zero.
    pub installed: bool,
    /// Share of the events that were recorded, from 0 to 1: recorded ÷ (recorded + lost). 1 when both are zero.
    pub current_completeness: f64,
    /// The target completeness, from 0 to 1.
    pub target_completeness: f64,
    /// Completeness of the newest window, or `None` when it holds too few events.
    pub windowed_completeness: Option<f64>,
    /// The newest window compared with the one before it.
    pub trend: CompletenessTrend,
    /// The recommended setting, in one sentence that names a knob and a value; empty when there is none.
    pub recommendation: String,
    /// The mode in force.
    pub mode: DataQualityMode,
    /// Events of the program: allocations, frees and reallocs that returned or are under way.
    pub attempted: u64,
    /// Events booked into the ledger.
    pub recorded: u64,
    /// Events in a ring, or in a call that has not returned, not booked yet.
    pub in_flight: u64,
    /// Events lost, by reason.
    pub lost: LossCounts,
    /// Events that sampling left out.
    pub sampled_out: u64,
    /// Booked events that the bounded history still holds.
    pub retained: u64,
    /// Booked events that have left the bounded history: `recorded - retained`.
    pub evicted: u64,
    /// Inconsistent pairings of allocations and frees.
    pub anomalies: Anomalies,
    /// Booked events of heapledger itself, in queries, dumps and its background thread. Part of `recorded`, in no total of
    /// the program.
    pub own_events: u64,
    /// Age of the oldest event not booked yet, in nanoseconds; 0 when none is in flight.
    pub lag_ns: u64,
    /// Highest number of words that waited in one ring.
    pub ring_high_water_words: u64,
    /// Times a thread booked its own ring.
    pub folds_at_home: u64,
    /// Times another thread booked a ring.
    pub folds_away: u64,
    /// Times a thread with a full ring had to wait until another thread had booked it.
    pub waits: u64,
    /// Segments taken from the overflow pool.
    pub spare_segments: u64,
    /// Times of the slow path of recording.
    pub turn_times: TurnTimes,
    /// Memory that heapledger holds outside the program's heap, in bytes.
    pub own_bytes: u64,
    /// Processor time of the background thread, in nanoseconds, without booking in the program's threads.
    pub own_cpu_ns: u64,
}

impl QualityIndicator {
    /// Whether every event is accounted for: `attempted = recorded + lost + in_flight`.
    pub fn is_conserved(&self) -> bool {
        let sides = [self.recorded, self.lost.total(), self.in_flight].map(u128::from);
        u128::from(self.attempted) == sides.iter().sum::<u128>()
    }

    /// Whether no event was lost and none was sampled out.
    pub fn is_complete(&self) -> bool {
        self.lost.total() == 0 && self.sampled_out == 0
    }

    /// Recorded ÷ (recorded + lost), from 0 to 1; 1 when both are zero.
    pub fn completeness_of(recorded: u64, lost: u64) -> f64 {
        if recorded == 0 && lost == 0 { 1.0 } else { recorded as f64 / (recorded as f64 + lost as f64) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1,000 turns timed of 13,000: 900 of 100 ns, 90 of 1,000 ns, 10 of 100,000 ns.
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
        // One event in 40 takes the slow path: 99 of 100 events stay below the bound of 60 of 100 slow paths.
        let events = 40 * times().turns;
        assert_eq!((times().mean_ns_of(events), times().p99_ns_of(events)), (1_180.0 / 40.0, 128));
        // One in 200: then more than 99 of 100 make none.
        assert_eq!(times().p99_ns_of(200 * times().turns), 0);
        // Every event makes one.
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
