//! The nursery of a lane (the ring of one thread): young blocks, which the thread has allocated and will most likely
//! free soon.
//!
//! The nursery is a hash table that only the holder of the lane's latch accesses. An address has two places, side by
//! side in one cache line. Most blocks are freed soon by the thread that allocated them, so most frees find their block
//! here and access no shared state. If both places of a new block are taken, the older of the two blocks there is
//! pushed out to the shared table (`live`).
//!
//! Adjacent blocks of memory have adjacent places in the table. Blocks that are allocated one after the other are often
//! adjacent and freed in the same order, so the processor prefetches their places. The whole table corresponds to one
//! stretch of memory, with 16 bytes for each entry. Each stretch begins at a pseudo-random place of the table, so that
//! blocks at equal distances do not collide.
//!
//! The table starts inside the lane's pages and grows when many blocks are pushed out, up to 32,768 entries. If a table
//! of that size still pushes most blocks out, because far more blocks are live than fit, the table is made small again
//! for a while: a table that fits into the processor's cache costs such a program less.
//!
//! In a nursery, the low 32 bits of `Entry::size` hold the size, and the high 32 bits hold the running number of the
//! allocation. At the free of the block, the difference to the current number is the number of allocations that the
//! thread has made since.
//!
//! Invariant **N1**: the index of a place is less than the number of entries, which is a power of two; the table is
//! accessed under the latch of its lane only. **N2**: an address is in the table no more than once.

use super::entry::Entry;
use crate::sys::compiler_barrier::compiler_barrier;
use crate::sys::pages::{For, PAGE_BYTES, Pages, both, halves};
use crate::sys::prefetch::prefetch;

/// Number of entries of a lane's first nursery.
pub(crate) const YOUNGEST: usize = 64;
/// Number of entries of the largest nursery.
const ENTRIES_MAX: u32 = 32_768;
/// Bytes of memory for each place, as the exponent of a power of two. Few allocators place blocks closer together than
/// 16 bytes.
const GRAIN_SHIFT: u32 = 4;
/// The factor by which the table grows.
const GROWTH: u32 = 8;
/// Number of entries of a nursery that was made small again.
const ENTRIES_SMALL: u32 = 512;
/// Minimum number of entries at which the places of a window's addresses are prefetched. Smaller tables fit into the
/// second-level cache.
const ENTRIES_FAR: u64 = 8192;
/// Bytes of an entry.
const ENTRY_BYTES: u64 = size_of::<Entry>() as u64;
/// Factor that gives each stretch of memory its pseudo-random first place. It fits into the constant operand of a
/// multiplication instruction. With this factor, blocks at equal distances push no other block out. This was tested for
/// twelve distances from 16 bytes to 2 MiB, and for all sizes of the table. Of 69 factors that were tried, no other has
/// this property.
const SPREAD: u64 = 0x3C51_1AFB;
const STRETCH_SHIFT: u32 = 27;
/// Number of allocations per entry between two checks of the table's size.
const ALLOCS_SEEN: u32 = 8;
/// The table grows if one in this many allocations between two checks pushes a block out.
const CROWDED_SHARE: u32 = 32;
/// Number of checks before a nursery that was made small may grow again. The nursery may grow earlier if it pushes
/// fewer blocks out.
const CHECKS_SMALL: u32 = 32;

/// Place and size of a lane's nursery. All zero bytes mean the first nursery, which is inside the lane's fold state.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Nursery {
    /// Page of the table in the lower half (0 for the first nursery), number of entries in the upper half. One word
    /// holds both, so that they match in a file that is read after the end of the process.
    run: u64,
    /// Number of blocks pushed out since the last check of the size.
    pub(crate) pushed_out: u32,
    /// Running number of the allocation at the last check.
    seen_at: u32,
    /// Number of further checks before the table may grow.
    checks_small: u32,
    /// Number of blocks that folds of other lanes have taken from the nursery since the lane's last fold.
    pub(crate) taken: u32,
}

/// Access to the places of a nursery, for a fold.
#[derive(Clone, Copy)]
pub(crate) struct Places {
    start: *mut Entry,
    /// Mask of the offsets of places, in bytes: the number of entries minus one, times the bytes of an entry.
    offsets: u64,
    /// Mask of the bits of an address that are the number of its stretch of memory.
    stretches: u64,
}

/// A place of a nursery.
#[derive(Clone, Copy)]
pub(crate) struct Place(*mut Entry);

impl Nursery {
    /// Returns the page and the number of places of the nursery; page 0 means the first nursery.
    pub(crate) fn place(&self) -> (u32, u32) {
        halves(self.run)
    }

    pub(crate) fn places(&self, pages: &Pages, first: *mut [Entry; YOUNGEST]) -> Places {
        let (start, entries) = match self.place() {
            (0, _) => (first.cast::<Entry>(), YOUNGEST as u32),
            (page, entries) => (pages.at(page).cast::<Entry>(), entries),
        };
        Places::new(start, entries)
    }

    /// Checks the size of the table if enough allocations were made since the last check. Returns the new number of
    /// entries if the size must change. `allocs` is the running number of the last allocation.
    #[inline]
    pub(crate) fn look(&mut self, allocs: u32) -> Option<u32> {
        let (page, entries) = self.place();
        let entries = if page == 0 { YOUNGEST as u32 } else { entries };
        let seen = allocs.wrapping_sub(self.seen_at);
        // The largest table is checked sooner: when it pushes most blocks out, it costs the most.
        let enough = if entries < ENTRIES_MAX { ALLOCS_SEEN * entries } else { 2 * entries };
        let is_crowded = self.pushed_out >= ALLOCS_SEEN * entries / CROWDED_SHARE;
        if seen < enough && !(is_crowded && entries < ENTRIES_MAX && self.checks_small == 0) {
            return None;
        }
        let pushes_most_out = self.pushed_out > seen / 8 * 7;
        (self.seen_at, self.pushed_out) = (allocs, 0);
        if entries < ENTRIES_MAX {
            let may_grow = self.checks_small == 0;
            self.checks_small = if pushes_most_out { self.checks_small.saturating_sub(1) } else { 0 };
            return (is_crowded && may_grow).then(|| (entries * GROWTH).min(ENTRIES_MAX));
        }
        self.checks_small = if pushes_most_out { CHECKS_SMALL } else { 0 };
        pushes_most_out.then_some(ENTRIES_SMALL)
    }

    /// Copies the blocks to a new table of `wanted` entries, and returns the new table, or `None` if there is no
    /// memory. If both new places of a block are taken, the older of the two blocks there goes to `push_out`. The old
    /// table stays unchanged, so that each block is in one of the two tables at any time.
    pub(crate) fn resized(
        &self,
        pages: &Pages,
        first: *mut [Entry; YOUNGEST],
        wanted: u32,
        mut push_out: impl FnMut(Entry),
    ) -> Option<Nursery> {
        let page = pages.take_to_scatter(pages_of(wanted), For::LiveBlocks)?;
        let resized = Nursery { run: both(page, wanted), ..*self };
        let (old, new) = (self.places(pages, first), resized.places(pages, first));
        for place in 0..old.len() {
            let entry = old.at(place);
            if entry.address != 0 {
                new.bring(entry, &mut push_out);
            }
        }
        Some(resized)
    }

    /// Replaces the table by `other`, which must be complete.
    pub(crate) fn replace_by(&mut self, other: Nursery) {
        compiler_barrier();
        // SAFETY: the field belongs to `self`. Volatile, so that one store writes it.
        unsafe { (&raw mut self.run).write_volatile(other.run) };
        compiler_barrier();
    }

    /// Gives back the memory of a replaced table. A first nursery is emptied instead.
    pub(crate) fn give_up(self, pages: &Pages, first: *mut [Entry; YOUNGEST]) {
        match self.place() {
            // SAFETY: N1.
            (0, _) => unsafe { first.write([Entry::default(); YOUNGEST]) },
            (page, entries) => pages.give_back(page, pages_of(entries), For::LiveBlocks),
        }
    }
}

impl Places {
    fn new(start: *mut Entry, entries: u32) -> Places {
        let stretches = u64::MAX << (GRAIN_SHIFT + entries.trailing_zeros());
        Places { start, offsets: (u64::from(entries) - 1) * ENTRY_BYTES, stretches }
    }

    /// Returns the offset of the first place of an address, in bytes. The second place is next to it, in the same cache
    /// line.
    #[inline(always)]
    fn offset_of(&self, address: u64) -> usize {
        let stretch = (address & self.stretches).wrapping_mul(SPREAD) >> STRETCH_SHIFT;
        let grains = address.wrapping_mul(ENTRY_BYTES >> GRAIN_SHIFT);
        (grains.wrapping_add(stretch) & self.offsets) as usize
    }

    /// Returns the number of the first place of an address. The second place differs in the last bit.
    #[inline(always)]
    fn of(&self, address: u64) -> usize {
        self.offset_of(address) / size_of::<Entry>()
    }

    /// Returns the two places of an address.
    #[inline(always)]
    fn places_of(&self, address: u64) -> [Place; 2] {
        let offset = self.offset_of(address);
        [offset, offset ^ size_of::<Entry>()].map(|offset| Place(self.start.wrapping_byte_add(offset)))
    }

    /// Returns the place of this address, if its block is in the nursery.
    #[inline(always)]
    pub(crate) fn place_of(&self, address: u64) -> Option<Place> {
        let [first, second] = self.places_of(address);
        if first.entry().address == address {
            return Some(first);
        }
        is_less_usual();
        if second.entry().address == address { Some(second) } else { None }
    }

    /// Returns a free place for a new block. Returns `None` if both places are taken, or the table already has a block
    /// of this address.
    #[inline(always)]
    pub(crate) fn vacancy(&self, address: u64) -> Option<Place> {
        let [first, second] = self.places_of(address);
        let (there, beside) = (first.entry().address, second.entry().address);
        if there != 0 {
            is_less_usual();
            return if beside == 0 && there != address { Some(second) } else { None };
        }
        if beside == address { None } else { Some(first) }
    }

    /// Whether the table exceeds the second-level cache, so that prefetching its places saves time.
    #[inline(always)]
    pub(crate) fn are_far(&self) -> bool {
        self.offsets >= ENTRIES_FAR * ENTRY_BYTES
    }

    /// Prefetches the places of an address.
    #[inline(always)]
    pub(crate) fn prefetch(&self, address: u64) {
        prefetch(self.start.wrapping_byte_add(self.offset_of(address)));
    }

    fn address_at(&self, place: usize) -> u64 {
        // SAFETY: N1, the place lies inside the table, which the lane's latch gives to us.
        unsafe { (*self.start.add(place)).address }
    }

    /// Returns the place for a new block. The first choice is the place of a block with the same address, the second
    /// choice is a free place, and the third choice is the place of the older block.
    #[inline(always)]
    fn for_block(&self, address: u64) -> usize {
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

    /// Returns the place of the block with the lower running number. The numbers wrap.
    fn older(&self, first: usize, second: usize) -> usize {
        let number = |place| number_of_young(self.look_at(place));
        let is_younger = number(first).wrapping_sub(number(second)) < u32::MAX / 2;
        if is_younger { second } else { first }
    }

    /// Returns the block in a place, if there is one.
    #[inline(always)]
    fn occupant(&self, place: usize) -> Option<Entry> {
        (self.address_at(place) != 0).then(|| self.at(place))
    }

    /// Stores a block in one of its places. If the place holds another block, that block goes to `push_out` first. So
    /// every block is in the nursery or in the shared table at any time, also for a reader of the memory of a killed
    /// process.
    #[inline(always)]
    pub(crate) fn bring(&self, block: Entry, push_out: impl FnOnce(Entry)) {
        let place = self.for_block(block.address);
        if let Some(before) = self.occupant(place) {
            push_out(before);
        }
        self.put(place, block);
    }

    /// Returns the place of this address, if its block is in the nursery.
    #[inline(always)]
    pub(crate) fn find(&self, address: u64) -> Option<usize> {
        let first = self.of(address);
        let place = if self.address_at(first) == address { first } else { first ^ 1 };
        (self.address_at(place) == address).then_some(place)
    }

    /// Returns the block in a place.
    #[inline(always)]
    pub(crate) fn look_at(&self, place: usize) -> &Entry {
        debug_assert!(place < self.len());
        // SAFETY: N1; nothing is written to the table while the borrow lives.
        unsafe { &*self.start.add(place) }
    }

    /// Empties a place and returns its block.
    #[inline(always)]
    pub(crate) fn empty(&self, place: usize) -> Entry {
        let entry = self.at(place);
        Place(self.start.wrapping_add(place)).clear();
        entry
    }

    /// Removes the block of this address and returns it, if it is in the nursery.
    pub(crate) fn take(&self, address: u64) -> Option<Entry> {
        self.find(address).map(|place| self.empty(place))
    }

    pub(crate) fn len(&self) -> usize {
        self.offsets as usize / size_of::<Entry>() + 1
    }

    pub(crate) fn at(&self, place: usize) -> Entry {
        debug_assert!(place < self.len());
        // SAFETY: N1.
        unsafe { self.start.add(place).read() }
    }

    /// Overwrites a place with a block. The place never holds an address together with other fields of another block.
    #[inline(always)]
    pub(crate) fn put(&self, place: usize, entry: Entry) {
        let place = Place(self.start.wrapping_add(place));
        place.clear();
        place.fill(entry);
    }
}

impl Place {
    #[inline(always)]
    pub(crate) fn entry<'a>(self) -> &'a Entry {
        // SAFETY: N1; nothing is written to the place while the borrow lives.
        unsafe { &*self.0 }
    }

    /// Empties the place.
    #[inline(always)]
    pub(crate) fn clear(self) {
        self.set_address(0);
    }

    /// Stores a block in the place, which must be empty. The address is written last, so that the place never holds an
    /// address without the block's other fields.
    #[inline(always)]
    pub(crate) fn fill(self, block: Entry) {
        debug_assert!(self.entry().address == 0);
        // SAFETY: N1.
        unsafe {
            (*self.0).size = block.size;
            (*self.0).at_ns = block.at_ns;
            (*self.0).meta = block.meta;
        }
        self.set_address(block.address);
    }

    #[inline(always)]
    fn set_address(self, address: u64) {
        compiler_barrier();
        // SAFETY: N1.
        unsafe { (*self.0).address = address };
        compiler_barrier();
    }
}

/// Tells the compiler that the branch with this call is the less likely one.
#[cold]
fn is_less_usual() {}

/// Returns the size of a block in a nursery, without the running number.
pub(crate) fn size_of_young(entry: &Entry) -> u64 {
    entry.size & u64::from(u32::MAX)
}

/// Returns the running number of a block in a nursery.
pub(crate) fn number_of_young(entry: &Entry) -> u32 {
    (entry.size >> 32) as u32
}

/// Returns the block without its running number, as the shared table stores it.
pub(crate) fn as_survivor(entry: Entry) -> Entry {
    Entry { size: size_of_young(&entry), ..entry }
}

fn pages_of(entries: u32) -> u32 {
    (entries as usize * size_of::<Entry>()).div_ceil(PAGE_BYTES) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A table that owns its memory.
    struct Owned {
        _entries: Box<[Entry]>,
        places: Places,
    }

    fn table(entries: u32) -> Owned {
        let mut owned = vec![Entry::default(); entries as usize].into_boxed_slice();
        let places = Places::new(owned.as_mut_ptr(), entries);
        Owned { _entries: owned, places }
    }

    fn block(address: u64, number: u32) -> Entry {
        Entry { address, size: 48 | u64::from(number) << 32, ..Entry::default() }
    }

    /// Stores a block in the nursery as a fold does; returns the block that it pushed out.
    fn bring(places: &Places, entry: Entry) -> Option<Entry> {
        let mut before = None;
        places.bring(entry, |entry| before = Some(entry));
        before
    }

    #[test]
    fn an_address_is_found_until_it_is_taken_or_pushed_out_and_is_there_once() {
        let owned = table(64);
        let places = &owned.places;
        let mut known = BTreeMap::new();
        let mut random = 7u64;
        for number in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let address = 0x7000_0000 + (random >> 40) % 300 * 16;
            if random >> 63 == 0 {
                let pushed = bring(places, block(address, number));
                if let Some(pushed) = pushed {
                    assert_eq!(known.remove(&pushed.address), Some(number_of_young(&pushed)));
                }
                assert_eq!(known.insert(address, number), None, "a block of the same address goes first");
            } else {
                let taken = places.take(address).map(|entry| number_of_young(&entry));
                assert_eq!(taken, known.remove(&address));
            }
            if number % 1_000 == 0 {
                let there = (0..places.len()).filter(|place| places.occupant(*place).is_some()).count();
                assert_eq!(there, known.len());
            }
        }
    }

    #[test]
    fn of_two_blocks_the_older_goes() {
        let owned = table(64);
        // Three addresses share the same two places; the first place of the second address is the second place of the
        // others.
        let first = 0x1_0000;
        let of = |address| owned.places.of(address);
        let other = |place| (1..).map(|n| first + n * 16).find(|address| of(*address) == place).unwrap();
        let second = other(of(first) ^ 1);
        let third = (1..).map(|n| second + n * 16).find(|address| of(*address) == of(first)).unwrap();
        for (numbers, gone) in [([1, 2], first), ([2, 1], second), ([u32::MAX, 3], first)] {
            let owned = table(64);
            assert_eq!(bring(&owned.places, block(first, numbers[0])), None);
            assert_eq!(bring(&owned.places, block(second, numbers[1])), None);
            let pushed = bring(&owned.places, block(third, 4)).unwrap();
            assert_eq!(pushed.address, gone, "{numbers:?}");
        }
    }

    #[test]
    fn neighbours_do_not_meet_and_neither_do_blocks_at_equal_distances() {
        for (distance, blocks, pushed_most) in
            [(16, 4096, 0), (64, 1024, 0), (4096, 1024, 100), (1 << 16, 1024, 100)]
        {
            let owned = table(4096);
            let pushed = (0..blocks).filter(|number| {
                bring(&owned.places, block(0x5555_0000_0000 + u64::from(*number) * distance, *number))
                    .is_some()
            });
            let pushed = pushed.count();
            assert!(pushed <= pushed_most, "{pushed} of {blocks} blocks at a distance of {distance}");
        }
    }

    /// Checks the size repeatedly until another size is wanted; `pushed_percent` of the allocations push a block out.
    fn looks(nursery: &mut Nursery, allocs: &mut u32, pushed_percent: u32) -> Option<u32> {
        for _ in 0..400_000 {
            *allocs = allocs.wrapping_add(100);
            nursery.pushed_out += pushed_percent;
            let wanted = nursery.look(*allocs);
            if wanted.is_some() {
                return wanted;
            }
        }
        None
    }

    #[test]
    fn a_nursery_grows_while_it_holds_more_blocks_and_stays_small_where_it_does_not() {
        // The running number wraps during the test.
        let mut allocs = u32::MAX - 1_000;
        let sized = |entries: u32| Nursery { run: 1 | u64::from(entries) << u32::BITS, ..Nursery::default() };
        assert_eq!(looks(&mut sized(512), &mut allocs, 2), None);
        assert_eq!(looks(&mut sized(512), &mut allocs, 60), Some(4096));
        assert_eq!(looks(&mut sized(4096), &mut allocs, 60), Some(ENTRIES_MAX));
        assert_eq!(looks(&mut sized(ENTRIES_MAX), &mut allocs, 60), None);
        let mut useless = sized(ENTRIES_MAX);
        assert_eq!(looks(&mut useless, &mut allocs, 97), Some(ENTRIES_SMALL));
        useless.run = sized(ENTRIES_SMALL).run;
        let mut other = useless;
        let (rests_at, mut later) = (allocs, allocs);
        assert_eq!(looks(&mut useless, &mut allocs, 99), Some(4096), "it is tried again, after a while");
        assert!(allocs.wrapping_sub(rests_at) > CHECKS_SMALL * ALLOCS_SEEN * ENTRIES_SMALL / 2);
        assert_eq!(looks(&mut other, &mut later, 60), Some(4096));
        assert!(
            later.wrapping_sub(rests_at) < 3 * ALLOCS_SEEN * ENTRIES_SMALL,
            "at once when the work has changed"
        );
    }
}
