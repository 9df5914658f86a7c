//! The result types of a scalability test.

use serde::{Deserialize, Serialize};

use super::completeness::Overhead;
use super::contention::ContentionScore;
use super::result::ConcurrentTestResult;
use super::usl::UslFit;

/// The reason why a level is broken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum BreakingCause {
    /// The throughput is lower than with fewer users.
    Retrograde {
        /// The lower level with the highest throughput.
        peak_users: usize,
        /// Throughput as a share of the throughput at `peak_users`.
        share: f64,
    },
    /// A threshold was breached.
    Threshold {
        /// Condition of the threshold, as the user wrote it.
        threshold: String,
        /// Value of the figure; `None` if it is undefined.
        value: Option<f64>,
    },
    /// The tracker lost events, or its count differs from the count of the workload.
    Incomplete {
        /// Events that the tracker booked ÷ events that it observed.
        completeness: f64,
        /// Events that the tracker observed − events that the workload expects.
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
    /// Number of users.
    pub users: usize,
    /// Number of runs.
    pub runs: usize,
    /// Mean throughput of the runs, in answers per second.
    pub throughput: f64,
    /// 95 % confidence interval of the throughput: the wider of the interval between runs and the interval within one
    /// run.
    pub throughput_ci95: Option<(f64, f64)>,
    /// Efficiency 100·X(N) / (N·X(1)), in percent, where X(N) is the throughput of N users. `None` if the run of one
    /// user has no answers. Also `None` above 105 %, because the run of one user was then too slow to compare with.
    pub efficiency: Option<f64>,
    /// Mean response time over the runs, in milliseconds.
    pub mean_response_ms: Option<f64>,
    /// Median response time of the run with the median throughput, in milliseconds.
    pub p50_ms: Option<f64>,
    /// p95 of the response time of the run with the median throughput, in milliseconds.
    #[serde(default)]
    pub p95_ms: Option<f64>,
    /// p99 of the response time of the run with the median throughput, in milliseconds.
    pub p99_ms: Option<f64>,
    /// Highest error rate among the runs.
    pub error_rate: Option<f64>,
    /// Contention of the run with the median throughput.
    pub contention: Option<ContentionScore>,
    /// Lowest completeness among the runs.
    pub completeness: Option<f64>,
    /// Cost of the tracker; `None` if it was not measured.
    pub overhead: Option<Overhead>,
    /// Whether all runs met all thresholds.
    pub meets_thresholds: bool,
}

/// The result of a scalability test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScalabilityReport {
    /// All runs, sorted by number of users, then by order of execution.
    pub test_results: Vec<ConcurrentTestResult>,
    /// Summary of each level.
    pub levels: Vec<LevelSummary>,
    /// Number of users of the level with the largest throughput ÷ mean response time among the levels that meet the
    /// thresholds.
    pub optimal_concurrent_users: usize,
    /// Number of users of the first broken level; `None` if no level is broken.
    pub scalability_breaking_point: Option<usize>,
    /// Reason why the level of `scalability_breaking_point` is broken.
    pub breaking_cause: Option<BreakingCause>,
    /// Numbers of users of the first and the last level of the initial range with efficiencies of at least 90 %.
    pub linear_scaling_range: (usize, usize),
    /// Number of users of each level, and its efficiency in percent.
    pub efficiency_curve: Vec<(usize, f64)>,
    /// Number of users of the level with the highest throughput, and its throughput in answers per second.
    pub peak_throughput: (usize, f64),
    /// Scalability law fitted to the levels; `None` with fewer than four usable levels.
    pub model: Option<UslFit>,
    /// Scalability law fitted to the runs without the tracker; `None` without such runs.
    pub model_without_tracker: Option<UslFit>,
    /// Number of users and contention of each level.
    pub contention_curve: Vec<(usize, ContentionScore)>,
    /// Number of users and completeness of each level.
    pub completeness_curve: Vec<(usize, f64)>,
    /// Number of users of each level, and cost of the tracker at the level.
    pub overhead_curve: Vec<(usize, Overhead)>,
    /// Recommendation that follows from the levels.
    pub recommendation: ScalabilityRecommendation,
    /// Reasons and actions of the recommendation.
    pub detail: RecommendationDetail,
    /// Number of runs per level.
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
    /// Level of the figure; `None` for a figure of the whole test.
    pub level: Option<usize>,
    /// Value of the figure.
    pub value: f64,
    /// Limit that the value was compared with.
    pub limit: Option<f64>,
}

/// Confidence of a recommendation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Confidence {
    /// Each level ran fewer than three times, or the test was inconclusive.
    #[default]
    Low,
    /// Each level ran at least three times, and no scalability law was fitted.
    Medium,
    /// Each level ran at least three times, and a scalability law was fitted.
    High,
}

/// The reasons and actions of a recommendation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RecommendationDetail {
    /// The recommendation in one sentence.
    pub headline: String,
    /// Figures behind the recommendation.
    pub reasons: Vec<Reason>,
    /// Next steps for the user.
    pub actions: Vec<String>,
    /// Confidence of the recommendation.
    pub confidence: Confidence,
}

impl ScalabilityReport {
    /// Whether all runs are valid and met all thresholds.
    pub fn passed(&self) -> bool {
        self.test_results.iter().all(ConcurrentTestResult::passed)
    }

    /// Returns the summary of the level with `users` users.
    pub fn level(&self, users: usize) -> Option<&LevelSummary> {
        self.levels.iter().find(|l| l.users == users)
    }
}

/// Returns the run with the median throughput. For an even number of runs, the lower of the two middle runs.
pub(super) fn median_run<'a>(
    runs: impl IntoIterator<Item = &'a ConcurrentTestResult>,
) -> Option<&'a ConcurrentTestResult> {
    let mut runs: Vec<_> = runs.into_iter().collect();
    runs.sort_by(|a, b| a.requests_per_second.total_cmp(&b.requests_per_second));
    runs.get(runs.len().checked_sub(1)? / 2).copied()
}
