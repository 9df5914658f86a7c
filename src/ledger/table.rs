//! The hash table of one shard of the live table: open addressing over pages, with several entries allowed for one
//! address.
//!
//! Keys are separate from the rest of the entries, so that a probe reads eight keys per cache line. A search for a key
//! begins at its *home*, the high part of `hash × capacity`, so a table can have any capacity.
//!
//! Invariant **L1**: the run of pages of a table holds `capacity` keys and as many rests (the words of an entry after
//! its key). At least one key is 0, so that every probe ends. The whole run is accessed under the shard's latch only.

use super::entry::{Entry, Meta};
use crate::sys::compiler_barrier::compiler_barrier;
use crate::sys::pages::{PAGE_BYTES, Pages};

/// Bytes of an entry, including its key.
pub(super) const ENTRY_BYTES: usize = size_of::<Entry>();

/// The keys and rests of a shard's table, for the holder of its latch.
pub(super) struct Table {
    pub(super) keys: *mut u64,
    pub(super) rest: *mut [u64; 3],
    pub(super) capacity: usize,
}

impl Table {
    pub(super) fn at(pages: &Pages, page: u32, capacity: u32) -> Table {
        let keys = pages.at(page).cast::<u64>();
        Table { keys, rest: keys.wrapping_add(capacity as usize).cast(), capacity: capacity as usize }
    }

    fn key(&self, place: usize) -> u64 {
        debug_assert!(place < self.capacity);
        // SAFETY: L1, the place lies in the table's run, and the caller holds the latch.
        unsafe { self.keys.add(place).read() }
    }

    pub(super) fn read(&self, place: usize) -> Entry {
        // SAFETY: L1.
        let [size, at_ns, meta] = unsafe { self.rest.add(place).read() };
        Entry { address: self.key(place), size, at_ns, meta: Meta(meta) }
    }

    pub(super) fn write(&self, place: usize, entry: Entry) {
        debug_assert!(place < self.capacity);
        // SAFETY: L1. The key is cleared first and written last, and the compiler must keep this order. The table may
        // outlive the process in a file, and a reader of the file must not see a key with the rest of another entry.
        unsafe {
            self.keys.add(place).write_volatile(0);
            self.rest.add(place).write([entry.size, entry.at_ns, entry.meta.0]);
            compiler_barrier();
            self.keys.add(place).write_volatile(entry.address);
        }
    }

    /// Calls `visit` with every entry of an address. Returns the empty place that ends the probe.
    pub(super) fn each_at(&self, address: u64, mut visit: impl FnMut(usize, Entry)) -> usize {
        if self.capacity == 0 {
            return 0;
        }
        let mut place = home_of(address, self.capacity);
        loop {
            match self.key(place) {
                0 => return place,
                key if key == address => visit(place, self.read(place)),
                _ => {}
            }
            place = self.next(place);
        }
    }

    /// Returns the first entry of an address, with its place.
    #[inline(always)]
    pub(super) fn first_at(&self, address: u64) -> Option<(usize, Entry)> {
        if self.capacity == 0 {
            return None;
        }
        let mut place = home_of(address, self.capacity);
        loop {
            match self.key(place) {
                0 => return None,
                key if key == address => return Some((place, self.read(place))),
                _ => place = self.next(place),
            }
        }
    }

    /// Removes the entry that equals `entry`, wherever it is now: entries move when others are removed.
    pub(super) fn remove_entry(&self, entry: &Entry) {
        let mut found = None;
        self.each_at(entry.address, |place, other| {
            if other == *entry {
                found = Some(place);
            }
        });
        if let Some(place) = found {
            self.remove(place);
        }
    }

    /// Removes a waiting free. If its entry represents several equal frees, the entry represents one fewer afterwards.
    pub(super) fn remove_one(&self, waiting: &Entry) {
        let Some(left) = waiting.meta.more().checked_sub(1) else { return self.remove_entry(waiting) };
        let mut found = None;
        self.each_at(waiting.address, |place, other| {
            if other == *waiting {
                found = Some(place);
            }
        });
        if let Some(place) = found {
            self.write(place, Entry { meta: waiting.meta.with_more(left), ..*waiting });
        }
    }

    /// Returns the number of blocks at an address.
    pub(super) fn count_blocks(&self, address: u64) -> u32 {
        let mut count = 0;
        self.each_at(address, |_, entry| count += u32::from(!entry.meta.is_waiting()));
        count
    }

    /// Empties a place. Moves later entries back to fill the gap, so that no probe ends before its entry.
    pub(super) fn remove(&self, mut hole: usize) {
        let mut place = hole;
        loop {
            place = self.next(place);
            let key = self.key(place);
            if key == 0 {
                break;
            }
            let home = home_of(key, self.capacity);
            if self.distance(home, place) >= self.distance(hole, place) {
                self.write(hole, self.read(place));
                hole = place;
            }
        }
        self.write(hole, Entry::default());
    }

    /// Returns the first place of the unbroken sequence of used places that ends at `place`.
    pub(super) fn start_of_row(&self, place: usize) -> usize {
        let row = (0..place).rev().take_while(|before| self.key(*before) != 0);
        place - row.count()
    }

    fn next(&self, place: usize) -> usize {
        if place + 1 == self.capacity { 0 } else { place + 1 }
    }

    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.capacity - from }
    }
}

pub(super) fn pages_of(capacity: u32) -> u32 {
    (capacity as usize * ENTRY_BYTES).div_ceil(PAGE_BYTES) as u32
}

/// Returns a hash of a number: its product with 2⁶⁴ divided by the golden ratio, so neighbouring numbers get distant
/// hashes (Knuth, TAOCP volume 3, section 6.4).
#[inline(always)]
pub(super) fn spread(number: u64) -> u64 {
    number.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[inline(always)]
pub(super) fn home_of(address: u64, capacity: usize) -> usize {
    ((u128::from(spread(address)) * capacity as u128) >> 64) as usize
}
