//! The result types of a scalability test.

use serde::{Deserialize, Serialize};

use super::completeness::Overhead;
use super::contention::ContentionScore;
use super::result::ConcurrentTestResult;
use super::usl::UslFit;

/// The reason why a level is broken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum BreakingCause {
    /// Less throughput than with fewer users.
    Retrograde {
        /// The lower level with the highest throughput.
        peak_users: usize,
        /// Throughput as a share of that level's.
        share: f64,
    },
    /// A threshold was breached.
    Threshold {
        /// The threshold, as written.
        threshold: String,
        /// The figure; `None` when it is undefined.
        value: Option<f64>,
    },
    /// The tracker lost events, or its count differs from the workload's.
    Incomplete {
        /// aggregated ÷ observed.
        completeness: f64,
        /// observed − expected.
        oracle_error: Option<i64>,
    },
    /// A deadlock was proved.
    Deadlock {
        /// The cycle of waits.
        cycle: String,
    },
}

/// Summary of all runs of one level.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LevelSummary {
    /// Users.
    pub users: usize,
    /// Number of runs.
    pub runs: usize,
    /// Mean throughput of the runs, in answers per second.
    pub throughput: f64,
    /// 95 % interval: the wider of those between runs and within one.
    pub throughput_ci95: Option<(f64, f64)>,
    /// 100·X(N) / (N·X(1)); `None` when one user had no answers.
    pub efficiency: Option<f64>,
    /// Mean response time of the runs.
    pub mean_response_ms: Option<f64>,
    /// Median response time of the run with the median throughput.
    pub p50_ms: Option<f64>,
    /// p99 of the response time of the same run.
    pub p99_ms: Option<f64>,
    /// Highest error rate of the runs.
    pub error_rate: Option<f64>,
    /// Contention of the same run.
    pub contention: Option<ContentionScore>,
    /// Lowest completeness of the runs.
    pub completeness: Option<f64>,
    /// Cost of the tracker, where measured.
    pub overhead: Option<Overhead>,
    /// Whether all runs met all thresholds.
    pub meets_thresholds: bool,
}

/// The result of a scalability test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScalabilityReport {
    /// All runs, by users and then in order of execution.
    pub test_results: Vec<ConcurrentTestResult>,
    /// One entry per level.
    pub levels: Vec<LevelSummary>,
    /// The level with the largest power X/R among those that meet the thresholds.
    pub optimal_concurrent_users: usize,
    /// The first broken level.
    pub scalability_breaking_point: Option<usize>,
    /// The reason.
    pub breaking_cause: Option<BreakingCause>,
    /// First and last of the initial levels with an efficiency of at least 90 %.
    pub linear_scaling_range: (usize, usize),
    /// Users and efficiency in percent.
    pub efficiency_curve: Vec<(usize, f64)>,
    /// Users and throughput of the level with the highest throughput.
    pub peak_throughput: (usize, f64),
    /// The fitted scalability law; `None` with fewer than four usable levels.
    pub model: Option<UslFit>,
    /// The law fitted to the runs without the tracker, if there were any.
    pub model_without_tracker: Option<UslFit>,
    /// Users and contention.
    pub contention_curve: Vec<(usize, ContentionScore)>,
    /// Users and completeness.
    pub completeness_curve: Vec<(usize, f64)>,
    /// Users and cost of the tracker.
    pub overhead_curve: Vec<(usize, Overhead)>,
    /// The recommendation.
    pub recommendation: ScalabilityRecommendation,
    /// Its reasons and actions.
    pub detail: RecommendationDetail,
    /// Runs per level.
    pub repetitions: usize,
    /// Levels in order of execution.
    pub level_order: Vec<usize>,
    /// Whether every run is valid.
    pub valid: bool,
}

/// The recommendation of a scalability test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScalabilityRecommendation {
    /// Add connections or cores.
    IncreaseResources,
    /// Optimize the code.
    OptimizeCode,
    /// Change nothing.
    AcceptablePerformance,
    /// Admit fewer requests.
    ReduceLoad,
    /// Measure again.
    Inconclusive,
}

/// A figure behind a recommendation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// Name of the figure.
    pub metric: String,
    /// Its level; `None` for a figure of the whole test.
    pub level: Option<usize>,
    /// Its value.
    pub value: f64,
    /// The limit it was compared with.
    pub limit: Option<f64>,
}

/// Confidence of a recommendation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Confidence {
    /// One run per level, or an inconclusive test.
    #[default]
    Low,
    /// Repeated runs.
    Medium,
    /// Repeated runs and a fitted law.
    High,
}

/// The reasons and actions of a recommendation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RecommendationDetail {
    /// One sentence.
    pub headline: String,
    /// The figures behind it.
    pub reasons: Vec<Reason>,
    /// Next steps.
    pub actions: Vec<String>,
    /// Confidence.
    pub confidence: Confidence,
}

impl ScalabilityReport {
    /// Whether all runs are valid and met all thresholds.
    pub fn passed(&self) -> bool {
        self.test_results.iter().all(ConcurrentTestResult::passed)
    }

    /// The summary of a level.
    pub fn level(&self, users: usize) -> Option<&LevelSummary> {
        self.levels.iter().find(|l| l.users == users)
    }
}

/// The run with the median throughput.
pub(super) fn median_run<'a>(
    runs: impl IntoIterator<Item = &'a ConcurrentTestResult>,
) -> Option<&'a ConcurrentTestResult> {
    let mut runs: Vec<_> = runs.into_iter().collect();
    runs.sort_by(|a, b| a.requests_per_second.total_cmp(&b.requests_per_second));
    runs.get(runs.len().checked_sub(1)? / 2).copied()
}
