//! The effect of each record on the blocks.

use super::blocks::{Block, Blocks, WaitingFree};
use super::numbered::Numbered;
use super::record::{BlockKind, BlockShape, Dated, Record, SizeBits};
use crate::profile::TEMPORARY_ALLOCS;

/// Maximum number of open reallocs of one thread. If there are more, the oldest is dropped, because its end is missing.
const OPEN_REALLOCS_MAX: usize = 8;
/// Maximum of the count of reallocs of one block, as in the ledger.
const REALLOCS_MAX: u8 = 31;

/// The end of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    /// Address of the block.
    pub(crate) address: u64,
    /// Row of the thread that ended the block.
    pub(crate) row: u32,
    /// Whether a realloc ended the block. Otherwise a free ended it.
    pub(crate) by_realloc: bool,
    /// Whether the thread of the block made no more than [`TEMPORARY_ALLOCS`] further allocations before the end.
    pub(crate) is_temporary: bool,
}

/// The figures that a replay computes.
pub(crate) trait Sums {
    /// Counts the start of a block, by an allocation or by a realloc. May change `block.counted`.
    fn started(&mut self, at_ns: u64, block: &mut Block);

    /// Counts the end of a block.
    fn ended(&mut self, at_ns: u64, block: &Block, end: End);

    /// Counts a realloc that replaced `before` by `block`. `before` is `None` if the old block was not found. `moved`
    /// tells whether the address changed.
    fn reallocated(&mut self, before: Option<&Block>, block: &Block, moved: bool);
}

/// A realloc that has begun but not ended.
#[derive(Debug, Clone, Copy)]
struct OpenRealloc {
    address: u64,
    size_bits: SizeBits,
    block: Option<Block>,
}

/// State of one thread.
#[derive(Debug, Default)]
struct Thread {
    /// Number of allocations so far, without reallocs.
    allocs: u32,
    open_reallocs: Vec<OpenRealloc>,
}

/// The heap after all records applied so far, and the sums over these records.
#[derive(Debug)]
pub(crate) struct Heap<S> {
    pub(crate) sums: S,
    pub(crate) blocks: Blocks,
    threads: Numbered<u32, Thread>,
    /// Number of frees that came before the allocation of their block.
    pub(crate) early_frees: u64,
    /// Number of frees that were paired with a block of another size.
    pub(crate) size_mismatches: u64,
}

impl<S: Sums> Heap<S> {
    /// Returns an empty heap, in which a free waits for its block for `patience_ns`.
    pub(crate) fn new(sums: S, patience_ns: u64) -> Heap<S> {
        let (blocks, threads) = (Blocks::new(patience_ns), Numbered::default());
        Heap { sums, blocks, threads, early_frees: 0, size_mismatches: 0 }
    }

    /// Applies the next record. The records of one thread must come in the order in which the thread wrote them.
    pub(crate) fn apply(&mut self, dated: &Dated) {
        let Dated { at_ns, row, record } = *dated;
        match record {
            Record::Alloc { address, shape } => {
                let mut block = self.allocated(at_ns, row, shape);
                self.sums.started(at_ns, &mut block);
                self.put(at_ns, address, block);
            }
            Record::Free { address, size_bits } => match self.blocks.take(address, size_bits) {
                Some(block) => self.end(at_ns, row, address, &block, false),
                None => self.blocks.wait(address, WaitingFree { at_ns, row, size_bits, by_realloc: false }),
            },
            // From this record on, the allocator may give the address to another thread.
            Record::ReallocBegins { address, size_bits } => {
                let block = self.blocks.take(address, size_bits);
                let open = &mut self.threads.entry(row).or_default().open_reallocs;
                if open.len() >= OPEN_REALLOCS_MAX {
                    open.remove(0);
                }
                open.push(OpenRealloc { address, size_bits, block });
            }
            Record::ReallocEnds { old_address, address, shape } => {
                self.reallocated(at_ns, row, old_address, address, shape);
            }
            Record::ReallocRefused { address } => {
                if let Some(OpenRealloc { block: Some(block), .. }) = self.close_realloc(row, address) {
                    self.put(at_ns, address, block);
                }
            }
            Record::ThreadStarts | Record::ThreadEnds => {}
        }
    }

    /// Returns the block that an allocation makes.
    pub(crate) fn allocated(&mut self, at_ns: u64, row: u32, shape: BlockShape) -> Block {
        let thread = self.threads.entry(row).or_default();
        thread.allocs = thread.allocs.wrapping_add(1);
        Block {
            size: shape.size,
            born_ns: at_ns,
            started_ns: at_ns,
            stack: shape.stack,
            row,
            number: thread.allocs,
            align_log2: shape.align_log2(),
            reallocs: 0,
            kind: shape.kind(),
            counted: true,
        }
    }

    fn end(&mut self, at_ns: u64, row: u32, address: u64, block: &Block, by_realloc: bool) {
        let allocs = self.threads.get(&row).map_or(0, |thread| thread.allocs);
        let is_temporary = row == block.row && allocs.wrapping_sub(block.number) <= TEMPORARY_ALLOCS;
        self.sums.ended(at_ns, block, End { address, row, by_realloc, is_temporary });
    }

    /// Adds a block. If a free waited for the block, ends the block instead.
    fn put(&mut self, at_ns: u64, address: u64, block: Block) {
        if let Some(free) = self.blocks.put(address, block) {
            self.early_frees += 1;
            self.end(at_ns.max(free.at_ns), free.row, address, &block, free.by_realloc);
        }
    }

    fn close_realloc(&mut self, row: u32, address: u64) -> Option<OpenRealloc> {
        let open = &mut self.threads.get_mut(&row)?.open_reallocs;
        let place = open.iter().rposition(|realloc| realloc.address == address)?;
        Some(open.remove(place))
    }

    fn reallocated(&mut self, at_ns: u64, row: u32, old: u64, address: u64, shape: BlockShape) {
        let before = match self.close_realloc(row, old) {
            Some(open) => {
                if open.block.is_none() {
                    let size_bits = open.size_bits;
                    self.blocks.wait(old, WaitingFree { at_ns, row, size_bits, by_realloc: true });
                }
                open.block
            }
            // The record with which the realloc began is missing.
            None => self.blocks.take_where(old, |_| true),
        };
        if let Some(before) = &before {
            self.end(at_ns, row, old, before, true);
        }
        let allocs = self.threads.entry(row).or_default().allocs;
        let mut block = Block {
            size: shape.size,
            born_ns: before.map_or(at_ns, |before| before.born_ns),
            started_ns: at_ns,
            stack: shape.stack,
            row,
            // If the old block was not found, the new block counts as too old to be temporary.
            number: before.map_or(allocs.wrapping_sub(TEMPORARY_ALLOCS + 1), |before| before.number),
            align_log2: shape.align_log2(),
            reallocs: before.map_or(0, |before| before.reallocs).saturating_add(1).min(REALLOCS_MAX),
            // A realloc replaces a sampled block by a block that is recorded exactly.
            kind: match before.map_or(shape.kind(), |before| before.kind) {
                BlockKind::Internal => BlockKind::Internal,
                BlockKind::Program | BlockKind::Sampled => BlockKind::Program,
            },
            counted: true,
        };
        self.sums.started(at_ns, &mut block);
        self.sums.reallocated(before.as_ref(), &block, old != address);
        self.put(at_ns, address, block);
    }

    /// Ends the replay: pairs the remaining frees and blocks, and puts back the blocks of reallocs that did not end.
    pub(crate) fn finish(&mut self) {
        for (address, block, free) in self.blocks.pair_left_over() {
            self.size_mismatches += u64::from(!free.size_bits.agree_with(block.size));
            self.end(free.at_ns.max(block.born_ns), free.row, address, &block, free.by_realloc);
        }
        for open in std::mem::take(&mut self.threads).into_values().flat_map(|thread| thread.open_reallocs) {
            if let Some(block) = open.block {
                self.put(block.born_ns, open.address, block);
            }
        }
    }
}
