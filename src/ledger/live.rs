//! The shared side of the ledger: blocks that outlived their thread's nursery, and frees that wait for their block.
//!
//! The table has 64 shards by address. Each shard is an open-addressed table of 32-byte entries behind a separate latch
//! (see `table`). A shard grows by a quarter, and its load stays between 65 and 81 %: 39 to 49 bytes per block,
//! including the entry itself.
//!
//! An address can be in the table more than once for a while, because threads book at different times: a block that a
//! thread has just allocated there, next to an older block whose free is still in another thread's ring.
//!
//! [`LiveTable::free`] decides by time which block a free means, and counts the free as ambiguous where the clocks do
//! not decide. The size bits of the free must agree with the block's size. If they differ, most likely the free's
//! block, or the end of the block that is there, is not booked yet. So the free waits. A free that still waits after a
//! flush carried a different size ([`LiveTable::take_mix_ups`]).

use super::entry::{Entry, ROW_OF_OTHERS, whole_size};
use super::table::{ENTRY_BYTES, Table, home_of, pages_of, spread};
use crate::sys::compiler_barrier::compiler_barrier;
use crate::sys::latch::Latch;
use crate::sys::pages::{PAGE_BYTES, Pages, both, halves};
use crate::sys::prefetch::prefetch;
use crate::sys::sync::{AtomicU32, AtomicU64, Ordering};

/// Number of shards of the table; a power of two.
pub(crate) const SHARDS: usize = 64;
/// Bits of an address within the 64 KiB that share a shard.
const SHARD_SHIFT: u32 = 16;
/// Number of entries of a shard's first table, which fills one page.
const CAPACITY_MIN: u32 = (PAGE_BYTES / ENTRY_BYTES) as u32;
/// Distance between the two prefetched places in the array of rests, in entries: a cache line or a little more.
const REST_AHEAD: usize = 3;
/// Maximum number of frees that wait in one shard; further frees are counted as unmatched at once.
const WAITING_MAX: u32 = 1 << 16;

/// The outcome of booking an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placed {
    /// The block is live.
    Live,
    /// A free was already waiting for the block.
    FreedBy(Entry),
    /// The table has reached its limit.
    Full,
}

/// The outcome of booking a free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freed {
    /// The free ended this block.
    Block(Entry),
    /// The free waits for its block.
    Waits,
    /// The table has reached its limit.
    Full,
}

/// Counters of wrong or doubtful pairings, which are rarely written.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct PairingAnomalies {
    pub(crate) ambiguous: AtomicU64,
    pub(crate) layout_mismatches: AtomicU64,
    /// Number of frees of sampled-out blocks; `sampled_out_freed_bytes` is the sum of their bytes.
    pub(crate) sampled_out_frees: AtomicU64,
    pub(crate) sampled_out_freed_bytes: AtomicU64,
    /// Number of frees without a block, and of frees that found no room to wait.
    pub(crate) unmatched: AtomicU64,
}

/// All shards of the table. All zero bytes are a valid, empty table.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct LiveTable {
    shards: [Shard; SHARDS],
    /// Number of rounds over all lanes that flushes have begun. A waiting free notes the round of its arrival.
    round: AtomicU32,
    pub(crate) anomalies: PairingAnomalies,
}

#[repr(C, align(64))]
#[derive(Debug)]
struct Shard {
    latch: Latch,
    len: AtomicU32,
    /// Page of the table, and in the upper half its capacity. Both are in one word, because the word may be read from a
    /// file after the end of the process, and the place of the entries after their keys depends on the capacity.
    table: AtomicU64,
    /// Number of waiting frees.
    waiting: AtomicU32,
    /// Number of blocks at an address at which the shard has an older block too.
    overlaps: AtomicU32,
}

impl LiveTable {
    /// Books an allocation: pairs it with a waiting free, or stores it.
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
            self.count_if_ambiguous(others > 0 && free.at_ns < block.at_ns);
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

    /// Books a free: pairs it with its block, or makes it wait. `free.size` holds the size bits of the free.
    pub(crate) fn free(&self, pages: &Pages, free: Entry) -> Freed {
        let shard = self.shard(free.address);
        let _taken = shard.latch.take();
        let table = shard.table(pages);
        if shard.has_each_address_once() {
            // The usual case: there is one candidate, so the probe ends at the address.
            if let Some((place, block)) = table.first_at(free.address)
                && can_be_end(&free, &block)
            {
                table.remove(place);
                add(&shard.len, -1);
                return Freed::Block(block);
            }
            return self.park(pages, shard, free);
        }
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
        self.count_if_ambiguous(
            candidates > 1 && free.at_ns.abs_diff(block.at_ns) <= time_error(&free, &block),
        );
        table.remove(place);
        add(&shard.len, -1);
        // For any choice, and whether or not the others were candidates.
        add(&shard.overlaps, -i32::from(blocks > 1));
        Freed::Block(block)
    }

    /// Begins a round over all lanes and returns its number. See `fold::flush`.
    pub(crate) fn begin_round(&self) -> u32 {
        // relaxed: the latch of a lane, which the round takes, lets every later fold of that lane see it.
        self.round.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Makes a free wait for its block. The caller holds the shard's latch.
    fn park(&self, pages: &Pages, shard: &Shard, free: Entry) -> Freed {
        // relaxed: the latch orders it.
        if shard.waiting.load(Ordering::Relaxed) >= WAITING_MAX {
            self.anomalies.unmatched.fetch_add(1, Ordering::Relaxed);
            return Freed::Waits;
        }
        if !shard.make_room(pages) {
            return Freed::Full;
        }
        let table = shard.table(pages);
        let empty = table.each_at(free.address, |_, _| ());
        // relaxed: see `begin_round`.
        table.write(
            empty,
            Entry { meta: free.meta.waiting_since(self.round.load(Ordering::Relaxed)), ..free },
        );
        add(&shard.waiting, 1);
        add(&shard.len, 1);
        Freed::Waits
    }

    /// Prefetches the place where the search for an address begins.
    #[inline]
    pub(crate) fn prefetch(&self, pages: &Pages, address: u64) {
        // A stale table is harmless: it only costs a useless prefetch.
        let table = self.shard(address).table(pages);
        if table.capacity > 0 {
            let home = home_of(address, table.capacity);
            prefetch(table.keys.wrapping_add(home));
            // Most entries lie a little after their home, and their rest in one of two lines.
            prefetch(table.rest.wrapping_add(home));
            prefetch(table.rest.wrapping_add(home + REST_AHEAD));
        }
    }

    /// Calls `visit` with the blocks of one shard, unless there are more than `room`; returns the number of blocks.
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

    /// Removes frees that have waited since before `round`, each with a block that remains at its address. The block
    /// has the free's size; or another size, if the free has waited since before the round `other_sizes`. `fold::flush`
    /// explains the reason.
    pub(crate) fn take_mix_ups(
        &self,
        pages: &Pages,
        shard: usize,
        round: u32,
        other_sizes: u32,
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
            let is_old = free.meta.waits_since_before(round);
            if free.address == 0 || !free.meta.is_waiting() || !is_old {
                place += 1;
                continue;
            }
            // The oldest block that fits, or the oldest of all.
            let mut left_over: Option<Entry> = None;
            let rank = |block: &Entry| (!sizes_agree(block, &free), block.at_ns);
            table.each_at(free.address, |_, entry| {
                if !entry.meta.is_waiting() && left_over.is_none_or(|best| rank(&entry) < rank(&best)) {
                    left_over = Some(entry);
                }
            });
            let may_differ = free.meta.waits_since_before(other_sizes);
            let Some(block) = left_over.filter(|block| may_differ || sizes_agree(block, &free)) else {
                place += 1;
                continue;
            };
            // A removal may move entries of a row without a gap to an earlier place.
            let again_from = table.start_of_row(place);
            table.remove_entry(&block);
            table.remove_entry(&free);
            add(&shard.len, -2);
            add(&shard.waiting, -1);
            if shard.overlaps.load(Ordering::Relaxed) > 0 {
                let others = table.count_blocks(free.address);
                add(&shard.overlaps, -i32::from(others > 0));
            }
            let anomaly = match sizes_agree(&block, &free) {
                true => &self.anomalies.ambiguous,
                false => &self.anomalies.layout_mismatches,
            };
            anomaly.fetch_add(1, Ordering::Relaxed);
            found[count] = Some((block, free));
            count += 1;
            place = again_from;
        }
    }

    /// Drops frees that have waited since before a round, because their blocks were sampled out. With `only_whole`,
    /// drops only frees that carry their whole size, which marks the block as sampled out.
    pub(crate) fn drop_waiting(&self, pages: &Pages, round: u32, only_whole: bool) {
        let is_meant = |free: &Entry| !only_whole || whole_size(free).is_some();
        self.remove_waiting(pages, round, is_meant, |free| {
            // relaxed: counts for people.
            self.anomalies.sampled_out_frees.fetch_add(1, Ordering::Relaxed);
            let size = whole_size(free).unwrap_or(0);
            self.anomalies.sampled_out_freed_bytes.fetch_add(size, Ordering::Relaxed);
        });
    }

    /// Drops frees that have waited since before a round and counts them as unmatched, because their blocks were lost.
    /// Without the drop, every flush would search for their blocks again.
    pub(crate) fn give_up_waiting(&self, pages: &Pages, round: u32) {
        self.remove_waiting(
            pages,
            round,
            |_| true,
            |_| {
                // relaxed: a count for people.
                self.anomalies.unmatched.fetch_add(1, Ordering::Relaxed);
            },
        );
    }

    /// Removes the frees that have waited since before a round and for which `is_meant` returns true.
    fn remove_waiting(
        &self,
        pages: &Pages,
        round: u32,
        is_meant: impl Fn(&Entry) -> bool,
        removed: impl Fn(&Entry),
    ) {
        for shard in &self.shards {
            let _taken = shard.latch.take();
            let table = shard.table(pages);
            let mut place = 0;
            // relaxed: the latch orders it.
            while place < table.capacity && shard.waiting.load(Ordering::Relaxed) > 0 {
                let free = table.read(place);
                let is_old = free.meta.waits_since_before(round);
                if free.address == 0 || !free.meta.is_waiting() || !is_old || !is_meant(&free) {
                    place += 1;
                    continue;
                }
                table.remove(place);
                add(&shard.len, -1);
                add(&shard.waiting, -1);
                removed(&free);
                place = place.saturating_sub(1);
            }
        }
    }

    /// Returns the page and the capacity of each shard's table.
    pub(crate) fn places(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.shards.iter().map(Shard::place)
    }

    /// Returns the number of frees that wait for their block, over all shards.
    pub(crate) fn waiting(&self) -> u64 {
        // relaxed: a figure; exact when nobody folds.
        self.shards.iter().map(|shard| u64::from(shard.waiting.load(Ordering::Relaxed))).sum()
    }

    /// Returns the number of blocks at an address at which the table has an older block too.
    pub(crate) fn overlaps(&self) -> u64 {
        // relaxed: as above.
        self.shards.iter().map(|shard| u64::from(shard.overlaps.load(Ordering::Relaxed))).sum()
    }

    fn shard(&self, address: u64) -> &Shard {
        &self.shards[(spread(address >> SHARD_SHIFT) >> (u64::BITS - SHARDS.trailing_zeros())) as usize]
    }

    /// Counts a pairing if it is ambiguous.
    fn count_if_ambiguous(&self, is_ambiguous: bool) {
        if is_ambiguous {
            // relaxed: a count for people.
            self.anomalies.ambiguous.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Whether a free can be the end of a block, judged by its size bits and its time within the time error.
fn can_be_end(free: &Entry, block: &Entry) -> bool {
    sizes_agree(block, free) && free.at_ns + time_error(free, block) >= block.at_ns
}

/// Returns the maximum error of the time from the block to the free, in nanoseconds. It is 0 if one thread made both,
/// because the order of its events is known. A reallocated block is an exception: another thread may have allocated it.
fn time_error(free: &Entry, block: &Entry) -> u64 {
    let thread = block.meta.thread();
    if thread == free.meta.thread() && thread != ROW_OF_OTHERS && block.meta.reallocs() == 0 {
        return 0;
    }
    free.meta.time_error_ns() + block.meta.time_error_ns()
}

/// Whether `a` is a better match for the free than `b`. The best match is the youngest block born before the free;
/// without one, it is the oldest block that seems to be born after the free.
fn better(free: &Entry, a: &Entry, b: &Entry) -> bool {
    match (a.at_ns <= free.at_ns, b.at_ns <= free.at_ns) {
        (true, true) => a.at_ns > b.at_ns,
        (false, false) => a.at_ns < b.at_ns,
        (a_before, _) => a_before,
    }
}

/// Whether the size bits, or the whole size, of a free agree with a block's size.
pub(crate) fn sizes_agree(block: &Entry, free: &Entry) -> bool {
    match whole_size(free) {
        Some(size) => block.size == size,
        None => crate::ring::event::agrees(block.size, free.size),
    }
}

impl Shard {
    /// Makes room for one more entry: grows the table by a quarter, or doubles it while it is small. Returns `false`
    /// without memory.
    fn make_room(&self, pages: &Pages) -> bool {
        // relaxed, all of it: the latch orders it.
        let (len, (old_page, capacity)) = (self.len.load(Ordering::Relaxed), self.place());
        if u64::from(len + 1) * 16 <= u64::from(capacity) * 13 {
            return true;
        }
        let wanted =
            if capacity < 8 * CAPACITY_MIN { (capacity * 2).max(CAPACITY_MIN) } else { capacity / 4 * 5 };
        let wanted = wanted.next_multiple_of(CAPACITY_MIN);
        let Some(page) = pages.take_to_scatter(pages_of(wanted)) else {
            // Counts as full before the last empty places, which end every probe, are used up.
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
        }
        // The new table is complete before it is published, and published before the old one is given back.
        compiler_barrier();
        self.table.store(both(page, wanted), Ordering::Relaxed);
        compiler_barrier();
        if capacity > 0 {
            pages.give_back(old_page, pages_of(capacity));
        }
        true
    }

    /// Whether every address occurs once in the table.
    #[inline(always)]
    fn has_each_address_once(&self) -> bool {
        // relaxed: the latch orders it.
        self.waiting.load(Ordering::Relaxed) | self.overlaps.load(Ordering::Relaxed) == 0
    }

    /// Returns the page and the capacity of the table.
    #[inline(always)]
    fn place(&self) -> (u32, u32) {
        // relaxed: the latch orders it, if it is held; read from a file, nobody writes it.
        halves(self.table.load(Ordering::Relaxed))
    }

    #[inline(always)]
    fn table(&self, pages: &Pages) -> Table {
        let (page, capacity) = self.place();
        Table::at(pages, page, capacity)
    }
}

/// Adds to a counter that the latch protects.
fn add(counter: &AtomicU32, change: i32) {
    // relaxed: the latch orders it.
    counter.store(counter.load(Ordering::Relaxed).wrapping_add_signed(change), Ordering::Relaxed);
}

#[cfg(test)]
mod tests;
