//! The result of one run.
//!
//! An undefined figure is `None`, never NaN and never a zero that looks measured. Every request of the window has
//! exactly one outcome; [`ConcurrentTestResult::is_conserved`] checks that the counts add up.

use serde::{Deserialize, Serialize};

use super::completeness::{LevelCompleteness, Overhead};
use super::contention::{ContentionScore, TimeBreakdown};
use super::deadlock::{DeadlockReport, StallReport};
use super::machine::MachineInfo;
use super::plan::LoadModel;
use super::pool::ConnectionPoolStats;
use super::stats::LatencySummary;
use super::threads::OsThreadStats;
use super::validity::{SUPER_LINEAR_FROM, ValidityIssue};

/// Figures of one user in the window. All times are in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ThreadPerformance {
    /// Number of the user, from 0.
    pub thread_id: usize,
    /// Number of answered requests.
    pub requests_completed: usize,
    /// Mean response time of the answered requests.
    pub average_latency_ms: Option<f64>,
    /// Maximum response time of the answered requests.
    pub max_latency_ms: Option<f64>,
    /// Number of failed, timed-out and rejected requests.
    pub errors_encountered: usize,
    /// Number of requests still open at the end.
    pub interrupted: usize,
    /// Processor time of the requests; `None` if it was not measured.
    pub cpu_time_ms: Option<f64>,
    /// Number of polls of the requests.
    pub polls: u64,
    /// Total time from a wake-up of a request to its next poll.
    pub sched_delay_ms: f64,
    /// Total time inside polls during which the thread was off the processor.
    pub blocked_in_poll_ms: f64,
    /// Total time between polls before a wake-up: waits for timers, I/O and asynchronous locks.
    pub idle_ms: f64,
    /// Total time of waits for connections.
    pub pool_wait_ms: f64,
    /// Whether a panic of the workload ended the user.
    pub panicked: bool,
}

/// Figures of one slice, a short part of the measured window. All times are in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Slice {
    /// Start of the slice, in milliseconds from the start of the window.
    pub at_ms: f64,
    /// Number of requests answered in the slice.
    pub ok: u32,
    /// Number of requests that ended in the slice without an answer.
    pub failed: u32,
    /// Mean response time of the answers.
    pub mean_ms: Option<f64>,
    /// Maximum response time of the answers.
    pub max_ms: Option<f64>,
    /// p99 of the response time, with an error below 10 %; `None` with fewer than 1,000 answers.
    #[serde(default)]
    pub p99_ms: Option<f64>,
    /// Mean number of requests in progress over the samples in the slice; `None` without a sample.
    #[serde(default)]
    pub active: Option<f64>,
    /// Mean number of waits for a connection or a worker; `None` without a sample.
    #[serde(default)]
    pub pending: Option<f64>,
    /// Events that the tracker booked ÷ (booked + lost), from the first tracker snapshot in the slice to the next
    /// snapshot; `None` without two snapshots.
    #[serde(default)]
    pub completeness: Option<f64>,
}

/// The result of one load. The end of a field's name is the unit: `_ms` is milliseconds, `_s` seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConcurrentTestResult {
    /// Number of users of a closed load, or of workers of an open one.
    pub concurrent_users: usize,
    /// Number of requests of the window: the sum of the next five counts.
    pub total_requests: usize,
    /// Number of answered requests.
    pub successful_requests: usize,
    /// Number of requests that ended with an error of the workload.
    pub failed_requests: usize,
    /// Number of requests cancelled by the request time-out.
    pub timeout_requests: usize,
    /// Number of requests that got no connection.
    pub rejected_requests: usize,
    /// Number of requests still open, or not yet started, at the end of the graceful stop.
    pub interrupted_requests: usize,
    /// Whether a permanent deadlock was proved. `deadlocks` then has at least one entry.
    pub deadlock_detected: bool,
    /// Mean response time of the answers.
    pub average_response_time_ms: Option<f64>,
    /// Maximum response time of the answers.
    pub max_response_time_ms: Option<f64>,
    /// Minimum response time of the answers.
    pub min_response_time_ms: Option<f64>,
    /// Number of answers per second in the window.
    pub requests_per_second: f64,
    /// Figures of each user.
    pub thread_performance: Vec<ThreadPerformance>,
    /// Contention score from 0 to 100. It is computed from the increase of each part of the response time over the run
    /// of one user; `None` without a run of one user.
    pub resource_contention_score: Option<f64>,
    /// Efficiency 100 · X(N) / (N · X(1)), in percent, where X(N) is the throughput of N users. `None` without a run of
    /// one user. Also `None` above 105 %, because the run of one user was then too slow to compare with
    /// (`ValidityIssue::SuperLinear`).
    pub scalability_efficiency: Option<f64>,
    /// Usage of the pool; all figures are zero without a pool.
    pub connection_pool_usage: ConnectionPoolStats,
    /// Number of arrivals dropped because no worker was free. Not part of `total_requests`.
    pub dropped_arrivals: u64,
    /// Number of wrong answers.
    pub check_failures: usize,
    /// Number of users ended by a panic.
    pub panicked_users: usize,
    /// Number of threads that did not end in time and were abandoned.
    pub abandoned_threads: usize,
    /// Length of the window in seconds.
    pub window_s: f64,
    /// Whether the window was ended before its planned end.
    pub stopped_early: bool,
    /// Load that was offered.
    pub load: LoadModel,
    /// Seed of the run.
    pub seed: u64,
    /// Moment when the users started, in milliseconds of Unix time.
    pub started_at_unix_ms: u64,
    /// Number of arrivals per second in the window; `None` for a closed load.
    pub offered_rate: Option<f64>,
    /// Number of requests of the window per second.
    pub attempted_rate: f64,
    /// Share of requests without an answer; `None` without requests.
    pub error_rate: Option<f64>,
    /// 95 % confidence interval of the throughput, in answers per second.
    pub rps_ci95: Option<(f64, f64)>,
    /// Times from intended starts to answers. A request still open at the end counts with its time so far.
    pub response: LatencySummary,
    /// Times from actual starts to answers.
    pub service: LatencySummary,
    /// Times of requests without an answer.
    pub failures: LatencySummary,
    /// p99 of `response` ÷ p99 of `service`. A value above 1 is a delay that a closed loop would hide.
    pub co_gap: Option<f64>,
    /// Share of the users' time in which a slow request delayed the next one; closed loads only.
    pub co_exposure: Option<f64>,
    /// Delays of requests by the load generator itself.
    pub dispatch_lag: LatencySummary,
    /// Parts of the mean response time; `None` without answers.
    pub breakdown: Option<TimeBreakdown>,
    /// Increase of each part of the response time over the run of one user; `None` without a run of one user.
    pub contention: Option<ContentionScore>,
    /// Coefficient of variation of the users' mean response times. It measures unfairness, not contention.
    pub user_unfairness: Option<f64>,
    /// Threads of the run.
    pub os_threads: Vec<OsThreadStats>,
    /// Permanent deadlocks.
    pub deadlocks: Vec<DeadlockReport>,
    /// Deadlocks that end when one of their waits times out.
    pub transient_deadlocks: Vec<DeadlockReport>,
    /// Requests that made no progress for the deadlock time-out.
    pub stalls: Vec<StallReport>,
    /// Completeness of the tracker; `None` without a probe.
    pub completeness: Option<LevelCompleteness>,
    /// Cost of the tracker; `None` if it was not measured.
    pub tracker_overhead: Option<Overhead>,
    /// Slices of the window.
    pub timeline: Vec<Slice>,
    /// Problems of the measurement.
    pub validity: Vec<ValidityIssue>,
    /// Whether the run allows conclusions. A problem in `validity` can make the run inconclusive.
    pub valid: bool,
    /// Machine and build.
    pub machine: MachineInfo,
    /// Results of the thresholds.
    pub threshold_results: Vec<ThresholdResult>,
}

/// The outcome of comparing one figure of a run with a threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ThresholdResult {
    /// The threshold, as the user wrote it.
    pub threshold: String,
    /// Value of the figure; `None` if it is undefined.
    pub value: Option<f64>,
    /// Whether the threshold was met. An undefined figure meets no threshold.
    pub passed: bool,
}

impl ConcurrentTestResult {
    /// Whether every request has exactly one outcome, in total and summed over the users.
    pub fn is_conserved(&self) -> bool {
        let outcomes = self.successful_requests
            + self.failed_requests
            + self.timeout_requests
            + self.rejected_requests
            + self.interrupted_requests;
        let of_users = |count: fn(&ThreadPerformance) -> usize| -> usize {
            self.thread_performance.iter().map(count).sum()
        };
        outcomes == self.total_requests
            && of_users(|u| u.requests_completed) == self.successful_requests
            && of_users(|u| u.errors_encountered)
                == self.failed_requests + self.timeout_requests + self.rejected_requests
            && of_users(|u| u.interrupted) <= self.interrupted_requests
    }

    /// Computes the figures that need the run of one user, `baseline`: efficiency and contention.
    pub(super) fn compare_with(&mut self, baseline: &Self) {
        let alone = baseline.requests_per_second / baseline.concurrent_users as f64;
        let ideal = self.concurrent_users as f64 * alone;
        let efficiency = (alone > 0.0).then(|| 100.0 * self.requests_per_second / ideal);
        self.scalability_efficiency = efficiency.filter(|e| *e <= SUPER_LINEAR_FROM);
        let breakdowns = self.breakdown.as_ref().zip(baseline.breakdown.as_ref());
        self.contention = breakdowns.and_then(|(level, alone)| ContentionScore::against(level, alone));
        self.resource_contention_score = self.contention.map(|c| c.total);
        self.validity.retain(|v| !matches!(v, ValidityIssue::SuperLinear { .. }));
        let super_linear = efficiency.filter(|e| *e > SUPER_LINEAR_FROM);
        self.validity.extend(super_linear.map(|e| ValidityIssue::SuperLinear { times: e / 100.0 }));
    }

    /// Whether the run is valid and met all thresholds.
    pub fn passed(&self) -> bool {
        self.valid && self.threshold_results.iter().all(|t| t.passed)
    }

    /// Returns the problems that make the run inconclusive.
    pub(super) fn doubts(&self) -> impl Iterator<Item = &ValidityIssue> {
        self.validity.iter().filter(|v| v.forbids_conclusions())
    }
}
