//! The number of remote frees of each pair of threads: the thread that allocated the blocks, and the thread that freed
//! them.
//!
//! The table is an open-addressed hash table of fixed size. It has no latch: a pair claims a cell by one atomic
//! exchange and keeps the cell for ever. Pairs that find no cell within [`PROBES`] steps are counted together in one
//! further cell. A fold adds consecutive remote frees of one pair together.

use super::table::spread;
use crate::sys::sync::{AtomicU64, Ordering};

/// Maximum number of pairs of threads with a separate cell.
pub(crate) const REMOTE_FREE_PAIRS_MAX: usize = 1024;
/// Maximum number of cells that a search looks at.
const PROBES: usize = 16;

/// The table of pairs. All zero bytes are a valid, empty table.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct RemoteFreeTable {
    cells: [Cell; REMOTE_FREE_PAIRS_MAX],
    others: Cell,
}

/// Sums of the blocks that one thread allocated and another thread freed.
#[repr(C)]
#[derive(Debug)]
struct Cell {
    /// Row of the allocating thread plus one in the high half; row of the freeing thread in the low half.
    pair: AtomicU64,
    blocks: AtomicU64,
    bytes: AtomicU64,
}

/// A copy of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RemoteFreePair {
    pub(crate) allocated_by: u32,
    pub(crate) freed_by: u32,
    pub(crate) blocks: u64,
    pub(crate) bytes: u64,
}

impl RemoteFreeTable {
    /// Adds blocks that the thread of row `allocated_by` allocated and the thread of row `freed_by` freed.
    pub(crate) fn count(&self, allocated_by: u32, freed_by: u32, blocks: u64, bytes: u64) {
        let pair = (u64::from(allocated_by) + 1) << 32 | u64::from(freed_by);
        let first = (spread(pair) >> 40) as usize;
        let mut cells = (first..first + PROBES).map(|at| &self.cells[at % REMOTE_FREE_PAIRS_MAX]);
        let cell = cells.find(|cell| cell.is_or_becomes(pair)).unwrap_or(&self.others);
        // relaxed, both: statistics, which need no ordering.
        cell.blocks.fetch_add(blocks, Ordering::Relaxed);
        cell.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Returns every pair. The pairs without a cell are returned as one pair, with the row `row_of_others` for both
    /// threads.
    pub(crate) fn all(&self, row_of_others: u32) -> impl Iterator<Item = RemoteFreePair> + '_ {
        self.cells.iter().chain(std::iter::once(&self.others)).filter_map(move |cell| {
            // relaxed, all: statistics, which need no ordering.
            let pair = cell.pair.load(Ordering::Relaxed);
            let (allocated_by, freed_by) = match (pair >> 32) as u32 {
                0 => (row_of_others, row_of_others),
                row => (row - 1, pair as u32),
            };
            let (blocks, bytes) = (cell.blocks.load(Ordering::Relaxed), cell.bytes.load(Ordering::Relaxed));
            (blocks > 0).then_some(RemoteFreePair { allocated_by, freed_by, blocks, bytes })
        })
    }
}

impl Cell {
    /// Whether the cell belongs to the pair. An empty cell is claimed for the pair.
    fn is_or_becomes(&self, pair: u64) -> bool {
        // relaxed, both: nothing is published with the word.
        match self.pair.load(Ordering::Relaxed) {
            0 => {
                let taken = self.pair.compare_exchange(0, pair, Ordering::Relaxed, Ordering::Relaxed);
                taken.is_ok() || taken == Err(pair)
            }
            word => word == pair,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_is_counted_and_pairs_without_room_together() {
        // SAFETY: all zero bytes are a valid, empty table.
        let table = unsafe { Box::<RemoteFreeTable>::new_zeroed().assume_init() };
        for n in 0..3_000u32 {
            table.count(n / 50, n % 50, 1, u64::from(n));
            table.count(0, 1, 2, 4);
        }
        let all: Vec<RemoteFreePair> = table.all(77).collect();
        let sums = all.iter().fold((0, 0), |sum, cell| (sum.0 + cell.blocks, sum.1 + cell.bytes));
        assert_eq!(sums, (9_000, (0..3_000).sum::<u64>() + 12_000));
        let of = |pair| all.iter().find(|cell| (cell.allocated_by, cell.freed_by) == pair);
        assert_eq!(of((0, 1)).map(|cell| (cell.blocks, cell.bytes)), Some((6_001, 12_001)));
        assert!(
            all.len() > REMOTE_FREE_PAIRS_MAX / 2 && of((77, 77)).is_some_and(|cell| cell.blocks > 1_000)
        );
    }
}
