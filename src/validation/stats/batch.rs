//! Batch means: a confidence interval from one run.
//!
//! Throughput samples taken within a few milliseconds depend on each other, so the textbook interval over them is far
//! too narrow. The window is therefore divided into equal batches that are long enough to be nearly independent, and
//! the interval is computed from their means (Law and Kelton, *Simulation Modeling and Analysis*, chapter 9). The
//! independence is checked: neighbouring batches that correlate are merged in pairs. A correlation that remains is
//! reported.

use super::distribution::{group_means, mean, mean_interval, spread};

/// Number of batches before any merge.
const BATCHES: usize = 20;
/// Lag-1 correlation above which neighbouring batches are merged.
const CORRELATED_FROM: f64 = 0.3;

/// Mean of one run with its 95 % confidence interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchMeans {
    /// Mean over the window.
    pub mean: f64,
    /// Lower and upper end of the 95 % confidence interval.
    pub interval: (f64, f64),
    /// Number of batches: 20, or one per slice if there are fewer slices; 10 after merging.
    pub batches: usize,
    /// Correlation of neighbouring batches; `None` if all batches are equal.
    pub lag1: Option<f64>,
}

impl BatchMeans {
    /// Whether neighbouring batches correlate, which makes the interval too narrow.
    pub fn is_correlated(&self) -> bool {
        self.lag1.is_some_and(|r| r > CORRELATED_FROM)
    }
}

/// Returns the batch means of a series of equally long slices; `None` with fewer than 10 slices.
///
/// # Examples
/// ```
/// use heapledger::validation::batch_means;
/// let steady = vec![5.0; 100];
/// assert_eq!(batch_means(&steady).unwrap().interval, (5.0, 5.0));
/// assert_eq!(batch_means(&steady[..9]), None);
/// ```
pub fn batch_means(slices: &[f64]) -> Option<BatchMeans> {
    if slices.len() < BATCHES / 2 {
        return None;
    }
    let mut batches = group_means(slices, BATCHES.min(slices.len()));
    if batches.len() == BATCHES && lag1(&batches).is_some_and(|r| r > CORRELATED_FROM) {
        batches = group_means(slices, BATCHES / 2);
    }
    let (_, interval) = mean_interval(&batches)?;
    Some(BatchMeans { mean: mean(slices)?, interval, batches: batches.len(), lag1: lag1(&batches) })
}

fn lag1(values: &[f64]) -> Option<f64> {
    let (mean, squares) = spread(values).filter(|(_, squares)| *squares > 0.0)?;
    Some(values.windows(2).map(|w| (w[0] - mean) * (w[1] - mean)).sum::<f64>() / squares)
}

#[cfg(test)]
mod tests {
    use super::super::super::random::{Popularity, UserRng};
    use super::*;

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
}
