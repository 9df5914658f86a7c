//! The figures of one load: their samples, and the verdicts that result from them.

use super::super::changes::{ChangeVerdict, ComparedFigure, FigureChange, LoadChange};
use super::super::plan::LoadModel;
use super::super::result::ConcurrentTestResult;
use super::super::stats::{QUANTILE_RESOLUTION, TICK_MS, mean, welch};
use super::reasons::{lost_events, of_no_such_load, of_speed};

/// The samples of one load. The confidence of the verdicts depends on the number of compared figures in the whole
/// report.
pub(super) struct LoadSamples {
    load: LoadModel,
    measured: (usize, usize),
    figures: Vec<(ComparedFigure, Samples)>,
}

type Runs<'a> = [&'a ConcurrentTestResult];

/// The values of a figure in the windows of the baseline and of this report.
enum Samples {
    /// Logarithms of the values, and the resolution of one value.
    Relative { old: Vec<f64>, new: Vec<f64>, resolution: f64 },
    /// The share of booked events in each window, if both sides lost events; `over_all` has the shares over all
    /// windows.
    Shares { old: Vec<f64>, new: Vec<f64>, over_all: (f64, f64) },
    /// Exact values, without an interval.
    Counted { old: f64, new: f64 },
    /// The values, as far as they are known, and the reason why they are not comparable.
    Not { old: Option<f64>, new: Option<f64>, why: String },
}

/// Gathers the samples of a load from the runs of the baseline and of this report.
pub(super) fn gather(load: &LoadModel, all_old: &Runs<'_>, new: &Runs<'_>) -> LoadSamples {
    let old: Vec<_> = all_old.iter().copied().filter(|r| r.load == *load && !r.stopped_early).collect();
    let new: Vec<_> = new.iter().copied().filter(|r| !r.stopped_early).collect();
    let no_such = !all_old.iter().any(|r| r.load == *load);
    let against = if no_such { Some(of_no_such_load(load, all_old)) } else { of_speed(&old, &new) };
    let samples = |figure| match figure {
        ComparedFigure::Completeness if !no_such => completeness(&old, &new),
        _ => speed(figure, &old, &new, against.clone()),
    };
    let figures = ComparedFigure::ALL.into_iter().map(|figure| (figure, samples(figure))).collect();
    LoadSamples { load: load.clone(), measured: (old.len(), new.len()), figures }
}

impl LoadSamples {
    /// Returns the number of figures with an interval.
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
    fn judged(self, figure: ComparedFigure, confidence: f64) -> FigureChange {
        let (old, new, change) = match self {
            Self::Not { old, new, why } => (old, new, Err(why)),
            Self::Counted { old, new } => (Some(old), Some(new), Ok((new - old, None))),
            Self::Shares { old, new, over_all: (all_old, all_new) } => {
                let change = welch(&old, &new, confidence)
                    .map(|w| (all_new - all_old, Some(w.interval)))
                    .ok_or_else(|| "too few windows for an interval".to_owned());
                (Some(all_old), Some(all_new), change)
            }
            Self::Relative { old, new, resolution } => {
                let relative = |log: f64| Some(log.exp_m1()).filter(|v| v.is_finite());
                let found = welch(&old, &new, confidence).and_then(|w| {
                    let (low, high) = (w.interval.0 - resolution, w.interval.1 + resolution);
                    Some((relative(w.difference)?, Some((relative(low)?, relative(high)?))))
                });
                let change = found.ok_or_else(|| "the difference is out of range".to_owned());
                (geometric_mean(&old), geometric_mean(&new), change)
            }
        };
        let verdict = match &change {
            Err(why) => ChangeVerdict::NotComparable(why.clone()),
            Ok((change, interval)) => match interval.unwrap_or((*change, *change)) {
                (low, high) if low <= 0.0 && high >= 0.0 => ChangeVerdict::NoDifferenceSeen,
                (low, _) if (low > 0.0) == figure.more_is_better() => ChangeVerdict::Better,
                _ => ChangeVerdict::Worse,
            },
        };
        let (change, interval) = change.map_or((None, None), |(change, interval)| (Some(change), interval));
        FigureChange { figure, baseline: old, now: new, change, interval, verdict }
    }
}

/// Returns the geometric mean of values given as logarithms; `None` if it is not finite.
fn geometric_mean(logs: &[f64]) -> Option<f64> {
    mean(logs).map(f64::exp).filter(|v| v.is_finite())
}

/// Returns the value of a figure in one window, or the reason why there is none.
fn value(figure: ComparedFigure, run: &ConcurrentTestResult) -> Result<f64, &'static str> {
    let r = &run.response;
    let (value, bound_from) = match figure {
        ComparedFigure::Throughput => (Some(run.requests_per_second), None),
        ComparedFigure::MeanResponse => (r.mean_ms, (r.censored > 0).then_some(0.0)),
        ComparedFigure::P50Response => (r.p50_ms, r.censored_from_ms),
        ComparedFigure::P99Response => (r.p99_ms, r.censored_from_ms),
        ComparedFigure::Completeness => (None, None),
    };
    match value {
        None => Err("too few answers in a window"),
        Some(value) if bound_from.is_some_and(|from| value >= from) => {
            Err("requests were cut off: a lower bound only")
        }
        Some(value) if value > 0.0 && value.is_finite() => Ok(value),
        Some(_) => Err("nothing was measured in a window"),
    }
}

fn speed(figure: ComparedFigure, old: &Runs<'_>, new: &Runs<'_>, against: Option<String>) -> Samples {
    let logs = |runs: &Runs<'_>| -> Result<Vec<f64>, &'static str> {
        runs.iter().map(|r| value(figure, r).map(f64::ln)).collect()
    };
    let (old, new) = (logs(old), logs(new));
    let known = |logs: &Result<Vec<f64>, _>| logs.as_ref().ok().and_then(|logs| geometric_mean(logs));
    let (known_old, known_new) = (known(&old), known(&new));
    match (against, old, new) {
        (Some(why), ..) => Samples::Not { old: known_old, new: known_new, why },
        (None, Err(why), _) | (None, _, Err(why)) => {
            Samples::Not { old: known_old, new: known_new, why: why.to_owned() }
        }
        (None, Ok(old), Ok(new)) => {
            let smallest = known_old.into_iter().chain(known_new).fold(f64::INFINITY, f64::min);
            let resolution = match figure {
                ComparedFigure::P50Response | ComparedFigure::P99Response => {
                    (TICK_MS / smallest).max(QUANTILE_RESOLUTION)
                }
                _ => 0.0,
            };
            Samples::Relative { old, new, resolution: resolution.ln_1p() }
        }
    }
}

fn completeness(old: &Runs<'_>, new: &Runs<'_>) -> Samples {
    // The counts come from an untrusted file. They are summed as floats, because a sum of integers could overflow.
    let over_all = |runs: &Runs<'_>| {
        let mut known = runs.iter().map(|r| r.completeness.as_ref());
        let (booked, observed) = known.try_fold((0.0, 0.0), |(booked, observed), c| {
            c.map(|c| (booked + c.aggregated as f64, observed + c.observed as f64))
        })?;
        (observed > 0.0).then(|| booked / observed)
    };
    let (whole_old, whole_new) = (over_all(old), over_all(new));
    let (Some(all_old), Some(all_new)) = (whole_old, whole_new) else {
        let why = "no tracker was watched, or it observed nothing".to_owned();
        return Samples::Not { old: whole_old, new: whole_new, why };
    };
    let lost = |runs: &Runs<'_>| runs.iter().any(|r| lost_events(r));
    let shares = |runs: &Runs<'_>| -> Vec<f64> {
        runs.iter().filter_map(|r| r.completeness.as_ref()?.completeness).collect()
    };
    // With lost events the share must be below one. A share of almost one may round to one, and inconsistent counts may
    // give any share.
    let below_one = |share: f64| share.min(1.0 - f64::EPSILON);
    match (lost(old), lost(new)) {
        (false, false) => Samples::Counted { old: 1.0, new: 1.0 },
        (false, true) => Samples::Counted { old: 1.0, new: below_one(all_new) },
        (true, false) => Samples::Counted { old: below_one(all_old), new: 1.0 },
        (true, true) => Samples::Shares { old: shares(old), new: shares(new), over_all: (all_old, all_new) },
    }
}
