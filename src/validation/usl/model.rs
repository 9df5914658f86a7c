//! The curve, its parameters, and the result of a fit.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Minimum number of levels for a fit.
pub const POINTS_MIN: usize = 4;
/// Minimum number of levels for a fit without the flag `few_points`.
pub(super) const POINTS_ENOUGH: usize = 6;

/// One measured level.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct UslPoint {
    /// Concurrent users.
    pub users: f64,
    /// Throughput in requests per second.
    pub throughput: f64,
    /// Weight in the fit: 1/variance of the throughput if the variance is known, else 1.
    pub weight: f64,
}

impl UslPoint {
    /// Creates a level with weight 1.
    pub const fn new(users: f64, throughput: f64) -> Self {
        Self { users, throughput, weight: 1.0 }
    }
}

/// The kind of a fitted curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum UslModel {
    /// σ = κ = 0: each user adds as much throughput as the first.
    Linear,
    /// κ = 0: the curve levels off and never falls.
    Amdahl,
    /// All three parameters are free.
    Full,
}

/// One parameter with its uncertainty.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// The estimate.
    pub value: f64,
    /// Standard error; `None` if the parameter is on its bound or not part of the model.
    pub standard_error: Option<f64>,
    /// 95 % confidence interval; `None` if there is no standard error.
    pub interval: Option<(f64, f64)>,
    /// Whether the estimate is at the bound 0 or 1.
    pub at_bound: bool,
}

/// A fitted curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UslFit {
    /// Kind of the curve.
    pub model: UslModel,
    /// Throughput of one user in requests per second.
    pub gamma: Parameter,
    /// Contention σ, from 0 to 1.
    pub sigma: Parameter,
    /// Coherency κ, from 0 to 1.
    pub kappa: Parameter,
    /// Number of users at the peak throughput; `None` if the curve has no peak.
    pub n_max: Option<f64>,
    /// Throughput at the peak, in requests per second.
    pub x_max: Option<f64>,
    /// Limit that the throughput of a curve without a peak approaches, in requests per second.
    pub asymptote: Option<f64>,
    /// Whether the peak lies beyond twice the highest measured level, so that it is a guess.
    pub extrapolated: bool,
    /// Standard deviation of the residuals, in requests per second.
    pub residual_sd: f64,
    /// Akaike's criterion of the curve. It compares fits of the same data.
    pub criterion: f64,
    /// Whether fewer than six levels were measured.
    pub few_points: bool,
}

impl UslFit {
    /// Returns the throughput of the curve at `users` users, in requests per second.
    pub fn predict(&self, users: f64) -> f64 {
        curve([self.gamma.value, self.sigma.value, self.kappa.value], users)
    }
}

impl fmt::Display for UslFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?}: γ {:.4} σ {:.5} κ {:.7}",
            self.model, self.gamma.value, self.sigma.value, self.kappa.value
        )?;
        match (self.n_max, self.asymptote) {
            (Some(n), _) if self.extrapolated => write!(f, ", peak beyond what was measured ({n:.0} users)"),
            (Some(n), _) => write!(f, ", peak at {n:.1} users"),
            (None, Some(x)) => write!(f, ", levels off at {x:.1}/s"),
            (None, None) => write!(f, ", no peak in sight"),
        }
    }
}

/// Returns X(N), the throughput of `n` users, for the parameters (γ, σ, κ).
pub(super) fn curve([gamma, sigma, kappa]: [f64; 3], n: f64) -> f64 {
    gamma * n / (1.0 + sigma * (n - 1.0) + kappa * n * (n - 1.0))
}

/// The reason why no curve could be fitted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FitError {
    /// There are too few different levels.
    #[error("{have} levels do not determine a scalability curve: measure at least {need}")]
    TooFewPoints {
        /// Number of different levels given.
        have: usize,
        /// Number of different levels required.
        need: usize,
    },
    /// The users, the throughput or the weight of a level is not positive and finite.
    #[error("level {level} has no positive throughput: leave it out or repair the run")]
    NonPositive {
        /// Number of users of the level.
        level: f64,
    },
    /// The levels do not determine the parameters.
    #[error("the levels lie too close together: spread them over a wider range")]
    Singular,
    /// The iteration did not converge.
    #[error("the fit did not converge: repeat the run with longer levels to reduce the noise")]
    NotConverged,
}
