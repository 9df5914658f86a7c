//! The table of threads: one row for each thread, in the order of their first event.
//!
//! While a thread runs, its figures are in the counters of its lane, and its row holds only its name and times. When
//! the thread ends, its share of the counters is added to the row, and another thread may take over the lane. When the
//! table is full, further threads share the last row.
//!
//! Invariant **R1**: the run of rows is as long as the table and is never given back. The pages of the rows below the
//! count, and of the shared row, are accessible.

use super::entry::{ROW_OF_OTHERS, ROWS_MAX};
use super::fold_state::LaneFigures;
use crate::profile::LossReason;
use crate::sys::pages::{For, PAGE_BYTES, Pages};
use crate::sys::sync::{AtomicU32, AtomicU64, Ordering};

const ROWS_PAGES: u32 = (ROWS_MAX as usize * size_of::<Row>()).div_ceil(PAGE_BYTES) as u32;
/// Maximum number of pages that hold one row.
const ROW_PAGES: u32 = 2;
const ROWS_A_PAGE: u32 = (PAGE_BYTES / size_of::<Row>()) as u32;

/// Number of bytes that a row has for the name of its thread, including a final zero byte.
pub(crate) const NAME_BYTES: usize = 48;
/// Length of the longest name that the system keeps for a thread, in bytes.
const SYSTEM_NAME_BYTES: usize = 15;

/// The table of rows. All zero bytes are a valid start.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Rows {
    page: AtomicU32,
    count: AtomicU32,
}

/// A row of one thread, or of several threads together.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) os_id: AtomicU64,
    name: [AtomicU64; NAME_BYTES / 8],
    pub(crate) started_ns: AtomicU64,
    /// Time of the thread's end in nanoseconds, or 0 while the thread runs.
    pub(crate) ended_ns: AtomicU64,
    /// Number of threads that have this row.
    pub(crate) threads: AtomicU32,
    pub(crate) own: AtomicU32,
    /// Sums of the events of ended threads. They also include frees that folds of other lanes have paired with their
    /// blocks.
    pub(crate) figures: RowFigures,
}

/// The sums of a row.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct RowFigures {
    pub(crate) attempted: AtomicU64,
    pub(crate) recorded: AtomicU64,
    pub(crate) total_blocks: AtomicU64,
    pub(crate) total_bytes: AtomicU64,
    pub(crate) freed_blocks: AtomicU64,
    pub(crate) freed_bytes: AtomicU64,
    pub(crate) cross_thread_frees: AtomicU64,
    pub(crate) lost: [AtomicU64; LossReason::COUNT],
}

impl Rows {
    pub(crate) fn open(&self, pages: &Pages) -> bool {
        let Some(page) = pages.take_sparse(ROWS_PAGES) else {
            return false;
        };
        // relaxed: published with the ledger.
        self.page.store(page, Ordering::Relaxed);
        self.reach(pages, ROW_OF_OTHERS)
    }

    /// Makes the pages of a row accessible. Returns whether they are accessible.
    fn reach(&self, pages: &Pages, row: u32) -> bool {
        pages.reach(self.page() + (row as usize * size_of::<Row>() / PAGE_BYTES) as u32, ROW_PAGES)
    }

    /// Returns the number of the next unused row, or of the shared row if no other row is left.
    pub(crate) fn next(&self, pages: &Pages) -> u32 {
        // relaxed: only the number matters. A row is accessible before the count includes it, and its thread fills the
        // row before another thread learns its number.
        let taken = self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            (count < ROW_OF_OTHERS && self.reach(pages, count)).then_some(count + 1)
        });
        match taken {
            Ok(row) => {
                if row.is_multiple_of(ROWS_A_PAGE) {
                    pages.hold(1, For::Tables);
                }
                row
            }
            Err(_) => ROW_OF_OTHERS,
        }
    }

    /// Returns the number of rows given out, without the shared row.
    pub(crate) fn count(&self) -> u32 {
        // relaxed: a bound.
        self.count.load(Ordering::Relaxed)
    }

    /// Returns the page of the rows.
    pub(crate) fn page(&self) -> u32 {
        // relaxed: written before the ledger was published.
        self.page.load(Ordering::Relaxed)
    }

    pub(crate) fn get<'a>(&self, pages: &'a Pages, row: u32) -> &'a Row {
        // relaxed: written before the ledger was published.
        let rows = pages.at(self.page.load(Ordering::Relaxed)).cast::<Row>();
        // SAFETY: R1, the run has a row for every number below ROWS_MAX and is never given back; all fields are
        // atomics, and all zero bytes are a valid row.
        unsafe { &*rows.add((row % ROWS_MAX) as usize) }
    }
}

impl Row {
    /// Stores the name of the thread, cut to the bytes that fit.
    pub(crate) fn set_name(&self, name: &[u8]) {
        let mut text = [0; NAME_BYTES];
        for (byte, from) in text[..NAME_BYTES - 1].iter_mut().zip(name.iter().take_while(|byte| **byte != 0))
        {
            *byte = *from;
        }
        for (cell, bytes) in self.name.iter().zip(text.chunks_exact(8)) {
            // relaxed: a name for display, which needs no ordering.
            cell.store(u64::from_le_bytes(bytes.try_into().unwrap_or_default()), Ordering::Relaxed);
        }
    }

    /// Stores the name that the system has for the thread now, unless that name is only the start of the stored name,
    /// cut by the system.
    pub(crate) fn set_system_name(&self, name: &[u8]) {
        let length = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        let name = &name[..length];
        if length < SYSTEM_NAME_BYTES || !self.name().starts_with(name) {
            self.set_name(name);
        }
    }

    /// Returns the name of the thread, terminated by a zero byte.
    pub(crate) fn name(&self) -> [u8; NAME_BYTES] {
        let mut name = [0; NAME_BYTES];
        for (cell, bytes) in self.name.iter().zip(name.chunks_exact_mut(8)) {
            // relaxed: a name for display, which needs no ordering.
            bytes.copy_from_slice(&cell.load(Ordering::Relaxed).to_le_bytes());
        }
        name
    }
}

impl RowFigures {
    /// Adds a thread's share of its lane's counters.
    pub(crate) fn add(&self, share: &LaneFigures) {
        let sums = [
            (&self.attempted, share.attempted),
            (&self.recorded, share.recorded),
            (&self.total_blocks, share.total_blocks),
            (&self.total_bytes, share.total_bytes),
            (&self.freed_blocks, share.freed_blocks),
            (&self.freed_bytes, share.freed_bytes),
            (&self.cross_thread_frees, share.cross_thread_frees),
        ];
        for (sum, value) in sums.into_iter().chain(self.lost.iter().zip(share.lost)) {
            // relaxed: statistics, which need no ordering.
            sum.fetch_add(value, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_the_system_has_cut_does_not_replace_the_whole_one() {
        // SAFETY: R1, all zero bytes are a valid row.
        let row: Row = unsafe { std::mem::zeroed() };
        let name = || {
            let name = row.name();
            let length = name.iter().position(|byte| *byte == 0).unwrap();
            String::from_utf8_lossy(&name[..length]).into_owned()
        };
        row.set_system_name(b"main\0");
        assert_eq!(name(), "main");
        row.set_name(b"tokio-runtime-worker");
        row.set_system_name(b"tokio-runtime-w\0");
        assert_eq!(name(), "tokio-runtime-worker");
        row.set_system_name(b"tokio\0");
        assert_eq!(name(), "tokio");
        row.set_name(&[b'x'; 100]);
        assert_eq!(name().len(), NAME_BYTES - 1);
    }
}
