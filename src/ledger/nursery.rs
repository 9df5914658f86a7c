//! The nursery of a lane: blocks that its thread has allocated and, most likely, will soon free.
//!
//! A direct-mapped table that only the lane's folder sees: an address has one place. Most blocks die young on the
//! thread that made them, so most frees find their block here and no shared state is touched. A block that another
//! one wants the place of has survived: it moves on to the shared table.
//!
//! The table starts inside the lane's own pages and grows when many blocks are pushed out, up to 4,096 entries.
//!
//! In a nursery, `Entry::size` has the size in its low 32 bits and the running number of the allocation in its high
//! ones, which tells how many allocations of the thread came after it.
//!
//! Invariant **N1**: a hash shifted by `shift` is below the number of entries; the table is touched under the latch of
//! its lane only.

use super::entry::Entry;
use crate::sys::pages::{PAGE_BYTES, Pages};

/// Entries of a lane's first nursery.
pub(crate) const YOUNGEST: usize = 64;
/// Entries of the largest nursery.
const ENTRIES_MAX: u32 = 4096;
/// The factor by which it grows.
const GROWTH: u32 = 8;

/// Where a lane's nursery lies. All zero bytes mean the first one.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Nursery {
    /// Page of the run; 0 while the first nursery, inside the books, is used.
    page: u32,
    /// Entries of that run.
    entries: u32,
    /// Blocks pushed out since the last growth.
    pub(crate) pushed_out: u32,
}

/// A nursery as a fold sees it.
#[derive(Clone, Copy)]
pub(crate) struct Places {
    start: *mut Entry,
    shift: u32,
}

impl Nursery {
    /// The page and the number of places of the nursery; page 0 stands for the first one.
    pub(crate) fn place(&self) -> (u32, u32) {
        (self.page, self.entries)
    }

    pub(crate) fn places(&self, pages: &Pages, first: *mut [Entry; YOUNGEST]) -> Places {
        let (start, entries) = match self.page {
            0 => (first.cast::<Entry>(), YOUNGEST as u32),
            page => (pages.at(page).cast::<Entry>(), self.entries),
        };
        Places { start, shift: u64::BITS - entries.trailing_zeros() }
    }

    /// Copies to a larger table if so many blocks were pushed out that it will pay, and returns that. A block whose new
    /// place is taken goes to `push_out`. The old table stays as it is, so that all blocks are in one of the two at any
    /// time.
    pub(crate) fn grow_if_crowded(
        &mut self,
        pages: &Pages,
        first: *mut [Entry; YOUNGEST],
        mut push_out: impl FnMut(Entry),
    ) -> Option<Nursery> {
        let entries = if self.page == 0 { YOUNGEST as u32 } else { self.entries };
        if self.pushed_out < 2 * entries || entries >= ENTRIES_MAX {
            return None;
        }
        let wanted = (entries * GROWTH).min(ENTRIES_MAX);
        self.pushed_out = 0;
        let Some(page) = pages.take(pages_of(wanted)) else {
            return None;
        };
        let larger = Nursery { page, entries: wanted, pushed_out: 0 };
        let (old, new) = (self.places(pages, first), larger.places(pages, first));
        for place in 0..entries as usize {
            let entry = old.at(place);
            if entry.address != 0 {
                if let Some(before) = new.occupant(entry.address) {
                    push_out(before);
                }
                new.settle(entry);
            }
        }
        Some(larger)
    }

    /// Gives up a table that a larger one has taken the place of.
    pub(crate) fn give_up(self, pages: &Pages, first: *mut [Entry; YOUNGEST]) {
        match self.page {
            // SAFETY: N1.
            0 => unsafe { first.write([Entry::default(); YOUNGEST]) },
            page => pages.give_back(page, pages_of(self.entries)),
        }
    }
}

impl Places {
    /// The place of an address.
    #[inline(always)]
    pub(crate) fn of(&self, address: u64) -> *mut Entry {
        let place = address.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> self.shift;
        self.start.wrapping_add(place as usize)
    }

    /// The block that is in the place of this address.
    #[inline(always)]
    pub(crate) fn occupant(&self, address: u64) -> Option<Entry> {
        let place = self.of(address);
        // SAFETY: N1, the place lies inside the table, which the lane's latch gives to us.
        unsafe { ((*place).address != 0).then(|| place.read()) }
    }

    /// Puts a block into its place, whatever was there.
    #[inline(always)]
    pub(crate) fn settle(&self, entry: Entry) {
        // SAFETY: N1.
        unsafe { self.of(entry.address).write(entry) };
    }

    /// Takes the block of this address out, if it is here.
    #[inline(always)]
    pub(crate) fn take(&self, address: u64) -> Option<Entry> {
        let place = self.of(address);
        // SAFETY: N1. An empty place is one whose address is 0, whatever else is left in it.
        unsafe {
            if (*place).address != address {
                return None;
            }
            let entry = place.read();
            (*place).address = 0;
            Some(entry)
        }
    }

    pub(crate) fn len(&self) -> usize {
        1 << (u64::BITS - self.shift)
    }

    pub(crate) fn at(&self, place: usize) -> Entry {
        debug_assert!(place < self.len());
        // SAFETY: N1.
        unsafe { self.start.add(place).read() }
    }

    pub(crate) fn put(&self, place: usize, entry: Entry) {
        debug_assert!(place < self.len());
        // SAFETY: N1.
        unsafe { self.start.add(place).write(entry) };
    }
}

/// The size of a block in a nursery, without the running number.
pub(crate) fn size_of_young(entry: &Entry) -> u64 {
    entry.size & u64::from(u32::MAX)
}

/// The same block as the shared table knows it.
pub(crate) fn grown_up(entry: Entry) -> Entry {
    Entry { size: size_of_young(&entry), ..entry }
}

fn pages_of(entries: u32) -> u32 {
    (entries as usize * size_of::<Entry>()).div_ceil(PAGE_BYTES) as u32
}
