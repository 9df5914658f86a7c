//! The result types of a comparison with a baseline.

use serde::{Deserialize, Serialize};

use super::plan::LoadModel;

/// A figure that is compared with the baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ComparedFigure {
    /// Answers per second.
    Throughput,
    /// Mean response time, in milliseconds.
    MeanResponse,
    /// Median response time, in milliseconds.
    P50Response,
    /// p99 of the response time, in milliseconds.
    P99Response,
    /// Share of observed events that the tracker booked, from 0 to 1.
    Completeness,
}

impl ComparedFigure {
    /// All figures, in the order of a report.
    pub const ALL: [Self; 5] =
        [Self::Throughput, Self::MeanResponse, Self::P50Response, Self::P99Response, Self::Completeness];

    /// Returns the name for reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Throughput => "answers/s",
            Self::MeanResponse => "mean ms",
            Self::P50Response => "p50 ms",
            Self::P99Response => "p99 ms",
            Self::Completeness => "complete %",
        }
    }

    /// Whether an increase is an improvement.
    pub const fn more_is_better(self) -> bool {
        matches!(self, Self::Throughput | Self::Completeness)
    }
}

/// The verdict on the change of a figure since the baseline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ChangeVerdict {
    /// The whole confidence interval of the change is an improvement.
    Better,
    /// The whole confidence interval of the change is a deterioration.
    Worse,
    /// The confidence interval includes zero. The figure may still have changed by any value inside the interval.
    NoDifferenceSeen,
    /// The figures are not comparable; the text gives the reason.
    NotComparable(String),
}

/// The values of one figure at one load, in the baseline and in this report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FigureChange {
    /// The figure.
    pub figure: ComparedFigure,
    /// Value in the baseline: the geometric mean over the measured windows. For completeness: the share over all
    /// windows together.
    pub baseline: Option<f64>,
    /// Value in this report, computed in the same way as `baseline`.
    pub now: Option<f64>,
    /// Change as a share of the baseline's value: −0.2 is a fifth less. For completeness: the difference of the two
    /// shares. `None` if the values are not comparable.
    pub change: Option<f64>,
    /// Confidence interval of `change`. `None` for completeness, which is an exact count, and for values that are not
    /// comparable.
    pub interval: Option<(f64, f64)>,
    /// Verdict on `change`.
    pub verdict: ChangeVerdict,
}

/// The changes of all figures at one load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadChange {
    /// The load.
    pub load: LoadModel,
    /// Number of complete measured windows, in the baseline and in this report.
    pub measured: (usize, usize),
    /// Change of each [`ComparedFigure`].
    pub figures: Vec<FigureChange>,
}

/// A comparison of a report with an earlier one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaselineComparison {
    /// Probability that all confidence intervals contain the true changes at once.
    pub confidence: f64,
    /// Probability that a single confidence interval contains the true change, derived from `confidence`.
    pub confidence_each: f64,
    /// Maximum deterioration that is allowed, as a share.
    pub worse_by: f64,
    /// Start of the first run of the baseline, in milliseconds of Unix time; `None` without runs.
    pub baseline_started_at_unix_ms: Option<u64>,
    /// Reasons why the two reports cannot be compared; empty if they can.
    pub reasons: Vec<String>,
    /// Changes at each load of this report, in its order; empty if the reports cannot be compared.
    pub loads: Vec<LoadChange>,
}

impl BaselineComparison {
    /// Returns the figures whose whole confidence interval is worse than the baseline by more than `worse_by`. A
    /// completeness that is worse at all is also returned.
    pub fn too_much_worse(&self) -> impl Iterator<Item = (&LoadModel, &FigureChange)> {
        let beyond = |c: &&FigureChange| {
            let certain = match (c.figure, c.interval) {
                (ComparedFigure::Completeness, _) => true,
                (figure, Some((_, high))) if figure.more_is_better() => high < -self.worse_by,
                (_, Some((low, _))) => low > self.worse_by,
                (_, None) => false,
            };
            c.verdict == ChangeVerdict::Worse && certain
        };
        self.loads.iter().flat_map(move |l| l.figures.iter().filter(beyond).map(|c| (&l.load, c)))
    }

    /// Whether any figure is comparable.
    pub fn is_conclusive(&self) -> bool {
        let mut figures = self.loads.iter().flat_map(|l| &l.figures);
        figures.any(|c| !matches!(c.verdict, ChangeVerdict::NotComparable(_)))
    }
}
