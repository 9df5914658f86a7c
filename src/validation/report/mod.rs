//! Results for people and programs: text, JSON, a plot, and thresholds with an exit code.
//!
//! The JSON form is the whole result under a `schema_version`. Fields are only added within a version; a reader refuses
//! a version that it does not know instead of guessing.

mod changes;
mod csv;
mod html;
mod runs;
mod svg;
mod table;
mod threshold;

pub use html::validation_html;
pub use runs::runs_text;
pub use svg::scalability_svg;
pub use table::scalability_text;
pub use threshold::{Latency, Metric, Part, Threshold, ThresholdError, ThresholdResult};

use serde::{Deserialize, Serialize};

use super::baseline::BaselineComparison;
use super::config::{BenchError, BenchmarkConfig};
use super::result::ConcurrentTestResult;
use super::scalability::ScalabilityReport;
use crate::text::escape::escaped;

/// The version of the JSON form.
pub const SCHEMA_VERSION: u32 = 1;
/// Characters of a message about a file that is no report.
const QUOTED: usize = 200;

/// Everything that one invocation found out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValidationReport {
    /// The version of this form: [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The workload's name.
    pub workload: String,
    /// The set-up.
    pub config: BenchmarkConfig,
    /// The tracker's settings, where one was watched.
    #[serde(default)]
    pub tracker: Option<String>,
    /// A series of levels, if one was run.
    pub scalability: Option<ScalabilityReport>,
    /// Single loads.
    pub runs: Vec<ConcurrentTestResult>,
    /// The same loads without the tracker, in the order run: what its cost was worked out from.
    #[serde(default)]
    pub runs_without_tracker: Vec<ConcurrentTestResult>,
    /// What changed since an earlier run, if one was given.
    #[serde(default)]
    pub changes: Option<BaselineComparison>,
}

/// How an invocation ended, as a process's exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCode {
    /// Valid, and all thresholds met.
    Ok = 0,
    /// It could not be run as asked.
    Usage = 2,
    /// A run allows no conclusions, or nothing could be compared with the baseline.
    Invalid = 3,
    /// A threshold was breached, or a figure is worse than the baseline by more than was allowed.
    ThresholdBreached = 99,
}

impl ValidationReport {
    /// A report of a workload under a set-up, still without runs.
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

    /// As JSON.
    ///
    /// # Errors
    /// Never for a report that this module made: all its figures are finite.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }

    /// From JSON, to compare with.
    ///
    /// # Errors
    /// [`BenchError::Baseline`] when it is no report, or one of another version.
    pub fn from_json(text: &str) -> Result<Self, BenchError> {
        #[derive(Deserialize)]
        struct Version {
            schema_version: u32,
        }
        let baseline = |e: serde_json::Error| {
            // The message may quote what stands in the file.
            let what: String = e.to_string().chars().take(QUOTED).collect();
            BenchError::Baseline(format!("no report of a validation: {}", escaped(&what)))
        };
        let Version { schema_version } = serde_json::from_str(text).map_err(baseline)?;
        if schema_version != SCHEMA_VERSION {
            return Err(BenchError::Baseline(format!(
                "it has schema version {schema_version} and this program reads {SCHEMA_VERSION}: measure the baseline again"
            )));
        }
        serde_json::from_str(text).map_err(baseline)
    }

    /// Compares the report with an earlier one, which is part of it from then on: of its text, page, JSON and exit code.
    /// A figure may be worse by `worse_by`, a share such as 0.05.
    pub fn compare_with(&mut self, baseline: &Self, worse_by: f64) {
        self.changes = Some(BaselineComparison::between(baseline, self, worse_by));
    }

    /// The exit code that follows: a breach weighs more than doubt, since a doubtful run cannot pass either.
    pub fn exit_code(&self) -> ExitCode {
        let all = || self.runs.iter().chain(self.scalability.iter().flat_map(|s| &s.test_results));
        let changes = self.changes.as_ref();
        let worse = changes.is_some_and(|c| c.too_much_worse().next().is_some());
        if worse || all().any(|r| r.threshold_results.iter().any(|t| !t.passed)) {
            ExitCode::ThresholdBreached
        } else if changes.is_some_and(|c| !c.is_conclusive()) || all().any(|r| !r.valid) {
            ExitCode::Invalid
        } else {
            ExitCode::Ok
        }
    }

    /// As text.
    pub fn to_text(&self) -> String {
        let mut text = format!("workload        {}\n", self.workload);
        if let Some(tracker) = &self.tracker {
            text.push_str(&format!("tracker         {tracker}\n"));
        }
        text.push('\n');
        if let Some(s) = &self.scalability {
            text.push_str(&scalability_text(s));
        }
        if !self.runs.is_empty() {
            text.push_str(&runs_text(&self.runs));
        }
        if let Some(changes) = &self.changes {
            text.push('\n');
            text.push_str(&changes::changes_text(changes));
        }
        text
    }

    /// As comma-separated values: a heading, then one row per run, those without the tracker included.
    pub fn to_csv(&self) -> String {
        let levels = self.scalability.iter().flat_map(|s| &s.test_results);
        csv::runs_csv(levels.chain(&self.runs), &self.runs_without_tracker)
    }
}
