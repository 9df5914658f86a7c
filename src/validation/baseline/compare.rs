//! The comparison of two reports.

use super::super::changes::BaselineComparison;
use super::super::plan::LoadModel;
use super::super::report::ValidationReport;
use super::super::result::ConcurrentTestResult;
use super::{figures, reasons};

/// Probability that all confidence intervals of a comparison contain the true changes at once.
const CONFIDENCE: f64 = 0.95;

impl ValidationReport {
    /// Compares the report with an earlier one, `baseline`. The comparison becomes part of the report's text, page,
    /// JSON and exit code. `worse_by` is the maximum allowed deterioration of a figure, as a share such as 0.05.
    pub fn compare_with(&mut self, baseline: &Self, worse_by: f64) {
        self.changes = Some(BaselineComparison::between(baseline, self, worse_by));
    }

    /// Returns the loads of the runs, each once, in order of execution.
    fn loads(&self) -> Vec<&LoadModel> {
        let mut found: Vec<&LoadModel> = Vec::new();
        for run in self.all_runs() {
            if !found.contains(&&run.load) {
                found.push(&run.load);
            }
        }
        found
    }
}

impl BaselineComparison {
    /// Compares `now` with `baseline`. A figure that is worse by more than `worse_by`, a share such as 0.05, is
    /// returned by [`too_much_worse`](Self::too_much_worse).
    ///
    /// # Examples
    /// ```no_run
    /// use heapledger::validation::{BaselineComparison, ValidationReport, read_baseline};
    /// # fn example(report: &ValidationReport) -> Result<(), heapledger::validation::BenchError> {
    /// let baseline = read_baseline("last-week.json".as_ref())?;
    /// let comparison = BaselineComparison::between(&baseline, report, 0.05);
    /// assert_eq!(comparison.too_much_worse().count(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn between(baseline: &ValidationReport, now: &ValidationReport, worse_by: f64) -> Self {
        Self::with_confidence(baseline, now, worse_by, CONFIDENCE)
    }

    pub(super) fn with_confidence(
        baseline: &ValidationReport,
        now: &ValidationReport,
        worse_by: f64,
        confidence: f64,
    ) -> Self {
        let reasons = reasons::of_all(baseline, now);
        let old: Vec<&ConcurrentTestResult> = baseline.all_runs().collect();
        let gather = |load: &LoadModel| {
            let new: Vec<_> = now.all_runs().filter(|r| r.load == *load).collect();
            figures::gather(load, &old, &new)
        };
        let loads = if reasons.is_empty() { now.loads() } else { Vec::new() };
        let gathered: Vec<_> = loads.into_iter().map(gather).collect();
        let sampled = gathered.iter().map(figures::LoadSamples::sampled).sum::<usize>().max(1);
        let confidence_each = 1.0 - (1.0 - confidence) / sampled as f64;
        Self {
            confidence,
            confidence_each,
            worse_by,
            baseline_started_at_unix_ms: old.iter().map(|r| r.started_at_unix_ms).min(),
            reasons,
            loads: gathered.into_iter().map(|samples| samples.judged(confidence_each)).collect(),
        }
    }
}
