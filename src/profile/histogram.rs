//! A histogram with one bucket for each power of two.

use serde::{Deserialize, Serialize};

/// Number of buckets of a [`Histogram`]. Bucket 0 holds the value 0, bucket *n* the values from 2ⁿ⁻¹ to 2ⁿ−1, and the
/// last bucket all higher values.
pub const BUCKETS: usize = 48;

/// Returns the bucket of a value. Values of 2⁴⁶ and more share the last bucket.
#[inline(always)]
pub const fn bucket_of(value: u64) -> usize {
    // The upper bound prevents an overflow of the shift, and the added low bit makes the logarithm of 0 defined.
    let cut = if value >> (BUCKETS - 2) == 0 { value } else { 1 << (BUCKETS - 2) };
    (cut << 1 | 1).ilog2() as usize
}

/// Returns the bucket of a value below 2³²: a faster form of [`bucket_of`].
#[inline(always)]
pub(crate) const fn bucket_of_narrow(value: u32) -> usize {
    ((value as u64) << 1 | 1).ilog2() as usize
}

/// Counts by power of two. Used for block sizes (in bytes) and lifetimes (in nanoseconds).
///
/// ```
/// let mut sizes = heapledger::profile::Histogram::default();
/// sizes.add(100, 1);
/// let (low, high, count) = sizes.rows().next().unwrap();
/// assert_eq!((low, high, count), (64, 127, 1));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// Counts by bucket. The list may be shorter than [`BUCKETS`]; missing buckets are zero.
    pub counts: Vec<u64>,
}

impl Histogram {
    /// Returns a histogram of raw bucket counts. Trailing zeros are dropped.
    pub fn from_counts(counts: &[u64]) -> Self {
        let used = counts.iter().rposition(|count| *count != 0).map_or(0, |last| last + 1);
        Histogram { counts: counts[..used].to_vec() }
    }

    /// Adds `count` observations of `value`.
    pub fn add(&mut self, value: u64, count: u64) {
        self.add_bucket(bucket_of(value), count);
    }

    /// Adds `count` observations to a bucket.
    pub fn add_bucket(&mut self, bucket: usize, count: u64) {
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] = self.counts[bucket].saturating_add(count);
    }

    /// Adds all counts of another histogram to this one.
    pub fn merge(&mut self, other: &Histogram) {
        for (bucket, count) in other.counts.iter().enumerate() {
            self.add_bucket(bucket, *count);
        }
    }

    /// Returns the number of observations in all buckets. The sum saturates, because counts can come from a file.
    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Returns the smallest and the largest value of a bucket.
    pub fn bounds(bucket: usize) -> (u64, u64) {
        match bucket {
            0 => (0, 0),
            last if last >= BUCKETS - 1 => (1 << (BUCKETS - 2), u64::MAX),
            n => (1 << (n - 1), (1 << n) - 1),
        }
    }

    /// Returns the filled buckets as (lowest value, highest value, count), in ascending order.
    pub fn rows(&self) -> impl Iterator<Item = (u64, u64, u64)> + '_ {
        self.counts.iter().enumerate().filter(|(_, count)| **count > 0).map(|(bucket, count)| {
            let (low, high) = Self::bounds(bucket);
            (low, high, *count)
        })
    }

    /// Returns the upper bound of the bucket that holds quantile `q` (0 to 1), or `None` for an empty histogram.
    pub fn quantile_upper(&self, q: f64) -> Option<u64> {
        let total = self.total();
        if total == 0 {
            return None;
        }
        let rank = ((q.clamp(0.0, 1.0) * total as f64).ceil() as u64).max(1);
        let mut seen = 0u64;
        self.rows().find_map(|(_, high, count)| {
            seen = seen.saturating_add(count);
            (seen >= rank).then_some(high)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_within_the_bounds_of_its_bucket() {
        for shift in 0..64 {
            for value in [1u64 << shift, (1u64 << shift) - 1, (1u64 << shift) | 1] {
                let (low, high) = Histogram::bounds(bucket_of(value));
                assert!(low <= value && value <= high, "{value} is not in {low}..={high}");
                if value <= u64::from(u32::MAX) {
                    assert_eq!(bucket_of_narrow(value as u32), bucket_of(value));
                }
            }
        }
    }

    #[test]
    fn quantiles_name_the_bucket_they_fall_into() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile_upper(0.5), None);
        histogram.add(8, 98);
        histogram.add(1000, 2);
        assert_eq!(histogram.quantile_upper(0.5), Some(15));
        assert_eq!(histogram.quantile_upper(0.99), Some(1023));
        assert_eq!(histogram.quantile_upper(0.0), Some(15));
    }
}
