//! A run against an earlier one.
//!
//! The earlier run's JSON report is the *baseline*. At each load that both have, throughput, mean, p50 and p99 of the
//! response time and completeness are compared. A bare percentage says nothing on a machine that varies by itself, so each
//! difference has an interval, and the judgement follows from the interval:
//!
//! ```text
//!  windows of the baseline ─┐   Welch's t, on logarithms     better · worse · no difference seen
//!                           ├─► change, with its interval ─►
//!  windows of this run ─────┘   reasons not to compare ────► not comparable, and why
//! ```
//!
//! * **The samples are the measured windows**: each load is run several times, and each time gives one value of each
//!   figure. What varies from run to run, such as where memory came to lie, is thereby part of the interval; slices of
//!   one window would leave it out. Two windows on each side are the least, and three or more are wanted.
//! * **The formula** is Welch's, for two samples of different spread and number (`stats::welch`), on the logarithms of the
//!   values: the difference of two logarithms is a relative change, and times are skewed.
//! * **All intervals hold at once** with a probability of 95 %: with m figures in a report, each has 1 − 0.05 ÷ m
//!   (Bonferroni). A report of 24 figures would otherwise call one of them changed in most runs without any change.
//! * **Resolution.** A quantile comes from a histogram with three digits in units of 100 ns. What it cannot tell apart is
//!   added to the interval.
//! * **Completeness is counted, not sampled.** Events lost where none were lost before are worse, however few.
//! * **Speed is compared only where it can be**: same workload, set-up, machine, load and length; conclusions allowed on
//!   both sides; no wrong answers; and every event booked, since a recorder that sheds is faster for the wrong reason.

mod figures;
mod read;
mod reasons;

pub use read::read_baseline;

use serde::{Deserialize, Serialize};

use super::plan::LoadModel;
use super::report::ValidationReport;
use super::result::ConcurrentTestResult;

/// The probability with which all intervals of a comparison hold at once.
const CONFIDENCE: f64 = 0.95;
/// Windows on each side from which a difference has an interval.
const WINDOWS_MIN: usize = 2;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Figure {
    /// Answers a second.
    Throughput,
    /// Mean response time, in milliseconds.
    MeanResponse,
    /// Median response time, in milliseconds.
    P50Response,
    /// Response time that ninety-nine of a hundred stay below, in milliseconds.
    P99Response,
    /// Events booked ÷ events seen by the tracker, from 0 to 1.
    Completeness,
}

impl Figure {
    /// All of them, in the order of a report.
    pub const ALL: [Self; 5] =
        [Self::Throughput, Self::MeanResponse, Self::P50Response, Self::P99Response, Self::Completeness];

    /// Its name in a report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Throughput => "answers/s",
            Self::MeanResponse => "mean ms",
            Self::P50Response => "p50 ms",
            Self::P99Response => "p99 ms",
            Self::Completeness => "complete %",
        }
    }

    /// Whether more of it is better.
    pub const fn more_is_better(self) -> bool {
        matches!(self, Self::Throughput | Self::Completeness)
    }
}

/// What became of a figure since the baseline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Verdict {
    /// The whole interval lies on the good side of no change.
    Better,
    /// The whole interval lies on the bad side of no change.
    Worse,
    /// The interval includes no change. That is no proof that there was none: it says how large it can be.
    NoDifferenceSeen,
    /// The two cannot be compared, and why.
    NotComparable(String),
}

/// One figure at one load, in the baseline and now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FigureChange {
    /// Which.
    pub figure: Figure,
    /// In the baseline: the geometric mean over its windows; of completeness the share over all of them.
    pub baseline: Option<f64>,
    /// Now, likewise.
    pub now: Option<f64>,
    /// The change as a share of the baseline's value: −0.2 is a fifth less. Of completeness it is the difference of the two
    /// shares. `None` where they cannot be compared.
    pub change: Option<f64>,
    /// Its interval; `None` where they cannot be compared, and where the change is counted and has none.
    pub interval: Option<(f64, f64)>,
    /// The judgement.
    pub verdict: Verdict,
}

/// The figures of one load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadChange {
    /// The load.
    pub load: LoadModel,
    /// Whole windows in the baseline, and now.
    pub measured: (usize, usize),
    /// One for each [`Figure`].
    pub figures: Vec<FigureChange>,
}

/// A run compared with an earlier one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaselineComparison {
    /// The probability with which all intervals hold at once.
    pub confidence: f64,
    /// The probability of each by itself that this takes.
    pub confidence_each: f64,
    /// The share by which a figure may be worse.
    pub worse_by: f64,
    /// When the baseline was measured, in milliseconds of Unix time; `None` when it has no runs.
    pub baseline_started_at_unix_ms: Option<u64>,
    /// Why nothing can be compared at all; empty where something can.
    pub reasons: Vec<String>,
    /// The loads of this run, in their order; empty where nothing can be compared.
    pub loads: Vec<LoadChange>,
}

impl BaselineComparison {
    /// Compares `now` with `baseline`. Figures that are worse by no more than `worse_by`, a share such as 0.05, are not among
    /// [`too_much_worse`](Self::too_much_worse).
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

    fn with_confidence(
        baseline: &ValidationReport,
        now: &ValidationReport,
        worse_by: f64,
        confidence: f64,
    ) -> Self {
        let reasons = reasons::of_all(baseline, now);
        let mut drafts = Vec::new();
        if reasons.is_empty() {
            let old: Vec<&ConcurrentTestResult> = runs(baseline).collect();
            for load in loads(now) {
                let new: Vec<&ConcurrentTestResult> = runs(now).filter(|r| r.load == *load).collect();
                drafts.push(figures::draft(load, &old, &new));
            }
        }
        let sampled = drafts.iter().map(figures::Draft::sampled).sum::<usize>().max(1);
        let confidence_each = 1.0 - (1.0 - confidence) / sampled as f64;
        Self {
            confidence,
            confidence_each,
            worse_by,
            baseline_started_at_unix_ms: runs(baseline).map(|r| r.started_at_unix_ms).min(),
            reasons,
            loads: drafts.into_iter().map(|draft| draft.judged(confidence_each)).collect(),
        }
    }

    /// Figures that are worse by more than was allowed: the whole interval lies beyond. Completeness has no allowance.
    pub fn too_much_worse(&self) -> impl Iterator<Item = (&LoadModel, &FigureChange)> {
        let beyond = |c: &&FigureChange| {
            let certain = match (c.figure, c.interval) {
                (Figure::Completeness, _) => true,
                (figure, Some((_, high))) if figure.more_is_better() => high < -self.worse_by,
                (_, Some((low, _))) => low > self.worse_by,
                (_, None) => false,
            };
            c.verdict == Verdict::Worse && certain
        };
        self.loads.iter().flat_map(move |l| l.figures.iter().filter(beyond).map(|c| (&l.load, c)))
    }

    /// Whether any figure could be compared.
    pub fn is_conclusive(&self) -> bool {
        let mut figures = self.loads.iter().flat_map(|l| &l.figures);
        figures.any(|c| !matches!(c.verdict, Verdict::NotComparable(_)))
    }
}

/// The runs of a report that are compared: those with the tracker, where both were run.
fn runs(report: &ValidationReport) -> impl Iterator<Item = &ConcurrentTestResult> {
    report.scalability.iter().flat_map(|s| &s.test_results).chain(&report.runs)
}

/// The loads of a report, each once, in the order run.
fn loads(report: &ValidationReport) -> Vec<&LoadModel> {
    let mut found: Vec<&LoadModel> = Vec::new();
    for run in runs(report) {
        if !found.contains(&&run.load) {
            found.push(&run.load);
        }
    }
    found
}

#[cfg(test)]
mod tests;
