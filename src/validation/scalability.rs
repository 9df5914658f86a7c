//! Analysis of a scalability test: how far the system scales, where it breaks, and why.
//!
//! * The *efficiency* of N users is E(N) = 100·X(N) / (N·X(1)), in percent. X(N) is their throughput, and X(1) is
//!   measured in the same test.
//! * The *knee* is the level with the largest power X/R, where R is the mean response time (Kleinrock 1979). Beyond the
//!   knee, response time grows faster than throughput. The level with the peak throughput usually lies beyond the knee
//!   and is a poor operating point.
//! * A level is *retrograde* if its throughput is lower than at a lower level. Its confidence interval must lie below
//!   the interval of the best lower level, and its throughput must be at least 2 % lower. In a deterministic run, the
//!   intervals alone would flag differences of a thousandth.

use super::completeness::Overhead;
use super::config::BenchmarkConfig;
use super::random::ThinkTime;
use super::recommend::recommend;
use super::result::ConcurrentTestResult;
use super::series::{
    BreakingCause, LevelSummary, RecommendationDetail, ScalabilityRecommendation, ScalabilityReport,
    median_run,
};
use super::stats::{mean, mean_interval};
use super::usl::{self, UslFit, UslPoint};
use super::validity::SUPER_LINEAR_FROM;

const LINEAR_FROM: f64 = 90.0;
const RETROGRADE_BELOW: f64 = 0.98;

impl ScalabilityReport {
    /// Analyses existing runs, such as those of other processes or of a stored report.
    pub fn from_runs(runs: Vec<ConcurrentTestResult>, config: &BenchmarkConfig) -> Self {
        let order = runs.iter().map(|r| r.concurrent_users).collect();
        analyse(runs, order, config)
    }

    /// Sets the cost of the tracker at one level and repeats the analysis.
    pub fn set_overhead(&mut self, users: usize, overhead: Overhead, config: &BenchmarkConfig) {
        for r in self.test_results.iter_mut().filter(|r| r.concurrent_users == users) {
            r.tracker_overhead = Some(overhead);
        }
        let (results, order) =
            (std::mem::take(&mut self.test_results), std::mem::take(&mut self.level_order));
        let model_without_tracker = self.model_without_tracker.take();
        *self = Self { model_without_tracker, ..analyse(results, order, config) };
    }
}

/// Analyses all runs of a test.
pub(super) fn analyse(
    mut results: Vec<ConcurrentTestResult>,
    level_order: Vec<usize>,
    config: &BenchmarkConfig,
) -> ScalabilityReport {
    results.sort_by_key(|r| r.concurrent_users);
    if let Some(baseline) = median_run(results.iter().filter(|r| r.concurrent_users == 1)).cloned() {
        results.iter_mut().for_each(|r| r.compare_with(&baseline));
    }
    results.iter_mut().for_each(|r| r.judge(&config.thresholds));
    let runs: Vec<&[ConcurrentTestResult]> =
        results.chunk_by(|a, b| a.concurrent_users == b.concurrent_users).collect();
    let alone = runs.first().filter(|r| r[0].concurrent_users == 1).map(|r| mean_throughput(r));
    let levels: Vec<LevelSummary> = runs.iter().map(|r| summarise(r, alone)).collect();
    let cause = |(i, runs): (usize, &&[ConcurrentTestResult])| {
        Some((levels[i].users, breaks(runs, &levels[..i], &levels[i], config)?))
    };
    let broken = runs.iter().enumerate().find_map(cause);
    let mut report = ScalabilityReport {
        optimal_concurrent_users: knee(&levels),
        scalability_breaking_point: broken.as_ref().map(|(users, _)| *users),
        breaking_cause: broken.map(|(_, cause)| cause),
        linear_scaling_range: linear_range(&levels),
        efficiency_curve: levels.iter().filter_map(|l| Some((l.users, l.efficiency?))).collect(),
        peak_throughput: levels
            .iter()
            .map(|l| (l.users, l.throughput))
            .fold((0, 0.0), |best, l| if l.1 > best.1 { l } else { best }),
        model: fit_levels(&runs, &levels, config),
        model_without_tracker: None,
        contention_curve: levels.iter().filter_map(|l| Some((l.users, l.contention?))).collect(),
        completeness_curve: levels.iter().filter_map(|l| Some((l.users, l.completeness?))).collect(),
        overhead_curve: levels.iter().filter_map(|l| Some((l.users, l.overhead?))).collect(),
        recommendation: ScalabilityRecommendation::Inconclusive,
        detail: RecommendationDetail::default(),
        repetitions: config.repetitions.max(1),
        valid: results.iter().all(|r| r.valid),
        level_order,
        levels,
        test_results: results,
    };
    (report.recommendation, report.detail) = recommend(&report, config);
    report
}

fn throughputs(runs: &[ConcurrentTestResult]) -> Vec<f64> {
    runs.iter().map(|r| r.requests_per_second).collect()
}

fn mean_throughput(runs: &[ConcurrentTestResult]) -> f64 {
    mean(&throughputs(runs)).unwrap_or(0.0)
}

fn summarise(runs: &[ConcurrentTestResult], alone: Option<f64>) -> LevelSummary {
    let users = runs[0].concurrent_users;
    let throughput = mean_throughput(runs);
    let median = median_run(runs).unwrap_or(&runs[0]);
    let width = |(low, high): (f64, f64)| high - low;
    // Two runs give no usable confidence interval.
    let between = if runs.len() >= 3 { mean_interval(&throughputs(runs)).map(|(_, i)| i) } else { None };
    let within = median.rps_ci95.map(|ci| (throughput - width(ci) / 2.0, throughput + width(ci) / 2.0));
    let responses: Vec<f64> = runs.iter().filter_map(|r| r.average_response_time_ms).collect();
    let complete = |r: &ConcurrentTestResult| r.completeness.as_ref()?.completeness;
    LevelSummary {
        users,
        runs: runs.len(),
        throughput,
        throughput_ci95: between.into_iter().chain(within).max_by(|a, b| width(*a).total_cmp(&width(*b))),
        efficiency: alone
            .filter(|x| *x > 0.0)
            .map(|x| 100.0 * throughput / (users as f64 * x))
            .filter(|e| *e <= SUPER_LINEAR_FROM),
        mean_response_ms: mean(&responses),
        p50_ms: median.response.p50_ms,
        p95_ms: median.response.p95_ms,
        p99_ms: median.response.p99_ms,
        error_rate: runs.iter().filter_map(|r| r.error_rate).reduce(f64::max),
        contention: median.contention,
        completeness: runs.iter().filter_map(complete).reduce(f64::min),
        overhead: median.tracker_overhead,
        meets_thresholds: runs.iter().all(|r| r.threshold_results.iter().all(|t| t.passed)),
    }
}

fn breaks(
    runs: &[ConcurrentTestResult],
    lower: &[LevelSummary],
    level: &LevelSummary,
    config: &BenchmarkConfig,
) -> Option<BreakingCause> {
    if let Some(d) = runs.iter().flat_map(|r| &r.deadlocks).next() {
        return Some(BreakingCause::Deadlock { cycle: d.cycle.clone() });
    }
    for c in runs.iter().filter_map(|r| r.completeness.as_ref()) {
        let below_target = c.completeness.is_some_and(|v| v < config.target_completeness);
        if below_target || !c.conserved || c.oracle_error.unwrap_or(0) != 0 {
            let (completeness, oracle_error) = (c.completeness.unwrap_or(0.0), c.oracle_error);
            return Some(BreakingCause::Incomplete { completeness, oracle_error });
        }
    }
    if let Some(t) = runs.iter().flat_map(|r| &r.threshold_results).find(|t| !t.passed) {
        return Some(BreakingCause::Threshold { threshold: t.threshold.clone(), value: t.value });
    }
    let best = lower.iter().max_by(|a, b| a.throughput.total_cmp(&b.throughput))?;
    let certain = match (level.throughput_ci95, best.throughput_ci95) {
        (Some((_, high)), Some((low, _))) => high < low,
        _ => true,
    };
    let share = level.throughput / best.throughput;
    (best.throughput > 0.0 && share < RETROGRADE_BELOW && certain)
        .then_some(BreakingCause::Retrograde { peak_users: best.users, share })
}

fn knee(levels: &[LevelSummary]) -> usize {
    let power = |l: &LevelSummary| l.mean_response_ms.filter(|r| *r > 0.0).map_or(0.0, |r| l.throughput / r);
    // Of levels with equal power the lowest is the knee, because fewer users are cheaper.
    let best = |only_good: bool| {
        let candidates = levels.iter().filter(|l| l.meets_thresholds || !only_good).rev();
        candidates.max_by(|a, b| power(a).total_cmp(&power(b)))
    };
    best(true).or_else(|| best(false)).map_or(1, |l| l.users)
}

fn linear_range(levels: &[LevelSummary]) -> (usize, usize) {
    let linear = levels.iter().take_while(|l| l.efficiency.is_some_and(|e| e >= LINEAR_FROM));
    let first = levels.first().map_or(1, |l| l.users);
    (first, linear.last().map_or(first, |l| l.users))
}

fn fit_levels(
    runs: &[&[ConcurrentTestResult]],
    levels: &[LevelSummary],
    config: &BenchmarkConfig,
) -> Option<UslFit> {
    let variance = |r: &[ConcurrentTestResult]| {
        let mean = mean_throughput(r);
        r.iter().map(|x| (x.requests_per_second - mean).powi(2)).sum::<f64>() / (r.len() as f64 - 1.0)
    };
    let weighted = runs.iter().all(|r| r.len() >= 3 && variance(r) > 0.0);
    let point = |(r, l): (&&[ConcurrentTestResult], &LevelSummary)| UslPoint {
        // Users in their think time are outside the system. By Little's law, throughput × response time is the number
        // inside.
        users: match (config.think, l.mean_response_ms) {
            (ThinkTime::None, _) | (_, None) => l.users as f64,
            (_, Some(response)) => l.throughput * response / 1000.0,
        },
        throughput: l.throughput,
        weight: if weighted { 1.0 / variance(r) } else { 1.0 },
    };
    let usable = runs.iter().zip(levels).filter(|(_, l)| l.throughput > 0.0);
    usl::fit(&usable.map(point).collect::<Vec<_>>()).ok()
}
