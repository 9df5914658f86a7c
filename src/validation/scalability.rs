//! What a series of levels says about the system: how far it scales, where it breaks, and why.
//!
//! * Efficiency E(N) = 100·X(N) / (N·X(1)), with X(1) measured in the same series.
//! * The *knee* is the level with the largest power X/R (Kleinrock 1979): beyond it, response time grows faster than
//!   throughput. Peak throughput is reported apart; it usually lies beyond the knee and is a bad place to work at.
//! * A level is *retrograde* when its whole interval lies below that of the best level before it, and it is at least
//!   2 % lower: certainty alone would make a deterministic run flag differences of a thousandth.

use serde::{Deserialize, Serialize};

use super::completeness::Overhead;
use super::config::BenchmarkConfig;
use super::contention::ContentionScore;
use super::recommend::{RecommendationDetail, ScalabilityRecommendation, recommend};
use super::result::ConcurrentTestResult;
use super::stats::mean_interval;
use super::usl::{self, UslFit, UslPoint};
use super::workload::ThinkTime;

const LINEAR_FROM: f64 = 90.0;
const RETROGRADE_BELOW: f64 = 0.98;

/// Why a level is called broken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum BreakingCause {
    /// Less throughput than with fewer users.
    Retrograde {
        /// The level with the highest throughput before it.
        peak_users: usize,
        /// Throughput here as a share of that.
        share: f64,
    },
    /// A threshold was breached.
    Threshold {
        /// As written.
        threshold: String,
        /// The value; `None` when it was undefined.
        value: Option<f64>,
    },
    /// The tracker lost events, or counted other than the oracle.
    Incomplete {
        /// aggregated ÷ observed.
        completeness: f64,
        /// observed − expected.
        oracle_error: Option<i64>,
    },
    /// A deadlock was proved.
    Deadlock {
        /// The circle of waits.
        cycle: String,
    },
}

/// All runs of one level together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LevelSummary {
    /// Users.
    pub users: usize,
    /// Runs.
    pub runs: usize,
    /// Mean throughput of the runs, answers a second.
    pub throughput: f64,
    /// 95 % interval: between runs or within one, whichever is wider.
    pub throughput_ci95: Option<(f64, f64)>,
    /// 100·X(N) / (N·X(1)); `None` when one user got no answer.
    pub efficiency: Option<f64>,
    /// Mean response time of the runs.
    pub mean_response_ms: Option<f64>,
    /// Median response time of the middle run.
    pub p50_ms: Option<f64>,
    /// p99 of the response time of the middle run.
    pub p99_ms: Option<f64>,
    /// Highest error rate of the runs.
    pub error_rate: Option<f64>,
    /// Contention of the middle run.
    pub contention: Option<ContentionScore>,
    /// Lowest completeness of the runs.
    pub completeness: Option<f64>,
    /// Cost of the tracker, where measured.
    pub overhead: Option<Overhead>,
    /// Whether all runs met all thresholds.
    pub meets_thresholds: bool,
}

/// What a series of levels showed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScalabilityReport {
    /// Every run, by users and then in the order run.
    pub test_results: Vec<ConcurrentTestResult>,
    /// One row per level.
    pub levels: Vec<LevelSummary>,
    /// The level with the largest power X/R among those that meet the thresholds.
    pub optimal_concurrent_users: usize,
    /// The first level that is broken.
    pub scalability_breaking_point: Option<usize>,
    /// Why.
    pub breaking_cause: Option<BreakingCause>,
    /// First and last level of the prefix with an efficiency of at least 90 %.
    pub linear_scaling_range: (usize, usize),
    /// Users and efficiency in percent.
    pub efficiency_curve: Vec<(usize, f64)>,
    /// Users and throughput of the level with the highest.
    pub peak_throughput: (usize, f64),
    /// The fitted law; `None` with fewer than four usable levels.
    pub model: Option<UslFit>,
    /// The law fitted to runs without the tracker, where there were such.
    pub model_without_tracker: Option<UslFit>,
    /// Users and contention.
    pub contention_curve: Vec<(usize, ContentionScore)>,
    /// Users and completeness.
    pub completeness_curve: Vec<(usize, f64)>,
    /// Users and cost of the tracker.
    pub overhead_curve: Vec<(usize, Overhead)>,
    /// What to do.
    pub recommendation: ScalabilityRecommendation,
    /// Why, with figures.
    pub detail: RecommendationDetail,
    /// Runs per level.
    pub repetitions: usize,
    /// The order in which the levels were run.
    pub level_order: Vec<usize>,
    /// Whether every run allows conclusions.
    pub valid: bool,
}

impl ScalabilityReport {
    /// Draws the conclusions from runs made elsewhere: other processes, or a stored baseline.
    pub fn from_runs(runs: Vec<ConcurrentTestResult>, config: &BenchmarkConfig) -> Self {
        let order = runs.iter().map(|r| r.concurrent_users).collect();
        analyse(runs, order, config)
    }

    /// Whether all runs are valid and met all thresholds.
    pub fn passed(&self) -> bool {
        self.test_results.iter().all(ConcurrentTestResult::passed)
    }

    /// The row of a level.
    pub fn level(&self, users: usize) -> Option<&LevelSummary> {
        self.levels.iter().find(|l| l.users == users)
    }

    /// Adds the cost of the tracker at one level, and judges the thresholds anew.
    pub fn set_overhead(&mut self, users: usize, overhead: Overhead, config: &BenchmarkConfig) {
        for r in self.test_results.iter_mut().filter(|r| r.concurrent_users == users) {
            r.tracker_overhead = Some(overhead);
        }
        let results = std::mem::take(&mut self.test_results);
        let without = self.model_without_tracker.take();
        *self = analyse(results, std::mem::take(&mut self.level_order), config);
        self.model_without_tracker = without;
    }
}

/// Draws the conclusions from all runs.
pub(super) fn analyse(
    mut results: Vec<ConcurrentTestResult>,
    level_order: Vec<usize>,
    config: &BenchmarkConfig,
) -> ScalabilityReport {
    results.sort_by_key(|r| r.concurrent_users);
    if let Some(baseline) = middle_run(results.iter().filter(|r| r.concurrent_users == 1)).cloned() {
        for r in &mut results {
            r.validity.retain(|v| !matches!(v, super::validity::ValidityIssue::SuperLinear { .. }));
            r.compare_with(&baseline);
        }
    }
    results.iter_mut().for_each(|r| r.judge(&config.thresholds));
    let runs: Vec<&[ConcurrentTestResult]> =
        results.chunk_by(|a, b| a.concurrent_users == b.concurrent_users).collect();
    let alone = runs.first().filter(|r| r[0].concurrent_users == 1).map(|r| mean_throughput(r));
    let levels: Vec<LevelSummary> = runs.iter().map(|r| summarise(r, alone)).collect();
    let broken =
        runs.iter().zip(0..).find_map(|(r, i)| Some((r[0].concurrent_users, breaks(r, &levels, i, config)?)));
    let curve = |f: fn(&LevelSummary) -> Option<f64>| -> Vec<(usize, f64)> {
        levels.iter().filter_map(|l| Some((l.users, f(l)?))).collect()
    };
    let mut report = ScalabilityReport {
        optimal_concurrent_users: knee(&levels),
        scalability_breaking_point: broken.as_ref().map(|(users, _)| *users),
        breaking_cause: broken.map(|(_, cause)| cause),
        linear_scaling_range: linear_range(&levels),
        efficiency_curve: curve(|l| l.efficiency),
        peak_throughput: levels
            .iter()
            .map(|l| (l.users, l.throughput))
            .fold((0, 0.0), |best, l| if l.1 > best.1 { l } else { best }),
        model: fit_levels(&runs, &levels, config),
        model_without_tracker: None,
        contention_curve: levels.iter().filter_map(|l| Some((l.users, l.contention?))).collect(),
        completeness_curve: curve(|l| l.completeness),
        overhead_curve: levels.iter().filter_map(|l| Some((l.users, l.overhead?))).collect(),
        recommendation: ScalabilityRecommendation::Inconclusive,
        detail: RecommendationDetail::default(),
        repetitions: config.repetitions.max(1),
        valid: results.iter().all(|r| r.valid),
        level_order,
        levels,
        test_results: Vec::new(),
    };
    report.test_results = results;
    (report.recommendation, report.detail) = recommend(&report, config);
    report
}

fn mean_throughput(runs: &[ConcurrentTestResult]) -> f64 {
    runs.iter().map(|r| r.requests_per_second).sum::<f64>() / runs.len() as f64
}

/// The run with the median throughput.
pub(super) fn middle_run<'a>(
    runs: impl Iterator<Item = &'a ConcurrentTestResult>,
) -> Option<&'a ConcurrentTestResult> {
    let mut runs: Vec<_> = runs.collect();
    runs.sort_by(|a, b| a.requests_per_second.total_cmp(&b.requests_per_second));
    runs.get(runs.len().checked_sub(1)? / 2).copied()
}

fn summarise(runs: &[ConcurrentTestResult], alone: Option<f64>) -> LevelSummary {
    let users = runs[0].concurrent_users;
    let throughput = mean_throughput(runs);
    let middle = middle_run(runs.iter()).unwrap_or(&runs[0]);
    let rates: Vec<f64> = runs.iter().map(|r| r.requests_per_second).collect();
    let width = |(low, high): (f64, f64)| high - low;
    // An interval of two values says little more than that there are two; three is the least.
    let between = if runs.len() >= 3 { mean_interval(&rates).map(|(_, i)| i) } else { None };
    let within = middle.rps_ci95.map(|(low, high)| {
        let half = (high - low) / 2.0;
        (throughput - half, throughput + half)
    });
    let ci = [between, within].into_iter().flatten().max_by(|a, b| width(*a).total_cmp(&width(*b)));
    let responses: Vec<f64> = runs.iter().filter_map(|r| r.average_response_time_ms).collect();
    let complete = |r: &ConcurrentTestResult| r.completeness.as_ref().and_then(|c| c.completeness);
    LevelSummary {
        users,
        runs: runs.len(),
        throughput,
        throughput_ci95: ci,
        efficiency: alone.filter(|x| *x > 0.0).map(|x| 100.0 * throughput / (users as f64 * x)),
        mean_response_ms: (!responses.is_empty())
            .then(|| responses.iter().sum::<f64>() / responses.len() as f64),
        p50_ms: middle.response.p50_ms,
        p99_ms: middle.response.p99_ms,
        error_rate: runs.iter().filter_map(|r| r.error_rate).reduce(f64::max),
        contention: middle.contention,
        completeness: runs.iter().filter_map(complete).reduce(f64::min),
        overhead: middle.tracker_overhead,
        meets_thresholds: runs.iter().all(|r| r.threshold_results.iter().all(|t| t.passed)),
    }
}

fn breaks(
    runs: &[ConcurrentTestResult],
    levels: &[LevelSummary],
    i: usize,
    config: &BenchmarkConfig,
) -> Option<BreakingCause> {
    if let Some(d) = runs.iter().flat_map(|r| &r.deadlocks).next() {
        return Some(BreakingCause::Deadlock { cycle: d.cycle.clone() });
    }
    if let Some(c) = runs.iter().filter_map(|r| r.completeness.as_ref()).find(|c| {
        c.completeness.is_some_and(|v| v < config.target_completeness)
            || !c.conserved
            || c.oracle_error.unwrap_or(0) != 0
    }) {
        let completeness = c.completeness.unwrap_or(0.0);
        return Some(BreakingCause::Incomplete { completeness, oracle_error: c.oracle_error });
    }
    if let Some(t) = runs.iter().flat_map(|r| &r.threshold_results).find(|t| !t.passed) {
        return Some(BreakingCause::Threshold { threshold: t.threshold.clone(), value: t.value });
    }
    let here = &levels[i];
    let best = levels[..i].iter().max_by(|a, b| a.throughput.total_cmp(&b.throughput))?;
    let certain = match (here.throughput_ci95, best.throughput_ci95) {
        (Some((_, high)), Some((low, _))) => high < low,
        _ => true,
    };
    let share = here.throughput / best.throughput;
    (best.throughput > 0.0 && share < RETROGRADE_BELOW && certain)
        .then_some(BreakingCause::Retrograde { peak_users: best.users, share })
}

fn knee(levels: &[LevelSummary]) -> usize {
    let power = |l: &LevelSummary| l.mean_response_ms.filter(|r| *r > 0.0).map_or(0.0, |r| l.throughput / r);
    let best = |only_good: bool| {
        levels
            .iter()
            .filter(|l| l.meets_thresholds || !only_good)
            // Of equal levels the first: fewer users are cheaper.
            .rev()
            .max_by(|a, b| power(a).total_cmp(&power(b)))
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
    let points: Vec<UslPoint> = runs
        .iter()
        .zip(levels)
        .filter(|(_, l)| l.throughput > 0.0)
        .map(|(r, l)| UslPoint {
            // Users that think are not all in the system: by Little's law, X·R of them are.
            users: match (config.think, l.mean_response_ms) {
                (ThinkTime::None, _) | (_, None) => l.users as f64,
                (_, Some(response)) => l.throughput * response / 1000.0,
            },
            throughput: l.throughput,
            weight: if weighted { 1.0 / variance(r) } else { 1.0 },
        })
        .collect();
    usl::fit(&points).ok()
}
