//! Bounded least squares for the scalability curve.
//!
//! * Start: N/X is linear in (1/γ, σ/γ, κ/γ), so ordinary least squares gives start values in closed form.
//! * Iteration: Levenberg–Marquardt fits the throughputs themselves with the analytic Jacobian (Marquardt 1963),
//!   because the linear form weights errors wrongly.
//! * Bounds 0 ≤ σ, κ ≤ 1: active sets. Each possible set of parameters at a bound is fitted, and the best fit within
//!   the bounds is kept. This is exact, whereas clipping a step is not.
//! * Errors: standard errors come from s²(JᵀJ)⁻¹ over the free parameters, intervals from Student's t.

use super::super::stats::t_quantile;
use super::model::{FitError, POINTS_ENOUGH, POINTS_MIN, Parameter, UslFit, UslModel, UslPoint, curve};

const ITERATIONS_MAX: usize = 500;
/// Relative error below which a fit counts as perfect. Smaller errors come from the resolution of timers and counts,
/// and must not decide between models.
const ROUNDING: f64 = 1e-4;
/// Maximum difference of Akaike's criterion at which the simpler model is kept.
const CRITERION_MARGIN: f64 = 2.0;

/// Fits the linear, the Amdahl and the full curve and returns the simplest one that explains the data.
///
/// # Errors
/// Returns a [`FitError`] if the points do not determine a curve.
///
/// # Examples
/// ```
/// use heapledger::validation::usl::{UslModel, UslPoint, fit};
/// let points: Vec<UslPoint> = (1..=6).map(|n| UslPoint::new(n as f64, 10.0 * n as f64)).collect();
/// let fit = fit(&points)?;
/// assert_eq!(fit.model, UslModel::Linear);
/// assert_eq!(fit.n_max, None);
/// # Ok::<(), heapledger::validation::usl::FitError>(())
/// ```
pub fn fit(points: &[UslPoint]) -> Result<UslFit, FitError> {
    let fits = [UslModel::Linear, UslModel::Amdahl, UslModel::Full].map(|m| fit_model(points, m));
    if let Err(e @ (FitError::TooFewPoints { .. } | FitError::NonPositive { .. })) = &fits[0] {
        return Err(e.clone());
    }
    let best = fits.iter().flatten().map(|f| f.criterion).fold(f64::INFINITY, f64::min);
    let full = fits[2].clone();
    fits.into_iter().flatten().find(|f| f.criterion <= best + CRITERION_MARGIN).map_or(full, Ok)
}

/// Fits a curve of the kind `model`, even if a simpler kind suffices.
///
/// # Errors
/// Returns an error for the same points as [`fit`].
pub fn fit_model(points: &[UslPoint], model: UslModel) -> Result<UslFit, FitError> {
    check(points)?;
    let start = start_values(points)?;
    // Each row has the free parameters among (γ, σ, κ), then the bounds at which the other parameters stay.
    let sets: &[([bool; 3], [f64; 3])] = match model {
        UslModel::Linear => &[([true, false, false], [0.0, 0.0, 0.0])],
        UslModel::Amdahl => &[
            ([true, true, false], [0.0; 3]),
            ([true, false, false], [0.0; 3]),
            (GAMMA_ONLY, [0.0, 1.0, 0.0]),
        ],
        UslModel::Full => &[
            ([true, true, true], [0.0; 3]),
            ([true, true, false], [0.0; 3]),
            ([true, false, true], [0.0; 3]),
            (GAMMA_ONLY, [0.0; 3]),
            ([true, false, true], [0.0, 1.0, 0.0]),
        ],
    };
    let mut best: Option<Solution> = None;
    let mut failure = FitError::NotConverged;
    for (free, bound) in sets {
        let from = std::array::from_fn(|i| if free[i] { start[i] } else { bound[i] });
        match minimise(points, from, *free) {
            Ok(s) if s.feasible() && best.as_ref().is_none_or(|b| s.squares < b.squares) => best = Some(s),
            Ok(_) => {}
            Err(e) => failure = e,
        }
        // No optimum on a bound is better than a feasible unconstrained optimum.
        if *free == [true; 3] && best.is_some() {
            break;
        }
    }
    best.map_or(Err(failure), |s| finish(points, model, &s))
}

const GAMMA_ONLY: [bool; 3] = [true, false, false];

fn check(points: &[UslPoint]) -> Result<(), FitError> {
    let mut levels: Vec<f64> = points.iter().map(|p| p.users).collect();
    levels.sort_by(f64::total_cmp);
    levels.dedup();
    if levels.len() < POINTS_MIN {
        return Err(FitError::TooFewPoints { have: levels.len(), need: POINTS_MIN });
    }
    let usable = |v: f64| v.is_finite() && v > 0.0;
    match points.iter().find(|p| !(usable(p.users) && usable(p.throughput) && usable(p.weight))) {
        Some(p) => Err(FitError::NonPositive { level: p.users }),
        None => Ok(()),
    }
}

fn start_values(points: &[UslPoint]) -> Result<[f64; 3], FitError> {
    let (mut normal, mut right) = ([[0.0; 3]; 3], [0.0; 3]);
    for p in points {
        let n = p.users;
        let row = [1.0, n - 1.0, n * (n - 1.0)];
        for i in 0..3 {
            right[i] += row[i] * n / p.throughput;
            (0..3).for_each(|j| normal[i][j] += row[i] * row[j]);
        }
    }
    let [a, b, c] = solve(normal, right).ok_or(FitError::Singular)?;
    // If the intercept is not positive, γ is computed from the smallest level.
    let first =
        points.iter().min_by(|x, y| x.users.total_cmp(&y.users)).map_or(1.0, |p| p.throughput / p.users);
    let gamma = if a > 0.0 { 1.0 / a } else { first };
    Ok([gamma, (b * gamma).clamp(1e-6, 1.0), (c * gamma).clamp(1e-9, 1.0)])
}

struct Solution {
    parameters: [f64; 3],
    free: [bool; 3],
    squares: f64,
    normal: [[f64; 3]; 3],
}

impl Solution {
    fn feasible(&self) -> bool {
        let [gamma, sigma, kappa] = self.parameters;
        gamma > 0.0 && (0.0..=1.0).contains(&sigma) && (0.0..=1.0).contains(&kappa)
    }
}

fn minimise(points: &[UslPoint], from: [f64; 3], free: [bool; 3]) -> Result<Solution, FitError> {
    let mut at = from;
    let mut squares = sum_of_squares(points, at);
    let mut damping = 1e-3;
    for _ in 0..ITERATIONS_MAX {
        let (normal, right) = normal_equations(points, at, free);
        let mut improved = false;
        while damping < 1e16 {
            let mut damped = normal;
            (0..3).for_each(|i| damped[i][i] *= 1.0 + damping);
            let step = solve(damped, right).ok_or(FitError::Singular)?;
            let next: [f64; 3] = std::array::from_fn(|i| at[i] + if free[i] { step[i] } else { 0.0 });
            let next_squares = sum_of_squares(points, next);
            if next[0] > 0.0 && next_squares.is_finite() && next_squares <= squares {
                let moved = (0..3).any(|i| (next[i] - at[i]).abs() > 1e-13 * (at[i].abs() + 1e-13));
                (at, squares, improved) = (next, next_squares, moved);
                damping = (damping / 10.0).max(1e-15);
                break;
            }
            damping *= 10.0;
        }
        if !improved {
            let (normal, _) = normal_equations(points, at, free);
            return Ok(Solution { parameters: at, free, squares, normal });
        }
    }
    Err(FitError::NotConverged)
}

fn sum_of_squares(points: &[UslPoint], at: [f64; 3]) -> f64 {
    points.iter().map(|p| p.weight * (p.throughput - curve(at, p.users)).powi(2)).sum()
}

fn normal_equations(points: &[UslPoint], at: [f64; 3], free: [bool; 3]) -> ([[f64; 3]; 3], [f64; 3]) {
    let (mut normal, mut right) = ([[0.0; 3]; 3], [0.0; 3]);
    let [gamma, sigma, kappa] = at;
    for p in points {
        let n = p.users;
        let d = 1.0 + sigma * (n - 1.0) + kappa * n * (n - 1.0);
        let by_sigma = -gamma * n * (n - 1.0) / (d * d);
        let gradient = [n / d, by_sigma, by_sigma * n];
        let residual = p.throughput - curve(at, n);
        for i in 0..3 {
            right[i] += p.weight * gradient[i] * residual;
            (0..3).for_each(|j| normal[i][j] += p.weight * gradient[i] * gradient[j]);
        }
    }
    // A fixed parameter gets a separate equation: 1 · step = 0.
    for i in (0..3).filter(|&i| !free[i]) {
        (0..3).for_each(|j| (normal[i][j], normal[j][i]) = (0.0, 0.0));
        (normal[i][i], right[i]) = (1.0, 0.0);
    }
    (normal, right)
}

/// Solves a symmetric 3×3 system by elimination after scaling its diagonal to 1. The scaling is needed because the
/// parameters differ by five orders of magnitude, and the coefficients of their equations by ten.
fn solve(matrix: [[f64; 3]; 3], right: [f64; 3]) -> Option<[f64; 3]> {
    let scale: [f64; 3] = std::array::from_fn(|i| matrix[i][i].abs().sqrt());
    if scale.iter().any(|s| !(s.is_finite() && *s > 0.0)) {
        return None;
    }
    let mut m: [[f64; 4]; 3] = std::array::from_fn(|i| {
        std::array::from_fn(
            |j| if j < 3 { matrix[i][j] / (scale[i] * scale[j]) } else { right[i] / scale[i] },
        )
    });
    for column in 0..3 {
        let pivot = (column..3).max_by(|&a, &b| m[a][column].abs().total_cmp(&m[b][column].abs()))?;
        m.swap(column, pivot);
        if m[column][column].abs() < 1e-14 {
            return None;
        }
        for row in (0..3).filter(|&r| r != column) {
            let factor = m[row][column] / m[column][column];
            (column..4).for_each(|j| m[row][j] -= factor * m[column][j]);
        }
    }
    Some(std::array::from_fn(|i| m[i][3] / m[i][i] / scale[i]))
}

fn finish(points: &[UslPoint], model: UslModel, s: &Solution) -> Result<UslFit, FitError> {
    let n = points.len() as f64;
    let free = s.free.iter().filter(|f| **f).count() as f64;
    let df = n - free;
    let variance = s.squares / df;
    let t = t_quantile(0.975, df).ok_or(FitError::Singular)?;
    let parameter = |i: usize| -> Result<Parameter, FitError> {
        let value = s.parameters[i];
        let part_of_model = match model {
            UslModel::Linear => i == 0,
            UslModel::Amdahl => i < 2,
            UslModel::Full => true,
        };
        if !s.free[i] {
            return Ok(Parameter { value, standard_error: None, interval: None, at_bound: part_of_model });
        }
        let mut unit = [0.0; 3];
        unit[i] = 1.0;
        let column = solve(s.normal, unit).ok_or(FitError::Singular)?;
        let se = (column[i] * variance).max(0.0).sqrt();
        let interval = Some((value - t * se, value + t * se));
        Ok(Parameter { value, standard_error: Some(se), interval, at_bound: false })
    };
    let (gamma, sigma, kappa) = (parameter(0)?, parameter(1)?, parameter(2)?);
    let bends = kappa.interval.is_some_and(|(low, _)| low > 0.0);
    let n_max = bends.then(|| ((1.0 - sigma.value) / kappa.value).sqrt());
    let highest = points.iter().map(|p| p.users).fold(0.0, f64::max);
    // A lower limit of the squares makes all nearly perfect fits equal, so that only the number of parameters decides.
    let level = points.iter().map(|p| p.weight * p.throughput.powi(2)).sum::<f64>();
    let squares = s.squares.max(level * ROUNDING * ROUNDING);
    Ok(UslFit {
        model,
        n_max,
        x_max: n_max.map(|n| curve(s.parameters, n)),
        asymptote: (n_max.is_none() && sigma.value > 1e-9).then(|| gamma.value / sigma.value),
        extrapolated: n_max.is_some_and(|n| n > 2.0 * highest),
        residual_sd: (points
            .iter()
            .map(|p| (p.throughput - curve(s.parameters, p.users)).powi(2))
            .sum::<f64>()
            / df)
            .sqrt(),
        criterion: criterion(n, free, squares),
        few_points: points.len() < POINTS_ENOUGH,
        gamma,
        sigma,
        kappa,
    })
}

/// Returns Akaike's criterion, corrected for small samples if there are at least six points. The variance of the noise
/// does not count as a parameter: it is common to all curves, and counting it would hide a visible peak in seven
/// points.
fn criterion(n: f64, k: f64, squares: f64) -> f64 {
    let plain = n * (squares / n).ln() + 2.0 * k;
    if n < POINTS_ENOUGH as f64 { plain } else { plain + 2.0 * k * (k + 1.0) / (n - k - 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(n: &[f64], x: &[f64]) -> Vec<UslPoint> {
        n.iter().zip(x).map(|(n, x)| UslPoint::new(*n, *x)).collect()
    }

    fn close(value: f64, want: f64, what: &str) {
        // Compares four digits.
        assert!((value / want - 1.0).abs() < 1e-4, "{what}: {value}, want {want}");
    }

    #[test]
    fn the_specsdm91_data_set() {
        let p = points(
            &[1.0, 18.0, 36.0, 72.0, 108.0, 144.0, 216.0],
            &[64.9, 995.9, 1652.4, 1853.2, 1828.9, 1775.0, 1702.2],
        );
        let f = fit(&p).unwrap();
        assert_eq!(f.model, UslModel::Full);
        close(f.gamma.value, 89.9952, "gamma");
        close(f.gamma.standard_error.unwrap(), 14.2135, "se gamma");
        close(f.sigma.value, 0.0277285, "sigma");
        close(f.sigma.standard_error.unwrap(), 0.0091218, "se sigma");
        close(f.kappa.value, 0.00010437, "kappa");
        // Published to four digits.
        assert!((f.kappa.standard_error.unwrap() - 1.988e-5).abs() < 5e-9, "{:?}", f.kappa);
        close(f.n_max.unwrap(), 96.519, "peak");
        close(f.residual_sd, 82.85, "residuals");
        assert!(!f.extrapolated && !f.few_points);
    }

    #[test]
    fn the_raytracer_data_set_stays_on_its_bound_and_has_no_peak() {
        let p = points(
            &[1.0, 4.0, 8.0, 12.0, 16.0, 20.0, 24.0, 28.0, 32.0, 48.0, 64.0],
            &[20.0, 78.0, 130.0, 170.0, 190.0, 200.0, 210.0, 230.0, 260.0, 280.0, 310.0],
        );
        let f = fit_model(&p, UslModel::Full).unwrap();
        close(f.gamma.value, 21.849, "gamma");
        close(f.sigma.value, 0.05777, "sigma");
        assert_eq!((f.kappa.value, f.kappa.at_bound, f.kappa.standard_error), (0.0, true, None));
        assert_eq!(f.n_max, None);
        close(f.asymptote.unwrap(), 378.2, "asymptote");
        assert_eq!(fit(&p).unwrap().model, UslModel::Amdahl);
    }

    #[test]
    fn noise_free_data_gives_the_parameters_back() {
        let p = points(&[1.0, 2.0, 4.0, 6.0, 8.0, 10.0], &[1.0, 1.8868, 3.0769, 3.5294, 3.5398, 3.3557]);
        let f = fit(&p).unwrap();
        close(f.gamma.value, 1.0, "gamma");
        assert!((f.sigma.value - 0.02).abs() < 1e-5 && (f.kappa.value - 0.02).abs() < 1e-5);
        assert!((f.n_max.unwrap() - 7.0).abs() < 0.001);
    }

    #[test]
    fn the_planted_workload_curve() {
        let p = points(
            &[1.0, 2.0, 4.0, 8.0, 12.0, 16.0, 24.0, 32.0],
            &[10.0, 18.868, 33.058, 49.080, 54.299, 54.237, 48.880, 42.610],
        );
        let f = fit(&p).unwrap();
        close(f.gamma.value, 10.0, "gamma");
        close(f.sigma.value, 0.05, "sigma");
        close(f.kappa.value, 0.005, "kappa");
        assert!((f.n_max.unwrap() - 13.784).abs() < 0.001);
    }

    #[test]
    fn simpler_curves_are_told_apart() {
        let n = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0];
        let linear = points(&n, &n.map(|n| 7.0 * n));
        let f = fit(&linear).unwrap();
        assert_eq!((f.model, f.n_max, f.asymptote), (UslModel::Linear, None, None));
        let amdahl = points(&n, &n.map(|n| 7.0 * n / (1.0 + 0.1 * (n - 1.0))));
        let f = fit(&amdahl).unwrap();
        assert_eq!((f.model, f.kappa.value, f.n_max), (UslModel::Amdahl, 0.0, None));
        close(f.asymptote.unwrap(), 70.0, "asymptote");
    }

    #[test]
    fn what_cannot_be_fitted_is_refused() {
        let three = points(&[1.0, 2.0, 4.0], &[1.0, 2.0, 3.0]);
        assert_eq!(fit(&three), Err(FitError::TooFewPoints { have: 3, need: 4 }));
        // The same level twice is one level.
        let twice = points(&[1.0, 2.0, 4.0, 4.0], &[1.0, 2.0, 3.0, 3.0]);
        assert_eq!(fit(&twice), Err(FitError::TooFewPoints { have: 3, need: 4 }));
        let zero = points(&[1.0, 2.0, 4.0, 8.0], &[1.0, 2.0, 0.0, 3.0]);
        assert_eq!(fit(&zero), Err(FitError::NonPositive { level: 4.0 }));
    }

    #[test]
    fn a_peak_far_outside_is_called_a_guess() {
        let n = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let p = points(&n, &n.map(|n| curve([10.0, 0.01, 0.0005], n)));
        let f = fit(&p).unwrap();
        assert!(f.n_max.is_none_or(|_| f.extrapolated));
        assert!(f.to_string().starts_with("Full"), "{f}");
    }
}
