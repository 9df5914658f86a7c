//! The sums of a replay: the same figures as in a ledger, for the blocks that were allocated in a span of time.

use crate::profile::{BUCKETS, HeapStats, Histogram, Interval, Peak, Site, bucket_of};
use crate::replay::{Block, BlockKind, End, Numbered, Sums};

/// Number of intervals of the timeline.
const INTERVALS: u64 = 512;

/// A part of a run, from one instant to a later instant. The later instant is not part of the span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Start of the span, in nanoseconds since the start of the run.
    pub from_ns: u64,
    /// End of the span (exclusive), in nanoseconds since the start of the run.
    pub to_ns: u64,
}

impl Span {
    /// The span of a whole run.
    pub const WHOLE: Span = Span { from_ns: 0, to_ns: u64::MAX };

    /// Whether the span is the whole run.
    pub fn is_whole(self) -> bool {
        self == Span::WHOLE
    }

    /// Whether the span contains an instant.
    pub(super) fn holds(self, at_ns: u64) -> bool {
        (self.from_ns..self.to_ns).contains(&at_ns)
    }
}

/// The figures of one stack.
#[derive(Debug, Clone)]
struct SiteSums {
    site: Site,
    sizes: [u64; BUCKETS],
    lifetimes: [u64; BUCKETS],
    /// Number of the peak to which the `at_peak` figures belong.
    peak_number: u64,
}

/// The figures of one thread.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RowSums {
    pub(super) events: u64,
    pub(super) total_blocks: u64,
    pub(super) total_bytes: u64,
    pub(super) freed_blocks: u64,
    pub(super) freed_bytes: u64,
    pub(super) cross_thread_frees: u64,
}

/// The figures of a span.
#[derive(Debug)]
pub(super) struct SpanSums {
    pub(super) span: Span,
    pub(super) totals: HeapStats,
    pub(super) peak: Peak,
    peak_number: u64,
    sites: Numbered<u32, SiteSums>,
    pub(super) rows: Numbered<u32, RowSums>,
    pub(super) intervals: Vec<Interval>,
    pub(super) interval_ns: u64,
    /// Number of events of heapledger's blocks.
    pub(super) own_events: u64,
    /// Number of events of sampled blocks.
    pub(super) sampled_events: u64,
    /// Number of frees of blocks from before the span, and bytes of these blocks.
    pub(super) earlier_frees: (u64, u64),
}

impl SpanSums {
    /// Returns empty sums for `span`, whose last event is at `end_ns`.
    pub(super) fn new(span: Span, end_ns: u64) -> SpanSums {
        SpanSums {
            span,
            totals: HeapStats::default(),
            peak: Peak::default(),
            peak_number: 0,
            sites: Numbered::default(),
            rows: Numbered::default(),
            intervals: Vec::new(),
            interval_ns: end_ns / INTERVALS + 1,
            own_events: 0,
            sampled_events: 0,
            earlier_frees: (0, 0),
        }
    }

    pub(super) fn row(&mut self, row: u32) -> &mut RowSums {
        self.rows.entry(row).or_default()
    }

    fn interval(&mut self, at_ns: u64) -> &mut Interval {
        let number = ((at_ns / self.interval_ns) as usize).min(INTERVALS as usize - 1);
        if self.intervals.len() <= number {
            self.intervals.resize(number + 1, Interval::default());
        }
        &mut self.intervals[number]
    }

    /// Returns the site of a stack, after updating its figures at the latest peak.
    fn site(&mut self, stack: u32) -> &mut SiteSums {
        let peak_number = self.peak_number;
        let sums = self.sites.entry(stack).or_insert_with(|| SiteSums {
            site: Site { stack, ..Site::default() },
            sizes: [0; BUCKETS],
            lifetimes: [0; BUCKETS],
            peak_number,
        });
        sums.update_peak(peak_number);
        sums
    }

    /// Adds an allocation, or the new half of a realloc.
    fn raise(&mut self, at_ns: u64, &Block { row, stack, size, .. }: &Block) {
        let thread = self.row(row);
        thread.total_blocks += 1;
        thread.total_bytes = thread.total_bytes.saturating_add(size);
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

    /// Adds a free, or the old half of a realloc, by thread `row`.
    fn lower(&mut self, at_ns: u64, row: u32, block: &Block) {
        let thread = self.row(row);
        thread.freed_blocks += 1;
        thread.freed_bytes = thread.freed_bytes.saturating_add(block.size);
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

    /// Adds the figures of a block that are known once it is freed.
    fn end_life(&mut self, at_ns: u64, block: &Block, end: End) {
        let is_remote = end.row != block.row;
        self.row(end.row).cross_thread_frees += u64::from(is_remote);
        let site = self.site(block.stack);
        site.lifetimes[bucket_of(at_ns.saturating_sub(block.born_ns))] += 1;
        let site = &mut site.site;
        site.cross_thread_frees += u64::from(is_remote);
        if end.is_temporary {
            site.temporary_blocks += 1;
            site.temporary_bytes = site.temporary_bytes.saturating_add(block.size);
        }
        if block.reallocs > 0 {
            site.reallocs.chains += 1;
            site.reallocs.chain_links += u64::from(block.reallocs);
            site.reallocs.longest_chain = site.reallocs.longest_chain.max(u64::from(block.reallocs));
        }
    }

    /// Returns the sites, sorted by stack.
    pub(super) fn sites(&mut self) -> Vec<Site> {
        let peak_number = self.peak_number;
        let mut sites: Vec<Site> = (self.sites.values_mut())
            .map(|sums| {
                sums.update_peak(peak_number);
                let mut site = sums.site.clone();
                site.sizes = Histogram::from_counts(&sums.sizes);
                site.lifetimes = Histogram::from_counts(&sums.lifetimes);
                site
            })
            .collect();
        sites.sort_by_key(|site| site.stack);
        sites
    }
}

impl Sums for SpanSums {
    fn started(&mut self, at_ns: u64, block: &mut Block) {
        block.counted = self.span.holds(at_ns);
        match block.kind {
            _ if !block.counted => {}
            BlockKind::Internal => self.own_events += 1,
            BlockKind::Sampled => self.sampled_events += 1,
            BlockKind::Program => self.raise(at_ns, block),
        }
    }

    fn ended(&mut self, at_ns: u64, block: &Block, end: End) {
        // A realloc is one event, which is counted when its new block starts.
        let events = u64::from(self.span.holds(at_ns) && !end.by_realloc);
        match block.kind {
            BlockKind::Internal => self.own_events += events,
            BlockKind::Sampled => self.sampled_events += events,
            BlockKind::Program if block.counted => {
                self.lower(at_ns, end.row, block);
                if !end.by_realloc {
                    self.end_life(at_ns, block, end);
                }
            }
            BlockKind::Program => {
                let ends_in_span = self.span.holds(at_ns);
                self.earlier_frees.0 += u64::from(ends_in_span);
                self.earlier_frees.1 += if ends_in_span { block.size } else { 0 };
            }
        }
    }

    fn reallocated(&mut self, before: Option<&Block>, block: &Block, moved: bool) {
        // The realloc of a block from before the span counts as an allocation in the span, and the old block is in no
        // figure.
        let is_counted = block.counted && before.is_none_or(|before| before.counted);
        if !is_counted || block.kind != BlockKind::Program {
            return;
        }
        self.totals.reallocs += 1;
        let reallocs = &mut self.site(block.stack).site.reallocs;
        reallocs.count += 1;
        if let Some(before) = before.filter(|before| moved && before.kind == BlockKind::Program) {
            reallocs.moved += 1;
            reallocs.copied_bytes = reallocs.copied_bytes.saturating_add(before.size.min(block.size));
        }
    }
}

impl SiteSums {
    /// Sets the figures at the latest peak to the current live figures, unless the site has changed since that peak.
    fn update_peak(&mut self, number: u64) {
        if self.peak_number != number {
            self.peak_number = number;
            self.site.at_peak_bytes = self.site.live_bytes();
            self.site.at_peak_blocks = self.site.live_blocks();
        }
    }
}
