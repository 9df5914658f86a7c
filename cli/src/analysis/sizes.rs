//! Distribution of the sizes of allocated blocks.

use super::arithmetic::{Bucket, buckets};
use heapledger::profile::{Histogram, Profile};

/// Histogram of the sizes of all allocated blocks; each row covers a power of two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizes {
    /// Rows that have blocks, smallest size first; sizes are in bytes.
    pub rows: Vec<Bucket>,
    /// Number of blocks in all rows.
    pub blocks: u64,
    /// Upper bound of the median size, in bytes: the largest value of the row that contains the median. `None` without
    /// blocks.
    pub median_bytes_at_most: Option<u64>,
}

/// Returns the distribution of the sizes of the blocks of all sites.
pub fn sizes(profile: &Profile) -> Sizes {
    let mut all = Histogram::default();
    profile.sites.iter().for_each(|site| all.merge(&site.sizes));
    Sizes { rows: buckets(&all), blocks: all.total(), median_bytes_at_most: all.quantile_upper(0.5) }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn rows_are_ascending_and_their_blocks_add_up() {
        let sizes = sizes(&sample::complete());
        let expected =
            [(64, 127, 6), (1024, 2047, 4)].map(|(low, high, blocks)| Bucket { low, high, blocks });
        assert_eq!(sizes.rows, expected);
        assert_eq!((sizes.blocks, sizes.median_bytes_at_most), (10, Some(127)));
    }
}
