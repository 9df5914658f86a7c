//! The conversion of the raw records of a run to a [`ConcurrentTestResult`].

use std::time::Duration;

use super::checks::issues;
use super::completeness::{LevelCompleteness, OverheadPair};
use super::config::{BenchmarkConfig, Metering};
use super::contention::TimeBreakdown;
use super::deadlock::DeadlockClass;
use super::executor::{Finished, Gauge, Row, SliceCell, Times};
use super::machine::MachineInfo;
use super::plan::LoadModel;
use super::probe::thread_cpu_ns;
use super::result::{ConcurrentTestResult, Slice, ThreadPerformance};
use super::stats::{BUCKETS, batch_means, coarse_quantile_ns, mean};
use super::threshold::Threshold;
use super::validity::ValidityIssue;

fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

impl ConcurrentTestResult {
    pub(super) fn of(f: Finished, load: &LoadModel, config: &BenchmarkConfig) -> Self {
        let sum = |field: fn(&Row) -> u64| f.rows.iter().map(field).sum::<u64>();
        let window_s = f.window_ns as f64 / 1e9;
        let per_second = |n: u64| if window_s > 0.0 { n as f64 / window_s } else { 0.0 };
        let (total, ok) = (sum(|r| r.started) + f.unserved, sum(|r| r.ok));
        let cpu_known = config.cpu_metering != Metering::Off && thread_cpu_ns().is_some();
        let breakdown = TimeBreakdown::of(&f.rows, cpu_known);
        let response_ns: u128 = f.rows.iter().map(|r| r.response_ns).sum();
        let validity = issues(&f, breakdown.as_ref(), cpu_known, config.max_foreign_cpu);
        let users = f.rows.iter().enumerate();
        let mut result = Self {
            concurrent_users: f.rows.len(),
            total_requests: total as usize,
            successful_requests: ok as usize,
            failed_requests: sum(|r| r.failed) as usize,
            timeout_requests: sum(|r| r.timed_out) as usize,
            rejected_requests: sum(|r| r.rejected) as usize,
            interrupted_requests: (sum(|r| r.interrupted) + f.unserved) as usize,
            deadlock_detected: f.deadlocks.iter().any(|d| d.class == DeadlockClass::Permanent),
            average_response_time_ms: (ok > 0).then(|| response_ns as f64 / ok as f64 / 1e6),
            max_response_time_ms: f.rows.iter().filter(|r| r.ok > 0).map(|r| ms(r.max_ns)).reduce(f64::max),
            min_response_time_ms: f.rows.iter().filter_map(|r| r.min_ns).min().map(ms),
            requests_per_second: per_second(f.all.slices.iter().map(|s| u64::from(s.ok)).sum()),
            thread_performance: users.map(|(u, r)| performance_of(u, r, cpu_known)).collect(),
            resource_contention_score: None,
            scalability_efficiency: None,
            dropped_arrivals: f.dropped,
            check_failures: sum(|r| r.check_failures) as usize,
            panicked_users: f.rows.iter().filter(|r| r.panicked).count(),
            abandoned_threads: f.abandoned_threads,
            window_s,
            stopped_early: f.stopped_early,
            load: load.clone(),
            seed: config.seed,
            started_at_unix_ms: f.started_at_unix_ms,
            offered_rate: f.arrivals_in_window.map(per_second),
            attempted_rate: per_second(total),
            error_rate: (total > 0).then(|| (total - ok) as f64 / total as f64),
            rps_ci95: throughput_interval(&f),
            response: f.all.response.summary_with_histogram(),
            service: f.all.service.summary_with_histogram(),
            failures: f.all.failures.summary_with_histogram(),
            co_gap: co_gap(&f, load),
            co_exposure: co_exposure(&f, load),
            dispatch_lag: f.all.lag.summary(),
            breakdown,
            contention: None,
            user_unfairness: unfairness(&f.rows),
            completeness: completeness_of(&f),
            tracker_overhead: None,
            timeline: timeline_of(&f),
            valid: !validity.iter().any(ValidityIssue::forbids_conclusions),
            validity,
            machine: MachineInfo::read(),
            threshold_results: Vec::new(),
            connection_pool_usage: f.pool,
            os_threads: f.os_threads,
            deadlocks: Vec::new(),
            transient_deadlocks: Vec::new(),
            stalls: f.stalls,
        };
        (result.transient_deadlocks, result.deadlocks) =
            f.deadlocks.into_iter().partition(|d| d.class == DeadlockClass::Transient);
        result.judge(&config.thresholds);
        result
    }

    pub(super) fn judge(&mut self, thresholds: &[Threshold]) {
        self.threshold_results = thresholds.iter().map(|t| t.judge(self)).collect();
    }
}

impl TimeBreakdown {
    fn of(rows: &[Row], cpu_known: bool) -> Option<Self> {
        let mut t = Times::default();
        rows.iter().for_each(|r| t.add(&r.times));
        if t.n == 0 {
            return None;
        }
        let mean = |ns: u64| ns as f64 / t.n as f64 / 1e6;
        let split = t.split == t.n;
        Some(Self {
            requests: t.n,
            response_ms: mean(t.response),
            dispatch_queue_ms: mean(t.dispatch_queue),
            pool_wait_ms: mean(t.pool_wait),
            sched_delay_ms: mean(t.sched_delay),
            on_cpu_ms: cpu_known.then(|| mean(t.on_cpu)),
            run_queue_ms: split.then(|| mean(t.run_queue)),
            blocked_ms: split.then(|| mean(t.blocked)),
            off_cpu_ms: mean(t.run_queue + t.blocked),
            idle_ms: mean(t.idle),
        })
    }
}

impl OverheadPair {
    /// Creates the pair of a result with the tracker on and a result with it off.
    pub fn of(on: &ConcurrentTestResult, off: &ConcurrentTestResult) -> Self {
        let cpu = |r: &ConcurrentTestResult| r.breakdown.as_ref().and_then(|b| b.on_cpu_ms);
        Self {
            on_rps: on.requests_per_second,
            off_rps: off.requests_per_second,
            on_p50_ms: on.response.p50_ms,
            off_p50_ms: off.response.p50_ms,
            on_cpu_ms: cpu(on),
            off_cpu_ms: cpu(off),
        }
    }
}

fn throughput_interval(f: &Finished) -> Option<(f64, f64)> {
    let rate = |s: &SliceCell| f64::from(s.ok) * 1e9 / f.slice_ns as f64;
    let rates: Vec<f64> = f.whole_slices().iter().map(rate).collect();
    batch_means(&rates).map(|b| b.interval)
}

fn mean_ns(r: &Row) -> Option<f64> {
    (r.ok > 0).then(|| r.response_ns as f64 / r.ok as f64)
}

fn performance_of(user: usize, r: &Row, cpu_known: bool) -> ThreadPerformance {
    ThreadPerformance {
        thread_id: user,
        requests_completed: r.ok as usize,
        average_latency_ms: mean_ns(r).map(|ns| ns / 1e6),
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

/// Returns the coefficient of variation of the users' mean response times. Users without an answer have no mean.
fn unfairness(rows: &[Row]) -> Option<f64> {
    let means: Vec<f64> = rows.iter().filter_map(mean_ns).collect();
    let mean = mean(&means).filter(|mean| means.len() > 1 && *mean > 0.0)?;
    let variance = means.iter().map(|m| (m - mean).powi(2)).sum::<f64>() / means.len() as f64;
    Some(variance.sqrt() / mean)
}

fn completeness_of(f: &Finished) -> Option<LevelCompleteness> {
    let t = f.tracker.as_ref()?;
    let elapsed = Duration::from_nanos(t.elapsed_ns);
    let quiesced = t.quiesced.is_ok();
    Some(LevelCompleteness::between(&t.before, &t.after, &t.samples, elapsed, t.expected_events, quiesced))
}

fn timeline_of(f: &Finished) -> Vec<Slice> {
    let inside = |at_ns: u64, i: usize| {
        let begin_ns = f.window_start_ns + i as u64 * f.slice_ns;
        (begin_ns..begin_ns + f.slice_ns).contains(&at_ns)
    };
    let mean_of = |i: usize, figure: fn(&Gauge) -> u64| {
        let gauges = f.gauges.iter().filter(|g| inside(g.at_ns, i));
        mean(&gauges.map(|g| figure(g) as f64).collect::<Vec<_>>())
    };
    let samples = f.tracker.as_ref().map_or(&[][..], |t| &t.samples);
    let complete = |i: usize| {
        let pair = samples.windows(2).find(|pair| inside(pair[0].0, i))?;
        pair[1].1.share_since(&pair[0].1)
    };
    let slice = |(i, (s, counts)): (usize, (&SliceCell, &[u32]))| Slice {
        at_ms: ms(i as u64 * f.slice_ns),
        ok: s.ok,
        failed: s.failed,
        mean_ms: (s.ok > 0).then(|| ms(s.response_ns) / f64::from(s.ok)),
        max_ms: (s.ok > 0).then(|| ms(s.worst_ns)),
        p99_ms: coarse_quantile_ns(counts, 0.99).map(|p99| p99.min(s.worst_ns as f64) / 1e6),
        active: mean_of(i, |g| g.active),
        pending: mean_of(i, |g| g.pending),
        completeness: complete(i),
    };
    f.all.slices.iter().zip(f.all.slice_times.chunks(BUCKETS)).enumerate().map(slice).collect()
}
