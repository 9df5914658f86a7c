//! Sums, ratios and histogram rows that cannot overflow, even with values from a hostile file.

use heapledger::profile::{Histogram, Profile};
use serde::Serialize;

/// Row of a histogram: the values from `low` to `high`, both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bucket {
    /// Smallest value of the row.
    pub low: u64,
    /// Largest value of the row.
    pub high: u64,
    /// Number of blocks in the row.
    pub blocks: u64,
}

/// Returns the rows of a histogram that have blocks, in ascending order.
pub(crate) fn buckets(histogram: &Histogram) -> Vec<Bucket> {
    histogram.rows().map(|(low, high, blocks)| Bucket { low, high, blocks }).collect()
}

/// Returns the saturating sum of `values`.
pub(super) fn saturating_sum(values: impl Iterator<Item = u64>) -> u64 {
    values.fold(0, u64::saturating_add)
}

/// Returns `numerator * factor / denominator`, computed without overflow of the product and saturated to `u64::MAX`.
/// Returns `None` if the denominator is zero.
pub(super) fn scaled(numerator: u64, factor: u64, denominator: u64) -> Option<u64> {
    let product = u128::from(numerator) * u128::from(factor);
    let quotient = product.checked_div(u128::from(denominator))?;
    Some(u64::try_from(quotient).unwrap_or(u64::MAX))
}

/// Returns `count` per second of the recording, or `None` if the recording has no duration.
pub(super) fn per_second(count: u64, profile: &Profile) -> Option<u64> {
    scaled(count, 1_000_000_000, profile.process.duration_ns)
}
