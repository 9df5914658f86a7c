//! Which free ends which block, and where each live block is.
//!
//! In a trace with a stamp on every event the order of the times is the true one, and an address has at most one block.
//! With interpolated times a free of one thread can come before the allocation of another that it ends, or after the
//! next allocation at that address. So an address may have several blocks for a moment, and a free may wait for its
//! block; what a free says of the size tells which belong together, and of those the oldest is taken.

use super::columns::Numbered;
use super::record::SizeBits;

/// How long a free waits for its block, in nanoseconds of the trace.
const PATIENCE_NS: u64 = 10_000_000_000;

/// A live block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) size: u64,
    pub(super) born_ns: u64,
    pub(super) stack: u32,
    pub(super) row: u32,
    /// How many allocations its thread had made with it.
    pub(super) number: u32,
    pub(super) align_log2: u8,
    pub(super) reallocs: u8,
    /// Whether it is in no total of the program.
    pub(super) apart: bool,
    /// Whether its allocation is in the span that is looked at.
    pub(super) counted: bool,
}

/// A free whose block has not been seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) at_ns: u64,
    pub(super) row: u32,
    pub(super) size_bits: SizeBits,
    /// Whether it is the old half of a realloc.
    pub(super) by_realloc: bool,
}

/// The blocks by address.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    one: Numbered<u64, Block>,
    /// Younger blocks of addresses that have several, oldest first.
    more: Numbered<u64, Vec<Block>>,
    waiting: Numbered<u64, Vec<Waiting>>,
    /// Allocations at an address whose block was not freed yet.
    pub(super) overlaps: u64,
}

impl Blocks {
    /// Takes the block that is freed; `None` when no block of that size is there.
    pub(super) fn take(&mut self, address: u64, size_bits: SizeBits) -> Option<Block> {
        let first = *self.one.get(&address)?;
        if self.more.is_empty() {
            return size_bits.agree_with(first.size).then(|| self.one.remove(&address)).flatten();
        }
        let Some(others) = self.more.get_mut(&address) else {
            return size_bits.agree_with(first.size).then(|| self.one.remove(&address)).flatten();
        };
        let taken = if size_bits.agree_with(first.size) {
            let next = others.remove(0);
            self.one.insert(address, next)
        } else {
            let place = others.iter().position(|block| size_bits.agree_with(block.size))?;
            Some(others.remove(place))
        };
        if others.is_empty() {
            self.more.remove(&address);
        }
        taken
    }

    /// Notes a free whose block is not there yet.
    pub(super) fn wait(&mut self, address: u64, waiting: Waiting) {
        self.waiting.entry(address).or_default().push(waiting);
    }

    /// Puts a block to its address; or returns the free that waited for it.
    pub(super) fn put(&mut self, address: u64, block: Block) -> Option<Waiting> {
        if !self.waiting.is_empty()
            && let Some(waiting) = self.waiting.get_mut(&address)
        {
            let fits = |free: &Waiting| {
                free.size_bits.agree_with(block.size)
                    && free.at_ns.saturating_add(PATIENCE_NS) >= block.born_ns
            };
            if let Some(place) = waiting.iter().position(fits) {
                let free = waiting.remove(place);
                if waiting.is_empty() {
                    self.waiting.remove(&address);
                }
                return Some(free);
            }
        }
        if let Some(before) = self.one.get(&address) {
            let _ = before;
            self.overlaps += 1;
            self.more.entry(address).or_default().push(block);
        } else {
            self.one.insert(address, block);
        }
        None
    }

    /// Frees that found no block.
    pub(super) fn unmatched(&self) -> u64 {
        self.waiting.values().map(|waiting| waiting.len() as u64).sum()
    }

    /// Addresses with more than one block.
    pub(super) fn overlapping(&self) -> u64 {
        self.more.values().map(|blocks| blocks.len() as u64).sum()
    }

    /// At the end: pairs what is left over at an address, a block and a free that says another size.
    pub(super) fn left_over(&mut self) -> Vec<(Block, Waiting)> {
        let addresses: Vec<u64> =
            self.waiting.keys().copied().filter(|at| self.one.contains_key(at)).collect();
        let mut pairs = Vec::new();
        for address in addresses {
            let Some(waiting) = self.waiting.remove(&address) else { continue };
            let mut waiting = waiting.into_iter();
            while let Some(block) = self.one.get(&address).copied() {
                let Some(free) = waiting.next() else { break };
                let _ = self.take(address, SizeBits::of(block.size));
                pairs.push((block, free));
            }
            let rest: Vec<Waiting> = waiting.collect();
            if !rest.is_empty() {
                self.waiting.insert(address, rest);
            }
        }
        pairs
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Block)> {
        let one = self.one.iter().map(|(address, block)| (*address, block));
        one.chain(self.more.iter().flat_map(|(address, blocks)| blocks.iter().map(|block| (*address, block))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(size: u64, born_ns: u64) -> Block {
        Block { size, born_ns, ..Block::default() }
    }

    fn free(size: u64, at_ns: u64) -> Waiting {
        Waiting { at_ns, row: 0, size_bits: SizeBits::of(size), by_realloc: false }
    }

    #[test]
    fn a_free_takes_the_oldest_block_of_its_size() {
        let mut blocks = Blocks::default();
        for (size, born_ns) in [(40, 1), (64, 2), (40, 3)] {
            assert_eq!(blocks.put(4096, block(size, born_ns)), None);
        }
        assert_eq!((blocks.overlaps, blocks.overlapping()), (2, 2));
        assert_eq!(blocks.take(4096, SizeBits::of(64)), Some(block(64, 2)));
        assert_eq!(blocks.take(4096, SizeBits::of(40)), Some(block(40, 1)));
        assert_eq!(blocks.take(4096, SizeBits::of(64)), None);
        assert_eq!(blocks.take(4096, SizeBits::of(40)), Some(block(40, 3)));
        assert_eq!((blocks.take(4096, SizeBits::of(40)), blocks.iter().count()), (None, 0));
    }

    #[test]
    fn a_free_that_came_first_ends_its_block_and_no_other() {
        let mut blocks = Blocks::default();
        blocks.wait(4096, free(40, 5));
        assert_eq!(blocks.put(4096, block(64, 6)), None);
        assert_eq!(blocks.put(4096, block(40, 6)), Some(free(40, 5)));
        assert_eq!((blocks.unmatched(), blocks.iter().count()), (0, 1));
        blocks.wait(64, free(40, 5));
        assert_eq!(blocks.put(64, block(40, PATIENCE_NS + 6)), None, "too late");
    }

    #[test]
    fn what_is_left_over_is_paired_whatever_its_size() {
        let mut blocks = Blocks::default();
        assert_eq!(blocks.put(4096, block(64, 6)), None);
        blocks.wait(4096, free(40, 7));
        blocks.wait(4096, free(41, 8));
        assert_eq!(blocks.left_over(), [(block(64, 6), free(40, 7))]);
        assert_eq!((blocks.unmatched(), blocks.iter().count()), (1, 0));
    }
}
