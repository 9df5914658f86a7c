//! Problems of the measurement that the load generator detects about itself.
//!
//! A late load generator, a machine shared with other programs, or a drift through the window gives figures that look
//! like properties of the system under test (Zhang and others, *Treadmill*, 2016, list such pitfalls). Each kind of
//! problem is reported, and the first four kinds make a run inconclusive.

use serde::{Deserialize, Serialize};

/// Efficiency, in percent, above which the run of one user is doubtful.
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
    #[error("{what} changed by {:.0} % through the window (p = {p:.4}): warm up longer or measure longer", .change * 100.0)]
    NotStationary {
        /// Name of the drifting figure: `throughput` or `response`.
        what: String,
        /// Change over the window as a share of the median level.
        change: f64,
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
        /// The quantile.
        quantile: f64,
    },
    /// Neighbouring batches of the window correlate, so the interval is too narrow.
    #[error("neighbouring batches correlate ({lag1:.2}): the interval is too narrow, measure longer")]
    Correlated {
        /// Correlation of neighbouring batches.
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
    /// Throughput exceeds N times the throughput of one user, by warm caches or a cold baseline.
    #[error("{efficiency:.0} % efficiency: warm caches, or a baseline measured cold")]
    SuperLinear {
        /// Efficiency in percent.
        efficiency: f64,
    },
    /// Abandoned threads may still use the machine.
    #[error("{threads} threads did not end and may still use the machine")]
    AbandonedThreads {
        /// Number of abandoned threads.
        threads: usize,
    },
}

impl ValidityIssue {
    /// Whether the problem makes a run inconclusive.
    pub const fn forbids_conclusions(&self) -> bool {
        use ValidityIssue::{ForeignCpu, GeneratorLate, NotStationary, ZeroSuccess};
        matches!(self, GeneratorLate { .. } | NotStationary { .. } | ForeignCpu { .. } | ZeroSuccess)
    }
}
