//! Totals, rates and averages of a profile.

use super::arithmetic::{per_second, saturating_sum};
use heapledger::profile::{HeapStats, Peak, Profile, TEMPORARY_ALLOCS};

/// Totals of a profile, with rates and averages.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Totals of the profile, unchanged.
    pub totals: HeapStats,
    /// Peak of the profile, unchanged.
    pub peak: Peak,
    /// Mean size of the allocated blocks, in bytes, rounded down; `None` without allocated blocks.
    pub average_bytes: Option<u64>,
    /// Allocations per second over the whole recording; `None` if the recording has no duration.
    pub blocks_per_second: Option<u64>,
    /// Bytes allocated per second over the whole recording; `None` if the recording has no duration.
    pub bytes_per_second: Option<u64>,
    /// Number of temporary blocks: those freed before their thread made more than
    /// [`temporary_allocs`](Self::temporary_allocs) further allocations.
    pub temporary_blocks: u64,
    /// Bytes of the temporary blocks.
    pub temporary_bytes: u64,
    /// Maximum number of further allocations of the thread between the allocation and the free of a temporary block.
    pub temporary_allocs: u32,
    /// Number of blocks that one thread allocated and another thread freed.
    pub cross_thread_frees: u64,
}

/// Computes the summary of a profile.
pub fn summary(profile: &Profile) -> Summary {
    let totals = profile.totals;
    Summary {
        totals,
        peak: profile.peak,
        average_bytes: totals.total_bytes.checked_div(totals.total_blocks),
        blocks_per_second: per_second(totals.total_blocks, profile),
        bytes_per_second: per_second(totals.total_bytes, profile),
        temporary_blocks: saturating_sum(profile.sites.iter().map(|site| site.temporary_blocks)),
        temporary_bytes: saturating_sum(profile.sites.iter().map(|site| site.temporary_bytes)),
        temporary_allocs: TEMPORARY_ALLOCS,
        cross_thread_frees: saturating_sum(profile.sites.iter().map(|site| site.cross_thread_frees)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn the_sample_adds_up_as_computed_by_hand() {
        let summary = summary(&sample::complete());
        assert_eq!(summary.average_bytes, Some(500), "5,000 bytes over 10 blocks");
        assert_eq!(summary.blocks_per_second, Some(5), "10 blocks in 2 s");
        assert_eq!(summary.bytes_per_second, Some(2_500));
        assert_eq!((summary.temporary_blocks, summary.temporary_bytes), (4, 400));
        assert_eq!(summary.cross_thread_frees, 2);
    }

    #[test]
    fn an_empty_recording_has_no_averages_and_no_rates() {
        let summary = summary(&sample::empty());
        assert_eq!((summary.average_bytes, summary.blocks_per_second), (None, None));
    }
}
