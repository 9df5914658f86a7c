//! The Universal Scalability Law: throughput as a function of the number of users.
//!
//! ```text
//! X(N) = γN / (1 + σ(N−1) + κN(N−1))
//! ```
//!
//! γ is the throughput of one user, σ the serial share of the work (contention), κ the cost of keeping pairs of users
//! consistent (coherency). With κ = 0 the law is Amdahl's and levels off at γ/σ; a positive κ bends the curve down
//! beyond `sqrt((1−σ)/κ)` users (N. Gunther, *Guerrilla Capacity Planning*, chapters 4–6).
//!
//! Three rules keep a fit from claiming too much. Fewer than four levels leave no degree of freedom and are an error. A
//! peak is reported only when κ is off its bound and its interval excludes 0; otherwise the peak is `None`, not a
//! number such as 10¹⁴ users. Of the linear, Amdahl and full models within two units of Akaike's corrected criterion,
//! the simplest is reported (Burnham and Anderson, *Model Selection and Multimodel Inference*, 2002). Below six levels
//! the correction is undefined: the criterion without correction is used, and `few_points` is set.

mod fit;
mod model;

pub use fit::{fit, fit_model};
pub use model::{FitError, POINTS_MIN, Parameter, UslFit, UslModel, UslPoint};
