//! The choice of an execution mode for a workload.
//!
//! The needs of the program decide first. Measurements count only if loss is tolerated and high throughput is not
//! required:
//!
//! | may lose? | threads | throughput required | waits measured | mode |
//! | --- | --- | --- | --- | --- |
//! | no | 1 | any | any | [`SingleThreaded`](ExecutionMode::SingleThreaded) |
//! | no | other | any | any | [`ThreadLocalBuffers`](ExecutionMode::ThreadLocalBuffers) |
//! | yes | any | yes | any | [`LockFreeHybrid`](ExecutionMode::LockFreeHybrid) |
//! | yes | any | no | rare | [`ThreadLocalBuffers`](ExecutionMode::ThreadLocalBuffers): no loss at no cost |
//! | yes | any | no | frequent or unknown | [`AdaptiveBackoff`](ExecutionMode::AdaptiveBackoff) |
//!
//! Events may be lost if the program tolerates loss and does not require perfect accuracy; perfect accuracy overrides
//! tolerance. The number of threads does not matter for accuracy, because each thread can book its ring itself.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::cause::EVENTS_PER_WAIT_MIN;
use crate::profile::{DataQualityMode, Profile, QualityIndicator, ThreadRow};

/// Number of waits per million events above which waits count as frequent.
pub const WAITS_PER_MILLION_MAX: f64 = 1e6 / EVENTS_PER_WAIT_MIN as f64;

/// The needs of a workload, and measurements of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkloadCharacteristics {
    /// Number of threads that allocate at the same time. 0 if unknown.
    pub thread_count: usize,
    /// Whether every event has to be booked.
    pub requires_perfect_accuracy: bool,
    /// Whether events may be lost or sampled out.
    pub can_tolerate_loss: bool,
    /// Whether recording must never make a thread wait.
    pub high_throughput_required: bool,
    /// Measured number of events a second, over all threads. `None` if not measured.
    pub events_per_second: Option<f64>,
    /// Measured number of waits of threads with a full ring, per million booked events. `None` if not measured.
    pub waits_per_million_events: Option<f64>,
    /// Measured completeness, from 0 to 1. `None` if not measured.
    pub completeness: Option<f64>,
}

impl WorkloadCharacteristics {
    /// Returns the measurements of a process over `duration_ns` nanoseconds, with `thread_count` as the maximum number
    /// of threads at once.
    ///
    /// The three needs of the workload cannot be measured. They are derived from the mode in force: see
    /// [`WorkloadCharacteristics::wishing_for`].
    pub fn from_counters(quality: &QualityIndicator, thread_count: usize, duration_ns: u64) -> Self {
        let seconds = duration_ns as f64 / 1e9;
        let resolved = quality.recorded.saturating_add(quality.lost.total());
        WorkloadCharacteristics {
            thread_count,
            events_per_second: (duration_ns > 0).then(|| quality.attempted as f64 / seconds),
            waits_per_million_events: (quality.recorded > 0)
                .then(|| quality.waits as f64 * 1e6 / quality.recorded as f64),
            completeness: (resolved > 0)
                .then(|| QualityIndicator::completeness_of(quality.recorded, quality.lost.total())),
            ..WorkloadCharacteristics::wishing_for(quality.mode)
        }
    }

    /// Returns the measurements of a profile. The number of threads is the maximum number of the program's threads that
    /// ran at once.
    pub fn from_profile(profile: &Profile) -> Self {
        let threads = threads_at_once(&profile.threads);
        WorkloadCharacteristics::from_counters(&profile.quality, threads, profile.process.duration_ns)
    }

    /// Returns the needs of a program that chooses this mode. The result has no measurements.
    pub fn wishing_for(mode: DataQualityMode) -> Self {
        let perfect = mode == DataQualityMode::PerfectAccuracy;
        WorkloadCharacteristics {
            requires_perfect_accuracy: perfect,
            can_tolerate_loss: !perfect,
            high_throughput_required: mode == DataQualityMode::HighThroughput,
            ..WorkloadCharacteristics::default()
        }
    }
}

/// Returns the maximum number of the program's threads that ran at once. A row of several ended threads counts as one
/// thread, because the times of the individual threads are unknown.
fn threads_at_once(rows: &[ThreadRow]) -> usize {
    let mut changes: Vec<(u64, i32)> = Vec::with_capacity(rows.len() * 2);
    for row in rows.iter().filter(|row| !row.own) {
        let ended_ns = row.ended_ns.unwrap_or(u64::MAX);
        if ended_ns >= row.started_ns {
            changes.extend([(row.started_ns, 1), (ended_ns, -1)]);
        }
    }
    // At equal times, starts come before ends, so that a thread that starts and ends at the same time counts.
    changes.sort_unstable_by_key(|(at_ns, change)| (*at_ns, -change));
    let mut running = 0;
    let after_each = changes.into_iter().map(|(_, change)| {
        running += change;
        running
    });
    after_each.max().unwrap_or(0).max(0) as usize
}

/// Way of recording a process: a quality mode, with or without a background thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ExecutionMode {
    /// Lossless, for a program with one thread. The thread books its ring itself, so heapledger needs no background
    /// thread.
    SingleThreaded,
    /// Lossless. Each thread has a ring, which the thread can book itself, and the background thread books idle rings.
    /// The default.
    ThreadLocalBuffers,
    /// Threads never wait. The rings receive an unbiased sample of the blocks.
    LockFreeHybrid,
    /// Threads wait within a time budget, with growing pauses, and use segments of the overflow pool. When the budget
    /// is used up, events are shed: allocations before frees.
    AdaptiveBackoff,
}

impl ExecutionMode {
    /// Every mode.
    pub const ALL: [ExecutionMode; 4] = [
        ExecutionMode::SingleThreaded,
        ExecutionMode::ThreadLocalBuffers,
        ExecutionMode::LockFreeHybrid,
        ExecutionMode::AdaptiveBackoff,
    ];

    /// Returns the value for `HeapLedger::mode`.
    pub const fn quality_mode(self) -> DataQualityMode {
        match self {
            ExecutionMode::SingleThreaded | ExecutionMode::ThreadLocalBuffers => {
                DataQualityMode::PerfectAccuracy
            }
            ExecutionMode::LockFreeHybrid => DataQualityMode::HighThroughput,
            ExecutionMode::AdaptiveBackoff => DataQualityMode::HighAccuracy,
        }
    }

    /// Returns the value for `HeapLedger::background`: whether the process should have a background thread.
    pub const fn background(self) -> bool {
        !matches!(self, ExecutionMode::SingleThreaded)
    }

    /// Whether all events are recorded: none is shed for lack of ring space, and none is sampled out.
    pub const fn is_lossless(self) -> bool {
        matches!(self.quality_mode(), DataQualityMode::PerfectAccuracy)
    }
}

impl fmt::Display for ExecutionMode {
    /// Writes the calls of the builder that select this way of recording.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mode, background) = (self.quality_mode(), self.background());
        write!(f, "HeapLedger::mode(DataQualityMode::{mode:?}), ::background({background})")
    }
}

/// Returns the mode for a workload, by the [table](self). A measurement that is not a number counts as missing.
///
/// ```
/// use heapledger::quality::{ExecutionMode, WorkloadCharacteristics, recommend_mode};
///
/// let strict = WorkloadCharacteristics { thread_count: 64, ..WorkloadCharacteristics::default() };
/// assert!(!strict.can_tolerate_loss);
/// assert_eq!(recommend_mode(&strict), ExecutionMode::ThreadLocalBuffers);
/// ```
pub fn recommend_mode(workload: &WorkloadCharacteristics) -> ExecutionMode {
    let may_lose = workload.can_tolerate_loss && !workload.requires_perfect_accuracy;
    let waits_rarely = workload.waits_per_million_events.is_some_and(|waits| waits <= WAITS_PER_MILLION_MAX);
    match (may_lose, workload.thread_count) {
        (false, 1) => ExecutionMode::SingleThreaded,
        (false, _) => ExecutionMode::ThreadLocalBuffers,
        (true, _) if workload.high_throughput_required => ExecutionMode::LockFreeHybrid,
        (true, _) if waits_rarely => ExecutionMode::ThreadLocalBuffers,
        (true, _) => ExecutionMode::AdaptiveBackoff,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{
        ClockInfo, ClockMode, ConcurrencyConfig, ForkPolicy, HeapStats, HistoryLimits, LossReason, Peak,
        ProcessInfo, Settings, Stacks, Timeline,
    };
    use ExecutionMode::*;

    #[test]
    fn the_whole_table_is_as_written() {
        let rare = Some(WAITS_PER_MILLION_MAX);
        let frequent = Some(WAITS_PER_MILLION_MAX * 1.01);
        let measured = [None, rare, frequent, Some(f64::NAN)];
        // For each row of needs (perfect accuracy, tolerance of loss, throughput): the modes for waits that are
        // missing, rare, frequent, and not a number.
        let table = [
            ((false, false, false), [ThreadLocalBuffers; 4]),
            ((false, false, true), [ThreadLocalBuffers; 4]),
            ((true, false, false), [ThreadLocalBuffers; 4]),
            ((true, false, true), [ThreadLocalBuffers; 4]),
            ((true, true, false), [ThreadLocalBuffers; 4]),
            ((true, true, true), [ThreadLocalBuffers; 4]),
            ((false, true, true), [LockFreeHybrid; 4]),
            ((false, true, false), [AdaptiveBackoff, ThreadLocalBuffers, AdaptiveBackoff, AdaptiveBackoff]),
        ];
        for thread_count in [0, 1, 2, 4, 5, 64, usize::MAX] {
            for ((perfect, tolerant, fast), expected) in table {
                for (waits_per_million_events, expected) in measured.into_iter().zip(expected) {
                    let workload = WorkloadCharacteristics {
                        thread_count,
                        requires_perfect_accuracy: perfect,
                        can_tolerate_loss: tolerant,
                        high_throughput_required: fast,
                        waits_per_million_events,
                        ..WorkloadCharacteristics::default()
                    };
                    let lossless = perfect || !tolerant;
                    let expected = if lossless && thread_count == 1 { SingleThreaded } else { expected };
                    assert_eq!(recommend_mode(&workload), expected, "{workload:?}");
                    assert!(!lossless || recommend_mode(&workload).is_lossless());
                }
            }
        }
    }

    #[test]
    fn a_mode_says_how_it_is_set() {
        let text = "HeapLedger::mode(DataQualityMode::PerfectAccuracy), ::background(false)";
        assert_eq!(SingleThreaded.to_string(), text);
        assert_eq!(ExecutionMode::ALL.map(|mode| mode.is_lossless()), [true, true, false, false]);
    }

    #[test]
    fn rates_follow_from_counters_and_nothing_follows_from_none() {
        let mut quality = QualityIndicator {
            mode: DataQualityMode::HighAccuracy,
            attempted: 4_000_000,
            recorded: 3_000_000,
            waits: 30,
            ..QualityIndicator::default()
        };
        quality.lost.add(LossReason::RingFull, 1_000_000);
        let workload = WorkloadCharacteristics::from_counters(&quality, 8, 2_000_000_000);
        let expected = WorkloadCharacteristics {
            thread_count: 8,
            can_tolerate_loss: true,
            events_per_second: Some(2e6),
            waits_per_million_events: Some(10.0),
            completeness: Some(0.75),
            ..WorkloadCharacteristics::default()
        };
        assert_eq!(workload, expected);
        let nothing = WorkloadCharacteristics::from_counters(&QualityIndicator::default(), 1, 0);
        assert_eq!(
            nothing,
            WorkloadCharacteristics {
                thread_count: 1,
                ..WorkloadCharacteristics::wishing_for(DataQualityMode::PerfectAccuracy)
            }
        );
    }

    #[test]
    fn threads_count_as_far_as_they_ran_at_once() {
        let thread = |started_ns, ended_ns| ThreadRow { started_ns, ended_ns, ..ThreadRow::default() };
        let own = ThreadRow { own: true, ..thread(0, None) };
        let one_after_the_other = [thread(0, None), thread(10, Some(20)), thread(30, Some(40)), own.clone()];
        assert_eq!(threads_at_once(&one_after_the_other), 2);
        let together = [thread(0, None), thread(10, Some(40)), thread(40, Some(50)), own];
        assert_eq!(threads_at_once(&together), 3);
        assert_eq!(threads_at_once(&[]), 0);
        // A row from a corrupt file: its end is before its start.
        assert_eq!(threads_at_once(&[thread(9, Some(3))]), 0);
    }

    fn profile_of(quality: QualityIndicator, threads: Vec<ThreadRow>, duration_ns: u64) -> Profile {
        Profile {
            process: ProcessInfo { duration_ns, ..ProcessInfo::default() },
            settings: Settings {
                mode: quality.mode,
                stacks: Stacks::Off,
                clock: ClockMode::Batched,
                history: HistoryLimits::DEFAULT,
                concurrency: ConcurrencyConfig::DEFAULT,
                fork: ForkPolicy::Fresh,
                memory_limit_bytes: 1 << 30,
            },
            quality,
            threads,
            clock: ClockInfo::default(),
            totals: HeapStats::default(),
            estimates: None,
            peak: Peak::default(),
            sites: Vec::new(),
            curves: Vec::new(),
            memory: Default::default(),
            scopes: Vec::new(),
            scope_counts: Default::default(),
            stacks: Vec::new(),
            stack_figures: Default::default(),
            modules: Vec::new(),
            symbols: Default::default(),
            live: Vec::new(),
            crossings: Vec::new(),
            timeline: Timeline::default(),
            history: Vec::new(),
            changes: Vec::new(),
            tracked: Default::default(),
        }
    }

    #[test]
    fn a_profile_tells_its_own_workload() {
        let quality = QualityIndicator { attempted: 5_000, recorded: 5_000, ..QualityIndicator::default() };
        let alone = profile_of(quality, vec![ThreadRow::default()], 1_000_000_000);
        let workload = WorkloadCharacteristics::from_profile(&alone);
        assert_eq!((workload.thread_count, workload.events_per_second), (1, Some(5_000.0)));
        assert_eq!(recommend_mode(&workload), SingleThreaded);
        let together = profile_of(alone.quality, vec![ThreadRow::default(); 9], 1_000_000_000);
        let workload = WorkloadCharacteristics::from_profile(&together);
        assert_eq!(recommend_mode(&workload), ThreadLocalBuffers);
    }
}
