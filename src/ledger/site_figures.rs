//! A copy of the figures of one site.

use super::site_delta::{SiteDelta, Sums};
use crate::profile::{self, BUCKETS};

/// A copy of one site's figures.
#[derive(Debug, Clone)]
pub(crate) struct SiteFigures {
    pub(super) sums: Sums,
    pub(super) longest_chain: u64,
    pub(super) own_peak_bytes: u64,
    pub(super) peak_number: u64,
    pub(super) at_peak: (u64, u64),
    pub(super) sizes: [u64; BUCKETS],
    pub(super) lifetimes: [u64; BUCKETS],
}

impl SiteFigures {
    pub(crate) const EMPTY: SiteFigures = SiteFigures {
        sums: Sums {
            total_blocks: 0,
            total_bytes: 0,
            freed_blocks: 0,
            freed_bytes: 0,
            temporary_blocks: 0,
            temporary_bytes: 0,
            cross_thread_frees: 0,
            reallocs: 0,
            moved: 0,
            copied_bytes: 0,
            chains: 0,
            chain_links: 0,
        },
        longest_chain: 0,
        own_peak_bytes: 0,
        peak_number: 0,
        at_peak: (0, 0),
        sizes: [0; BUCKETS],
        lifetimes: [0; BUCKETS],
    };

    /// Returns the site as the profile shows it. `peak_number` is the number of the latest peak.
    pub(crate) fn to_site(&self, stack: u32, peak_number: u64) -> profile::Site {
        let sums = &self.sums;
        let live = (sums.live_bytes().max(0) as u64, sums.live_blocks().max(0) as u64);
        // If the site is unchanged since the latest peak, its current figures are also the figures at the peak.
        let (at_peak_bytes, at_peak_blocks) =
            if self.peak_number == peak_number { self.at_peak } else { live };
        profile::Site {
            stack,
            total_blocks: sums.total_blocks,
            total_bytes: sums.total_bytes,
            freed_blocks: sums.freed_blocks,
            freed_bytes: sums.freed_bytes,
            own_peak_bytes: self.own_peak_bytes,
            at_peak_bytes,
            at_peak_blocks,
            temporary_blocks: sums.temporary_blocks,
            temporary_bytes: sums.temporary_bytes,
            cross_thread_frees: sums.cross_thread_frees,
            reallocs: profile::ReallocStats {
                count: sums.reallocs,
                moved: sums.moved,
                copied_bytes: sums.copied_bytes,
                chains: sums.chains,
                chain_links: sums.chain_links,
                longest_chain: self.longest_chain,
            },
            sizes: profile::Histogram::from_counts(&self.sizes),
            lifetimes: profile::Histogram::from_counts(&self.lifetimes),
        }
    }

    /// Adds a delta that was not committed.
    pub(crate) fn add(&mut self, delta: &SiteDelta) {
        let live = self.sums.live_bytes();
        self.own_peak_bytes =
            self.own_peak_bytes.max(live.wrapping_add(delta.high_water_bytes).max(0) as u64);
        self.sums.add(&delta.sums);
        self.longest_chain = self.longest_chain.max(delta.longest_chain);
        for (sums, counts) in [(&mut self.sizes, &delta.sizes), (&mut self.lifetimes, &delta.lifetimes)] {
            for (sum, count) in sums.iter_mut().zip(counts) {
                *sum = sum.wrapping_add(*count as i32 as u64);
            }
        }
    }

    /// Adds the birth of a block.
    pub(crate) fn add_block(&mut self, size: u64) {
        self.sums.total_blocks = self.sums.total_blocks.wrapping_add(1);
        self.sums.total_bytes = self.sums.total_bytes.wrapping_add(size);
        let bucket = &mut self.sizes[profile::bucket_of(size)];
        *bucket = bucket.wrapping_add(1);
        self.own_peak_bytes = self.own_peak_bytes.max(self.sums.live_bytes().max(0) as u64);
    }

    /// Adds the end of a block; `lifetime_ns` is `None` when a realloc ended it.
    pub(crate) fn add_end(&mut self, size: u64, lifetime_ns: Option<u64>) {
        self.sums.freed_blocks = self.sums.freed_blocks.wrapping_add(1);
        self.sums.freed_bytes = self.sums.freed_bytes.wrapping_add(size);
        if let Some(lifetime_ns) = lifetime_ns {
            let bucket = &mut self.lifetimes[profile::bucket_of(lifetime_ns)];
            *bucket = bucket.wrapping_add(1);
        }
    }

    /// Adds a realloc; `copied_bytes` is `None` when the block did not move.
    pub(crate) fn add_realloc(&mut self, copied_bytes: Option<u64>) {
        self.sums.reallocs = self.sums.reallocs.wrapping_add(1);
        if let Some(bytes) = copied_bytes {
            self.sums.moved = self.sums.moved.wrapping_add(1);
            self.sums.copied_bytes = self.sums.copied_bytes.wrapping_add(bytes);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sums.total_blocks == 0 && self.sums.freed_blocks == 0
    }
}
