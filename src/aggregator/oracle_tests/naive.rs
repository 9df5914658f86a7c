//! The oracle: a map of blocks, and all figures, computed in a simple and slow way in the order of the events.

use crate::profile::{Histogram, TEMPORARY_ALLOCS};
use std::collections::{BTreeMap, HashMap, HashSet};

/// A live block of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) size: u64,
    pub(super) stack: u32,
    pub(super) row: u32,
    pub(super) align_log2: u8,
    pub(super) own: bool,
    pub(super) reallocs: u64,
    /// The thread that allocated the block, and the number of this allocation among the thread's allocations.
    born: (u32, u64),
    /// Whether the ledger knows the number of the allocation: every size of the block fits into a nursery.
    has_number: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) total_blocks: u64,
    pub(super) total_bytes: u64,
    pub(super) freed_blocks: u64,
    pub(super) freed_bytes: u64,
    pub(super) cross_thread_frees: u64,
}

/// The figures of a site.
#[derive(Debug, Clone, Default)]
pub(super) struct Site {
    pub(super) sums: Sums,
    pub(super) reallocs: u64,
    pub(super) moved: u64,
    pub(super) copied_bytes: u64,
    pub(super) chains: u64,
    pub(super) chain_links: u64,
    pub(super) longest_chain: u64,
    pub(super) temporary_blocks: u64,
    pub(super) temporary_bytes: u64,
    pub(super) own_peak_bytes: u64,
    /// Bytes and blocks of the site that were live at the peak of the process.
    pub(super) at_peak: (u64, u64),
    pub(super) sizes: Histogram,
}

/// The figures of a scope, including the scopes nested in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) sums: Sums,
    pub(super) reallocs: u64,
    pub(super) peak_bytes: u64,
}

/// Returns the number of scopes that a stack is in. There are two scopes, an outer scope and a scope nested in it.
pub(super) fn scopes_of(stack: u32) -> usize {
    match stack {
        0 => 0,
        1 => 1,
        rare => rare as usize % 3,
    }
}

#[derive(Debug, Default)]
pub(super) struct Naive {
    pub(super) live: HashMap<u64, Block>,
    pub(super) sums: Sums,
    pub(super) sites: BTreeMap<u32, Site>,
    pub(super) rows: BTreeMap<u32, Sums>,
    /// The outer scope, and the scope nested in it.
    pub(super) scopes: [Scope; 2],
    pub(super) events: u64,
    pub(super) own_events: u64,
    pub(super) reallocs: u64,
    pub(super) peak_bytes: u64,
    pub(super) peak_blocks: u64,
    /// Addresses that blocks of heapledger have had.
    pub(super) own_addresses: HashSet<u64>,
    allocs: HashMap<u32, u64>,
}

impl Sums {
    fn allocated(&mut self, size: u64) {
        self.total_blocks += 1;
        self.total_bytes += size;
    }

    fn freed(&mut self, size: u64) {
        self.freed_blocks += 1;
        self.freed_bytes += size;
    }

    pub(super) fn live_bytes(&self) -> u64 {
        self.total_bytes - self.freed_bytes
    }

    pub(super) fn live_blocks(&self) -> u64 {
        self.total_blocks - self.freed_blocks
    }
}

impl Naive {
    pub(super) fn alloc(&mut self, address: u64, row: u32, size: u64, stack: u32, align_log2: u8, own: bool) {
        self.events += 1;
        let number = self.allocs.entry(row).or_default();
        *number += 1;
        let (born, has_number) = ((row, *number), size >> 32 == 0);
        let block = Block { size, stack, row, align_log2, own, reallocs: 0, born, has_number };
        if own {
            self.own_events += 1;
            self.own_addresses.insert(address);
        } else {
            self.begin(&block);
            self.look_at_the_peak(stack);
        }
        assert!(self.live.insert(address, block).is_none(), "the program's allocator is broken");
    }

    pub(super) fn free(&mut self, address: u64, row: u32) {
        self.events += 1;
        let block = self.live.remove(&address).unwrap();
        if block.own {
            self.own_events += 1;
            return;
        }
        self.end(&block, row);
        let age = self.allocs[&block.born.0] - block.born.1;
        let crossed = u64::from(row != block.row);
        self.sums.cross_thread_frees += crossed;
        self.rows.entry(row).or_default().cross_thread_frees += crossed;
        let site = self.sites.entry(block.stack).or_default();
        site.sums.cross_thread_frees += crossed;
        if block.has_number && row == block.born.0 && age <= u64::from(TEMPORARY_ALLOCS) {
            site.temporary_blocks += 1;
            site.temporary_bytes += block.size;
        }
        if block.reallocs > 0 {
            site.chains += 1;
            site.chain_links += block.reallocs;
            site.longest_chain = site.longest_chain.max(block.reallocs);
        }
    }

    /// Counts a realloc. `old` is the address and the block before the realloc. The block was taken out of the map when
    /// the realloc began.
    pub(super) fn realloc(&mut self, old: (u64, Block), new: u64, row: u32, size: u64, stack: u32) {
        self.events += 1;
        let (old, before) = old;
        let has_number = before.has_number && size >> 32 == 0;
        let block = Block { size, stack, row, reallocs: before.reallocs + 1, has_number, ..before };
        if before.own {
            self.own_events += 1;
            self.own_addresses.insert(new);
        } else {
            self.reallocs += 1;
            self.end(&before, row);
            self.begin(&block);
            self.look_at_the_peak(stack);
            self.scopes_around(stack).for_each(|scope| scope.reallocs += 1);
            let site = self.sites.entry(stack).or_default();
            site.reallocs += 1;
            if old != new {
                site.moved += 1;
                site.copied_bytes += before.size.min(size);
            }
        }
        assert!(self.live.insert(new, block).is_none(), "the program's allocator is broken");
    }

    /// Counts a refused realloc, after which the block stays live.
    pub(super) fn refused(&mut self, old: (u64, Block)) {
        self.events += 1;
        self.live.insert(old.0, old.1);
    }

    fn begin(&mut self, block: &Block) {
        self.sums.allocated(block.size);
        self.rows.entry(block.row).or_default().allocated(block.size);
        self.scopes_around(block.stack).for_each(|scope| scope.sums.allocated(block.size));
        let site = self.sites.entry(block.stack).or_default();
        site.sums.allocated(block.size);
        site.sizes.add(block.size, 1);
    }

    fn end(&mut self, block: &Block, row: u32) {
        self.sums.freed(block.size);
        self.rows.entry(row).or_default().freed(block.size);
        self.scopes_around(block.stack).for_each(|scope| scope.sums.freed(block.size));
        self.sites.entry(block.stack).or_default().sums.freed(block.size);
    }

    fn scopes_around(&mut self, stack: u32) -> impl Iterator<Item = &mut Scope> {
        self.scopes[..scopes_of(stack)].iter_mut()
    }

    fn look_at_the_peak(&mut self, stack: u32) {
        for scope in self.scopes_around(stack) {
            scope.peak_bytes = scope.peak_bytes.max(scope.sums.live_bytes());
        }
        if let Some(site) = self.sites.get_mut(&stack) {
            site.own_peak_bytes = site.own_peak_bytes.max(site.sums.live_bytes());
        }
        if self.sums.live_bytes() > self.peak_bytes {
            self.peak_bytes = self.sums.live_bytes();
            self.peak_blocks = self.sums.live_blocks();
            for site in self.sites.values_mut() {
                site.at_peak = (site.sums.live_bytes(), site.sums.live_blocks());
            }
        }
    }
}
