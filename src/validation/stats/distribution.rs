//! Mean and spread of a sample, and the two distributions behind confidence intervals.

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// Returns quantile `p` of Student's t distribution with `df` degrees of freedom; `None` unless `0 < p < 1` and `df >
/// 0`.
///
/// # Examples
/// ```
/// use heapledger::validation::t_quantile;
/// assert!((t_quantile(0.975, 19.0).unwrap() - 2.0930).abs() < 1e-4);
/// ```
pub fn t_quantile(p: f64, df: f64) -> Option<f64> {
    let defined = p > 0.0 && p < 1.0 && df.is_finite();
    StudentsT::new(0.0, 1.0, df).ok().filter(|_| defined).map(|t| t.inverse_cdf(p))
}

/// Returns the probability that a standard normal variable exceeds `z`.
///
/// # Examples
/// ```
/// use heapledger::validation::normal_tail;
/// assert!((normal_tail(1.959964) - 0.025).abs() < 1e-7);
/// ```
pub fn normal_tail(z: f64) -> f64 {
    Normal::standard().sf(z)
}

/// Returns the arithmetic mean; `None` if there are no values.
pub(crate) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Returns the mean of `values` and the sum of their squared distances from it. The sum is 0 if the values differ only
/// by rounding.
pub(super) fn spread(values: &[f64]) -> Option<(f64, f64)> {
    let mean = mean(values)?;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    let rounding = (mean * 1e-12).powi(2) * values.len() as f64;
    Some((mean, if squares <= rounding { 0.0 } else { squares }))
}

/// Returns the mean and its 95 % confidence interval from independent values; `None` with fewer than two values.
pub fn mean_interval(values: &[f64]) -> Option<(f64, (f64, f64))> {
    let (mean, squares) = spread(values).filter(|_| values.len() > 1)?;
    let n = values.len() as f64;
    let half = t_quantile(0.975, n - 1.0)? * (squares / (n - 1.0) / n).sqrt();
    Some((mean, (mean - half, mean + half)))
}

/// Divides `values` into `groups` consecutive parts of about equal length and returns the mean of each part.
pub(super) fn group_means(values: &[f64], groups: usize) -> Vec<f64> {
    let end = |g: usize| g * values.len() / groups;
    (0..groups).filter_map(|g| mean(&values[end(g)..end(g + 1)])).collect()
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
    fn normal_tails_match_the_printed_tables() {
        for (z, want) in
            [(0.0, 0.5), (1.0, 0.158_655_25), (2.999, 0.001_354_3), (3.001, 0.001_345_4), (5.0, 2.8665e-7)]
        {
            assert!((normal_tail(z) / want - 1.0).abs() < 1e-4, "z {z}: {}", normal_tail(z));
        }
        assert!((normal_tail(-1.0) - 0.841_344_7).abs() < 1e-6);
    }

    #[test]
    fn three_runs_have_an_interval_and_one_has_none() {
        let (mean, (low, high)) = mean_interval(&[9.0, 10.0, 11.0]).unwrap();
        assert!((mean - 10.0).abs() < 1e-12 && (high - low - 2.0 * 4.3027 / 3f64.sqrt()).abs() < 1e-3);
        assert_eq!(mean_interval(&[1.0]), None);
    }
}
