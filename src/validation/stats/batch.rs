//! Confidence from one run: batch means.
//!
//! Throughput samples a few milliseconds apart depend on each other, so the textbook interval over them is far too
//! narrow. The window is cut into equal batches long enough to be nearly independent, and the interval is that of
//! their means (Law and Kelton, *Simulation Modeling and Analysis*, chapter 9). Whether they are independent is
//! checked: when neighbouring batches correlate, they are merged in pairs, and if they still do, the report says so.

use super::t_quantile;

/// Batches that a window is cut into first.
const BATCHES: usize = 20;
/// Lag-1 correlation from which neighbours are merged.
const CORRELATED_FROM: f64 = 0.3;

/// The mean of one run with its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchMeans {
    /// Mean over the window.
    pub mean: f64,
    /// Lower and upper end of the 95 % interval.
    pub interval: (f64, f64),
    /// Batches used: 20, or 10 after merging.
    pub batches: usize,
    /// Correlation of neighbouring batches, `None` when all are equal.
    pub lag1: Option<f64>,
}

impl BatchMeans {
    /// Whether the batches still depend on each other, which makes the interval too narrow.
    pub fn is_correlated(&self) -> bool {
        self.lag1.is_some_and(|r| r > CORRELATED_FROM)
    }
}

/// Batch means of a series of equally long slices; `None` with fewer than 10 slices.
///
/// # Examples
/// ```
/// use heapledger::validation::batch_means;
/// let steady = vec![5.0; 100];
/// assert_eq!(batch_means(&steady).unwrap().interval, (5.0, 5.0));
/// assert_eq!(batch_means(&steady[..9]), None);
/// ```
pub fn batch_means(slices: &[f64]) -> Option<BatchMeans> {
    let first = BATCHES.min(slices.len());
    if first < BATCHES / 2 {
        return None;
    }
    let means = into_batches(slices, first);
    let lag1 = lag1(&means);
    let (means, lag1) = if first == BATCHES && lag1.is_some_and(|r| r > CORRELATED_FROM) {
        let merged = into_batches(slices, BATCHES / 2);
        let lag1 = self::lag1(&merged);
        (merged, lag1)
    } else {
        (means, lag1)
    };
    let (_, interval) = mean_interval(&means)?;
    let mean = slices.iter().sum::<f64>() / slices.len() as f64;
    Some(BatchMeans { mean, interval, batches: means.len(), lag1 })
}

/// Mean and 95 % interval of independent values; `None` with fewer than two.
pub fn mean_interval(values: &[f64]) -> Option<(f64, (f64, f64))> {
    if values.len() < 2 {
        return None;
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let half = t_quantile(0.975, n - 1.0)? * (variance / n).sqrt();
    Some((mean, (mean - half, mean + half)))
}

fn into_batches(slices: &[f64], batches: usize) -> Vec<f64> {
    (0..batches)
        .map(|b| {
            let part = &slices[b * slices.len() / batches..(b + 1) * slices.len() / batches];
            part.iter().sum::<f64>() / part.len() as f64
        })
        .collect()
}

fn lag1(values: &[f64]) -> Option<f64> {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let spread: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    // Rounding of equal values is no spread.
    if spread <= (mean * 1e-12).powi(2) * values.len() as f64 {
        return None;
    }
    Some(values.windows(2).map(|w| (w[0] - mean) * (w[1] - mean)).sum::<f64>() / spread)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::workload::{Popularity, UserRng};

    #[test]
    fn the_interval_covers_the_true_mean_about_95_times_in_100() {
        let mut rng = UserRng::new(1, 0, Popularity::Uniform);
        let covered = (0..1000)
            .filter(|_| {
                let slices: Vec<f64> = (0..100).map(|_| rng.exponential()).collect();
                let (low, high) = batch_means(&slices).unwrap().interval;
                low <= 1.0 && 1.0 <= high
            })
            .count();
        assert!((900..=980).contains(&covered), "{covered} of 1000");
    }

    #[test]
    fn drifting_slices_are_merged_and_still_reported() {
        let slices: Vec<f64> = (0..100).map(f64::from).collect();
        let b = batch_means(&slices).unwrap();
        assert_eq!(b.batches, 10);
        assert!(b.is_correlated());
        let mut rng = UserRng::new(2, 0, Popularity::Uniform);
        let noise: Vec<f64> = (0..200).map(|_| rng.unit()).collect();
        assert!(!batch_means(&noise).unwrap().is_correlated());
    }

    #[test]
    fn three_runs_have_an_interval_and_one_has_none() {
        let (mean, (low, high)) = mean_interval(&[9.0, 10.0, 11.0]).unwrap();
        assert!((mean - 10.0).abs() < 1e-12 && (high - low - 2.0 * 4.3027 / 3f64.sqrt()).abs() < 1e-3);
        assert_eq!(mean_interval(&[1.0]), None);
    }
}
