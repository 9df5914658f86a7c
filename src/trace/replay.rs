//! Records to the heap that they describe.
//!
//! A replay goes through the records in the order of their times and keeps the live blocks and the sums of a span. What
//! counts in a span is what was allocated in it: those blocks, their frees up to its end, and what is left of them then.
//! So `allocated − freed = live` holds for a span as it does for a whole run. A free of a block that is older than the
//! span is counted apart.

use std::io::{self, Read, Seek};

use super::account::{Account, one_more};
use super::columns::{Dated, Numbered};
use super::order::in_order;
use super::pairing::{Block, Blocks, Waiting};
use super::reader::Trace;
use super::record::{Record, Shape, SizeBits};

/// Reallocs that one thread can have under way; more mean that some never ended.
const UNDER_WAY_MAX: usize = 8;

/// A part of a run, in nanoseconds since the start: from the first instant on, up to but without the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Where it begins.
    pub from_ns: u64,
    /// Where it ends, exclusive.
    pub to_ns: u64,
}

impl Span {
    /// All of a run.
    pub const WHOLE: Span = Span { from_ns: 0, to_ns: u64::MAX };

    /// Whether it is all of a run.
    pub fn is_whole(self) -> bool {
        self == Span::WHOLE
    }

    fn holds(self, at_ns: u64) -> bool {
        (self.from_ns..self.to_ns).contains(&at_ns)
    }
}

/// What a replay came upon besides the sums.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Found {
    /// Records, those that are no events included.
    pub records: u64,
    /// Events of the span, heapledger's own included.
    pub events: u64,
    /// Of these, heapledger's own.
    pub own_events: u64,
    /// Of these, events of blocks that were sampled.
    pub sampled_events: u64,
    /// Allocations, frees, and reallocs that were carried out or refused, of all these events.
    pub allocs: u64,
    /// Frees.
    pub frees: u64,
    /// Reallocs that were carried out.
    pub reallocs: u64,
    /// Reallocs that were refused.
    pub refused: u64,
    /// Frees, in the span, of blocks that are older than the span, and their bytes.
    pub earlier_frees: u64,
    /// Bytes of those blocks.
    pub earlier_freed_bytes: u64,
    /// Blocks that were live where the span begins, and their bytes.
    pub live_before: u64,
    /// Bytes of those blocks.
    pub live_before_bytes: u64,
    /// Frees that found no block.
    pub unmatched_frees: u64,
    /// Blocks that lie where another one lives.
    pub overlapping_blocks: u64,
    /// Frees that said another size than their block has.
    pub other_sizes: u64,
    /// Blocks whose address another one still had, for a moment: times that are interpolated can be that far off.
    pub overlaps: u64,
    /// Frees that came before their block: the same.
    pub early_frees: u64,
    /// Time of the first and the last event.
    pub first_ns: u64,
    /// Time of the last event.
    pub last_ns: u64,
}

/// A realloc that has begun.
#[derive(Debug, Clone, Copy)]
struct Begun {
    address: u64,
    size_bits: SizeBits,
    block: Option<Block>,
}

/// A replay under way, or at its end.
#[derive(Debug)]
pub struct Replay {
    span: Span,
    pub(super) account: Account,
    pub(super) blocks: Blocks,
    under_way: Numbered<u32, Vec<Begun>>,
    found: Found,
    began: bool,
}

impl Replay {
    /// Replays a span. `passed` is told how many bytes of the file are behind, now and then.
    ///
    /// # Errors
    ///
    /// When the system refuses to read.
    pub fn of<R: Read + Seek>(
        trace: &mut Trace<R>,
        span: Span,
        passed: impl FnMut(u64),
    ) -> io::Result<Replay> {
        let last_ns = trace.frames().map(|frame| frame.head.last_ns).max().unwrap_or(0);
        let mut replay = Replay::new(span, last_ns.min(span.to_ns));
        in_order(trace, span.to_ns, passed, |dated| replay.see(dated))?;
        replay.end();
        Ok(replay)
    }

    pub(super) fn new(span: Span, end_ns: u64) -> Replay {
        Replay {
            span,
            account: Account::new(end_ns),
            blocks: Blocks::default(),
            under_way: Numbered::default(),
            found: Found { first_ns: u64::MAX, ..Found::default() },
            began: false,
        }
    }

    /// What it came upon.
    pub fn found(&self) -> Found {
        self.found
    }

    /// The span.
    pub fn span(&self) -> Span {
        self.span
    }

    /// Takes the next record.
    pub(super) fn see(&mut self, dated: &Dated) {
        let Dated { at_ns, row, record } = *dated;
        if !self.began && at_ns >= self.span.from_ns {
            self.begin();
        }
        self.found.records += 1;
        let counts = self.span.holds(at_ns);
        if record.is_event() && counts {
            self.found.events += 1;
            self.account.row(row).events += 1;
            self.found.first_ns = self.found.first_ns.min(at_ns);
            self.found.last_ns = self.found.last_ns.max(at_ns);
        }
        match record {
            Record::Alloc { address, shape } => {
                self.found.allocs += u64::from(counts);
                self.alloc(at_ns, row, address, shape);
            }
            Record::Free { address, size_bits } => {
                self.found.frees += u64::from(counts);
                self.free(at_ns, row, address, size_bits);
            }
            Record::ReallocBegins { address, size_bits } => self.realloc_begins(row, address, size_bits),
            Record::ReallocEnds { old_address, address, shape } => {
                self.found.reallocs += u64::from(counts);
                self.realloc_ends(at_ns, row, old_address, address, shape);
            }
            Record::ReallocRefused { address } => {
                self.found.refused += u64::from(counts);
                if let Some(Begun { block: Some(block), .. }) = self.begun(row, address) {
                    self.put(at_ns, address, block);
                }
            }
            Record::ThreadStarts | Record::ThreadEnds => {}
        }
    }

    /// Where the span begins: what lives now is from before it.
    fn begin(&mut self) {
        self.began = true;
        for (_, block) in self.blocks.iter().filter(|(_, block)| !block.apart) {
            self.found.live_before += 1;
            self.found.live_before_bytes = self.found.live_before_bytes.saturating_add(block.size);
        }
    }

    fn alloc(&mut self, at_ns: u64, row: u32, address: u64, shape: Shape) {
        let account = self.account.row(row);
        account.allocs = account.allocs.wrapping_add(1);
        let block = Block {
            size: shape.size,
            born_ns: at_ns,
            stack: shape.stack,
            row,
            number: account.allocs,
            align_log2: shape.align_log2(),
            reallocs: 0,
            apart: shape.is_excluded(),
            counted: self.span.holds(at_ns),
        };
        self.count_apart(&block, shape.is_own(), block.counted);
        if block.counted && !block.apart {
            self.account.allocated(at_ns, row, block.stack, block.size);
        }
        self.put(at_ns, address, block);
    }

    fn count_apart(&mut self, block: &Block, own: bool, counts: bool) {
        if block.apart && counts {
            *(if own { &mut self.found.own_events } else { &mut self.found.sampled_events }) += 1;
        }
    }

    /// Puts a block to its address, where its free may wait already.
    fn put(&mut self, at_ns: u64, address: u64, block: Block) {
        if let Some(free) = self.blocks.put(address, block) {
            self.found.early_frees += 1;
            self.end_block(at_ns.max(free.at_ns), free.row, &block, free.by_realloc);
        }
    }

    fn free(&mut self, at_ns: u64, row: u32, address: u64, size_bits: SizeBits) {
        match self.blocks.take(address, size_bits) {
            Some(block) => self.end_block(at_ns, row, &block, false),
            None => self.blocks.wait(address, Waiting { at_ns, row, size_bits, by_realloc: false }),
        }
    }

    fn end_block(&mut self, at_ns: u64, row: u32, block: &Block, by_realloc: bool) {
        let counts = self.span.holds(at_ns);
        if block.apart {
            // A realloc counted itself.
            self.found.own_events += u64::from(counts && !by_realloc);
        } else if !block.counted {
            self.found.earlier_frees += u64::from(counts);
            self.found.earlier_freed_bytes += if counts { block.size } else { 0 };
        } else if by_realloc {
            self.account.replaced(at_ns, row, block);
        } else {
            self.account.freed(at_ns, row, block);
        }
    }

    fn realloc_begins(&mut self, row: u32, address: u64, size_bits: SizeBits) {
        let block = self.blocks.take(address, size_bits);
        let under_way = self.under_way.entry(row).or_default();
        if under_way.len() >= UNDER_WAY_MAX {
            under_way.remove(0);
        }
        under_way.push(Begun { address, size_bits, block });
    }

    fn begun(&mut self, row: u32, address: u64) -> Option<Begun> {
        let under_way = self.under_way.get_mut(&row)?;
        let place = under_way.iter().rposition(|begun| begun.address == address)?;
        Some(under_way.remove(place))
    }

    fn realloc_ends(&mut self, at_ns: u64, row: u32, old: u64, address: u64, shape: Shape) {
        let begun = self.begun(row, old);
        let size_bits = begun.map(|begun| begun.size_bits);
        let before = begun.and_then(|begun| begun.block);
        let counted = self.span.holds(at_ns);
        let apart = before.map_or(shape.is_excluded(), |block| block.apart);
        let block = Block {
            size: shape.size,
            born_ns: before.map_or(at_ns, |block| block.born_ns),
            stack: shape.stack,
            row,
            number: before
                .map_or_else(|| self.account.row(row).allocs.wrapping_sub(64), |block| block.number),
            align_log2: shape.align_log2(),
            reallocs: one_more(before.map_or(0, |block| block.reallocs)),
            apart,
            counted,
        };
        self.count_apart(&block, true, counted);
        if let Some(before) = &before {
            self.end_block(at_ns, row, before, true);
        } else if let Some(size_bits) = size_bits {
            self.blocks.wait(old, Waiting { at_ns, row, size_bits, by_realloc: true });
        }
        if counted && !apart {
            self.account.allocated(at_ns, row, block.stack, block.size);
            // A block from before the span begins in it with its realloc: its old half is in no figure.
            if before.is_none_or(|before| before.counted) {
                let copied = before.filter(|_| old != address).map(|before| before.size.min(block.size));
                self.account.reallocated(block.stack, copied);
            }
        }
        self.put(at_ns, address, block);
    }

    fn end(&mut self) {
        if !self.began {
            self.begin();
        }
        for (block, free) in self.blocks.left_over() {
            self.found.other_sizes += 1;
            self.end_block(free.at_ns.max(block.born_ns), free.row, &block, free.by_realloc);
        }
        // A realloc that the span cuts in two has its old block still.
        let cut = std::mem::take(&mut self.under_way);
        for begun in cut.into_values().flatten() {
            if let Some(block) = begun.block {
                self.put(block.born_ns, begun.address, block);
            }
        }
        self.found.unmatched_frees = self.blocks.unmatched();
        self.found.overlapping_blocks = self.blocks.overlapping();
        self.found.overlaps = self.blocks.overlaps;
        if self.found.events == 0 {
            self.found.first_ns = 0;
        }
    }
}
