//! The delta in which one lane collects the sums of its events at a site, before they are added to the site.

use super::site_units::Unit;
use crate::profile::BUCKETS;

/// Figures that a delta and a site have in common.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sums {
    pub(crate) total_blocks: u64,
    pub(crate) total_bytes: u64,
    pub(crate) freed_blocks: u64,
    pub(crate) freed_bytes: u64,
    pub(crate) temporary_blocks: u64,
    pub(crate) temporary_bytes: u64,
    pub(crate) cross_thread_frees: u64,
    pub(crate) reallocs: u64,
    pub(crate) moved: u64,
    pub(crate) copied_bytes: u64,
    pub(crate) chains: u64,
    pub(crate) chain_links: u64,
}

impl Sums {
    pub(super) fn add(&mut self, more: &Sums) {
        // Wrapping, because a subtraction is the addition of a two's complement.
        let pairs = [
            (&mut self.total_blocks, more.total_blocks),
            (&mut self.total_bytes, more.total_bytes),
            (&mut self.freed_blocks, more.freed_blocks),
            (&mut self.freed_bytes, more.freed_bytes),
            (&mut self.temporary_blocks, more.temporary_blocks),
            (&mut self.temporary_bytes, more.temporary_bytes),
            (&mut self.cross_thread_frees, more.cross_thread_frees),
            (&mut self.reallocs, more.reallocs),
            (&mut self.moved, more.moved),
            (&mut self.copied_bytes, more.copied_bytes),
            (&mut self.chains, more.chains),
            (&mut self.chain_links, more.chain_links),
        ];
        for (sum, value) in pairs {
            *sum = sum.wrapping_add(value);
        }
    }

    pub(crate) fn live_bytes(&self) -> i64 {
        self.total_bytes.wrapping_sub(self.freed_bytes) as i64
    }

    pub(crate) fn live_blocks(&self) -> i64 {
        self.total_blocks.wrapping_sub(self.freed_blocks) as i64
    }
}

/// Sums that are 0 at most sites.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct RareSums {
    pub(super) cross_thread_frees: u64,
    pub(super) reallocs: u64,
    pub(super) moved: u64,
    pub(super) copied_bytes: u64,
    pub(super) chains: u64,
    pub(super) chain_links: u64,
    pub(super) longest_chain: u64,
    unused: u64,
}

const _: () = assert!(size_of::<RareSums>() == size_of::<Unit>());

/// Bit in the stack number of a delta. It is set if the stack is in a scope.
pub(crate) const IN_SCOPE: u32 = 1 << 31;

/// Sums of the events of one lane at one site since the last commit (addition to the site). All zero bytes are a valid,
/// empty delta of site 0.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct SiteDelta {
    /// Number of the stack, marked with [`IN_SCOPE`] if the stack is in a scope.
    pub(crate) stack: u32,
    pub(crate) sums: Sums,
    pub(crate) longest_chain: u64,
    /// Highest live bytes of this delta, relative to the last commit.
    pub(crate) high_water_bytes: i64,
    /// Running number of the latest of the lane's high-water marks that this delta has noted. The next two fields are
    /// the live bytes and blocks of the delta at that mark, relative to the last commit. See `fold::high_water`.
    pub(crate) high_water_number: u64,
    pub(crate) at_high_water_bytes: i64,
    pub(crate) at_high_water_blocks: i64,
    /// Number of blocks by power of two of their size; 32 bits are enough for the events between two commits.
    pub(crate) sizes: [u32; BUCKETS],
    pub(crate) lifetimes: [u32; BUCKETS],
}

/// Number of blocks at which a delta is committed, because its counts have 32 bits. The number is small in tests, so
/// that tests reach it.
const HEAVY_BLOCKS: u64 = if cfg!(test) { 100 } else { 1 << 30 };

impl SiteDelta {
    /// Stores the present live figures as the figures at the lane's latest high-water mark, if the delta is unchanged
    /// since that mark. A fold calls this when it selects the delta.
    #[inline(always)]
    pub(crate) fn follow_mark(&mut self, high_water_number: u64) {
        if self.high_water_number != high_water_number {
            self.high_water_number = high_water_number;
            (self.at_high_water_bytes, self.at_high_water_blocks) =
                (self.sums.live_bytes(), self.sums.live_blocks());
        }
    }

    /// Adds a chain of this many reallocs, whose last block has ended.
    #[inline(always)]
    pub(crate) fn end_chain(&mut self, reallocs: u64) {
        self.sums.chains += 1;
        self.sums.chain_links += reallocs;
        self.longest_chain = self.longest_chain.max(reallocs);
    }

    /// Whether the delta must be committed now, because its counts would overflow with many more blocks.
    pub(crate) fn is_heavy(&self) -> bool {
        self.sums.total_blocks.max(self.sums.freed_blocks) >= HEAVY_BLOCKS
    }

    /// A cheaper form of [`SiteDelta::is_heavy`], which may return `true` too early, but never `false` for a heavy
    /// delta.
    #[inline(always)]
    pub(crate) fn may_be_heavy(&self) -> bool {
        self.sums.total_blocks | self.sums.freed_blocks >= HEAVY_BLOCKS
    }

    /// Whether the delta has nothing to commit.
    pub(crate) fn is_empty(&self) -> bool {
        let sums = &self.sums;
        // A block that was subtracted again leaves all these sums at zero.
        let counts = [
            sums.total_blocks,
            sums.freed_blocks,
            sums.temporary_blocks,
            sums.reallocs,
            sums.chains,
            sums.cross_thread_frees,
        ];
        counts == [0; 6]
    }
}

impl SiteDelta {
    /// Takes the rare sums out of the delta.
    pub(super) fn take_rare(&mut self) -> RareSums {
        let (sums, take) = (&mut self.sums, std::mem::take::<u64>);
        RareSums {
            cross_thread_frees: take(&mut sums.cross_thread_frees),
            reallocs: take(&mut sums.reallocs),
            moved: take(&mut sums.moved),
            copied_bytes: take(&mut sums.copied_bytes),
            chains: take(&mut sums.chains),
            chain_links: take(&mut sums.chain_links),
            longest_chain: take(&mut self.longest_chain),
            unused: 0,
        }
    }
}

impl RareSums {
    pub(super) fn add(&mut self, more: &RareSums) {
        let pairs = [
            (&mut self.cross_thread_frees, more.cross_thread_frees),
            (&mut self.reallocs, more.reallocs),
            (&mut self.moved, more.moved),
            (&mut self.copied_bytes, more.copied_bytes),
            (&mut self.chains, more.chains),
            (&mut self.chain_links, more.chain_links),
        ];
        for (sum, value) in pairs {
            *sum = sum.wrapping_add(value);
        }
        self.longest_chain = self.longest_chain.max(more.longest_chain);
    }
}
