//! The blocks of a trace, each with its start and its end.
//!
//! A realloc ends a block and starts the next block, as in the totals. So the number of blocks is the `total_blocks` of
//! the run, and the sum of their sizes is `total_bytes`.

use std::io::{self, Read, Seek};

use super::order::in_order;
use super::reader::Trace;
use super::replay::PATIENCE_NS;
use crate::replay::{Block, BlockKind, End, Heap, Sums};

/// A block of the program, from the allocation or realloc that started it to the realloc or free that ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockLife {
    /// Address of the block.
    pub address: u64,
    /// Requested size of the block, in bytes.
    pub size: u64,
    /// Time of the first allocation, before all reallocs, in nanoseconds since the start.
    pub born_ns: u64,
    /// Time of the allocation or realloc that started the block, in nanoseconds since the start.
    pub started_ns: u64,
    /// Number of the block's stack.
    pub stack: u32,
    /// Number of the row of the thread that allocated or reallocated the block.
    pub thread: u32,
    /// Base-2 logarithm of the alignment.
    pub align_log2: u8,
    /// Number of reallocs before this block (counted up to 31).
    pub reallocs: u8,
    /// The end of the block. `None` if the block was live at the end of the trace.
    pub end: Option<BlockEnd>,
}

/// The end of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockEnd {
    /// Time of the end, in nanoseconds since the start.
    pub at_ns: u64,
    /// Number of the row of the thread that ended the block.
    pub thread: u32,
    /// Whether a realloc ended the block. Otherwise a free ended it.
    pub by_realloc: bool,
}

/// Calls `each` with every block of the program in a trace: first the blocks that ended, in the order of their ends,
/// then the blocks that were live at the end of the trace, in the order of their first allocations. Sampled blocks and
/// blocks of heapledger are left out. Calls `passed` with the offset of each frame in the file before the frame is
/// read.
///
/// # Errors
///
/// Returns an error if the file cannot be read.
pub fn block_lives<R: Read + Seek>(
    trace: &mut Trace<R>,
    passed: impl FnMut(u64),
    each: impl FnMut(&BlockLife),
) -> io::Result<()> {
    let mut heap = Heap::new(Lives { each }, PATIENCE_NS);
    in_order(trace, u64::MAX, passed, |dated| heap.apply(dated))?;
    heap.finish();
    let mut live: Vec<(u64, Block)> = heap.blocks.iter().map(|(address, block)| (address, *block)).collect();
    live.sort_unstable_by_key(|(address, block)| (block.born_ns, *address));
    for (address, block) in live.iter().filter(|(_, block)| block.kind == BlockKind::Program) {
        (heap.sums.each)(&life(*address, block, None));
    }
    Ok(())
}

/// Receives the starts and ends of blocks from the replay, and calls `each` with a block when the block ends.
struct Lives<F> {
    each: F,
}

impl<F: FnMut(&BlockLife)> Sums for Lives<F> {
    fn started(&mut self, _: u64, _: &mut Block) {}

    fn ended(&mut self, at_ns: u64, block: &Block, end: End) {
        if block.kind == BlockKind::Program {
            let ended = BlockEnd { at_ns, thread: end.row, by_realloc: end.by_realloc };
            (self.each)(&life(end.address, block, Some(ended)));
        }
    }

    fn reallocated(&mut self, _: Option<&Block>, _: &Block, _: bool) {}
}

fn life(address: u64, block: &Block, end: Option<BlockEnd>) -> BlockLife {
    BlockLife {
        address,
        size: block.size,
        born_ns: block.born_ns,
        started_ns: block.started_ns,
        stack: block.stack,
        thread: block.row,
        align_log2: block.align_log2,
        reallocs: block.reallocs,
        end,
    }
}
