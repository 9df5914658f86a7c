//! Records of requests: for one request, for one user, and for one slice of the window.

use super::super::meter::Parts;
use super::super::stats::{BUCKETS, Latencies, bucket_of};

/// The outcome of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Fate {
    /// The request was answered; `right` is the result of the workload's check.
    Answered { right: bool },
    /// The workload returned an error.
    Failed,
    /// The request time-out cancelled the request.
    TimedOut,
    /// The request got no connection.
    Rejected,
}

/// The record of one request. Times are in nanoseconds; points in time are on the run's clock.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Sample {
    pub intended_ns: u64,
    /// Time at which the worker became free.
    pub worker_free_ns: u64,
    pub started_ns: u64,
    pub ended_ns: u64,
    pub pool_wait_ns: u64,
    pub fate: Fate,
    pub metered: bool,
    pub parts: Parts,
}

impl Sample {
    pub fn response_ns(&self) -> u64 {
        self.ended_ns.saturating_sub(self.intended_ns)
    }

    pub fn is_answered(&self) -> bool {
        matches!(self.fate, Fate::Answered { .. })
    }

    /// Returns the parts of the response time. The part `idle` gets the remaining time, so that the sum is exact.
    fn times(&self) -> Times {
        let mut rest = self.response_ns();
        let mut take = |part: u64| {
            let taken = part.min(rest);
            rest -= taken;
            taken
        };
        Times {
            n: 1,
            split: u64::from(self.parts.split),
            response: self.response_ns(),
            dispatch_queue: take(self.started_ns.saturating_sub(self.intended_ns)),
            pool_wait: take(self.pool_wait_ns),
            on_cpu: take(self.parts.on_cpu),
            run_queue: take(self.parts.run_queue),
            blocked: take(self.parts.blocked),
            sched_delay: take(self.parts.sched_delay),
            idle: rest,
        }
    }
}

/// Sums of the parts of the response time over metered requests, in nanoseconds.
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

/// The record of one user. The counts include only requests in the window, unless stated otherwise.
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
    /// Number of finished requests of the whole run, including the warm-up.
    pub executed: u64,
    /// Number of answered requests among `executed`.
    pub answered: u64,
    /// Exact number of allocation events of the `executed` requests; `None` if the number of one request is unknown.
    pub expected_events: Option<u64>,
    /// Intended start of the current request in nanoseconds, plus one; 0 without a request.
    pub under_way: u64,
}

impl Row {
    /// Counts a finished request, inside or outside the window.
    pub fn book_end(&mut self, s: &Sample, expected_events: Option<u64>) {
        self.under_way = 0;
        self.executed += 1;
        self.answered += u64::from(s.is_answered());
        // One request with an unknown number makes the sum unknown.
        self.expected_events = match (self.executed, self.expected_events, expected_events) {
            (1, _, events) => events,
            (_, Some(sum), Some(events)) => Some(sum + events),
            _ => None,
        };
    }

    /// Counts a request that belongs to the window.
    pub fn book(&mut self, s: &Sample) {
        let response = s.response_ns();
        self.started += 1;
        self.polls += s.parts.polls;
        self.cpu_ns += s.parts.cpu_raw;
        match s.fate {
            Fate::Answered { right } => {
                self.ok += 1;
                self.check_failures += u64::from(!right);
                self.response_ns += u128::from(response);
                self.min_ns = Some(self.min_ns.map_or(response, |m| m.min(response)));
                self.max_ns = self.max_ns.max(response);
                if s.metered {
                    self.times.add(&s.times());
                }
            }
            Fate::TimedOut => self.timed_out += 1,
            Fate::Failed => self.failed += 1,
            Fate::Rejected => self.rejected += 1,
        }
    }
}

/// Sums over the requests that ended in one slice of the timeline.
#[derive(Debug, Clone, Copy, Default)]
pub(in super::super) struct SliceCell {
    pub ok: u32,
    pub failed: u32,
    pub response_ns: u64,
    pub worst_ns: u64,
}

/// The histograms and slices of one user or of a few users.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Shard {
    pub response: Latencies,
    pub service: Latencies,
    pub failures: Latencies,
    pub lag: Latencies,
    pub slices: Vec<SliceCell>,
    /// Coarse histograms of the response times, stored slice after slice.
    pub slice_times: Vec<u32>,
}

impl Shard {
    pub fn new(slices: usize) -> Self {
        let (slices, slice_times) = (vec![SliceCell::default(); slices], vec![0; slices * BUCKETS]);
        Self { slices, slice_times, ..Self::default() }
    }

    /// Counts a request that belongs to the window.
    pub fn book(&mut self, s: &Sample) {
        let (response, service) = (s.response_ns(), s.ended_ns.saturating_sub(s.started_ns));
        self.lag.record(s.started_ns.saturating_sub(s.intended_ns.max(s.worker_free_ns)));
        match s.fate {
            Fate::Answered { .. } => {
                self.response.record(response);
                self.service.record(service);
            }
            Fate::TimedOut => {
                self.response.record_censored(response);
                self.service.record_censored(service);
                self.failures.record_censored(response);
            }
            Fate::Failed | Fate::Rejected => self.failures.record(response),
        }
    }

    /// Counts a request that ended in the slice numbered `slice`.
    pub fn book_slice(&mut self, slice: usize, s: &Sample) {
        let Some(cell) = self.slices.get_mut(slice) else { return };
        if !s.is_answered() {
            cell.failed += 1;
            return;
        }
        let response = s.response_ns();
        cell.ok += 1;
        cell.response_ns += response;
        cell.worst_ns = cell.worst_ns.max(response);
        self.slice_times[slice * BUCKETS + bucket_of(response)] += 1;
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
