//! Live blocks and waiting frees, by address.
//!
//! If every event has a time stamp, the order of the times is the true order, and an address has at most one block.
//! Otherwise the time of a free can be too early or too late. A free can come before the allocation of its block, if
//! another thread made that allocation, and it can come after the next allocation at its address. So an address may
//! have several blocks for a moment, and a free may wait for its block. A free ends the oldest block at its address
//! whose size agrees with the size bits of the free.

use super::numbered::Numbered;
use super::record::{BlockKind, SizeBits};
use crate::profile::LiveBlock;

/// A live block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) size: u64,
    /// Time of the first allocation of the block, in nanoseconds.
    pub(crate) born_ns: u64,
    /// Time of the allocation, or of the last realloc, in nanoseconds.
    pub(crate) started_ns: u64,
    pub(crate) stack: u32,
    /// Row of the last thread that allocated or reallocated the block.
    pub(crate) row: u32,
    /// Running number of the block's allocation among the allocations of its thread.
    pub(crate) number: u32,
    pub(crate) align_log2: u8,
    pub(crate) reallocs: u8,
    pub(crate) kind: BlockKind,
    /// Whether the allocation is in the replayed span. Only such allocations count in the figures.
    pub(crate) counted: bool,
}

/// A free whose block has not appeared yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WaitingFree {
    pub(crate) at_ns: u64,
    pub(crate) row: u32,
    pub(crate) size_bits: SizeBits,
    /// Whether a realloc freed the block. Otherwise a free did.
    pub(crate) by_realloc: bool,
}

/// The live blocks and the waiting frees, by address.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    /// Maps each address to its oldest block.
    first: Numbered<u64, Block>,
    /// Maps each address with several blocks to its younger blocks, oldest first.
    more: Numbered<u64, Vec<Block>>,
    waiting: Numbered<u64, Vec<WaitingFree>>,
    /// Maximum time for which a free waits for a later block, in nanoseconds.
    patience_ns: u64,
    /// Number of allocations at an address that still had a block.
    pub(crate) overlaps: u64,
}

impl Blocks {
    pub(crate) fn new(patience_ns: u64) -> Blocks {
        Blocks { patience_ns, ..Blocks::default() }
    }

    /// Removes and returns the oldest block at `address` whose size agrees with `size_bits`. Returns `None` if there is
    /// no such block.
    pub(crate) fn take(&mut self, address: u64, size_bits: SizeBits) -> Option<Block> {
        self.take_where(address, |block| size_bits.agree_with(block.size))
    }

    /// Removes and returns the oldest block at `address` for which `fits` is true.
    pub(crate) fn take_where(&mut self, address: u64, fits: impl Fn(&Block) -> bool) -> Option<Block> {
        let first = self.first.get_mut(&address)?;
        let others = if self.more.is_empty() { None } else { self.more.get_mut(&address) };
        let Some(others) = others else {
            return if fits(first) { self.first.remove(&address) } else { None };
        };
        let taken = if fits(first) {
            std::mem::replace(first, others.remove(0))
        } else {
            let place = others.iter().position(fits)?;
            others.remove(place)
        };
        if others.is_empty() {
            self.more.remove(&address);
        }
        Some(taken)
    }

    /// Returns the blocks at an address, oldest first.
    pub(crate) fn at(&self, address: u64) -> impl Iterator<Item = &Block> {
        self.first.get(&address).into_iter().chain(self.more.get(&address).into_iter().flatten())
    }

    /// Adds a free whose block has not appeared yet.
    pub(crate) fn wait(&mut self, address: u64, free: WaitingFree) {
        self.waiting.entry(address).or_default().push(free);
    }

    /// Whether an equal free already waits at this address.
    pub(crate) fn waits(&self, address: u64, free: &WaitingFree) -> bool {
        self.waiting.get(&address).is_some_and(|frees| frees.contains(free))
    }

    /// Adds a block. If a free waits for the block, returns that free and does not add the block.
    pub(crate) fn put(&mut self, address: u64, block: Block) -> Option<WaitingFree> {
        if !self.waiting.is_empty()
            && let Some(free) = self.take_waiting(address, &block)
        {
            return Some(free);
        }
        self.insert(address, block);
        None
    }

    /// Adds a block without looking for a waiting free.
    pub(crate) fn insert(&mut self, address: u64, block: Block) {
        let Some(first) = self.first.get_mut(&address) else {
            self.first.insert(address, block);
            return;
        };
        let mut younger = block;
        if block.born_ns < first.born_ns {
            younger = std::mem::replace(first, block);
        }
        let others = self.more.entry(address).or_default();
        let place = others.partition_point(|other| other.born_ns <= younger.born_ns);
        others.insert(place, younger);
        self.overlaps += 1;
    }

    fn take_waiting(&mut self, address: u64, block: &Block) -> Option<WaitingFree> {
        let patience_ns = self.patience_ns;
        let frees = self.waiting.get_mut(&address)?;
        let fits = |free: &WaitingFree| {
            is_others(free, block) && free.at_ns.saturating_add(patience_ns) >= block.born_ns
        };
        let place = frees.iter().position(fits)?;
        let free = frees.remove(place);
        if frees.is_empty() {
            self.waiting.remove(&address);
        }
        Some(free)
    }

    /// Returns the number of frees that have found no block.
    pub(crate) fn unmatched(&self) -> u64 {
        self.waiting.values().map(|frees| frees.len() as u64).sum()
    }

    /// Returns the number of blocks at an address that also has an older block.
    pub(crate) fn overlapping(&self) -> u64 {
        self.more.values().map(|blocks| blocks.len() as u64).sum()
    }

    /// Pairs each remaining free with a remaining block at its address, whatever their times. Called after all events.
    /// Two frees may get each other's blocks, but the number of pairs is right, because an address has no more frees
    /// than blocks.
    pub(crate) fn pair_left_over(&mut self) -> Vec<(u64, Block, WaitingFree)> {
        let mut pairs = Vec::new();
        for (address, frees) in std::mem::take(&mut self.waiting) {
            for free in frees {
                let block = (self.take_where(address, |block| is_others(&free, block)))
                    .or_else(|| self.take(address, free.size_bits))
                    .or_else(|| self.take_where(address, |_| true));
                match block {
                    Some(block) => pairs.push((address, block, free)),
                    None => self.wait(address, free),
                }
            }
        }
        pairs
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Block)> {
        let first = self.first.iter().map(|(address, block)| (*address, block));
        let more = self.more.iter();
        first.chain(more.flat_map(|(address, blocks)| blocks.iter().map(|block| (*address, block))))
    }

    /// Returns the blocks for which `shows` is true, oldest first, as entries of a profile.
    pub(crate) fn live(&self, shows: impl Fn(&Block) -> bool) -> Vec<LiveBlock> {
        let shown = self.iter().filter(|(_, block)| shows(block));
        let mut live: Vec<LiveBlock> = shown
            .map(|(address, block)| LiveBlock {
                address,
                size: block.size,
                born_ns: block.born_ns,
                stack: block.stack,
                thread: block.row,
                align_log2: block.align_log2,
                reallocs: block.reallocs,
            })
            .collect();
        live.sort_by_key(|block| (block.born_ns, block.address));
        live
    }
}

/// Whether a waiting free can end a block that appears later. The free and the block must belong to different threads,
/// because the records of one thread have the allocation before the free.
fn is_others(free: &WaitingFree, block: &Block) -> bool {
    free.size_bits.agree_with(block.size) && free.row != block.row
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE_NS: u64 = 1_000;

    fn block(size: u64, born_ns: u64) -> Block {
        Block { size, born_ns, ..Block::default() }
    }

    fn free(size: u64, at_ns: u64) -> WaitingFree {
        WaitingFree { at_ns, row: 1, size_bits: SizeBits::of(size), by_realloc: false }
    }

    #[test]
    fn a_free_takes_the_oldest_block_of_its_size_in_whatever_order_they_came() {
        for born in [[1, 2, 3], [3, 1, 2], [2, 3, 1]] {
            let mut blocks = Blocks::new(PATIENCE_NS);
            for born_ns in born {
                let size = if born_ns == 2 { 64 } else { 40 };
                assert_eq!(blocks.put(4096, block(size, born_ns)), None);
            }
            assert_eq!((blocks.overlaps, blocks.overlapping(), blocks.at(4096).count()), (2, 2, 3));
            assert_eq!(blocks.take(4096, SizeBits::of(64)), Some(block(64, 2)));
            assert_eq!(blocks.take(4096, SizeBits::of(40)), Some(block(40, 1)));
            assert_eq!(blocks.take(4096, SizeBits::of(64)), None);
            assert_eq!(blocks.take(4096, SizeBits::of(40)), Some(block(40, 3)));
            assert_eq!((blocks.take(4096, SizeBits::of(40)), blocks.iter().count()), (None, 0));
        }
    }

    #[test]
    fn a_free_that_came_first_ends_the_next_block_of_its_size_by_another_thread() {
        let mut blocks = Blocks::new(PATIENCE_NS);
        blocks.wait(4096, free(40, 5));
        assert_eq!(blocks.put(4096, block(64, 6)), None);
        assert_eq!(blocks.put(4096, Block { row: 1, ..block(40, 6) }), None, "its thread allocated it later");
        assert_eq!(blocks.put(4096, block(40, 7)), Some(free(40, 5)));
        assert_eq!((blocks.unmatched(), blocks.iter().count()), (0, 2));
        blocks.wait(64, free(40, 5));
        assert_eq!(blocks.put(64, block(40, PATIENCE_NS + 6)), None, "too late");
    }

    #[test]
    fn left_over_frees_prefer_blocks_of_other_threads_then_of_their_size_then_any() {
        let mut blocks = Blocks::new(PATIENCE_NS);
        let of_its_thread = Block { row: 1, ..block(40, 6) };
        for left in [block(64, 5), of_its_thread, block(40, 7 + PATIENCE_NS)] {
            assert_eq!(blocks.put(4096, left), None);
        }
        (0..4).for_each(|_| blocks.wait(4096, free(40, 7)));
        let expected = [block(40, 7 + PATIENCE_NS), of_its_thread, block(64, 5)];
        assert_eq!(blocks.pair_left_over(), expected.map(|block| (4096, block, free(40, 7))));
        assert_eq!((blocks.unmatched(), blocks.iter().count()), (1, 0));
    }
}
