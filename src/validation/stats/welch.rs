//! Welch's interval for the difference of two means.
//!
//! The two samples may differ in size and in variance (B. L. Welch, *The generalization of 'Student's' problem when
//! several different population variances are involved*, Biometrika 34, 1947). The degrees of freedom are those of F.
//! E. Satterthwaite, *An approximate distribution of estimates of variance components*, Biometrics Bulletin 2 (1946):
//!
//! ```text
//! d ± t(ν)·√(s₁²/n₁ + s₂²/n₂)      ν = (s₁²/n₁ + s₂²/n₂)² ÷ ((s₁²/n₁)²/(n₁−1) + (s₂²/n₂)²/(n₂−1))
//! ```

use super::distribution::{spread, t_quantile};

/// Difference of two means with its confidence interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeanDifference {
    /// Mean of the second sample minus mean of the first.
    pub difference: f64,
    /// Lower and upper end of the confidence interval.
    pub interval: (f64, f64),
    /// Degrees of freedom after Satterthwaite; `None` if neither sample has any variance.
    pub degrees: Option<f64>,
}

/// Returns the mean of `second` minus the mean of `first`, with an interval that contains the true difference with the
/// probability `confidence`, from 0 to 1. `None` if a side has fewer than two values or a value that is not finite.
///
/// # Examples
/// ```
/// use heapledger::validation::welch;
/// let slower = welch(&[10.0, 11.0, 12.0], &[20.0, 22.0, 21.0], 0.95).unwrap();
/// assert!(slower.difference == 10.0 && slower.interval.0 > 7.0);
/// ```
pub fn welch(first: &[f64], second: &[f64], confidence: f64) -> Option<MeanDifference> {
    let (mean_1, error_1, free_1) = mean_and_error(first)?;
    let (mean_2, error_2, free_2) = mean_and_error(second)?;
    let difference = mean_2 - mean_1;
    let error = error_1 + error_2;
    if error == 0.0 {
        return Some(MeanDifference { difference, interval: (difference, difference), degrees: None });
    }
    // The errors are taken relative to their sum, so that no square overflows.
    let (a, b) = (error_1 / error, error_2 / error);
    let degrees = 1.0 / (a * a / free_1 + b * b / free_2);
    let half = t_quantile(0.5 + confidence / 2.0, degrees)? * error.sqrt();
    let interval = (difference - half, difference + half);
    (interval.0.is_finite() && interval.1.is_finite()).then_some(MeanDifference {
        difference,
        interval,
        degrees: Some(degrees),
    })
}

/// Returns the mean of `values`, its squared standard error, and the degrees of freedom.
fn mean_and_error(values: &[f64]) -> Option<(f64, f64, f64)> {
    let (mean, squares) = spread(values).filter(|_| values.len() > 1)?;
    let n = values.len() as f64;
    (mean.is_finite() && squares.is_finite()).then_some((mean, squares / (n - 1.0) / n, n - 1.0))
}

#[cfg(test)]
mod tests {
    use super::super::super::random::{Popularity, UserRng};
    use super::*;

    /// Student's data of 1908: extra hours of sleep under two drugs, as in R's `t.test(extra ~ group, data = sleep)`.
    #[test]
    fn student_s_sleep_data_give_the_printed_interval() {
        let one = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0];
        let two = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4];
        let w = welch(&two, &one, 0.95).unwrap();
        assert!((w.difference + 1.58).abs() < 1e-12);
        assert!((w.degrees.unwrap() - 17.776_47).abs() < 1e-5, "{w:?}");
        assert!(
            (w.interval.0 + 3.365_483_2).abs() < 1e-6 && (w.interval.1 - 0.205_483_2).abs() < 1e-6,
            "{w:?}"
        );
    }

    #[test]
    fn the_interval_covers_the_true_difference_about_95_times_in_100() {
        let mut rng = UserRng::new(3, 0, Popularity::Uniform);
        // The values are nearly normal. One side has four times the spread of the other, and half as many values.
        let mut normal = |spread: f64| spread * ((0..12).map(|_| rng.unit()).sum::<f64>() - 6.0);
        let covered = (0..2000)
            .filter(|_| {
                let first: Vec<f64> = (0..8).map(|_| normal(1.0)).collect();
                let second: Vec<f64> = (0..4).map(|_| 5.0 + normal(4.0)).collect();
                let (low, high) = welch(&first, &second, 0.95).unwrap().interval;
                low <= 5.0 && 5.0 <= high
            })
            .count();
        assert!((1860..=1940).contains(&covered), "{covered} of 2000");
    }

    #[test]
    fn equal_values_have_an_exact_difference_and_single_values_no_interval() {
        let w = welch(&[0.1 + 0.2; 3], &[0.5; 3], 0.95).unwrap();
        assert!((w.difference - 0.2).abs() < 1e-12 && w.interval == (w.difference, w.difference));
        assert_eq!(w.degrees, None);
        assert_eq!(welch(&[1.0], &[1.0, 2.0], 0.95), None);
        assert_eq!(welch(&[1.0, f64::NAN], &[1.0, 2.0], 0.95), None);
        assert_eq!(welch(&[1e308, -1e308], &[1.0, 2.0], 0.95), None);
        assert!(welch(&[1e150, -1e150], &[1.0, 2.0], 0.95).is_some(), "no square overflows");
    }
}
