//! What is recorded about each request, by whom, and where.

use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

use super::super::meter::Parts;
use super::super::plan::Phases;
use super::super::stats::{BUCKETS, Latencies, bucket_of};
use super::super::workload::Workload;
use super::Run;

/// Slices of the timeline: 100 ms each, at least 20 and at most 600 in a window.
const SLICE_NS: u64 = 100_000_000;
const SLICES_MIN: u64 = 20;
const SLICES_MAX: u64 = 600;

pub(super) fn slice_length(phases: Phases) -> u64 {
    let window = phases.measure_end_ns - phases.measure_start_ns;
    SLICE_NS.min(window / SLICES_MIN).max(window.div_ceil(SLICES_MAX)).max(1)
}

pub(super) fn slice_count(phases: Phases, slice_ns: u64) -> usize {
    (phases.measure_end_ns - phases.measure_start_ns).div_ceil(slice_ns) as usize
}

/// The end of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Fate {
    /// It was answered; `right` says whether the answer passed the check.
    Answered { right: bool },
    /// The workload returned an error.
    Failed,
    /// It took longer than the request time-out.
    TimedOut,
    /// It got no connection.
    Rejected,
}

/// One request, as its user saw it. Times in nanoseconds on the run's clock.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Sample {
    pub intended_ns: u64,
    /// When a worker could have taken it up, if it had been due.
    pub worker_free_ns: u64,
    pub started_ns: u64,
    pub ended_ns: u64,
    pub pool_wait_ns: u64,
    pub fate: Fate,
    pub metered: bool,
    pub parts: Parts,
}

/// Sums over metered requests, in nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(in super::super) struct Times {
    pub n: u64,
    pub split: u64,
    pub response: u64,
    pub dispatch_queue: u64,
    pub pool_wait: u64,
    pub sched_delay: u64,
    pub on_cpu: u64,
    pub run_queue: u64,
    pub blocked: u64,
    pub idle: u64,
}

impl Times {
    pub fn add(&mut self, other: &Self) {
        self.n += other.n;
        self.split += other.split;
        self.response += other.response;
        self.dispatch_queue += other.dispatch_queue;
        self.pool_wait += other.pool_wait;
        self.sched_delay += other.sched_delay;
        self.on_cpu += other.on_cpu;
        self.run_queue += other.run_queue;
        self.blocked += other.blocked;
        self.idle += other.idle;
    }
}

/// What one user did. Counts are of requests that belong to the window, except `expected_events`.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Row {
    pub started: u64,
    pub ok: u64,
    pub failed: u64,
    pub timed_out: u64,
    pub rejected: u64,
    pub interrupted: u64,
    pub check_failures: u64,
    pub response_ns: u128,
    pub min_ns: Option<u64>,
    pub max_ns: u64,
    pub cpu_ns: u64,
    pub polls: u64,
    pub times: Times,
    pub panicked: bool,
    /// Requests of the whole run, warm-up included, and the allocation events they must have made.
    pub executed: u64,
    /// Those of them that were answered.
    pub answered: u64,
    pub expected_events: Option<u64>,
    /// The intended start of the request under way, plus one; 0 when there is none.
    pub under_way: u64,
}

/// One slice of the timeline.
#[derive(Debug, Clone, Copy, Default)]
pub(in super::super) struct SliceCell {
    pub ok: u32,
    pub failed: u32,
    pub response_ns: u64,
    pub worst_ns: u64,
}

/// Histograms of one user, or of a few.
#[derive(Debug, Clone)]
pub(in super::super) struct Shard {
    pub response: Latencies,
    pub service: Latencies,
    pub failures: Latencies,
    pub lag: Latencies,
    pub slices: Vec<SliceCell>,
    /// Response times of each slice in coarse buckets, slice after slice.
    pub slice_times: Vec<u32>,
}

impl Shard {
    pub fn new(slices: usize) -> Self {
        Self {
            response: Latencies::new(),
            service: Latencies::new(),
            failures: Latencies::new(),
            lag: Latencies::new(),
            slices: vec![SliceCell::default(); slices],
            slice_times: vec![0; slices * BUCKETS],
        }
    }

    pub fn merge(&mut self, other: &Self) {
        self.response.merge(&other.response);
        self.service.merge(&other.service);
        self.failures.merge(&other.failures);
        self.lag.merge(&other.lag);
        for (mine, theirs) in self.slices.iter_mut().zip(&other.slices) {
            mine.ok += theirs.ok;
            mine.failed += theirs.failed;
            mine.response_ns += theirs.response_ns;
            mine.worst_ns = mine.worst_ns.max(theirs.worst_ns);
        }
        self.slice_times.iter_mut().zip(&other.slice_times).for_each(|(mine, theirs)| *mine += theirs);
    }
}

impl<W: Workload> Run<W> {
    /// Notes that a request of `user` is under way.
    pub(super) fn begin(&self, user: usize, intended_ns: u64) {
        let u = &self.users[user];
        u.row.lock().unwrap_or_else(PoisonError::into_inner).under_way = intended_ns + 1;
        // Progress is judged on the detector's clock: it outlives this run.
        u.actor.request_since.store(self.detector.now_ns().max(1), Relaxed);
    }

    /// Books a request. `expected_events` is the workload's own count of the allocations and frees that it made.
    pub(super) fn record(&self, user: usize, s: &Sample, expected_events: Option<u64>) {
        let u = &self.users[user];
        u.actor.request_since.store(0, Relaxed);
        let mut row = u.row.lock().unwrap_or_else(PoisonError::into_inner);
        // After the run was closed, the request has been counted as interrupted.
        if self.closed.load(Relaxed) {
            return;
        }
        row.under_way = 0;
        row.executed += 1;
        row.answered += u64::from(matches!(s.fate, Fate::Answered { .. }));
        // One request without a count makes the sum unknown for good.
        row.expected_events = match (row.executed, row.expected_events, expected_events) {
            (1, _, events) => events,
            (_, Some(sum), Some(events)) => Some(sum + events),
            _ => None,
        };
        let mut shard = self.shards[user % self.shards.len()].lock().unwrap_or_else(PoisonError::into_inner);
        self.record_slice(&mut shard, s);
        if !self.in_window(s.intended_ns) {
            return;
        }
        row.started += 1;
        row.polls += s.parts.polls;
        row.cpu_ns += s.parts.cpu_raw;
        let response = s.ended_ns.saturating_sub(s.intended_ns);
        let service = s.ended_ns.saturating_sub(s.started_ns);
        shard.lag.record(s.started_ns.saturating_sub(s.intended_ns.max(s.worker_free_ns)));
        match s.fate {
            Fate::Answered { right } => {
                row.ok += 1;
                row.check_failures += u64::from(!right);
                row.response_ns += u128::from(response);
                row.min_ns = Some(row.min_ns.map_or(response, |m| m.min(response)));
                row.max_ns = row.max_ns.max(response);
                shard.response.record(response);
                shard.service.record(service);
                if s.metered {
                    row.times.add(&times_of(s, response));
                }
            }
            Fate::TimedOut => {
                row.timed_out += 1;
                shard.response.record_censored(response);
                shard.service.record_censored(service);
                shard.failures.record_censored(response);
            }
            Fate::Failed => {
                row.failed += 1;
                shard.failures.record(response);
            }
            Fate::Rejected => {
                row.rejected += 1;
                shard.failures.record(response);
            }
        }
    }

    /// Completions count where they happen: throughput is what came out of the window, whenever it went in.
    fn record_slice(&self, shard: &mut Shard, s: &Sample) {
        let start = self.phases.measure_start_ns;
        if s.ended_ns <= start || s.ended_ns > self.window_end_ns.load(Relaxed) {
            return;
        }
        let slice = ((s.ended_ns - start - 1) / self.slice_ns) as usize;
        let Some(cell) = shard.slices.get_mut(slice) else { return };
        if matches!(s.fate, Fate::Answered { .. }) {
            let response = s.ended_ns.saturating_sub(s.intended_ns);
            cell.ok += 1;
            cell.response_ns += response;
            cell.worst_ns = cell.worst_ns.max(response);
            shard.slice_times[slice * BUCKETS + bucket_of(response)] += 1;
        } else {
            cell.failed += 1;
        }
    }
}

/// The parts of one response time. What clock reads leave over goes to `idle`, so that the sum is exact.
fn times_of(s: &Sample, response: u64) -> Times {
    let mut left = response;
    let mut take = |part: u64| {
        let taken = part.min(left);
        left -= taken;
        taken
    };
    let dispatch_queue = take(s.started_ns.saturating_sub(s.intended_ns));
    let pool_wait = take(s.pool_wait_ns);
    let on_cpu = take(s.parts.on_cpu);
    let run_queue = take(s.parts.run_queue);
    let blocked = take(s.parts.blocked);
    let sched_delay = take(s.parts.sched_delay);
    Times {
        n: 1,
        split: u64::from(s.parts.split),
        response,
        dispatch_queue,
        pool_wait,
        sched_delay,
        on_cpu,
        run_queue,
        blocked,
        idle: left,
    }
}
