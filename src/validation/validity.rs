//! Whether the figures can be trusted: the generator checks itself.
//!
//! A load generator that was late, a machine that others used, a window that drifted: each gives figures that look like
//! findings about the system under test (Zhang and others, *Treadmill*, 2016, list such pitfalls). They are named, and
//! the first four kinds forbid conclusions altogether.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::contention::TimeBreakdown;
use super::executor::Finished;
use super::stats::{batch_means, mann_kendall};

/// p99 of the generator's lag as a share of the median response time.
const LATE_FROM: f64 = 0.10;
/// And at least this long, in nanoseconds: a lag of a timer's grain is no fault of a run with microsecond answers
/// unless it shows in them.
const LATE_FROM_NS: f64 = 200_000.0;
const DRIFT_P: f64 = 0.01;
/// Change over the window that is worth a word, even when it is certain.
const DRIFT_FROM: f64 = 0.10;
/// Answers in the window below which its drift is not judged.
const DRIFT_ANSWERS_MIN: u64 = 500;
/// Efficiency above which the baseline is doubtful, in percent.
pub(super) const SUPER_LINEAR_FROM: f64 = 105.0;

/// A reason to doubt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ValidityIssue {
    /// The generator started requests late by itself.
    GeneratorLate {
        /// p99 of its lag.
        p99_lag_ms: f64,
        /// Median response time.
        p50_response_ms: f64,
    },
    /// Throughput or response time drifted through the window.
    NotStationary {
        /// `throughput` or `response`.
        what: String,
        /// Change over the window as a share of the median level.
        change: f64,
        /// Probability of such a trend by chance.
        p: f64,
    },
    /// Other programs used the machine.
    ForeignCpu {
        /// Share of all cores, 0 to 1.
        share: f64,
    },
    /// Nothing was answered.
    ZeroSuccess,
    /// A quantile could not be given.
    TooFewSamples {
        /// Which.
        quantile: f64,
    },
    /// Neighbouring batches of the window still depend on each other: the interval is too narrow.
    Correlated {
        /// Their correlation.
        lag1: f64,
    },
    /// Time was virtual: figures of processor time mean nothing.
    ClockVirtual,
    /// A clock is missing on this system.
    MeteringUnavailable {
        /// Which.
        what: String,
    },
    /// Better than N times one user: caches, or a bad baseline.
    SuperLinear {
        /// Percent.
        efficiency: f64,
    },
    /// Threads that did not end may still use the machine.
    AbandonedThreads {
        /// How many.
        threads: usize,
    },
}

impl ValidityIssue {
    /// Whether a result with this issue must not be drawn conclusions from.
    pub const fn forbids_conclusions(&self) -> bool {
        matches!(
            self,
            Self::GeneratorLate { .. }
                | Self::NotStationary { .. }
                | Self::ForeignCpu { .. }
                | Self::ZeroSuccess
        )
    }
}

impl fmt::Display for ValidityIssue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GeneratorLate { p99_lag_ms, p50_response_ms } => write!(
                f,
                "the generator was {p99_lag_ms:.3} ms late (p99) with answers in {p50_response_ms:.3} ms: lower the rate or give it a core"
            ),
            Self::NotStationary { what, change, p } => write!(
                f,
                "{what} changed by {:.0} % through the window (p = {p:.4}): warm up longer or measure longer",
                change * 100.0
            ),
            Self::ForeignCpu { share } => {
                write!(
                    f,
                    "other programs used {:.0} % of the machine: repeat it on a quiet one",
                    share * 100.0
                )
            }
            Self::ZeroSuccess => f.write_str("nothing was answered: look at the failures first"),
            Self::TooFewSamples { quantile } => {
                write!(f, "too few requests for p{}: measure longer", quantile * 100.0)
            }
            Self::Correlated { lag1 } => {
                write!(
                    f,
                    "neighbouring batches correlate ({lag1:.2}): the interval is too narrow, measure longer"
                )
            }
            Self::ClockVirtual => f.write_str("time was virtual: figures of processor time mean nothing"),
            Self::MeteringUnavailable { what } => write!(f, "{what} is not to be had on this system"),
            Self::SuperLinear { efficiency } => {
                write!(f, "{efficiency:.0} % efficiency: warm caches, or a baseline measured cold")
            }
            Self::AbandonedThreads { threads } => {
                write!(f, "{threads} threads did not end and may still use the machine")
            }
        }
    }
}

pub(super) fn issues(
    f: &Finished,
    breakdown: Option<&TimeBreakdown>,
    cpu_known: bool,
    max_foreign_cpu: f64,
) -> Vec<ValidityIssue> {
    let mut found = Vec::new();
    if f.all.slices.iter().all(|s| s.ok == 0) && f.rows.iter().all(|r| r.ok == 0) {
        found.push(ValidityIssue::ZeroSuccess);
    }
    if let (Some(lag), Some(response)) = (f.all.lag.quantile_ns(0.99), f.all.response.quantile_ns(0.5))
        && lag > LATE_FROM * response
        && lag > LATE_FROM_NS
    {
        found.push(ValidityIssue::GeneratorLate { p99_lag_ms: lag / 1e6, p50_response_ms: response / 1e6 });
    }
    let whole = &f.all.slices[..((f.window_ns / f.slice_ns) as usize).min(f.all.slices.len())];
    let rates: Vec<f64> = whole.iter().map(|s| f64::from(s.ok)).collect();
    let means: Vec<f64> =
        whole.iter().filter(|s| s.ok > 0).map(|s| s.response_ns as f64 / f64::from(s.ok)).collect();
    if whole.iter().map(|s| u64::from(s.ok)).sum::<u64>() >= DRIFT_ANSWERS_MIN {
        for (what, series) in [("throughput", &rates), ("response", &means)] {
            if let Some(t) =
                mann_kendall(series).filter(|t| t.p < DRIFT_P && t.relative_change.abs() > DRIFT_FROM)
            {
                let what = what.to_owned();
                found.push(ValidityIssue::NotStationary { what, change: t.relative_change, p: t.p });
            }
        }
    }
    if f.clock_is_virtual {
        found.push(ValidityIssue::ClockVirtual);
    } else if let Some(share) = f.foreign_cpu.filter(|s| *s > max_foreign_cpu) {
        found.push(ValidityIssue::ForeignCpu { share });
    }
    let n = f.all.response.count() as f64;
    found.extend(
        [0.5, 0.9, 0.99]
            .into_iter()
            .find(|q| n > 0.0 && n * (1.0 - q) + 1e-6 < 10.0)
            .map(|quantile| ValidityIssue::TooFewSamples { quantile }),
    );
    found.extend(
        batch_means(&rates)
            .filter(|b| b.is_correlated())
            .and_then(|b| b.lag1)
            .map(|lag1| ValidityIssue::Correlated { lag1 }),
    );
    if !cpu_known {
        found.push(ValidityIssue::MeteringUnavailable { what: "processor time of a thread".to_owned() });
    } else if breakdown.is_some_and(|b| b.run_queue_ms.is_none()) {
        found.push(ValidityIssue::MeteringUnavailable { what: "the time in the run queue".to_owned() });
    }
    if f.abandoned_threads > 0 {
        found.push(ValidityIssue::AbandonedThreads { threads: f.abandoned_threads });
    }
    found
}
