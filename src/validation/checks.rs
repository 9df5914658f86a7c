//! Checks of a finished run for problems of the measurement.

use super::contention::TimeBreakdown;
use super::executor::Finished;
use super::stats::{batch_means, mann_kendall};
use super::validity::ValidityIssue;

/// Maximum p99 lag of the load generator, as a share of the median response time.
const LATE_FROM: f64 = 0.10;
/// p99 lag, in nanoseconds, up to which the load generator never counts as late. The limit is the resolution of timers.
const LATE_FROM_NS: f64 = 200_000.0;
/// Maximum p-value of a trend that counts as drift: the probability that chance alone gives such a trend.
const DRIFT_P: f64 = 0.01;
/// Minimum change over the window that counts as drift, as a share of the median.
const DRIFT_FROM: f64 = 0.10;
/// Minimum number of answers in the window for a test of drift.
const DRIFT_ANSWERS_MIN: u64 = 500;
/// Returns the measurement problems of a run.
pub(super) fn issues(
    f: &Finished,
    breakdown: Option<&TimeBreakdown>,
    cpu_known: bool,
    max_foreign_cpu: f64,
) -> Vec<ValidityIssue> {
    let mut found = Vec::new();
    if f.all.slices.iter().all(|s| s.ok == 0) && f.rows.iter().all(|r| r.ok == 0) {
        found.push(ValidityIssue::ZeroSuccess);
    }
    if let (Some(lag), Some(response)) = (f.all.lag.quantile_ns(0.99), f.all.response.quantile_ns(0.5))
        && lag > LATE_FROM * response
        && lag > LATE_FROM_NS
    {
        found.push(ValidityIssue::GeneratorLate { p99_lag_ms: lag / 1e6, p50_response_ms: response / 1e6 });
    }
    let whole = f.whole_slices();
    let rates: Vec<f64> = whole.iter().map(|s| f64::from(s.ok)).collect();
    let answered = whole.iter().filter(|s| s.ok > 0);
    let means: Vec<f64> = answered.map(|s| s.response_ns as f64 / f64::from(s.ok)).collect();
    if whole.iter().map(|s| u64::from(s.ok)).sum::<u64>() >= DRIFT_ANSWERS_MIN {
        for (what, series) in [("throughput", &rates), ("response", &means)] {
            let trend = mann_kendall(series);
            let drift = trend.filter(|t| t.p < DRIFT_P && t.relative_change.abs() > DRIFT_FROM);
            found.extend(drift.map(|t| {
                let what = what.to_owned();
                ValidityIssue::NotStationary { what, end_to_start: t.end_to_start, p: t.p }
            }));
        }
    }
    if f.clock_is_virtual {
        found.push(ValidityIssue::ClockVirtual);
    } else {
        let share = f.foreign_cpu.filter(|s| *s > max_foreign_cpu);
        found.extend(share.map(|share| ValidityIssue::ForeignCpu { share }));
    }
    let n = f.all.response.count() as f64;
    let missing = [0.5, 0.9, 0.99].into_iter().find(|q| n > 0.0 && n * (1.0 - q) + 1e-6 < 10.0);
    found.extend(missing.map(|quantile| ValidityIssue::TooFewSamples { quantile }));
    let correlated = batch_means(&rates).filter(|b| b.is_correlated()).and_then(|b| b.lag1);
    found.extend(correlated.map(|lag1| ValidityIssue::Correlated { lag1 }));
    let unavailable = match breakdown {
        _ if !cpu_known => Some("processor time of a thread"),
        Some(b) if b.run_queue_ms.is_none() => Some("the time in the run queue"),
        _ => None,
    };
    found.extend(unavailable.map(|what| ValidityIssue::MeteringUnavailable { what: what.to_owned() }));
    if f.abandoned_threads > 0 {
        found.push(ValidityIssue::AbandonedThreads { threads: f.abandoned_threads });
    }
    found
}
