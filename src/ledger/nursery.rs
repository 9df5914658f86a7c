//! The nursery of a lane: blocks that its thread has allocated and, most likely, will soon free.
//!
//! A table that only the lane's folder sees, in which an address has two places, side by side in one cache line. Most
//! blocks die young on the thread that made them, so most frees find their block here and no shared state is touched. A
//! block that finds both its places taken pushes the older one out: that has survived, and moves on to the shared table.
//!
//! Neighbours in memory are neighbours here: blocks that were allocated one after the other often lie one behind the other,
//! and are freed so, and then the processor fetches their places before they are asked for. Each stretch of memory as
//! long as the table begins at a place of its own, so that blocks at equal distances do not meet.
//!
//! The table starts inside the lane's own pages and grows when many blocks are pushed out, up to 32,768 entries. Where
//! even that many are of little use, because far more blocks live than have room, it is made small again for a while: a
//! table that fits the processor's cache costs such a program less.
//!
//! In a nursery, `Entry::size` has the size in its low 32 bits and the running number of the allocation in its high
//! ones, which tells how many allocations of the thread came after it.
//!
//! Invariant **N1**: a place is below the number of entries, a power of two; the table is touched under the latch of its
//! lane only. **N2**: an address is in it once at most.

use super::entry::Entry;
use crate::sys::pages::{PAGE_BYTES, Pages};

/// Entries of a lane's first nursery.
pub(crate) const YOUNGEST: usize = 64;
/// Entries of the largest nursery.
const ENTRIES_MAX: u32 = 32_768;
/// Bytes of memory for each place, as a power of two: few allocators put blocks closer together.
const GRAIN_SHIFT: u32 = 4;
/// The factor by which it grows.
const GROWTH: u32 = 8;
/// Entries of a nursery that was made small again.
const ENTRIES_SMALL: u32 = 512;
/// Allocations for each entry, after which it is seen whether the size is right.
const ALLOCS_SEEN: u32 = 8;
/// How often a nursery that was made small is looked at before it may grow again; unless fewer blocks than before are
/// pushed out, for then the program does something else now.
const LOOKS_AT_REST: u32 = 32;

/// Where a lane's nursery lies. All zero bytes mean the first one.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Nursery {
    /// Page of the run; 0 while the first nursery, inside the books, is used.
    page: u32,
    /// Entries of that run.
    entries: u32,
    /// Blocks pushed out since the size was last looked at.
    pub(crate) pushed_out: u32,
    /// The running number of the allocation at which that was.
    seen_at: u32,
    /// How often it is to be looked at before it may grow.
    at_rest: u32,
}

/// A nursery as a fold sees it.
#[derive(Clone, Copy)]
pub(crate) struct Places {
    start: *mut Entry,
    /// Entries, less one.
    mask: u64,
    /// Bits of an address that tell places in one stretch of memory apart, and the grain.
    stretch_shift: u32,
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
        let mask = u64::from(entries) - 1;
        Places { start, mask, stretch_shift: GRAIN_SHIFT + entries.trailing_zeros() }
    }

    /// Looks at the size, now and then, and says how many entries there should be if it is not right. `allocs` is the
    /// running number of the last allocation.
    #[inline]
    pub(crate) fn look(&mut self, allocs: u32) -> Option<u32> {
        let entries = if self.page == 0 { YOUNGEST as u32 } else { self.entries };
        let seen = allocs.wrapping_sub(self.seen_at);
        // The largest is seen through sooner: it costs the most where it is of no use.
        let enough = if entries < ENTRIES_MAX { ALLOCS_SEEN * entries } else { 2 * entries };
        let is_crowded = self.pushed_out >= ALLOCS_SEEN * entries / 4;
        if seen < enough && !(is_crowded && entries < ENTRIES_MAX && self.at_rest == 0) {
            return None;
        }
        let is_useless = self.pushed_out > seen / 8 * 7;
        (self.seen_at, self.pushed_out) = (allocs, 0);
        if entries < ENTRIES_MAX {
            let may_grow = self.at_rest == 0;
            self.at_rest = if is_useless { self.at_rest.saturating_sub(1) } else { 0 };
            return (is_crowded && may_grow).then(|| (entries * GROWTH).min(ENTRIES_MAX));
        }
        self.at_rest = if is_useless { LOOKS_AT_REST } else { 0 };
        is_useless.then_some(ENTRIES_SMALL)
    }

    /// Copies to a table of another size, and returns that. A block that finds both its new places taken pushes one out,
    /// which goes to `push_out`. The old table stays as it is, so that all blocks are in one of the two at any time.
    pub(crate) fn resized(
        &self,
        pages: &Pages,
        first: *mut [Entry; YOUNGEST],
        wanted: u32,
        mut push_out: impl FnMut(Entry),
    ) -> Option<Nursery> {
        let resized = Nursery { page: pages.take(pages_of(wanted))?, entries: wanted, ..*self };
        let (old, new) = (self.places(pages, first), resized.places(pages, first));
        for place in 0..old.len() {
            let entry = old.at(place);
            if entry.address != 0 {
                let place = new.for_block(entry.address);
                if let Some(before) = new.occupant(place) {
                    push_out(before);
                }
                new.put(place, entry);
            }
        }
        Some(resized)
    }

    /// Gives up a table that another one has taken the place of.
    pub(crate) fn give_up(self, pages: &Pages, first: *mut [Entry; YOUNGEST]) {
        match self.page {
            // SAFETY: N1.
            0 => unsafe { first.write([Entry::default(); YOUNGEST]) },
            page => pages.give_back(page, pages_of(self.entries)),
        }
    }
}

impl Places {
    /// The first place of an address. The second differs in the last bit.
    #[inline(always)]
    fn of(&self, address: u64) -> usize {
        let stretch = (address >> self.stretch_shift).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        ((address >> GRAIN_SHIFT).wrapping_add(stretch) & self.mask) as usize
    }

    fn address_at(&self, place: usize) -> u64 {
        // SAFETY: N1, the place lies inside the table, which the lane's latch gives to us.
        unsafe { (*self.start.add(place)).address }
    }

    /// The place for a block that was just allocated: that of a block that is there under the same address, else one that
    /// is free, else that of the older one.
    #[inline(always)]
    pub(crate) fn for_block(&self, address: u64) -> usize {
        let first = self.of(address);
        let second = first ^ 1;
        match (self.address_at(first), self.address_at(second)) {
            (_, there) if there == address => second,
            (0, _) => first,
            (there, _) if there == address => first,
            (_, 0) => second,
            _ => self.older(first, second),
        }
    }

    /// Of two blocks the one with the lower running number. The numbers wrap.
    fn older(&self, first: usize, second: usize) -> usize {
        let number = |place| number_of_young(self.look_at(place));
        let is_younger = number(first).wrapping_sub(number(second)) < u32::MAX / 2;
        if is_younger { second } else { first }
    }

    /// The block that is in a place.
    #[inline(always)]
    pub(crate) fn occupant(&self, place: usize) -> Option<Entry> {
        (self.address_at(place) != 0).then(|| self.at(place))
    }

    /// The place of the block of this address, if it is here.
    #[inline(always)]
    pub(crate) fn find(&self, address: u64) -> Option<usize> {
        let first = self.of(address);
        let place = if self.address_at(first) == address { first } else { first ^ 1 };
        (self.address_at(place) == address).then_some(place)
    }

    /// The block in a place.
    #[inline(always)]
    pub(crate) fn look_at(&self, place: usize) -> &Entry {
        debug_assert!(place < self.len());
        // SAFETY: N1; whoever writes to the table has no such borrow.
        unsafe { &*self.start.add(place) }
    }

    /// Empties a place and returns what was in it.
    #[inline(always)]
    pub(crate) fn empty(&self, place: usize) -> Entry {
        let entry = self.at(place);
        // SAFETY: N1. An empty place is one whose address is 0, whatever else is left in it.
        unsafe { (*self.start.add(place)).address = 0 };
        entry
    }

    /// Takes the block of this address out, if it is here.
    pub(crate) fn take(&self, address: u64) -> Option<Entry> {
        self.find(address).map(|place| self.empty(place))
    }

    pub(crate) fn len(&self) -> usize {
        self.mask as usize + 1
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

/// The running number of a block in a nursery.
pub(crate) fn number_of_young(entry: &Entry) -> u32 {
    (entry.size >> 32) as u32
}

/// The same block as the shared table knows it.
pub(crate) fn grown_up(entry: Entry) -> Entry {
    Entry { size: size_of_young(&entry), ..entry }
}

fn pages_of(entries: u32) -> u32 {
    (entries as usize * size_of::<Entry>()).div_ceil(PAGE_BYTES) as u32
}
