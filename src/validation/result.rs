//! The result of one run.
//!
//! Undefined figures are `None`, never NaN and never a zero that looks measured. The counts obey one law, checked by
//! [`ConcurrentTestResult::is_conserved`]: every request that belongs to the window has exactly one fate.

use serde::{Deserialize, Serialize};

use super::completeness::{LevelCompleteness, Overhead};
use super::config::{BenchmarkConfig, Metering};
use super::contention::{ContentionScore, TimeBreakdown};
use super::deadlock::{DeadlockClass, DeadlockReport, StallReport};
use super::executor::{Finished, Gauge, Row};
use super::machine::MachineInfo;
use super::meter::thread_cpu_ns;
use super::plan::LoadModel;
use super::pool::ConnectionPoolStats;
use super::report::{Threshold, ThresholdResult};
use super::stats::{BUCKETS, LatencySummary, batch_means, coarse_quantile_ns};
use super::validity::{self, ValidityIssue};

/// What one user did in the window. Times in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ThreadPerformance {
    /// The user's number.
    pub thread_id: usize,
    /// Requests answered.
    pub requests_completed: usize,
    /// Mean response time of these.
    pub average_latency_ms: Option<f64>,
    /// The longest of these.
    pub max_latency_ms: Option<f64>,
    /// Requests that failed, timed out or were rejected.
    pub errors_encountered: usize,
    /// Requests still open at the end.
    pub interrupted: usize,
    /// Processor time used by the user's requests; `None` where that is not measured.
    pub cpu_time_ms: Option<f64>,
    /// Times that its requests were polled.
    pub polls: u64,
    /// Sum of the times from wake-up to poll.
    pub sched_delay_ms: f64,
    /// Sum of the times inside polls without using the processor.
    pub blocked_in_poll_ms: f64,
    /// Sum of the times between polls.
    pub idle_ms: f64,
    /// Sum of the waits for a connection.
    pub pool_wait_ms: f64,
    /// Whether the workload panicked and ended the user.
    pub panicked: bool,
}

/// What one operating-system thread of the run did, from its start to its end.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OsThreadStats {
    /// The system's number.
    pub tid: u64,
    /// Its name.
    pub name: String,
    /// Processor time.
    pub cpu_ms: f64,
    /// Time that it could have run and had no core.
    pub run_queue_ms: f64,
    /// Times that it gave up its core.
    pub voluntary_switches: u64,
    /// Times that its core was taken away.
    pub involuntary_switches: u64,
}

/// One slice of the window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Slice {
    /// Its beginning, from the window's.
    pub at_ms: f64,
    /// Requests answered in it.
    pub ok: u32,
    /// Requests that ended otherwise.
    pub failed: u32,
    /// Mean response time of the answers.
    pub mean_ms: Option<f64>,
    /// The longest response time among them.
    pub max_ms: Option<f64>,
    /// p99 of the response time, right to a tenth; `None` with fewer than a thousand answers.
    #[serde(default)]
    pub p99_ms: Option<f64>,
    /// Requests under way, mean over the looks that fell into it; `None` without a look.
    #[serde(default)]
    pub active: Option<f64>,
    /// Waits for a connection or a worker, likewise.
    #[serde(default)]
    pub pending: Option<f64>,
    /// Events booked ÷ (booked + lost) between its first look at the tracker and the next slice's; `None` without.
    #[serde(default)]
    pub completeness: Option<f64>,
}

/// The result of one load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConcurrentTestResult {
    /// Users of a closed load, workers of an open one.
    pub concurrent_users: usize,
    /// Requests that belong to the window; the sum of the next five counts.
    pub total_requests: usize,
    /// Answered.
    pub successful_requests: usize,
    /// Ended with an error of the workload.
    pub failed_requests: usize,
    /// Took longer than the request time-out.
    pub timeout_requests: usize,
    /// Got no connection.
    pub rejected_requests: usize,
    /// Still open, or not even taken up, at the end of the graceful stop.
    pub interrupted_requests: usize,
    /// Whether a permanent deadlock was proved: `deadlocks` is not empty.
    pub deadlock_detected: bool,
    /// Mean response time of the answers.
    pub average_response_time_ms: Option<f64>,
    /// The longest.
    pub max_response_time_ms: Option<f64>,
    /// The shortest.
    pub min_response_time_ms: Option<f64>,
    /// Answers within the window, a second.
    pub requests_per_second: f64,
    /// One row per user.
    pub thread_performance: Vec<ThreadPerformance>,
    /// 0 to 100, from the parts of the response time that grew since one user; `None` without that baseline.
    pub resource_contention_score: Option<f64>,
    /// 100 · X(N) / (N · X(1)), percent; `None` without a baseline.
    pub scalability_efficiency: Option<f64>,
    /// What the pool did; all zero without one.
    pub connection_pool_usage: ConnectionPoolStats,
    /// Arrivals turned away for want of a free worker. Not part of `total_requests`.
    pub dropped_arrivals: u64,
    /// Answers that were wrong.
    pub check_failures: usize,
    /// Users that a panic ended.
    pub panicked_users: usize,
    /// Threads that did not end and were left behind.
    pub abandoned_threads: usize,
    /// Length of the window in seconds.
    pub window_s: f64,
    /// Whether the window was ended before its time.
    pub stopped_early: bool,
    /// The load.
    pub load: LoadModel,
    /// The seed.
    pub seed: u64,
    /// When the users were let go, in milliseconds of Unix time.
    pub started_at_unix_ms: u64,
    /// Arrivals a second in the window; `None` for a closed load.
    pub offered_rate: Option<f64>,
    /// Requests that belong to the window, a second.
    pub attempted_rate: f64,
    /// Share of them that did not succeed; `None` when there were none.
    pub error_rate: Option<f64>,
    /// 95 % interval of the throughput.
    pub rps_ci95: Option<(f64, f64)>,
    /// From the intended start to the answer; open requests censored.
    pub response: LatencySummary,
    /// From the actual start to the answer.
    pub service: LatencySummary,
    /// Requests that did not succeed.
    pub failures: LatencySummary,
    /// p99 of response ÷ p99 of service: above 1, a closed loop would have hidden the difference.
    pub co_gap: Option<f64>,
    /// Closed loads: share of the users' time in which a slow request kept others from being sent.
    pub co_exposure: Option<f64>,
    /// How late the generator itself was.
    pub dispatch_lag: LatencySummary,
    /// Where the mean answer spent its time; `None` without answers.
    pub breakdown: Option<TimeBreakdown>,
    /// What grew since one user; `None` without that baseline.
    pub contention: Option<ContentionScore>,
    /// Coefficient of variation of the users' mean response times. Unfairness, not contention.
    pub user_unfairness: Option<f64>,
    /// The threads of the run.
    pub os_threads: Vec<OsThreadStats>,
    /// Deadlocks that nothing would have ended.
    pub deadlocks: Vec<DeadlockReport>,
    /// Deadlocks that a time-out ended.
    pub transient_deadlocks: Vec<DeadlockReport>,
    /// Requests without an end for the deadlock time-out.
    pub stalls: Vec<StallReport>,
    /// How complete the tracker was; `None` without a probe.
    pub completeness: Option<LevelCompleteness>,
    /// What the tracker cost; `None` unless measured.
    pub tracker_overhead: Option<Overhead>,
    /// The window in slices.
    pub timeline: Vec<Slice>,
    /// What makes the figures doubtful.
    pub validity: Vec<ValidityIssue>,
    /// Whether nothing in `validity` forbids conclusions.
    pub valid: bool,
    /// Where it was measured.
    pub machine: MachineInfo,
    /// The thresholds and how they fared.
    pub threshold_results: Vec<ThresholdResult>,
}

impl ConcurrentTestResult {
    pub(super) fn of(f: Finished, load: &LoadModel, config: &BenchmarkConfig) -> Self {
        let sum = |field: fn(&Row) -> u64| f.rows.iter().map(field).sum::<u64>();
        let window_s = f.window_ns as f64 / 1e9;
        let per_second = |n: f64| if window_s > 0.0 { n / window_s } else { 0.0 };
        let (total, ok) = (sum(|r| r.started) + f.unserved, sum(|r| r.ok));
        let answered = f.all.slices.iter().map(|s| u64::from(s.ok)).sum::<u64>();
        let cpu_known = config.cpu_metering != Metering::Off && thread_cpu_ns().is_some();
        let rows = f.rows.iter().enumerate();
        let thread_performance = rows.map(|(u, r)| performance_of(u, r, cpu_known)).collect();
        let breakdown = TimeBreakdown::of(&f.rows, cpu_known);
        let response_ns: u128 = f.rows.iter().map(|r| r.response_ns).sum();
        let (transient_deadlocks, deadlocks) = by_class(&f.deadlocks);
        let validity = validity::issues(&f, breakdown.as_ref(), cpu_known, config.max_foreign_cpu);
        let mut result = Self {
            concurrent_users: f.rows.len(),
            total_requests: total as usize,
            successful_requests: ok as usize,
            failed_requests: sum(|r| r.failed) as usize,
            timeout_requests: sum(|r| r.timed_out) as usize,
            rejected_requests: sum(|r| r.rejected) as usize,
            interrupted_requests: (sum(|r| r.interrupted) + f.unserved) as usize,
            deadlock_detected: !deadlocks.is_empty(),
            average_response_time_ms: (ok > 0).then(|| response_ns as f64 / ok as f64 / 1e6),
            max_response_time_ms: extreme_ms(&f.rows, |r| r.max_ns, u64::max),
            min_response_time_ms: extreme_ms(&f.rows, |r| r.min_ns.unwrap_or(u64::MAX), u64::min),
            requests_per_second: per_second(answered as f64),
            thread_performance,
            resource_contention_score: None,
            scalability_efficiency: None,
            connection_pool_usage: f.pool.clone(),
            dropped_arrivals: f.dropped,
            check_failures: sum(|r| r.check_failures) as usize,
            panicked_users: f.rows.iter().filter(|r| r.panicked).count(),
            abandoned_threads: f.abandoned_threads,
            window_s,
            stopped_early: f.stopped_early,
            load: load.clone(),
            seed: config.seed,
            started_at_unix_ms: f.started_at_unix_ms,
            offered_rate: f.arrivals_in_window.map(|n| per_second(n as f64)),
            attempted_rate: per_second(total as f64),
            error_rate: (total > 0).then(|| (total - ok) as f64 / total as f64),
            rps_ci95: throughput_interval(&f),
            response: f.all.response.summary_with_histogram(),
            service: f.all.service.summary_with_histogram(),
            failures: f.all.failures.summary_with_histogram(),
            co_gap: co_gap(&f, load),
            co_exposure: co_exposure(&f, load),
            dispatch_lag: f.all.lag.summary(),
            contention: None,
            user_unfairness: unfairness(&f.rows),
            os_threads: f.os_threads.clone(),
            deadlocks,
            transient_deadlocks,
            stalls: f.stalls.clone(),
            completeness: completeness_of(&f),
            tracker_overhead: None,
            timeline: timeline_of(&f),
            valid: !validity.iter().any(ValidityIssue::forbids_conclusions),
            validity,
            machine: MachineInfo::read(),
            threshold_results: Vec::new(),
            breakdown,
        };
        result.judge(&config.thresholds);
        result
    }

    /// Whether every request has exactly one fate, in total and summed over the users.
    pub fn is_conserved(&self) -> bool {
        let fates = self.successful_requests
            + self.failed_requests
            + self.timeout_requests
            + self.rejected_requests
            + self.interrupted_requests;
        let users = &self.thread_performance;
        let completed: usize = users.iter().map(|u| u.requests_completed).sum();
        let errors: usize = users.iter().map(|u| u.errors_encountered).sum();
        fates == self.total_requests
            && completed == self.successful_requests
            && errors == self.failed_requests + self.timeout_requests + self.rejected_requests
            && users.iter().map(|u| u.interrupted).sum::<usize>() <= self.interrupted_requests
    }

    /// Fills in what needs the run at one user: efficiency and contention.
    pub(super) fn compare_with(&mut self, baseline: &Self) {
        let alone = baseline.requests_per_second / baseline.concurrent_users as f64;
        self.scalability_efficiency =
            (alone > 0.0).then(|| 100.0 * self.requests_per_second / (self.concurrent_users as f64 * alone));
        self.contention = self
            .breakdown
            .as_ref()
            .zip(baseline.breakdown.as_ref())
            .and_then(|(level, baseline)| ContentionScore::against(level, baseline));
        self.resource_contention_score = self.contention.map(|c| c.total);
        if self.scalability_efficiency.is_some_and(|e| e > validity::SUPER_LINEAR_FROM) {
            self.validity
                .push(ValidityIssue::SuperLinear { efficiency: self.scalability_efficiency.unwrap_or(0.0) });
        }
    }

    pub(super) fn judge(&mut self, thresholds: &[Threshold]) {
        self.threshold_results = thresholds.iter().map(|t| t.judge(self)).collect();
    }

    /// Whether the run is valid and no threshold was breached.
    pub fn passed(&self) -> bool {
        self.valid && self.threshold_results.iter().all(|t| t.passed)
    }
}

fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// The slices that lie in the window with their whole length.
fn whole_slices(f: &Finished) -> &[super::executor::SliceCell] {
    &f.all.slices[..((f.window_ns / f.slice_ns) as usize).min(f.all.slices.len())]
}

/// The largest or smallest of a figure over the users that were answered.
fn extreme_ms(rows: &[Row], figure: fn(&Row) -> u64, pick: fn(u64, u64) -> u64) -> Option<f64> {
    rows.iter().filter(|r| r.ok > 0).map(figure).reduce(pick).map(ms)
}

/// Transient deadlocks, and permanent ones.
fn by_class(all: &[DeadlockReport]) -> (Vec<DeadlockReport>, Vec<DeadlockReport>) {
    all.iter().cloned().partition(|d| d.class == DeadlockClass::Transient)
}

fn throughput_interval(f: &Finished) -> Option<(f64, f64)> {
    let rates: Vec<f64> = whole_slices(f).iter().map(|s| f64::from(s.ok) * 1e9 / f.slice_ns as f64).collect();
    batch_means(&rates).map(|b| b.interval)
}

fn performance_of(user: usize, r: &Row, cpu_known: bool) -> ThreadPerformance {
    ThreadPerformance {
        thread_id: user,
        requests_completed: r.ok as usize,
        average_latency_ms: (r.ok > 0).then(|| r.response_ns as f64 / r.ok as f64 / 1e6),
        max_latency_ms: (r.ok > 0).then(|| ms(r.max_ns)),
        errors_encountered: (r.failed + r.timed_out + r.rejected) as usize,
        interrupted: r.interrupted as usize,
        cpu_time_ms: cpu_known.then(|| ms(r.cpu_ns)),
        polls: r.polls,
        sched_delay_ms: ms(r.times.sched_delay),
        blocked_in_poll_ms: ms(r.times.blocked + r.times.run_queue),
        idle_ms: ms(r.times.idle),
        pool_wait_ms: ms(r.times.pool_wait),
        panicked: r.panicked,
    }
}

fn co_gap(f: &Finished, load: &LoadModel) -> Option<f64> {
    let service = f.all.service.quantile_ns(0.99).filter(|s| *s > 0.0)?;
    load.is_open().then_some(f.all.response.quantile_ns(0.99)? / service)
}

fn co_exposure(f: &Finished, load: &LoadModel) -> Option<f64> {
    let median = f.all.service.quantile_ns(0.5)?;
    let users_ns = f.window_ns as f64 * f.rows.len() as f64;
    (!load.is_open() && users_ns > 0.0).then(|| f.all.service.excess_over_ns(median) / users_ns)
}

fn unfairness(rows: &[Row]) -> Option<f64> {
    // Users without an answer have no mean; they are seen in their own rows.
    let means: Vec<f64> =
        rows.iter().filter(|r| r.ok > 0).map(|r| r.response_ns as f64 / r.ok as f64).collect();
    let n = means.len() as f64;
    let mean = means.iter().sum::<f64>() / n;
    let variance = means.iter().map(|m| (m - mean).powi(2)).sum::<f64>() / n;
    (means.len() > 1 && mean > 0.0).then(|| variance.sqrt() / mean)
}

fn completeness_of(f: &Finished) -> Option<LevelCompleteness> {
    let t = f.tracker.as_ref()?;
    let elapsed = std::time::Duration::from_nanos(t.elapsed_ns);
    Some(LevelCompleteness::between(
        &t.before,
        &t.after,
        &t.sights,
        elapsed,
        t.expected_events,
        t.quiesced.is_ok(),
    ))
}

fn timeline_of(f: &Finished) -> Vec<Slice> {
    let inside = |at_ns: u64, i: usize| {
        let begin_ns = f.window_start_ns + i as u64 * f.slice_ns;
        (begin_ns..begin_ns + f.slice_ns).contains(&at_ns)
    };
    let mean = |i: usize, figure: fn(&Gauge) -> u64| {
        let looks = f.gauges.iter().filter(|g| inside(g.at_ns, i)).map(figure);
        let (n, sum) = looks.fold((0u32, 0), |(n, sum), value| (n + 1, sum + value));
        (n > 0).then(|| sum as f64 / f64::from(n))
    };
    let sights = f.tracker.as_ref().map_or(&[][..], |t| &t.sights);
    let complete = |i: usize| {
        let pair = sights.windows(2).find(|pair| inside(pair[0].0, i))?;
        pair[1].1.share_since(&pair[0].1)
    };
    let slice = |(i, s): (usize, &super::executor::SliceCell)| Slice {
        at_ms: ms(i as u64 * f.slice_ns),
        ok: s.ok,
        failed: s.failed,
        mean_ms: (s.ok > 0).then(|| ms(s.response_ns) / f64::from(s.ok)),
        max_ms: (s.ok > 0).then(|| ms(s.worst_ns)),
        p99_ms: f.all.slice_times.chunks(BUCKETS).nth(i).and_then(|counts| {
            let p99 = coarse_quantile_ns(counts, 0.99)?.min(s.worst_ns as f64);
            Some(p99 / 1e6)
        }),
        active: mean(i, |g| g.active),
        pending: mean(i, |g| g.pending),
        completeness: complete(i),
    };
    f.all.slices.iter().enumerate().map(slice).collect()
}
