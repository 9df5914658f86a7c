//! Synthetic events whose sums are those of a site.
//!
//! For each site, the profile has the blocks and bytes allocated in total, live at the peak of the process, live at the
//! end, and temporary. The export divides the blocks of a site into classes by the time during which they are live:
//!
//! ```text
//!                    start ......... peak ......... end
//!  temporary          +-
//!  passing            + -
//!  at the peak                        +    -
//!  at peak and end                    +
//!  at the end                                        +
//! ```
//!
//! The passing blocks are allocated and freed one at a time while no other block is live. So a reader of the file finds
//! the peak at the right time. The number of blocks that are live both at the peak and at the end is unknown. The
//! export assumes the largest number that agrees with the bytes.
//!
//! A reader of the file counts a block as temporary if its free follows directly after its allocation. For a block that
//! is not temporary, the export writes the free of an empty block in between, which changes no figure.

use crate::analysis::Group;
use heapledger::profile::{Profile, Site};

/// Class of blocks, by the time during which they are live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Temporary blocks: freed directly after their allocation.
    Temporary,
    /// Blocks freed before the peak.
    Passing,
    /// Blocks live at the peak, and freed before the end.
    AtPeak,
    /// Blocks live at the peak and at the end.
    AtPeakAndEnd,
    /// Blocks allocated after the peak, and live at the end.
    AtEnd,
}

const CLASSES: [Class; 5] =
    [Class::Temporary, Class::Passing, Class::AtPeak, Class::AtPeakAndEnd, Class::AtEnd];

/// Number of blocks, and the sum of their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct BlockSum {
    pub(super) blocks: u64,
    pub(super) bytes: u64,
}

impl BlockSum {
    /// Divides the bytes evenly among the blocks. Returns two sizes that differ by one byte, each with its number of
    /// blocks; the bytes of all blocks sum to `bytes`.
    fn sizes(self) -> [(u64, u64); 2] {
        let (Some(size), Some(larger)) =
            (self.bytes.checked_div(self.blocks), self.bytes.checked_rem(self.blocks))
        else {
            return [(0, 0); 2];
        };
        [(size, self.blocks - larger), (size.saturating_add(1), larger)]
    }

    fn without(self, other: BlockSum) -> Option<BlockSum> {
        let rest = BlockSum {
            blocks: self.blocks.checked_sub(other.blocks)?,
            bytes: self.bytes.checked_sub(other.bytes)?,
        };
        (rest.blocks > 0 || rest.bytes == 0).then_some(rest)
    }
}

/// Blocks of one path, divided into the classes of [`CLASSES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    lots: [BlockSum; 5],
}

impl Plan {
    /// Returns the sizes of the blocks, in the order of classes. A class has up to two sizes.
    pub(super) fn sizes(&self) -> impl Iterator<Item = u64> {
        self.lots
            .into_iter()
            .flat_map(BlockSum::sizes)
            .filter(|(_, blocks)| *blocks > 0)
            .map(|(size, _)| size)
    }

    /// Returns the blocks of a class as pairs: a number for the size, and the number of blocks of that size. `numbers`
    /// has one number for each of [`sizes`](Self::sizes).
    pub(super) fn of<'a>(
        &self,
        class: Class,
        numbers: &'a [u64],
    ) -> impl Iterator<Item = (u64, u64)> + use<'a> {
        let classes = CLASSES.into_iter().zip(self.lots);
        let rows = classes.flat_map(|(class, lot)| lot.sizes().map(|(_, blocks)| (class, blocks)));
        let rows = rows.filter(|(_, blocks)| *blocks > 0).zip(numbers);
        rows.filter(move |((found, _), _)| *found == class).map(|((_, blocks), number)| (*number, blocks))
    }

    /// Returns the number of lines in the file that the events of this plan need.
    pub(super) fn lines(&self) -> u64 {
        let each = [2, 3, 2, 1, 1];
        let lots = self.lots.iter().zip(each);
        lots.fold(0, |sum, (lot, lines)| sum.saturating_add(lot.blocks.saturating_mul(lines)))
    }
}

/// Divides the blocks of a path into classes, so that the sums of the classes are the figures of the path.
pub(super) fn plan(profile: &Profile, group: &Group) -> Plan {
    let lot = |blocks: fn(&Site) -> u64, bytes: fn(&Site) -> u64| BlockSum {
        blocks: group.sum(profile, blocks),
        bytes: group.sum(profile, bytes),
    };
    let total = lot(|site| site.total_blocks, |site| site.total_bytes);
    let at_peak = lot(|site| site.at_peak_blocks, |site| site.at_peak_bytes);
    let at_end = lot(Site::live_blocks, Site::live_bytes);
    let temporary = lot(|site| site.temporary_blocks, |site| site.temporary_bytes);
    let candidates = common(total, at_peak, at_end);
    let fits = candidates.into_iter().find_map(|both| split(total, at_peak, at_end, both));
    // The figures of a damaged profile can contradict each other. Then only the totals and the live blocks are kept.
    let [passing, at_peak, both, at_end] = fits.unwrap_or_else(|| {
        let end = total.without(at_end).map_or(total, |_| at_end);
        let passing = total.without(end).unwrap_or_default();
        [passing, BlockSum::default(), BlockSum::default(), end]
    });
    let temporary = passing.without(temporary).map_or(BlockSum::default(), |_| temporary);
    let passing = passing.without(temporary).unwrap_or_default();
    Plan { lots: [temporary, passing, at_peak, both, at_end] }
}

/// Returns possible sums of the blocks that are live both at the peak and at the end, the most likely first.
fn common(total: BlockSum, at_peak: BlockSum, at_end: BlockSum) -> Vec<BlockSum> {
    let least = (at_peak.blocks.saturating_add(at_end.blocks)).saturating_sub(total.blocks);
    let most = at_peak.blocks.min(at_end.blocks);
    let fewest_bytes = (at_peak.bytes.saturating_add(at_end.bytes)).saturating_sub(total.bytes);
    let most_bytes = at_peak.bytes.min(at_end.bytes);
    let mut lots = Vec::new();
    for blocks in [most, most.saturating_sub(1), least.saturating_add(1), least, 0] {
        if blocks > most || blocks < least {
            continue;
        }
        lots.extend(
            [most_bytes, at_peak.bytes, at_end.bytes, fewest_bytes, 0]
                .map(|bytes| BlockSum { blocks, bytes }),
        );
    }
    lots.retain(|lot| lot.blocks > 0 || lot.bytes == 0);
    lots
}

fn split(total: BlockSum, at_peak: BlockSum, at_end: BlockSum, both: BlockSum) -> Option<[BlockSum; 4]> {
    let (only_peak, only_end) = (at_peak.without(both)?, at_end.without(both)?);
    let passing = total.without(both)?.without_loosely(only_peak)?.without(only_end)?;
    Some([passing, only_peak, both, only_end])
}

impl BlockSum {
    /// Subtracts as [`without`](Self::without) does, but allows a rest that has bytes and no blocks. For a rest from
    /// which more is subtracted.
    fn without_loosely(self, other: BlockSum) -> Option<BlockSum> {
        Some(BlockSum {
            blocks: self.blocks.checked_sub(other.blocks)?,
            bytes: self.bytes.checked_sub(other.bytes)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::analysis::{group_by_call, sample};

    fn lot(blocks: u64, bytes: u64) -> BlockSum {
        BlockSum { blocks, bytes }
    }

    fn of(total: BlockSum, at_peak: BlockSum, at_end: BlockSum, temporary: BlockSum) -> Plan {
        let mut profile = sample::empty();
        profile.sites = vec![Site {
            total_blocks: total.blocks,
            total_bytes: total.bytes,
            freed_blocks: total.blocks - at_end.blocks,
            freed_bytes: total.bytes - at_end.bytes,
            at_peak_blocks: at_peak.blocks,
            at_peak_bytes: at_peak.bytes,
            temporary_blocks: temporary.blocks,
            temporary_bytes: temporary.bytes,
            ..Site::default()
        }];
        let found = group_by_call(&profile, |call| call.len());
        plan(&profile, &found.groups[0])
    }

    #[test]
    fn blocks_of_the_peak_are_those_of_the_end_where_they_can_be() {
        let plan = of(lot(10, 100), lot(4, 40), lot(2, 25), lot(3, 20));
        assert_eq!(plan.lots, [lot(3, 20), lot(3, 40), lot(2, 15), lot(2, 25), lot(0, 0)]);
        assert_eq!(plan.sizes().collect::<Vec<_>>(), [6, 7, 13, 14, 7, 8, 12, 13]);
        // All blocks are live at the peak and at the end.
        assert_eq!(of(lot(2, 20), lot(2, 20), lot(2, 20), lot(0, 0)).lots[3], lot(2, 20));
        // As many blocks are live at the peak as at the end, but of other sizes.
        assert_eq!(
            of(lot(2, 30), lot(1, 10), lot(1, 20), lot(0, 0)).lots[2..],
            [lot(1, 10), lot(0, 0), lot(1, 20)]
        );
    }

    proptest! {
        /// For every history of blocks, the plan has the same sums as the history.
        #[test]
        fn the_sums_of_a_plan_are_those_of_the_site(blocks in proptest::collection::vec((1..5_000u64, 0..5usize), 1..40)) {
            let sum = |classes: &[usize]| {
                let those = blocks.iter().filter(|(_, class)| classes.contains(class));
                those.fold(BlockSum::default(), |sum, (size, _)| lot(sum.blocks + 1, sum.bytes + size))
            };
            let (total, at_peak, at_end) = (sum(&[0, 1, 2, 3, 4]), sum(&[2, 3]), sum(&[3, 4]));
            let plan = of(total, at_peak, at_end, sum(&[0]));
            let add = |classes: &[usize]| {
                classes.iter().fold(BlockSum::default(), |sum, class| {
                    lot(sum.blocks + plan.lots[*class].blocks, sum.bytes + plan.lots[*class].bytes)
                })
            };
            prop_assert_eq!(add(&[0, 1, 2, 3, 4]), total);
            prop_assert_eq!(add(&[2, 3]), at_peak);
            prop_assert_eq!(add(&[3, 4]), at_end);
            for lot in plan.lots {
                let sizes: u64 = lot.sizes().iter().map(|(size, blocks)| size * blocks).sum();
                prop_assert_eq!(sizes, lot.bytes);
            }
        }
    }
}
