//! The shared side of the ledger: blocks that outlived their thread's nursery, and frees that wait for their block.
//!
//! 64 shards by address, each an open-addressed table of 32-byte entries behind its own latch (see `table`). It grows
//! by a quarter, and the load stays between 65 and 81 %: 39 to 49 bytes a block with the entry itself.
//!
//! An address can be in the table more than once for a while, because threads book at different times: the block
//! that a thread has just allocated there, next to an older one whose free is still in another thread's ring.
//!
//! [`LiveTable::free`] decides by time which block a free means, and counts when the clocks leave it open. The size
//! bits of the free must fit: with others it is far more likely that its block, or the end of the one that is there,
//! has not been booked yet. So it waits; one that still waits after a flush did give another size
//! ([`LiveTable::take_mix_ups`]).

use super::entry::{Entry, Meta, ROW_OF_OTHERS};
use super::table::{ENTRY_BYTES, Table, home_of, pages_of, spread};
use crate::sys::latch::Latch;
use crate::sys::pages::{PAGE_BYTES, Pages};
use crate::sys::sync::{AtomicU32, AtomicU64, Ordering};

/// Shards of the table. A power of two.
pub(crate) const SHARDS: usize = 64;
/// Blocks that share a shard: neighbours in 64 KiB.
const SHARD_SHIFT: u32 = 16;
/// Entries of a shard's first table: one page.
const CAPACITY_MIN: u32 = (PAGE_BYTES / ENTRY_BYTES) as u32;
/// Frees that may wait in one shard; more are counted as unmatched at once.
const WAITING_MAX: u32 = 1 << 16;

/// What became of an allocation that was brought to the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placed {
    /// It is live.
    Live,
    /// A free was already waiting for it.
    FreedBy(Entry),
    /// The table has reached its limit.
    Full,
}

/// What became of a free that was brought to the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freed {
    /// It ended this block.
    Block(Entry),
    /// It waits for its block.
    Waits,
    /// The table has reached its limit.
    Full,
}

/// Pairings that do not add up; single figures, rarely written.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Oddities {
    pub(crate) ambiguous: AtomicU64,
    pub(crate) layout_mismatches: AtomicU64,
    /// Frees of blocks that were left out by choice, and their bytes.
    pub(crate) skipped_frees: AtomicU64,
    pub(crate) skipped_freed_bytes: AtomicU64,
    /// Frees that found no room to wait.
    pub(crate) unmatched: AtomicU64,
}

/// All shards. All zero bytes are a valid, empty table.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct LiveTable {
    shards: [Shard; SHARDS],
    pub(crate) oddities: Oddities,
}

#[repr(C, align(64))]
#[derive(Debug)]
struct Shard {
    latch: Latch,
    capacity: AtomicU32,
    page: AtomicU32,
    len: AtomicU32,
    /// Frees that wait.
    waiting: AtomicU32,
    /// Blocks beyond the first at their address.
    overlaps: AtomicU32,
}

impl LiveTable {
    /// Brings an allocation to the table.
    pub(crate) fn place(&self, pages: &Pages, block: Entry) -> Placed {
        let shard = self.shard(block.address);
        let _taken = shard.latch.take();
        if !shard.make_room(pages) {
            return Placed::Full;
        }
        let table = shard.table(pages);
        let mut waiting: Option<(usize, Entry)> = None;
        let mut others = 0;
        let empty = table.each_at(block.address, |place, entry| {
            if !entry.meta.is_waiting() {
                others += 1;
            } else if can_be_end(&entry, &block) && waiting.is_none_or(|(_, best)| entry.at_ns < best.at_ns) {
                waiting = Some((place, entry));
            }
        });
        if let Some((place, free)) = waiting {
            self.count_doubt(others > 0 && free.at_ns < block.at_ns);
            table.remove(place);
            add(&shard.waiting, -1);
            add(&shard.len, -1);
            return Placed::FreedBy(free);
        }
        table.write(empty, block);
        add(&shard.len, 1);
        add(&shard.overlaps, i32::from(others > 0));
        Placed::Live
    }

    /// Brings a free to the table. `free.size` holds the size bits that it carried.
    pub(crate) fn free(&self, pages: &Pages, free: Entry) -> Freed {
        let shard = self.shard(free.address);
        let _taken = shard.latch.take();
        let table = shard.table(pages);
        let mut chosen: Option<(usize, Entry)> = None;
        let (mut candidates, mut blocks) = (0, 0);
        table.each_at(free.address, |place, entry| {
            blocks += i32::from(!entry.meta.is_waiting());
            if entry.meta.is_waiting() || !can_be_end(&free, &entry) {
                return;
            }
            candidates += 1;
            if chosen.is_none_or(|(_, best)| better(&free, &entry, &best)) {
                chosen = Some((place, entry));
            }
        });
        let Some((place, block)) = chosen else {
            return self.park(pages, shard, free);
        };
        self.count_doubt(candidates > 1 && free.at_ns.abs_diff(block.at_ns) <= doubt(&free, &block));
        table.remove(place);
        add(&shard.len, -1);
        // Whichever block it was, and whether or not the others came too late to be meant.
        add(&shard.overlaps, -i32::from(blocks > 1));
        Freed::Block(block)
    }

    /// Lets a free wait for its block. Runs under the shard's latch.
    fn park(&self, pages: &Pages, shard: &Shard, free: Entry) -> Freed {
        // relaxed: the latch orders it.
        if shard.waiting.load(Ordering::Relaxed) >= WAITING_MAX {
            self.oddities.unmatched.fetch_add(1, Ordering::Relaxed);
            return Freed::Waits;
        }
        if !shard.make_room(pages) {
            return Freed::Full;
        }
        let table = shard.table(pages);
        let empty = table.each_at(free.address, |_, _| ());
        table.write(empty, Entry { meta: Meta(free.meta.0 | Meta::of_waiting_free(0, 0).0), ..free });
        add(&shard.waiting, 1);
        add(&shard.len, 1);
        Freed::Waits
    }

    /// Asks the processor to fetch the home of an address.
    #[inline]
    pub(crate) fn prefetch(&self, pages: &Pages, address: u64) {
        #[cfg(target_arch = "x86_64")]
        {
            use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let shard = self.shard(address);
            // relaxed: a hint; a stale table costs a useless fetch.
            let (page, capacity) =
                (shard.page.load(Ordering::Relaxed), shard.capacity.load(Ordering::Relaxed));
            if capacity > 0 {
                let (table, home) = (Table::at(pages, page, capacity), home_of(address, capacity as usize));
                // SAFETY: a prefetch may be given any address.
                unsafe {
                    _mm_prefetch::<_MM_HINT_T0>(table.keys.wrapping_add(home).cast());
                    _mm_prefetch::<_MM_HINT_T0>(table.rest.wrapping_add(home).cast());
                };
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (pages, address);
    }

    /// Calls `visit` with the blocks of one shard, into which at most `room` fit; returns how many there are.
    /// `visit` runs under the shard's latch and must not allocate.
    pub(crate) fn blocks_of_shard(
        &self,
        pages: &Pages,
        shard: usize,
        room: usize,
        mut visit: impl FnMut(Entry),
    ) -> usize {
        let shard = &self.shards[shard];
        let _taken = shard.latch.take();
        // relaxed: the latch orders it.
        let blocks = (shard.len.load(Ordering::Relaxed) - shard.waiting.load(Ordering::Relaxed)) as usize;
        if blocks <= room && blocks > 0 {
            let table = shard.table(pages);
            for place in 0..table.capacity {
                let entry = table.read(place);
                if entry.address != 0 && !entry.meta.is_waiting() {
                    visit(entry);
                }
            }
        }
        blocks
    }

    /// Takes frees out that have waited since before `before_ns`, each with a block that is left over at its address.
    /// See `reconcile` for why they belong together.
    pub(crate) fn take_mix_ups(
        &self,
        pages: &Pages,
        shard: usize,
        before_ns: u64,
        found: &mut [Option<(Entry, Entry)>],
    ) {
        let shard = &self.shards[shard];
        let _taken = shard.latch.take();
        let mut count = 0;
        let mut place = 0;
        // relaxed, here and below: the latch orders it.
        while count < found.len() && shard.waiting.load(Ordering::Relaxed) > 0 {
            let table = shard.table(pages);
            if place == table.capacity {
                break;
            }
            let free = table.read(place);
            let is_old = free.at_ns < before_ns;
            if free.address == 0 || !free.meta.is_waiting() || !is_old {
                place += 1;
                continue;
            }
            // The oldest one that fits, or the oldest of all.
            let mut left_over: Option<Entry> = None;
            let rank = |block: &Entry| (!sizes_agree(block, &free), block.at_ns);
            table.each_at(free.address, |_, entry| {
                if !entry.meta.is_waiting() && left_over.is_none_or(|best| rank(&entry) < rank(&best)) {
                    left_over = Some(entry);
                }
            });
            let Some(block) = left_over else {
                place += 1;
                continue;
            };
            table.remove_entry(&block);
            table.remove_entry(&free);
            add(&shard.len, -2);
            add(&shard.waiting, -1);
            if shard.overlaps.load(Ordering::Relaxed) > 0 {
                let others = table.count_blocks(free.address);
                add(&shard.overlaps, -i32::from(others > 0));
            }
            let oddity = match sizes_agree(&block, &free) {
                true => &self.oddities.ambiguous,
                false => &self.oddities.layout_mismatches,
            };
            oddity.fetch_add(1, Ordering::Relaxed);
            found[count] = Some((block, free));
            count += 1;
            // What follows was moved back: the same place is looked at again, and one before it may have changed.
            place = place.saturating_sub(2);
        }
    }

    /// Drops frees that have waited since before `before_ns`: their blocks were never recorded, by choice. If asked
    /// to, only those that say so by carrying their whole size.
    pub(crate) fn drop_waiting(&self, pages: &Pages, before_ns: u64, only_whole: bool) {
        for shard in &self.shards {
            let _taken = shard.latch.take();
            let table = shard.table(pages);
            let mut place = 0;
            // relaxed, here and below: the latch orders it.
            while place < table.capacity && shard.waiting.load(Ordering::Relaxed) > 0 {
                let free = table.read(place);
                let is_old = free.at_ns < before_ns;
                let is_meant = !only_whole || super::fold::whole_size(&free).is_some();
                if free.address == 0 || !free.meta.is_waiting() || !is_old || !is_meant {
                    place += 1;
                    continue;
                }
                table.remove(place);
                add(&shard.len, -1);
                add(&shard.waiting, -1);
                self.oddities.skipped_frees.fetch_add(1, Ordering::Relaxed);
                let size = super::fold::whole_size(&free).unwrap_or(0);
                self.oddities.skipped_freed_bytes.fetch_add(size, Ordering::Relaxed);
                place = place.saturating_sub(1);
            }
        }
    }

    /// Frees that wait for their block, over all shards.
    pub(crate) fn waiting(&self) -> u64 {
        // relaxed: a figure; exact when nobody folds.
        self.shards.iter().map(|shard| u64::from(shard.waiting.load(Ordering::Relaxed))).sum()
    }

    /// Blocks beyond the first at their address, over all shards.
    pub(crate) fn overlaps(&self) -> u64 {
        // relaxed: as above.
        self.shards.iter().map(|shard| u64::from(shard.overlaps.load(Ordering::Relaxed))).sum()
    }

    fn shard(&self, address: u64) -> &Shard {
        &self.shards[(spread(address >> SHARD_SHIFT) >> (u64::BITS - SHARDS.trailing_zeros())) as usize]
    }

    fn count_doubt(&self, in_doubt: bool) {
        if in_doubt {
            // relaxed: a count for people.
            self.oddities.ambiguous.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Whether a free can be the end of a block, by its size bits and by what the clock can tell.
fn can_be_end(free: &Entry, block: &Entry) -> bool {
    sizes_agree(block, free) && free.at_ns + doubt(free, block) >= block.at_ns
}

/// How far the clock leaves the order of the two open, in nanoseconds. What one thread did is in order, whatever
/// the dates are off by; but a block that was reallocated has the date of its birth, maybe by another thread.
fn doubt(free: &Entry, block: &Entry) -> u64 {
    let thread = block.meta.thread();
    if thread == free.meta.thread() && thread != ROW_OF_OTHERS && block.meta.reallocs() == 0 {
        return 0;
    }
    free.meta.doubt_ns() + block.meta.doubt_ns()
}

/// Whether `a` is a better match for the free than `b`: the younger of those that were there before the free, then
/// the older of those that seem to come after it.
fn better(free: &Entry, a: &Entry, b: &Entry) -> bool {
    match (a.at_ns <= free.at_ns, b.at_ns <= free.at_ns) {
        (true, true) => a.at_ns > b.at_ns,
        (false, false) => a.at_ns < b.at_ns,
        (a_before, _) => a_before,
    }
}

pub(super) fn sizes_agree(block: &Entry, free: &Entry) -> bool {
    match super::fold::whole_size(free) {
        Some(size) => block.size == size,
        None => crate::ring::event::agrees(block.size, free.size),
    }
}

impl Shard {
    /// Makes sure that one more entry fits, growing the table by a quarter (or to double while it is small).
    fn make_room(&self, pages: &Pages) -> bool {
        // relaxed, all of it: the latch orders it.
        let (len, capacity) = (self.len.load(Ordering::Relaxed), self.capacity.load(Ordering::Relaxed));
        if u64::from(len + 1) * 16 <= u64::from(capacity) * 13 {
            return true;
        }
        let wanted =
            if capacity < 8 * CAPACITY_MIN { (capacity * 2).max(CAPACITY_MIN) } else { capacity / 4 * 5 };
        let wanted = wanted.next_multiple_of(CAPACITY_MIN);
        let Some(page) = pages.take(pages_of(wanted)) else {
            // Full when even the last empty places, which end every probe, would be used up.
            return len + CAPACITY_MIN / 16 < capacity;
        };
        let new = Table::at(pages, page, wanted);
        if capacity > 0 {
            let old = self.table(pages);
            for place in 0..old.capacity {
                let entry = old.read(place);
                if entry.address != 0 {
                    new.write(new.each_at(entry.address, |_, _| ()), entry);
                }
            }
            pages.give_back(self.page.load(Ordering::Relaxed), pages_of(capacity));
        }
        self.page.store(page, Ordering::Relaxed);
        self.capacity.store(wanted, Ordering::Relaxed);
        true
    }

    fn table(&self, pages: &Pages) -> Table {
        // relaxed: the latch orders it.
        Table::at(pages, self.page.load(Ordering::Relaxed), self.capacity.load(Ordering::Relaxed))
    }
}

/// Adds to a counter that the latch protects.
fn add(counter: &AtomicU32, change: i32) {
    // relaxed: the latch orders it.
    counter.store(counter.load(Ordering::Relaxed).wrapping_add_signed(change), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::ptr::NonNull;

    struct Room {
        region: NonNull<Pages>,
        table: Box<LiveTable>,
    }

    impl Room {
        fn new(limit: u64) -> Room {
            let region = Pages::reserve(limit, size_of::<Pages>()).unwrap();
            // SAFETY: all zero bytes are a valid table.
            let table = unsafe { Box::<LiveTable>::new_zeroed().assume_init() };
            Room { region, table }
        }

        fn pages(&self) -> &Pages {
            // SAFETY: P1, until the drop.
            unsafe { self.region.as_ref() }
        }
    }

    impl Drop for Room {
        fn drop(&mut self) {
            Pages::release(self.region);
        }
    }

    fn block(address: u64, size: u64, at_ns: u64) -> Entry {
        Entry { address, size, at_ns, meta: Meta::of_block(0, 1, 4, false, 0) }
    }

    fn free(address: u64, size: u64, at_ns: u64) -> Entry {
        Entry { address, size, at_ns, meta: Meta::of_waiting_free(2, 0) }
    }

    #[test]
    fn the_table_agrees_with_a_map_over_a_million_random_steps() {
        let room = Room::new(1 << 30);
        let (mut map, mut state) = (HashMap::new(), 42u64);
        for step in 0..1_000_000u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let address = ((state >> 33) % 50_000 + 1) * 16;
            if let Some(size) = map.remove(&address) {
                let freed = room.table.free(room.pages(), free(address, size, step));
                assert!(matches!(freed, Freed::Block(block) if block.size == size), "{freed:?}");
            } else {
                let size = state % 4000;
                assert_eq!(room.table.place(room.pages(), block(address, size, step)), Placed::Live);
                map.insert(address, size);
            }
        }
        let mut seen = 0;
        for shard in 0..SHARDS {
            room.table.blocks_of_shard(room.pages(), shard, usize::MAX, |entry| {
                assert_eq!(map.get(&entry.address), Some(&entry.size));
                seen += 1;
            });
        }
        assert_eq!((seen, room.table.waiting(), room.table.overlaps()), (map.len(), 0, 0));
    }

    #[test]
    fn a_free_that_comes_first_waits_for_its_block() {
        let room = Room::new(1 << 24);
        assert_eq!(room.table.free(room.pages(), free(64, 8, 20)), Freed::Waits);
        assert_eq!(room.table.waiting(), 1);
        assert!(
            matches!(room.table.place(room.pages(), block(64, 8, 10)), Placed::FreedBy(by) if by.at_ns == 20)
        );
        assert_eq!(room.table.waiting(), 0);
    }

    #[test]
    fn a_free_never_ends_a_block_that_was_born_after_it() {
        let room = Room::new(1 << 24);
        assert_eq!(room.table.place(room.pages(), block(64, 8, 30)), Placed::Live);
        assert_eq!(room.table.free(room.pages(), free(64, 8, 20)), Freed::Waits);
        assert!(matches!(room.table.place(room.pages(), block(64, 8, 10)), Placed::FreedBy(_)));
        assert!(matches!(room.table.free(room.pages(), free(64, 8, 40)), Freed::Block(by) if by.at_ns == 30));
    }

    #[test]
    fn of_two_blocks_at_one_address_each_free_takes_its_own() {
        for first in [20, 40] {
            let room = Room::new(1 << 24);
            room.table.place(room.pages(), block(64, 8, 30));
            room.table.place(room.pages(), block(64, 8, 10));
            assert_eq!(room.table.overlaps(), 1);
            let expected = if first == 20 { 10 } else { 30 };
            let freed = room.table.free(room.pages(), free(64, 8, first));
            assert!(matches!(freed, Freed::Block(block) if block.at_ns == expected), "{freed:?}");
            assert_eq!(room.table.overlaps(), 0, "one block is left, whichever it is");
            assert_eq!(room.table.oddities.ambiguous.load(Ordering::Relaxed), 0);
        }
    }

    #[test]
    fn size_bits_decide_and_a_choice_that_they_leave_open_is_counted() {
        for (other_size, doubts) in [(16, 0), (8, 1)] {
            let room = Room::new(1 << 24);
            let doubtful =
                |size, at_ns| Entry { meta: Meta::of_block(0, 1, 4, false, 1000), ..block(64, size, at_ns) };
            room.table.place(room.pages(), doubtful(8, 100));
            room.table.place(room.pages(), doubtful(other_size, 110));
            let freed = room.table.free(room.pages(), free(64, 8, 115));
            assert!(matches!(freed, Freed::Block(block) if block.size == 8), "{freed:?}");
            assert_eq!(room.table.oddities.ambiguous.load(Ordering::Relaxed), doubts);
            assert_eq!(room.table.oddities.layout_mismatches.load(Ordering::Relaxed), 0);
        }
    }

    #[test]
    fn a_free_with_another_layout_is_counted_once_nothing_else_can_explain_it() {
        let room = Room::new(1 << 24);
        room.table.place(room.pages(), block(64, 8, 1));
        assert_eq!(room.table.free(room.pages(), free(64, 9, 2)), Freed::Waits);
        let mut found = [None; 4];
        for shard in 0..SHARDS {
            room.table.take_mix_ups(room.pages(), shard, 10, &mut found);
        }
        assert!(matches!(found[0], Some((block, free)) if block.size == 8 && free.size == 9));
        assert_eq!(room.table.oddities.layout_mismatches.load(Ordering::Relaxed), 1);
        assert_eq!(room.table.oddities.ambiguous.load(Ordering::Relaxed), 0);
        assert_eq!(room.table.waiting(), 0);
    }

    #[test]
    fn a_free_of_another_size_waits_for_the_block_that_is_not_booked_yet() {
        let room = Room::new(1 << 24);
        // One thread: a block of 6 bytes, freed at 20, then one of 24 bytes at 30, which another thread frees at 40.
        room.table.place(room.pages(), block(64, 6, 10));
        assert_eq!(room.table.free(room.pages(), free(64, 24, 40)), Freed::Waits);
        let first = room.table.free(room.pages(), free(64, 6, 20));
        assert!(matches!(first, Freed::Block(block) if block.size == 6), "{first:?}");
        let second = room.table.place(room.pages(), block(64, 24, 30));
        assert!(matches!(second, Placed::FreedBy(free) if free.at_ns == 40), "{second:?}");
        assert_eq!((room.table.waiting(), room.table.overlaps()), (0, 0));
    }

    #[test]
    fn within_one_thread_no_doubt_of_the_clock_turns_a_free_around() {
        let room = Room::new(1 << 24);
        let with_doubt = |entry: Entry, thread, waiting| {
            let meta = match waiting {
                true => Meta::of_waiting_free(thread, 1000),
                false => Meta::of_block(0, thread, 4, false, 1000),
            };
            Entry { meta, ..entry }
        };
        // Thread 2 frees what thread 1 made, then gets the address itself. Thread 1's block is booked last.
        room.table.place(room.pages(), with_doubt(block(64, 8, 30), 2, false));
        assert_eq!(room.table.free(room.pages(), with_doubt(free(64, 8, 20), 2, true)), Freed::Waits);
        let placed = room.table.place(room.pages(), with_doubt(block(64, 8, 10), 1, false));
        assert!(matches!(placed, Placed::FreedBy(free) if free.at_ns == 20), "{placed:?}");
    }

    #[test]
    fn at_the_limit_the_table_says_full_and_goes_on_working() {
        let room = Room::new(1 << 20);
        let mut placed = Vec::new();
        for address in (1..).map(|n| n * 4096) {
            match room.table.place(room.pages(), block(address, 8, 1)) {
                Placed::Live => placed.push(address),
                other => {
                    assert_eq!(other, Placed::Full);
                    break;
                }
            }
        }
        assert!(placed.len() > 1000, "{}", placed.len());
        for address in placed {
            assert!(matches!(room.table.free(room.pages(), free(address, 8, 2)), Freed::Block(_)));
        }
    }

    #[test]
    fn a_million_blocks_take_less_than_48_bytes_each() {
        let room = Room::new(1 << 30);
        let before = room.pages().held_bytes();
        for n in 1..=1_000_000u64 {
            room.table.place(room.pages(), block(n * 48, 8, n));
            if n % 100_000 == 0 {
                let bytes = room.pages().held_bytes() - before;
                assert!(bytes <= 50 * n, "{bytes} bytes for {n} blocks");
            }
        }
        let bytes = room.pages().held_bytes() - before;
        assert!(bytes <= 48_000_000, "{bytes} bytes for a million blocks");
    }
}
