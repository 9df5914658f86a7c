//! What a replay adds up: the same figures as the ledger's, for the allocations of a span.

use super::columns::Numbered;
use super::pairing::Block;
use crate::profile::{BUCKETS, HeapStats, Histogram, Interval, Peak, Site, TEMPORARY_ALLOCS, bucket_of};

/// Intervals of the timeline.
const INTERVALS: u64 = 512;
/// Reallocs of one block are counted up to this, as in the ledger.
const REALLOCS_MAX: u8 = 31;

/// The account of one stack.
#[derive(Debug, Clone)]
struct SiteAccount {
    site: Site,
    sizes: [u64; BUCKETS],
    lifetimes: [u64; BUCKETS],
    /// The peak of the process that `at_peak` figures are of.
    peak_number: u64,
}

/// What one thread did.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RowAccount {
    /// Allocations so far, reallocs apart; before the span as well.
    pub(super) allocs: u32,
    pub(super) events: u64,
    pub(super) total_blocks: u64,
    pub(super) total_bytes: u64,
    pub(super) freed_blocks: u64,
    pub(super) freed_bytes: u64,
    pub(super) cross_thread_frees: u64,
}

/// The sums.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) totals: HeapStats,
    pub(super) peak: Peak,
    peak_number: u64,
    sites: Numbered<u32, SiteAccount>,
    pub(super) rows: Numbered<u32, RowAccount>,
    pub(super) intervals: Vec<Interval>,
    pub(super) interval_ns: u64,
}

impl Account {
    /// Sums over a span that ends at `end_ns`.
    pub(super) fn new(end_ns: u64) -> Account {
        Account {
            totals: HeapStats::default(),
            peak: Peak::default(),
            peak_number: 0,
            sites: Numbered::default(),
            rows: Numbered::default(),
            intervals: Vec::new(),
            interval_ns: end_ns / INTERVALS + 1,
        }
    }

    pub(super) fn row(&mut self, row: u32) -> &mut RowAccount {
        self.rows.entry(row).or_default()
    }

    fn interval(&mut self, at_ns: u64) -> &mut Interval {
        let number = ((at_ns / self.interval_ns) as usize).min(INTERVALS as usize - 1);
        if self.intervals.len() <= number {
            self.intervals.resize(number + 1, Interval::default());
        }
        &mut self.intervals[number]
    }

    /// The site of a stack, whose figures at the peak are those of the last one.
    fn site(&mut self, stack: u32) -> &mut SiteAccount {
        let peak_number = self.peak_number;
        let account = self.sites.entry(stack).or_insert_with(|| SiteAccount {
            site: Site { stack, ..Site::default() },
            sizes: [0; BUCKETS],
            lifetimes: [0; BUCKETS],
            peak_number,
        });
        account.settle_peak(peak_number);
        account
    }

    /// Adds an allocation, or the new half of a realloc.
    pub(super) fn allocated(&mut self, at_ns: u64, row: u32, stack: u32, size: u64) {
        let account = self.row(row);
        account.total_blocks += 1;
        account.total_bytes = account.total_bytes.saturating_add(size);
        let site = self.site(stack);
        site.site.total_blocks += 1;
        site.site.total_bytes = site.site.total_bytes.saturating_add(size);
        site.site.own_peak_bytes = site.site.own_peak_bytes.max(site.site.live_bytes());
        site.sizes[bucket_of(size)] += 1;
        let totals = &mut self.totals;
        totals.total_blocks += 1;
        totals.total_bytes = totals.total_bytes.saturating_add(size);
        totals.live_blocks += 1;
        totals.live_bytes = totals.live_bytes.saturating_add(size);
        let live = *totals;
        if live.live_bytes > self.peak.bytes {
            self.peak =
                Peak { bytes: live.live_bytes, blocks: live.live_blocks, at_ns, uncertainty_bytes: 0 };
            self.peak_number += 1;
        }
        let interval = self.interval(at_ns);
        interval.allocated_blocks += 1;
        interval.allocated_bytes = interval.allocated_bytes.saturating_add(size);
        interval.peak_bytes = interval.peak_bytes.max(live.live_bytes);
    }

    fn lower(&mut self, at_ns: u64, row: u32, block: &Block) {
        let account = self.row(row);
        account.freed_blocks += 1;
        account.freed_bytes = account.freed_bytes.saturating_add(block.size);
        let site = self.site(block.stack);
        site.site.freed_blocks += 1;
        site.site.freed_bytes = site.site.freed_bytes.saturating_add(block.size);
        let before = self.totals.live_bytes;
        let totals = &mut self.totals;
        totals.freed_blocks += 1;
        totals.freed_bytes = totals.freed_bytes.saturating_add(block.size);
        totals.live_blocks = totals.live_blocks.saturating_sub(1);
        totals.live_bytes = totals.live_bytes.saturating_sub(block.size);
        let interval = self.interval(at_ns);
        interval.peak_bytes = interval.peak_bytes.max(before);
        interval.freed_blocks += 1;
        interval.freed_bytes = interval.freed_bytes.saturating_add(block.size);
    }

    /// Adds the end of a block.
    pub(super) fn freed(&mut self, at_ns: u64, row: u32, block: &Block) {
        self.lower(at_ns, row, block);
        let is_crossing = row != block.row;
        let allocs = self.row(row).allocs;
        let is_temporary = !is_crossing && allocs.wrapping_sub(block.number) <= TEMPORARY_ALLOCS;
        self.row(row).cross_thread_frees += u64::from(is_crossing);
        let site = self.site(block.stack);
        site.lifetimes[bucket_of(at_ns.saturating_sub(block.born_ns))] += 1;
        let site = &mut site.site;
        site.cross_thread_frees += u64::from(is_crossing);
        if is_temporary {
            site.temporary_blocks += 1;
            site.temporary_bytes = site.temporary_bytes.saturating_add(block.size);
        }
        if block.reallocs > 0 {
            site.reallocs.chains += 1;
            site.reallocs.chain_links += u64::from(block.reallocs);
            site.reallocs.longest_chain = site.reallocs.longest_chain.max(u64::from(block.reallocs));
        }
    }

    /// Adds the old half of a realloc.
    pub(super) fn replaced(&mut self, at_ns: u64, row: u32, block: &Block) {
        self.lower(at_ns, row, block);
    }

    /// Counts a realloc to the stack that made it. `copied` are the bytes that it moved, if it moved any.
    pub(super) fn reallocated(&mut self, stack: u32, copied: Option<u64>) {
        self.totals.reallocs += 1;
        let reallocs = &mut self.site(stack).site.reallocs;
        reallocs.count += 1;
        if let Some(bytes) = copied {
            reallocs.moved += 1;
            reallocs.copied_bytes = reallocs.copied_bytes.saturating_add(bytes);
        }
    }

    /// The sites, by stack.
    pub(super) fn sites(&mut self) -> Vec<Site> {
        let peak_number = self.peak_number;
        let mut sites: Vec<Site> = (self.sites.values_mut())
            .map(|account| {
                account.settle_peak(peak_number);
                let mut site = account.site.clone();
                site.sizes = Histogram::from_counts(&account.sizes);
                site.lifetimes = Histogram::from_counts(&account.lifetimes);
                site
            })
            .collect();
        sites.sort_by_key(|site| site.stack);
        sites
    }
}

impl SiteAccount {
    /// If there was a new peak since the site was last touched, its figures then are those of now.
    fn settle_peak(&mut self, number: u64) {
        if self.peak_number != number {
            self.peak_number = number;
            self.site.at_peak_bytes = self.site.live_bytes();
            self.site.at_peak_blocks = self.site.live_blocks();
        }
    }
}

/// A count of reallocs, one higher.
pub(super) fn one_more(reallocs: u8) -> u8 {
    reallocs.saturating_add(1).min(REALLOCS_MAX)
}
