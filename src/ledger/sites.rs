//! Sites, one for each call stack, which all threads share; and the delta in which one lane collects its additions to a
//! site.
//!
//! Invariant **S1**: a site is accessed only under the latch of its stripe, and when its pages are accessible; the run of
//! sites is never given back.

use crate::profile::{self, BUCKETS};
use crate::sys::latch::Latch;
use crate::sys::pages::{PAGE_BYTES, Pages};
use crate::sys::sync::{AtomicU32, Ordering};

/// Maximum number of sites; further stacks share the last one. Limited memory reduces the number.
pub(crate) const SITES_MAX: u32 = 1 << 20;
/// Divisor of the region's pages: sites may occupy one quarter of the region.
const REGION_SHARE: u32 = 4;
/// Number of latches of the sites: one for each residue of the site's number.
const STRIPES: usize = 64;

/// All sites. All zero bytes are a valid start; [`Sites::open`] takes the run of the sites.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Sites {
    page: AtomicU32,
    /// Number of sites for which the run has room.
    capacity: AtomicU32,
    /// Number of the highest site in use, plus one.
    count: AtomicU32,
    stripes: [Latch; STRIPES],
}

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
    fn add(&mut self, more: &Sums) {
        // Wrapping: an allocation that is subtracted again adds the two's complement of one.
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

/// One site.
#[repr(C)]
pub(crate) struct SiteCell {
    sums: Sums,
    longest_chain: u64,
    own_peak_bytes: i64,
    /// Number of the peak at which `at_peak_bytes` were live.
    peak_number: u64,
    at_peak_bytes: i64,
    at_peak_blocks: i64,
    sizes: [u64; BUCKETS],
    lifetimes: [u64; BUCKETS],
}

/// Mark in the stack number of a delta that belongs to a scope.
pub(crate) const IN_SCOPE: u32 = 1 << 31;

/// Events of one lane at one site between two commits. All zero bytes are a valid, empty delta of site 0.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct SiteDelta {
    /// Number of the stack, marked with [`IN_SCOPE`] if the stack is in a scope.
    pub(crate) stack: u32,
    pub(crate) sums: Sums,
    pub(crate) longest_chain: u64,
    /// Highest live bytes of this delta, relative to the last commit.
    pub(crate) high_water_bytes: i64,
    /// Number of the lane's high-water mark at which `at_high_water_bytes` and `at_high_water_blocks` were live. See
    /// `fold::high_water`.
    pub(crate) high_water_number: u64,
    pub(crate) at_high_water_bytes: i64,
    pub(crate) at_high_water_blocks: i64,
    /// Number of blocks by power of two of their size; each count is wide enough for the events between two commits.
    pub(crate) sizes: [u32; BUCKETS],
    pub(crate) lifetimes: [u32; BUCKETS],
}

impl SiteDelta {
    /// Whether the delta has nothing to commit.
    pub(crate) fn is_empty(&self) -> bool {
        let sums = &self.sums;
        // A block that was subtracted again leaves all these sums at zero.
        sums.total_blocks | sums.freed_blocks | sums.reallocs | sums.chains | sums.cross_thread_frees == 0
    }
}

fn pages_of(accounts: u32) -> u32 {
    (accounts as usize * size_of::<SiteCell>()).div_ceil(PAGE_BYTES) as u32
}

impl Sites {
    /// Takes the run of the sites, up to their share of the region. The run is address space only until the sites are
    /// used.
    pub(crate) fn open(&self, pages: &Pages) -> bool {
        let mut capacity = SITES_MAX;
        // Runs have sizes of powers of two.
        while pages_of(capacity).next_power_of_two() > pages.reserved() / REGION_SHARE && capacity > 1 {
            capacity /= 2;
        }
        let Some(page) = pages.take_sparse(pages_of(capacity)) else {
            return false;
        };
        // relaxed, both: published with the ledger.
        self.page.store(page, Ordering::Relaxed);
        self.capacity.store(capacity, Ordering::Relaxed);
        let (first, count) = self.pages_of_site(capacity - 1);
        pages.reach(first, count)
    }

    /// Returns the first page of a site, and the number of its pages.
    fn pages_of_site(&self, site: u32) -> (u32, u32) {
        let page_of = |byte: usize| (byte / PAGE_BYTES) as u32;
        let start = site as usize * size_of::<SiteCell>();
        let (first, last) = (page_of(start), page_of(start + size_of::<SiteCell>() - 1));
        // relaxed: written before the ledger was published.
        (self.page.load(Ordering::Relaxed) + first, last - first + 1)
    }

    /// Adds a delta to its site and empties it. `high_water_number` is the lane's latest mark, which stands for the
    /// peak with the number `peak_number`.
    pub(crate) fn commit(
        &self,
        pages: &Pages,
        delta: &mut SiteDelta,
        high_water_number: u64,
        peak_number: u64,
    ) {
        // relaxed: written before the ledger was published.
        let last = self.capacity.load(Ordering::Relaxed) - 1;
        let own = (delta.stack & !IN_SCOPE).min(last);
        let (first, count) = self.pages_of_site(own);
        // Without memory for its site, a delta belongs to the last one.
        let site = if pages.reach(first, count) { own } else { last };
        // relaxed: a bound for readers, who look under the stripe's latch.
        if self.count.load(Ordering::Relaxed) <= site {
            self.count.fetch_max(site + 1, Ordering::Relaxed);
        }
        let _taken = self.stripes[site as usize % STRIPES].take();
        let cell = self.cell(pages, site);
        // SAFETY: S1, the stripe's latch gives us the cell.
        let cell = unsafe { &mut *cell };
        let (bytes, blocks) = (cell.sums.live_bytes(), cell.sums.live_blocks());
        if cell.peak_number != peak_number {
            // Unchanged since the peak: the current figures are those of the peak.
            (cell.at_peak_bytes, cell.at_peak_blocks) = (bytes, blocks);
            cell.peak_number = peak_number;
        }
        // The delta too held its figures of that mark at the peak; all its figures, if it is unchanged since then.
        let (more_bytes, more_blocks) = if delta.high_water_number == high_water_number {
            (delta.at_high_water_bytes, delta.at_high_water_blocks)
        } else {
            (delta.sums.live_bytes(), delta.sums.live_blocks())
        };
        cell.at_peak_bytes += more_bytes;
        cell.at_peak_blocks += more_blocks;
        cell.own_peak_bytes = cell.own_peak_bytes.max(bytes + delta.high_water_bytes);
        cell.sums.add(&delta.sums);
        cell.longest_chain = cell.longest_chain.max(delta.longest_chain);
        for (sums, counts) in
            [(&mut cell.sizes, &mut delta.sizes), (&mut cell.lifetimes, &mut delta.lifetimes)]
        {
            for (sum, count) in sums.iter_mut().zip(counts.iter_mut()) {
                // Sign-extended, for a block that was subtracted again.
                *sum = sum.wrapping_add(*count as i32 as u64);
                *count = 0;
            }
        }
        delta.sums = Sums::default();
        delta.longest_chain = 0;
        delta.high_water_bytes = 0;
        (delta.high_water_number, delta.at_high_water_bytes, delta.at_high_water_blocks) =
            (high_water_number, 0, 0);
    }

    /// Returns the number of sites in use.
    pub(crate) fn count(&self) -> u32 {
        // relaxed: a bound.
        self.count.load(Ordering::Relaxed)
    }

    /// Copies the figures of a site into `into`. Allocates nothing.
    pub(crate) fn read(&self, pages: &Pages, site: u32, into: &mut SiteFigures) {
        let _taken = self.stripes[site as usize % STRIPES].take();
        let (first, count) = self.pages_of_site(site);
        // A site that is not accessible had no event.
        *into = if pages.is_reached(first, count) {
            // SAFETY: S1.
            unsafe { &*self.cell(pages, site) }.figures()
        } else {
            SiteFigures::EMPTY
        };
    }

    /// Returns the sums of a site, or `None` if it had no event.
    pub(crate) fn sums(&self, pages: &Pages, site: u32) -> Option<Sums> {
        let _taken = self.stripes[site as usize % STRIPES].take();
        let (first, count) = self.pages_of_site(site);
        // SAFETY: S1.
        pages.is_reached(first, count).then(|| unsafe { &*self.cell(pages, site) }.sums)
    }

    /// Returns the page of the sites, the number of sites that fit, and the number of sites in use.
    pub(crate) fn place(&self) -> (u32, u32, u32) {
        // relaxed, both: written before the ledger was published.
        (self.page.load(Ordering::Relaxed), self.capacity.load(Ordering::Relaxed), self.count())
    }

    fn cell(&self, pages: &Pages, site: u32) -> *mut SiteCell {
        // relaxed: written before the ledger was published.
        pages.at(self.page.load(Ordering::Relaxed)).cast::<SiteCell>().wrapping_add(site as usize)
    }
}

impl SiteCell {
    pub(crate) fn figures(&self) -> SiteFigures {
        SiteFigures {
            sums: self.sums,
            longest_chain: self.longest_chain,
            own_peak_bytes: self.own_peak_bytes.max(0) as u64,
            peak_number: self.peak_number,
            at_peak: (self.at_peak_bytes.max(0) as u64, self.at_peak_blocks.max(0) as u64),
            sizes: self.sizes,
            lifetimes: self.lifetimes,
        }
    }
}

/// A copy of one site's figures.
#[derive(Debug, Clone)]
pub(crate) struct SiteFigures {
    sums: Sums,
    longest_chain: u64,
    own_peak_bytes: u64,
    peak_number: u64,
    at_peak: (u64, u64),
    sizes: [u64; BUCKETS],
    lifetimes: [u64; BUCKETS],
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

    /// Returns the site as the profile shows it. `peak_number` is that of the latest peak.
    pub(crate) fn to_site(&self, stack: u32, peak_number: u64) -> profile::Site {
        let sums = &self.sums;
        let live = (sums.live_bytes().max(0) as u64, sums.live_blocks().max(0) as u64);
        // Unchanged since the latest peak: the current figures are those of the peak.
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
