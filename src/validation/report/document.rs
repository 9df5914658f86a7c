//! The complete result of one invocation, and its JSON form.

use serde::{Deserialize, Serialize};

use super::super::changes::BaselineComparison;
use super::super::config::BenchmarkConfig;
use super::super::error::BenchError;
use super::super::result::ConcurrentTestResult;
use super::super::series::ScalabilityReport;
use crate::text::escape::escaped;

/// Version of the JSON form that this module writes and reads.
pub const SCHEMA_VERSION: u32 = 1;
/// Maximum number of characters of a parse error, which may quote the file.
const QUOTED: usize = 200;

/// The complete result of one invocation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValidationReport {
    /// Version of the JSON form: [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Name of the workload.
    pub workload: String,
    /// Configuration of the runs.
    pub config: BenchmarkConfig,
    /// Settings of the tracker; `None` without a tracker.
    #[serde(default)]
    pub tracker: Option<String>,
    /// Scalability test; `None` if there was none.
    pub scalability: Option<ScalabilityReport>,
    /// Runs of the loads outside the scalability test.
    pub runs: Vec<ConcurrentTestResult>,
    /// Runs of the same loads without the tracker, in order of execution. The cost of the tracker is computed from
    /// them.
    #[serde(default)]
    pub runs_without_tracker: Vec<ConcurrentTestResult>,
    /// Comparison with a baseline; `None` if there was none.
    #[serde(default)]
    pub changes: Option<BaselineComparison>,
}

/// The result of an invocation, as a process's exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCode {
    /// All runs are valid and met all thresholds.
    Ok = 0,
    /// The arguments cannot be used.
    Usage = 2,
    /// A run is inconclusive, or nothing is comparable with the baseline.
    Invalid = 3,
    /// A threshold was breached, or a figure is worse than the baseline by more than allowed.
    ThresholdBreached = 99,
}

impl ValidationReport {
    /// Creates a report of a workload and a configuration, without runs.
    pub fn new(workload: &str, config: &BenchmarkConfig) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            workload: workload.to_owned(),
            config: config.clone(),
            scalability: None,
            runs: Vec::new(),
            tracker: None,
            runs_without_tracker: Vec::new(),
            changes: None,
        }
    }

    /// Returns the report as JSON.
    ///
    /// # Errors
    /// Returns an error if the report cannot be serialized. This does not happen to a report of this module, whose
    /// figures are all finite.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }

    /// Parses a report.
    ///
    /// # Errors
    /// Returns [`BenchError::Baseline`] if the text is not a report, or has another schema version.
    pub fn from_json(text: &str) -> Result<Self, BenchError> {
        Self::parse(text).map_err(BenchError::Baseline)
    }

    pub(in super::super) fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Version {
            schema_version: u32,
        }
        let wrong = |e: serde_json::Error| {
            let what: String = e.to_string().chars().take(QUOTED).collect();
            format!("no report of a validation: {}", escaped(&what))
        };
        let Version { schema_version } = serde_json::from_str(text).map_err(wrong)?;
        if schema_version != SCHEMA_VERSION {
            return Err(format!(
                "it has schema version {schema_version} and this program reads {SCHEMA_VERSION}: measure the baseline again"
            ));
        }
        serde_json::from_str(text).map_err(wrong)
    }

    /// Returns all runs. If a load ran both with and without the tracker, only the runs with the tracker are returned.
    pub(in super::super) fn all_runs(&self) -> impl Iterator<Item = &ConcurrentTestResult> {
        self.scalability.iter().flat_map(|s| &s.test_results).chain(&self.runs)
    }

    /// Returns the exit code. A breach takes precedence over an inconclusive run.
    pub fn exit_code(&self) -> ExitCode {
        let changes = self.changes.as_ref();
        let worse = changes.is_some_and(|c| c.too_much_worse().next().is_some());
        if worse || self.all_runs().any(|r| r.threshold_results.iter().any(|t| !t.passed)) {
            ExitCode::ThresholdBreached
        } else if changes.is_some_and(|c| !c.is_conclusive()) || self.all_runs().any(|r| !r.valid) {
            ExitCode::Invalid
        } else {
            ExitCode::Ok
        }
    }
}
