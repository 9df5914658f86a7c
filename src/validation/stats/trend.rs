//! Drift within a window: the Mann–Kendall test for a trend, and Sen's slope for its size.
//!
//! The test counts rises and falls over all pairs of slices, and assumes neither a shape nor a normal distribution
//! (Kendall, *Rank Correlation Methods*, 1975). In a long window even a harmless drift is significant. The slope (Sen,
//! 1968: the median of all pairwise slopes) is therefore given too, and the caller checks both.

use super::distribution::{group_means, normal_tail};

/// Maximum number of compared slices. Neighbouring slices beyond it are merged, because the test is quadratic; merged
/// slices are also less dependent.
const SLICES_MAX: usize = 50;

/// A trend over a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trend {
    /// Change over the whole window as a share of the median value; 0.1 is a rise by a tenth.
    pub relative_change: f64,
    /// Mean of the last fifth of the values ÷ mean of the first fifth; `None` if the mean of the first fifth is not
    /// positive.
    pub end_to_start: Option<f64>,
    /// Probability that values without a trend have at least as many rises or falls.
    pub p: f64,
}

/// Returns the trend of equally spaced values; `None` with fewer than 10 values, or with a median of 0.
///
/// # Examples
/// ```
/// use heapledger::validation::mann_kendall;
/// let rising: Vec<f64> = (10..40).map(f64::from).collect();
/// let trend = mann_kendall(&rising).unwrap();
/// assert!(trend.p < 0.001 && trend.relative_change > 1.0);
/// ```
pub fn mann_kendall(values: &[f64]) -> Option<Trend> {
    let groups = SLICES_MAX.min(values.len());
    if groups < 10 {
        return None;
    }
    let v = group_means(values, groups);
    let mut score = 0i64;
    let mut slopes = Vec::with_capacity(groups * (groups - 1) / 2);
    for i in 0..groups {
        for j in i + 1..groups {
            score += i64::from(v[j] > v[i]) - i64::from(v[j] < v[i]);
            slopes.push((v[j] - v[i]) / (j - i) as f64);
        }
    }
    let (fifth, ends) = (groups / 5, |part: &[f64]| part.iter().sum::<f64>());
    let (start, end) = (ends(&v[..fifth]), ends(&v[groups - fifth..]));
    let end_to_start = (start > 0.0).then(|| end / start);
    let mut sorted = v;
    sorted.sort_by(f64::total_cmp);
    let ties: f64 =
        sorted.chunk_by(|a, b| a == b).map(|c| c.len() as f64).map(|t| t * (t - 1.0) * (2.0 * t + 5.0)).sum();
    let n = groups as f64;
    let variance = (n * (n - 1.0) * (2.0 * n + 5.0) - ties) / 18.0;
    // Continuity correction: the score moves in steps of one.
    let z = if variance > 0.0 { (score.abs() - 1).max(0) as f64 / variance.sqrt() } else { 0.0 };
    let level = median(&mut sorted);
    let relative_change = median(&mut slopes) * (n - 1.0) / level;
    let p = (2.0 * normal_tail(z)).min(1.0);
    relative_change.is_finite().then_some(Trend { relative_change, end_to_start, p })
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len() % 2 == 1 { values[half] } else { (values[half - 1] + values[half]) / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::super::super::random::{Popularity, UserRng};
    use super::*;

    #[test]
    fn noise_alone_rarely_looks_like_a_trend() {
        let mut rng = UserRng::new(4, 0, Popularity::Uniform);
        let alarms = (0..500)
            .filter(|_| {
                let v: Vec<f64> = (0..100).map(|_| 10.0 + rng.unit()).collect();
                mann_kendall(&v).unwrap().p < 0.01
            })
            .count();
        assert!(alarms <= 15, "{alarms} of 500 at p < 0.01");
    }

    #[test]
    fn a_slow_drift_under_noise_is_seen_with_its_size() {
        let mut rng = UserRng::new(5, 0, Popularity::Uniform);
        let v: Vec<f64> = (0..100).map(|i| 100.0 - 0.2 * f64::from(i) + rng.unit()).collect();
        let t = mann_kendall(&v).unwrap();
        assert!(t.p < 0.001 && (t.relative_change + 0.22).abs() < 0.03, "{t:?}");
        // The first fifth lies about 98.5 and the last about 82.5.
        assert!((t.end_to_start.unwrap() - 0.838).abs() < 0.01, "{t:?}");
    }

    #[test]
    fn equal_values_have_no_trend_and_few_have_no_answer() {
        assert_eq!(
            mann_kendall(&[3.0; 40]).unwrap(),
            Trend { relative_change: 0.0, end_to_start: Some(1.0), p: 1.0 }
        );
        assert_eq!(mann_kendall(&[1.0; 9]), None);
        assert_eq!(mann_kendall(&[0.0; 40]), None);
    }
}
