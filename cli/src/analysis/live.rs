//! What was still live when the snapshot was taken?

use std::collections::BTreeMap;

use super::arithmetic::saturating_sum;
use super::{Figure, Standing, standing};
use heapledger::profile::Profile;

/// Live blocks of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeGroup {
    /// Size of each block, in bytes.
    pub size: u64,
    /// How many there are.
    pub blocks: u64,
    /// Their bytes together.
    pub bytes: u64,
    /// When the oldest of them was allocated, in nanoseconds since the start.
    pub oldest_ns: u64,
}

/// The live blocks, grouped by size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveFinding {
    /// Live blocks in the list.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The groups with the most bytes, largest first; at most as many as asked for.
    pub groups: Vec<SizeGroup>,
    /// Blocks in the groups left out.
    pub other_blocks: u64,
    /// Bytes in the groups left out.
    pub other_bytes: u64,
    /// How far the list can be trusted.
    pub standing: Standing,
}

/// Live blocks by size, the `limit` sizes with the most bytes.
pub fn live(profile: &Profile, limit: usize) -> LiveFinding {
    let mut by_size: BTreeMap<u64, SizeGroup> = BTreeMap::new();
    for block in &profile.live {
        let fresh = SizeGroup { size: block.size, blocks: 0, bytes: 0, oldest_ns: u64::MAX };
        let group = by_size.entry(block.size).or_insert(fresh);
        group.blocks += 1;
        group.bytes = group.bytes.saturating_add(block.size);
        group.oldest_ns = group.oldest_ns.min(block.born_ns);
    }
    let mut groups: Vec<SizeGroup> = by_size.into_values().collect();
    groups.sort_by(|a, b| b.bytes.cmp(&a.bytes).then(a.size.cmp(&b.size)));
    let others = groups.split_off(limit.min(groups.len()));
    LiveFinding {
        blocks: profile.live.len() as u64,
        bytes: saturating_sum(profile.live.iter().map(|block| block.size)),
        groups,
        other_blocks: saturating_sum(others.iter().map(|group| group.blocks)),
        other_bytes: saturating_sum(others.iter().map(|group| group.bytes)),
        standing: standing(profile, Figure::LiveBytes),
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
        assert_eq!(finding.groups, [SizeGroup { size: 1_050, blocks: 2, bytes: 2_100, oldest_ns: 10 }]);
        assert_eq!((finding.other_blocks, finding.other_bytes), (1, 100));
    }
}
