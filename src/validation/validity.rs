//! Problems of the measurement that the load generator detects about itself.
//!
//! A late load generator, a machine shared with other programs, or a drift through the window gives figures that look
//! like properties of the system under test (Zhang and others, *Treadmill*, 2016, list such pitfalls). Each kind of
//! problem is reported, and the first four kinds make a run inconclusive.

use serde::{Deserialize, Serialize};

/// Efficiency, in percent, above which the run of one user is too slow to compare with. No efficiency is then given.
pub(super) const SUPER_LINEAR_FROM: f64 = 105.0;

/// A problem of the measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum ValidityIssue {
    /// The load generator started requests late.
    #[error(
        "the generator was {p99_lag_ms:.3} ms late (p99) with answers in {p50_response_ms:.3} ms: lower the rate or give it a core"
    )]
    GeneratorLate {
        /// p99 of the lag, in milliseconds.
        p99_lag_ms: f64,
        /// Median response time, in milliseconds.
        p50_response_ms: f64,
    },
    /// Throughput or response time drifted through the window.
    #[error("{what} {} through the window (p = {p:.4}): warm up longer or measure longer", drift_in_words(*.end_to_start))]
    NotStationary {
        /// Name of the drifting figure: `throughput` or `response`.
        what: String,
        /// Value at the end of the window ÷ value at its start; `None` if the value at the start was 0.
        #[serde(default)]
        end_to_start: Option<f64>,
        /// Probability that chance alone gives a trend as strong as the observed one.
        p: f64,
    },
    /// Other programs used the machine.
    #[error("other programs used {:.0} % of the machine: repeat it on an idle one", .share * 100.0)]
    ForeignCpu {
        /// Share of all cores, 0 to 1.
        share: f64,
    },
    /// No request was answered.
    #[error("no request was answered: look at the failures first")]
    ZeroSuccess,
    /// The run has too few samples for a quantile.
    #[error("too few requests for p{}: measure longer", .quantile * 100.0)]
    TooFewSamples {
        /// The quantile, from 0 to 1.
        quantile: f64,
    },
    /// The throughputs of neighbouring batches of the window correlate, so the confidence interval is too narrow.
    #[error("neighbouring batches correlate ({lag1:.2}): the interval is too narrow, measure longer")]
    Correlated {
        /// Correlation coefficient of the throughputs of neighbouring batches.
        lag1: f64,
    },
    /// The clock was virtual, so processor times have no meaning.
    #[error("the clock was virtual: processor times have no meaning")]
    ClockVirtual,
    /// This system lacks a clock or figure that the measurement needs.
    #[error("{what} is not available on this system")]
    MeteringUnavailable {
        /// Name of the missing clock or figure.
        what: String,
    },
    /// The throughput of N users is over 1.05·N times the throughput of one user, because of warm caches or a cold
    /// baseline. No efficiency is given.
    #[error(
        "each user has {times:.1} times the throughput of a user alone: warm caches, or a baseline measured cold"
    )]
    SuperLinear {
        /// Throughput of a user ÷ throughput of one user alone.
        times: f64,
    },
    /// Abandoned threads may still use the machine.
    #[error("{threads} threads did not end and may still use the machine")]
    AbandonedThreads {
        /// Number of abandoned threads.
        threads: usize,
    },
}

fn drift_in_words(end_to_start: Option<f64>) -> String {
    match end_to_start {
        None => "began at nothing and rose".to_owned(),
        Some(times) if times >= 2.0 => format!("rose to {times:.1} times its start"),
        Some(times) if times >= 1.0 => format!("rose by {:.0} %", 100.0 * (times - 1.0)),
        Some(times) => format!("fell by {:.0} %", 100.0 * (1.0 - times)),
    }
}

impl ValidityIssue {
    /// Whether the problem makes a run inconclusive.
    pub const fn forbids_conclusions(&self) -> bool {
        use ValidityIssue::{ForeignCpu, GeneratorLate, NotStationary, ZeroSuccess};
        matches!(self, GeneratorLate { .. } | NotStationary { .. } | ForeignCpu { .. } | ZeroSuccess)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Regression: a throughput that fell to a third of its start was reported as a change of −284 %.
    #[test]
    fn a_drift_is_a_figure_or_words() {
        for (end_to_start, said) in [
            (None, "throughput began at nothing and rose through"),
            (Some(0.0), "throughput fell by 100 % through"),
            (Some(0.35), "throughput fell by 65 % through"),
            (Some(1.25), "throughput rose by 25 % through"),
            (Some(3.84), "throughput rose to 3.8 times its start through"),
        ] {
            let issue =
                ValidityIssue::NotStationary { what: "throughput".to_owned(), end_to_start, p: 0.001 };
            assert!(issue.to_string().starts_with(said), "{issue}");
        }
    }
}
