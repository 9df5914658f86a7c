//! The figures of one load: their samples, and what these say.

use super::super::plan::LoadModel;
use super::super::result::ConcurrentTestResult;
use super::super::stats::{QUANTILE_RESOLUTION, TICK_MS, welch};
use super::reasons::{lost_events, of_no_such_load, of_speed};
use super::{Figure, FigureChange, LoadChange, Verdict};

/// A load whose figures are known and not judged yet: how sure each judgement must be follows from how many there are.
pub(super) struct Draft {
    load: LoadModel,
    measured: (usize, usize),
    figures: Vec<(Figure, Samples)>,
}

/// The values of a figure in the windows of both sides.
enum Samples {
    /// Logarithms of the values, and what one of them cannot tell apart.
    Relative { old: Vec<f64>, new: Vec<f64>, resolution: f64 },
    /// Shares of events where both sides lost some; the shares over all windows.
    Shares { old: Vec<f64>, new: Vec<f64>, over_all: (f64, f64) },
    /// Known without any sampling.
    Counted { old: f64, new: f64 },
    /// Not to be compared; the values as far as they are known.
    Not { old: Option<f64>, new: Option<f64>, why: String },
}

/// Gathers the samples of a load.
pub(super) fn draft(
    load: &LoadModel,
    all_old: &[&ConcurrentTestResult],
    new: &[&ConcurrentTestResult],
) -> Draft {
    let old: Vec<_> = all_old.iter().copied().filter(|r| r.load == *load && !r.stopped_early).collect();
    let new: Vec<_> = new.iter().copied().filter(|r| !r.stopped_early).collect();
    let no_such = !all_old.iter().any(|r| r.load == *load);
    let against = if no_such { Some(of_no_such_load(load, all_old)) } else { of_speed(&old, &new) };
    let samples = |figure| match figure {
        Figure::Completeness if !no_such => completeness(&old, &new),
        _ => speed(figure, &old, &new, against.clone()),
    };
    let figures = Figure::ALL.into_iter().map(|figure| (figure, samples(figure))).collect();
    Draft { load: load.clone(), measured: (old.len(), new.len()), figures }
}

impl Draft {
    /// How many of its figures are judged by an interval.
    pub fn sampled(&self) -> usize {
        let sampled = |s: &Samples| matches!(s, Samples::Relative { .. } | Samples::Shares { .. });
        self.figures.iter().filter(|(_, s)| sampled(s)).count()
    }

    pub fn judged(self, confidence: f64) -> LoadChange {
        let figures = self.figures.into_iter().map(|(figure, s)| s.judged(figure, confidence)).collect();
        LoadChange { load: self.load, measured: self.measured, figures }
    }
}

impl Samples {
    fn judged(self, figure: Figure, confidence: f64) -> FigureChange {
        let not = |old, new, why: &str| FigureChange {
            figure,
            baseline: old,
            now: new,
            change: None,
            interval: None,
            verdict: Verdict::NotComparable(why.to_owned()),
        };
        let (old, new, change, interval) = match self {
            Self::Not { old, new, why } => return not(old, new, &why),
            Self::Counted { old, new } => (old, new, new - old, None),
            Self::Shares { old, new, over_all } => match welch(&old, &new, confidence) {
                Some(w) => (over_all.0, over_all.1, over_all.1 - over_all.0, Some(w.interval)),
                None => return not(Some(over_all.0), Some(over_all.1), "too few windows for an interval"),
            },
            Self::Relative { old, new, resolution } => {
                let values = (middle(&old), middle(&new));
                let relative = |log: f64| Some(log.exp_m1()).filter(|v| v.is_finite());
                let found = welch(&old, &new, confidence).and_then(|w| {
                    let (low, high) = (w.interval.0 - resolution, w.interval.1 + resolution);
                    Some((relative(w.difference)?, (relative(low)?, relative(high)?)))
                });
                match found {
                    Some((change, interval)) => (values.0, values.1, change, Some(interval)),
                    None => {
                        return not(Some(values.0), Some(values.1), "the two are beyond all measure apart");
                    }
                }
            }
        };
        let (low, high) = interval.unwrap_or((change, change));
        let verdict = match figure.more_is_better() {
            _ if low <= 0.0 && high >= 0.0 => Verdict::NoDifferenceSeen,
            more => {
                if (low > 0.0) == more {
                    Verdict::Better
                } else {
                    Verdict::Worse
                }
            }
        };
        FigureChange { figure, baseline: Some(old), now: Some(new), change: Some(change), interval, verdict }
    }
}

/// The geometric mean of values given as logarithms.
fn middle(logs: &[f64]) -> f64 {
    (logs.iter().sum::<f64>() / logs.len() as f64).exp()
}

/// The value of a figure in one window; or why there is none.
fn value(figure: Figure, run: &ConcurrentTestResult) -> Result<f64, &'static str> {
    let r = &run.response;
    let value = match figure {
        Figure::Throughput => Some(run.requests_per_second),
        Figure::MeanResponse => r.mean_ms,
        Figure::P50Response => r.p50_ms,
        Figure::P99Response => r.p99_ms,
        Figure::Completeness => None,
    }
    .ok_or("too few answers in a window")?;
    let bound_from = match figure {
        Figure::MeanResponse if r.censored > 0 => Some(0.0),
        Figure::P50Response | Figure::P99Response => r.censored_from_ms,
        _ => None,
    };
    if bound_from.is_some_and(|from| value >= from) {
        return Err("requests were cut off: a lower bound only");
    }
    if value > 0.0 && value.is_finite() { Ok(value) } else { Err("nothing was measured in a window") }
}

fn speed(
    figure: Figure,
    old: &[&ConcurrentTestResult],
    new: &[&ConcurrentTestResult],
    against: Option<String>,
) -> Samples {
    let logs = |runs: &[&ConcurrentTestResult]| -> Result<Vec<f64>, &'static str> {
        runs.iter().map(|r| value(figure, r).map(f64::ln)).collect()
    };
    let known = |logs: &Result<Vec<f64>, &str>| {
        logs.as_ref().ok().filter(|l| !l.is_empty()).map(|l| middle(l)).filter(|v| v.is_finite())
    };
    let (old, new) = (logs(old), logs(new));
    let (known_old, known_new) = (known(&old), known(&new));
    let not = |why: String| Samples::Not { old: known_old, new: known_new, why };
    match (against, old, new) {
        (Some(why), ..) => not(why),
        (None, Err(why), _) | (None, _, Err(why)) => not(why.to_owned()),
        (None, Ok(old), Ok(new)) => {
            let smallest = middle(&old).min(middle(&new));
            let resolution = match figure {
                Figure::P50Response | Figure::P99Response => (TICK_MS / smallest).max(QUANTILE_RESOLUTION),
                _ => 0.0,
            };
            Samples::Relative { old, new, resolution: resolution.ln_1p() }
        }
    }
}

fn completeness(old: &[&ConcurrentTestResult], new: &[&ConcurrentTestResult]) -> Samples {
    // Of all windows: sums of counts that may be anything, so not in whole numbers.
    let over_all = |runs: &[&ConcurrentTestResult]| {
        let known = runs.iter().map(|r| r.completeness.as_ref());
        let sums = known.into_iter().try_fold((0.0, 0.0), |(booked, seen), c| {
            c.map(|c| (booked + c.aggregated as f64, seen + c.observed as f64))
        });
        sums.filter(|(_, seen)| *seen > 0.0).map(|(booked, seen)| booked / seen)
    };
    let (whole_old, whole_new) = (over_all(old), over_all(new));
    let (Some(all_old), Some(all_new)) = (whole_old, whole_new) else {
        let why = "no tracker was watched, or it saw nothing".to_owned();
        return Samples::Not { old: whole_old, new: whole_new, why };
    };
    let lost = |runs: &[&ConcurrentTestResult]| runs.iter().any(|r| lost_events(r));
    let shares = |runs: &[&ConcurrentTestResult]| -> Vec<f64> {
        let share = |r: &&ConcurrentTestResult| r.completeness.as_ref()?.completeness;
        runs.iter().filter_map(share).collect()
    };
    match (lost(old), lost(new)) {
        (false, false) => Samples::Counted { old: 1.0, new: 1.0 },
        // A share of almost one may round to one, and books that do not add up may say anything.
        (false, true) => Samples::Counted { old: 1.0, new: all_new.min(1.0 - f64::EPSILON) },
        (true, false) => Samples::Counted { old: all_old.min(1.0 - f64::EPSILON), new: 1.0 },
        (true, true) => Samples::Shares { old: shares(old), new: shares(new), over_all: (all_old, all_new) },
    }
}
