//! Distribution of the lifetimes of freed blocks.

use super::arithmetic::{Bucket, buckets};
use heapledger::profile::{Histogram, Profile};

/// Histogram of the lifetimes of freed blocks; each row covers a power of two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifetimes {
    /// Rows that have blocks, shortest lifetime first; lifetimes are in nanoseconds.
    pub rows: Vec<Bucket>,
    /// Number of blocks in all rows: all freed blocks.
    pub blocks: u64,
    /// Upper bound of the median lifetime, in nanoseconds: the largest value of the row that contains the median.
    /// `None` without freed blocks.
    pub median_ns_at_most: Option<u64>,
    /// Lifetime, in nanoseconds, that 99 % of the freed blocks do not exceed. `None` without freed blocks.
    pub p99_ns_at_most: Option<u64>,
}

/// Returns the distribution of the lifetimes of the freed blocks of all sites.
pub fn lifetimes(profile: &Profile) -> Lifetimes {
    let mut all = Histogram::default();
    profile.sites.iter().for_each(|site| all.merge(&site.lifetimes));
    Lifetimes {
        rows: buckets(&all),
        blocks: all.total(),
        median_ns_at_most: all.quantile_upper(0.5),
        p99_ns_at_most: all.quantile_upper(0.99),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn lifetimes_have_their_median_and_their_99th_percentile() {
        let finding = lifetimes(&sample::complete());
        assert_eq!(finding.blocks, 2);
        assert_eq!((finding.median_ns_at_most, finding.p99_ns_at_most), (Some(1023), Some(1_048_575)));
    }
}
