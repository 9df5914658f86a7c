//! The Universal Scalability Law: what throughput does as users are added, and why.
//!
//! ```text
//! X(N) = γN / (1 + σ(N−1) + κN(N−1))
//! ```
//!
//! γ is the throughput of one user, σ the share of work that waits in line (contention), κ the price of keeping pairs
//! of users in agreement (coherency). σ alone is Amdahl's law and levels off at γ/σ; κ bends the curve down again
//! beyond `sqrt((1−σ)/κ)` users (N. Gunther, *Guerrilla Capacity Planning*, chapters 4–6).
//!
//! A fit is easy to overread, so three things are refused here. Fewer than four levels leave no degree of freedom and
//! give an error. A peak is reported only when κ is really there: off its bound, with an interval that excludes 0;
//! otherwise it is `None`, not 10¹⁴ users. And the simplest of the linear, Amdahl and full models that explains the
//! data within two units of Akaike's corrected criterion is the one reported (Burnham and Anderson, *Model Selection
//! and Multimodel Inference*, 2002). Below six levels the correction is undefined and the plain criterion is used, with
//! a flag.

mod fit;

pub use fit::{fit, fit_model};

use serde::{Deserialize, Serialize};
use std::fmt;

/// Fewest levels that a fit accepts.
pub const POINTS_MIN: usize = 4;
/// Below this many levels a fit is flagged.
const POINTS_ENOUGH: usize = 6;

/// One measured level.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct UslPoint {
    /// Concurrent users.
    pub users: f64,
    /// Throughput, requests a second.
    pub throughput: f64,
    /// Weight in the fit: 1/variance of the throughput when it is known, else 1.
    pub weight: f64,
}

impl UslPoint {
    /// A level with weight 1.
    pub const fn new(users: f64, throughput: f64) -> Self {
        Self { users, throughput, weight: 1.0 }
    }
}

/// Which curve describes the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum UslModel {
    /// σ = κ = 0: each user adds as much as the first.
    Linear,
    /// κ = 0: levels off, never falls.
    Amdahl,
    /// All three parameters.
    Full,
}

/// One parameter with its uncertainty.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// The estimate.
    pub value: f64,
    /// Standard error; `None` when the parameter is on its bound or not part of the model.
    pub standard_error: Option<f64>,
    /// 95 % interval; `None` with the standard error.
    pub interval: Option<(f64, f64)>,
    /// Whether the estimate was stopped by the bound 0 or 1.
    pub at_bound: bool,
}

/// A fitted curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UslFit {
    /// The curve chosen.
    pub model: UslModel,
    /// Throughput of one user, requests a second.
    pub gamma: Parameter,
    /// Contention, from 0 to 1.
    pub sigma: Parameter,
    /// Coherency, from 0 to 1.
    pub kappa: Parameter,
    /// Users at which throughput peaks, when there is a peak.
    pub n_max: Option<f64>,
    /// Throughput at the peak.
    pub x_max: Option<f64>,
    /// Throughput that the curve approaches when it levels off without a peak.
    pub asymptote: Option<f64>,
    /// Whether the peak lies beyond twice the highest level measured: a guess, not a finding.
    pub extrapolated: bool,
    /// Standard deviation of the residuals, requests a second.
    pub residual_sd: f64,
    /// Akaike's criterion of the chosen curve, for comparing fits of the same data.
    pub criterion: f64,
    /// Whether fewer than six levels were measured.
    pub few_points: bool,
}

impl UslFit {
    /// The curve at `users`.
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

/// X(N) for (γ, σ, κ).
fn curve([gamma, sigma, kappa]: [f64; 3], n: f64) -> f64 {
    gamma * n / (1.0 + sigma * (n - 1.0) + kappa * n * (n - 1.0))
}

/// Why no curve could be fitted.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum FitError {
    /// Too few different levels.
    TooFewPoints {
        /// Levels given.
        have: usize,
        /// Levels needed.
        need: usize,
    },
    /// A level without users, or without a positive finite throughput.
    NonPositive {
        /// The level.
        level: f64,
    },
    /// The levels do not determine the parameters.
    Singular,
    /// The iteration did not settle.
    NotConverged,
}

impl fmt::Display for FitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFewPoints { have, need } => {
                write!(f, "{have} levels do not determine a scalability curve: measure at least {need}")
            }
            Self::NonPositive { level } => {
                write!(f, "level {level} has no positive throughput: leave it out or repair the run")
            }
            Self::Singular => {
                f.write_str("the levels lie too close together: spread them over a wider range")
            }
            Self::NotConverged => {
                f.write_str("the fit did not settle: repeat the run with longer levels to reduce the noise")
            }
        }
    }
}

impl std::error::Error for FitError {}
