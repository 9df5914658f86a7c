//! The two distributions that confidence intervals need.
//!
//! * Student's t through the regularised incomplete beta function, evaluated by its continued fraction (Abramowitz
//!   and Stegun 26.5.8, in Lentz's form) and inverted by bisection: slow, exact to twelve digits, called a few times
//!   per report.
//! * The normal tail through the same continued-fraction idea for large arguments and a series for small ones.

/// Quantile `p` of Student's t distribution with `df` degrees of freedom; `None` unless `0 < p < 1` and `df > 0`.
///
/// # Examples
/// ```
/// use heapledger::validation::t_quantile;
/// assert!((t_quantile(0.975, 19.0).unwrap() - 2.0930).abs() < 1e-4);
/// ```
pub fn t_quantile(p: f64, df: f64) -> Option<f64> {
    if !(p > 0.0 && p < 1.0 && df > 0.0 && df.is_finite()) {
        return None;
    }
    if p < 0.5 {
        return t_quantile(1.0 - p, df).map(|t| -t);
    }
    let (mut low, mut high) = (0.0, 1.0);
    while t_cdf(high, df) < p && high < 1e12 {
        high *= 2.0;
    }
    for _ in 0..200 {
        let middle = (low + high) / 2.0;
        if middle <= low || middle >= high {
            break;
        }
        if t_cdf(middle, df) < p { low = middle } else { high = middle }
    }
    Some((low + high) / 2.0)
}

/// Probability that a t variable is at most `t`, for `t >= 0`.
fn t_cdf(t: f64, df: f64) -> f64 {
    1.0 - incomplete_beta(df / (df + t * t), df / 2.0, 0.5) / 2.0
}

fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (1.0 - x).ln()).exp();
    // The fraction converges fast only on one side of the mean; the other side follows by symmetry.
    if x < (a + 1.0) / (a + b + 2.0) {
        front * beta_fraction(x, a, b) / a
    } else {
        1.0 - front * beta_fraction(1.0 - x, b, a) / b
    }
}

fn beta_fraction(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let away_from_zero = |v: f64| if v.abs() < TINY { TINY } else { v };
    let mut c = 1.0;
    let mut d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut value = d;
    for m in 1..300 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        for step in [even, odd] {
            d = 1.0 / away_from_zero(1.0 + step * d);
            c = away_from_zero(1.0 + step / c);
            value *= d * c;
        }
        if (d * c - 1.0).abs() < 1e-15 {
            break;
        }
    }
    value
}

/// Logarithm of the gamma function for positive `x`: Stirling's series after shifting the argument above 10.
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut shift) = (x, 0.0);
    while x < 10.0 {
        shift -= x.ln();
        x += 1.0;
    }
    let inv = 1.0 / x;
    let sq = inv * inv;
    let series = inv * (1.0 / 12.0 - sq * (1.0 / 360.0 - sq * (1.0 / 1260.0 - sq / 1680.0)));
    shift + (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + series
}

/// Probability that a standard normal variable exceeds `z`.
///
/// # Examples
/// ```
/// use heapledger::validation::normal_tail;
/// assert!((normal_tail(1.959964) - 0.025).abs() < 1e-7);
/// ```
pub fn normal_tail(z: f64) -> f64 {
    if z < 0.0 {
        return 1.0 - normal_tail(-z);
    }
    let density = (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt();
    if z > 3.0 {
        let fraction = (1..=60).rev().fold(z, |rest, k| z + f64::from(k) / rest);
        return density / fraction;
    }
    let (mut term, mut sum) = (z, z);
    for k in 1..120 {
        term *= z * z / f64::from(2 * k + 1);
        sum += term;
    }
    0.5 - density * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t_quantiles_match_the_printed_tables() {
        for (df, want) in
            [(1.0, 12.706), (2.0, 4.303), (4.0, 2.776), (9.0, 2.262), (30.0, 2.042), (1e6, 1.960)]
        {
            assert!((t_quantile(0.975, df).unwrap() - want).abs() < 6e-4, "df {df}");
        }
        assert!((t_quantile(0.025, 9.0).unwrap() + 2.262).abs() < 6e-4);
        assert!(t_quantile(0.5, 3.0).unwrap().abs() < 1e-9);
        assert_eq!(t_quantile(1.0, 3.0), None);
        assert_eq!(t_quantile(0.9, 0.0), None);
    }

    #[test]
    fn normal_tails_match_on_both_branches() {
        for (z, want) in
            [(0.0, 0.5), (1.0, 0.158_655_25), (2.999, 0.001_354_3), (3.001, 0.001_345_4), (5.0, 2.8665e-7)]
        {
            assert!((normal_tail(z) / want - 1.0).abs() < 1e-4, "z {z}: {}", normal_tail(z));
        }
        assert!((normal_tail(-1.0) - 0.841_344_7).abs() < 1e-6);
    }
}
