//! Blocks that were live at the snapshot, by size.

use std::collections::BTreeMap;

use super::arithmetic::saturating_sum;
use heapledger::profile::Profile;
use serde::Serialize;

/// Live blocks of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SizeGroup {
    /// Size of each block, in bytes.
    pub size_bytes: u64,
    /// Number of blocks.
    pub blocks: u64,
    /// Number of bytes in these blocks.
    pub bytes: u64,
    /// Allocation time of the oldest block, in nanoseconds since the start.
    pub oldest_born_ns: u64,
}

/// Live blocks, grouped by size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LiveFinding {
    /// Number of live blocks that the profile lists.
    pub blocks: u64,
    /// Number of bytes in these blocks.
    pub bytes: u64,
    /// Groups with the most bytes, the largest sum first.
    pub by_size: Vec<SizeGroup>,
    /// Number of blocks in the groups that `by_size` omits.
    pub other_blocks: u64,
    /// Number of bytes in the groups that `by_size` omits.
    pub other_bytes: u64,
}

/// Groups the live blocks by size. Lists the `limit` sizes with the most bytes.
pub fn live(profile: &Profile, limit: usize) -> LiveFinding {
    let mut sizes: BTreeMap<u64, SizeGroup> = BTreeMap::new();
    for block in &profile.live {
        let fresh = SizeGroup { size_bytes: block.size, blocks: 0, bytes: 0, oldest_born_ns: u64::MAX };
        let group = sizes.entry(block.size).or_insert(fresh);
        group.blocks += 1;
        group.bytes = group.bytes.saturating_add(block.size);
        group.oldest_born_ns = group.oldest_born_ns.min(block.born_ns);
    }
    let mut groups: Vec<SizeGroup> = sizes.into_values().collect();
    groups.sort_by(|a, b| b.bytes.cmp(&a.bytes).then(a.size_bytes.cmp(&b.size_bytes)));
    let others = groups.split_off(limit.min(groups.len()));
    LiveFinding {
        blocks: profile.live.len() as u64,
        bytes: saturating_sum(profile.live.iter().map(|block| block.size)),
        by_size: groups,
        other_blocks: saturating_sum(others.iter().map(|group| group.blocks)),
        other_bytes: saturating_sum(others.iter().map(|group| group.bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn sizes_with_the_most_bytes_come_first_and_the_rest_is_summed() {
        let finding = live(&sample::complete(), 1);
        assert_eq!((finding.blocks, finding.bytes), (3, 2_200));
        assert_eq!(
            finding.by_size,
            [SizeGroup { size_bytes: 1_050, blocks: 2, bytes: 2_100, oldest_born_ns: 10 }]
        );
        assert_eq!((finding.other_blocks, finding.other_bytes), (1, 100));
    }
}
