//! The table of live blocks that all lanes share. It holds blocks that have left the nursery of their lane (the ring of
//! one thread), and frees that wait because their block is not booked yet.
//!
//! The table has 64 shards; the address of a block chooses the shard. Each shard is an open-addressed table of 32-byte
//! entries behind a separate latch (see `table`). A shard grows by a quarter, so between 65 and 81 % of its places are
//! used. A block therefore takes 39 to 49 bytes, including its entry.
//!
//! Threads book their events at different times, so the table can hold several blocks of one address for a while. For
//! example, one was just allocated, and the free of an older one is still in another thread's ring.
//!
//! [`LiveTable::free`] decides by time which block a free means. If the clocks do not decide, the pairing is counted as
//! ambiguous. The size bits in the record of the free must agree with the block's size. If they differ, most likely one
//! event is not booked yet: the allocation of the free's block, or the free of the block in the table. So the free
//! waits. If a free still waits after a flush, the program freed the block with a wrong size, or the block was sampled
//! out ([`LiveTable::take_left_over`]).

mod doubts;
mod matching;

use super::entry::{Entry, MORE_MAX, whole_size};
use super::table::{ENTRY_BYTES, Table, home_of, pages_of, spread};
use crate::sys::compiler_barrier::compiler_barrier;
use crate::sys::latch::Latch;
use crate::sys::pages::{For, PAGE_BYTES, Pages, both, halves};
use crate::sys::prefetch::prefetch;
use crate::sys::sync::{AtomicU32, AtomicU64, Ordering};
use doubts::{Doubt, Doubts};
pub(crate) use matching::{agrees, is_older_than_internal, may_be_end, time_error};
use matching::{
    better, better_left_over, can_be_end, is_equal_free, is_in_time, is_of_heapledger_only, rank_of_free,
};

/// Number of shards of the table; a power of two.
pub(crate) const SHARDS: usize = 64;
/// Number of low bits of an address that do not choose the shard: all blocks in the same 64 KiB are in one shard.
const SHARD_SHIFT: u32 = 16;
/// Number of entries of a shard's first table, which fills one page.
const CAPACITY_MIN: u32 = (PAGE_BYTES / ENTRY_BYTES) as u32;
/// Distance between the two prefetched entries of `Table::rest`, in entries of 24 bytes: a little more than a cache
/// line.
const REST_AHEAD: usize = 3;
/// Time after which a change of the level (how much is recorded) is visible everywhere, in nanoseconds. After this
/// time, every thread sees the change. Every thread also sees the words that another thread wrote before that other
/// thread saw the change. A processor needs less than a microsecond to make each of these stores visible.
pub(crate) const SEEN_NS: u64 = 1_000_000;
/// Maximum number of frees that wait in one shard; further frees are counted as unmatched at once.
const WAITING_MAX: u32 = 1 << 16;

/// The outcome of booking an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placed {
    /// The block is live.
    Live,
    /// The block was already freed, by this free, which was waiting for it.
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

/// Counters of wrong and of ambiguous pairings of frees with blocks. They are rarely written.
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
    /// The last ambiguous pairings. A measurement checks whether one of its blocks is among them.
    pub(crate) doubts: Doubts,
}

/// All shards of the table. All zero bytes are a valid, empty table.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct LiveTable {
    shards: [Shard; SHARDS],
    /// Number of rounds over all lanes that flushes have begun. A waiting free notes the number of the round in which
    /// it began to wait.
    round: AtomicU32,
    /// Whether any block was ever sampled out.
    sampling_used: AtomicU32,
    /// Whether the lanes are folded in the order of their stamps, so that a free finds its block at once.
    is_in_order: AtomicU32,
    /// Time at which sampling began, in nanoseconds; 0 as soon as every free that was recorded without its whole size
    /// is booked.
    transition_since_ns: AtomicU64,
    pub(crate) anomalies: PairingAnomalies,
}

#[repr(C, align(64))]
#[derive(Debug)]
struct Shard {
    latch: Latch,
    len: AtomicU32,
    /// Page of the table in the lower half, its capacity in the upper half. One word holds both, so that they match in
    /// a file that is read after the end of the process.
    table: AtomicU64,
    /// Number of waiting frees. If an entry represents several equal frees, `waiting` and `len` count each free.
    waiting: AtomicU32,
    /// Number of blocks in the shard beyond the first block at their address.
    overlaps: AtomicU32,
}

impl LiveTable {
    /// Books an allocation: pairs the block with a waiting free, or stores the block. Waiting frees without their whole
    /// size are paired first (W3 of `fold::flush`).
    pub(crate) fn place(&self, pages: &Pages, block: Entry) -> Placed {
        let shard = self.shard(block.address);
        let _taken = shard.latch.take();
        if !shard.make_room(pages) {
            return Placed::Full;
        }
        let table = shard.table(pages);
        let mut waiting: Option<Entry> = None;
        let mut others = 0;
        let empty = table.each_at(block.address, |_, entry| {
            if !entry.meta.is_waiting() {
                others += 1;
            } else if self.ends_at_once(&entry, &block)
                && !self.is_kept_from(&block, &entry)
                && waiting.is_none_or(|best| rank_of_free(&entry, &block) < rank_of_free(&best, &block))
            {
                waiting = Some(entry);
            }
        });
        if let Some(free) = waiting {
            // The free fits none of the other blocks, because otherwise it would not wait. But it may mean a block that
            // is not booked yet.
            let is_ambiguous = others > 0 && free.at_ns < block.at_ns;
            self.count_if_ambiguous(is_ambiguous, Doubt::with_unknown(&block));
            table.remove_one(&free);
            add(&shard.waiting, -1);
            add(&shard.len, -1);
            return Placed::FreedBy(free);
        }
        table.write(empty, block);
        add(&shard.len, 1);
        add(&shard.overlaps, i32::from(others > 0));
        Placed::Live
    }

    /// Books a free: pairs the free with its block, or makes the free wait. `free.size` holds the size bits of the
    /// free.
    pub(crate) fn free(&self, pages: &Pages, free: Entry) -> Freed {
        let shard = self.shard(free.address);
        let _taken = shard.latch.take();
        let table = shard.table(pages);
        if shard.has_each_address_once() {
            // The usual case: there is one candidate, so the probe ends at the address.
            if let Some((place, block)) = table.first_at(free.address)
                && self.ends_at_once(&free, &block)
                && !self.is_kept_from(&block, &free)
            {
                table.remove(place);
                add(&shard.len, -1);
                return Freed::Block(block);
            }
            return self.park(pages, shard, free);
        }
        let mut chosen: Option<(usize, Entry)> = None;
        let (mut candidates, mut blocks, mut doubt) = (0, 0, Doubt::NONE);
        table.each_at(free.address, |place, entry| {
            blocks += i32::from(!entry.meta.is_waiting());
            if entry.meta.is_waiting()
                || !self.ends_at_once(&free, &entry)
                || self.is_kept_from(&entry, &free)
            {
                return;
            }
            doubt.add(&entry);
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
            doubt,
        );
        table.remove(place);
        add(&shard.len, -1);
        // The address has one block fewer, whichever block was chosen.
        add(&shard.overlaps, -i32::from(blocks > 1));
        Freed::Block(block)
    }

    /// Whether the shard of an address has neither a block nor a waiting free.
    #[inline(always)]
    pub(crate) fn is_empty_around(&self, address: u64) -> bool {
        // relaxed: an entry that is added during the call may be missed, as if it were added after the call.
        self.shard(address).len.load(Ordering::Relaxed) == 0
    }

    /// Whether the table has a block or a waiting free at an address.
    pub(crate) fn has_any_at(&self, pages: &Pages, address: u64) -> bool {
        if self.is_empty_around(address) {
            return false;
        }
        let shard = self.shard(address);
        let _taken = shard.latch.take();
        shard.table(pages).first_at(address).is_some()
    }

    /// Begins a round over all lanes and returns its number. See `fold::flush`.
    pub(crate) fn begin_round(&self) -> u32 {
        // relaxed: the round takes the latch of each lane, so every later fold of that lane sees the number.
        self.round.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Makes a free wait for its block. The caller holds the shard's latch.
    fn park(&self, pages: &Pages, shard: &Shard, free: Entry) -> Freed {
        // relaxed: the latch orders the accesses.
        if shard.waiting.load(Ordering::Relaxed) >= WAITING_MAX {
            self.dismiss(&free);
            return Freed::Waits;
        }
        if !shard.make_room(pages) {
            return Freed::Full;
        }
        let table = shard.table(pages);
        // relaxed: see `begin_round`.
        let free = Entry { meta: free.meta.waiting_since(self.round.load(Ordering::Relaxed)), ..free };
        let mut equal: Option<(usize, Entry)> = None;
        let empty = table.each_at(free.address, |place, entry| {
            if is_equal_free(&entry, &free) && entry.meta.more() < MORE_MAX {
                equal = Some((place, entry));
            }
        });
        match equal {
            // The later time is kept, because a free ends only blocks that were allocated before it.
            Some((place, first)) => {
                table.write(place, Entry { meta: free.meta.with_more(first.meta.more() + 1), ..free });
            }
            None => table.write(empty, free),
        }
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
            // Most entries are at their home or a little after it, so the rest of the entry is in one of these two
            // cache lines.
            prefetch(table.rest.wrapping_add(home));
            prefetch(table.rest.wrapping_add(home + REST_AHEAD));
        }
    }

    /// Calls `visit` with the blocks of one shard, unless the shard has more than `room` blocks. Returns the number of
    /// blocks. `visit` runs under the shard's latch and must not allocate.
    pub(crate) fn blocks_of_shard(
        &self,
        pages: &Pages,
        shard: usize,
        room: usize,
        mut visit: impl FnMut(Entry),
    ) -> usize {
        let shard = &self.shards[shard];
        let _taken = shard.latch.take();
        // relaxed: the latch orders the accesses.
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

    /// Removes each free that has waited since before `round`, together with the best block at its address that
    /// `fits` the free, and stores the pair in `found`. A free without a fitting block stays. See `fold::flush`.
    pub(crate) fn take_left_over(
        &self,
        pages: &Pages,
        shard: usize,
        round: u32,
        fits: impl Fn(&Entry, &Entry) -> bool,
        found: &mut [Option<(Entry, Entry)>],
    ) {
        let shard = &self.shards[shard];
        let _taken = shard.latch.take();
        let mut count = 0;
        let mut place = 0;
        // relaxed, here and below: the latch orders the accesses.
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
            let mut left_over: Option<Entry> = None;
            table.each_at(free.address, |_, entry| {
                if !entry.meta.is_waiting()
                    && fits(&entry, &free)
                    && left_over.is_none_or(|best| better_left_over(&free, &entry, &best))
                {
                    left_over = Some(entry);
                }
            });
            let Some(block) = left_over else {
                place += 1;
                continue;
            };
            // A removal may move entries of the same unbroken sequence of used places to earlier places.
            let again_from = table.start_of_row(place);
            table.remove_entry(&block);
            table.remove_one(&free);
            add(&shard.len, -2);
            add(&shard.waiting, -1);
            if shard.overlaps.load(Ordering::Relaxed) > 0 {
                let others = table.count_blocks(free.address);
                add(&shard.overlaps, -i32::from(others > 0));
            }
            self.count_left_over(&block, &free);
            found[count] = Some((block, free));
            count += 1;
            place = again_from;
        }
    }

    /// Counts the pairing of a waiting free with the block that remains for it as an anomaly, unless the free carries
    /// its whole size and can end the block.
    fn count_left_over(&self, block: &Entry, free: &Entry) {
        let anomaly = match agrees(block, free) {
            true if whole_size(free).is_some() && is_in_time(free, block) => return,
            true => return self.count_if_ambiguous(true, Doubt::with_unknown(block)),
            false => &self.anomalies.layout_mismatches,
        };
        // relaxed: a statistic, which needs no ordering.
        anomaly.fetch_add(1, Ordering::Relaxed);
    }

    /// Drops the frees that carry their whole size and have waited since before a round, because their blocks were
    /// sampled out.
    pub(crate) fn drop_sampled_out(&self, pages: &Pages, round: u32) {
        self.remove_waiting(pages, round, |free| whole_size(free).is_some(), |free| self.dismiss(free));
    }

    /// Drops all frees that have waited since before a round, because their blocks were lost. If the frees stayed,
    /// every flush would search for their blocks again.
    pub(crate) fn give_up_waiting(&self, pages: &Pages, round: u32) {
        self.remove_waiting(pages, round, |_| true, |free| self.dismiss(free));
    }

    /// Counts a free that is paired with no block. If the free carries its whole size and blocks were sampled out, it
    /// counts as the free of a sampled-out block, otherwise as unmatched.
    fn dismiss(&self, free: &Entry) {
        // relaxed, all: statistics need no ordering, and the flag is set before the first free with a whole size is
        // recorded.
        match whole_size(free).filter(|_| self.sampling_used.load(Ordering::Relaxed) != 0) {
            Some(size) => {
                self.anomalies.sampled_out_frees.fetch_add(1, Ordering::Relaxed);
                self.anomalies.sampled_out_freed_bytes.fetch_add(size, Ordering::Relaxed);
            }
            None => {
                self.anomalies.unmatched.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Whether a free can end a block before a flush. A free by heapledger ends a block of the program only in a flush:
    /// see `fold::flush`.
    fn ends_at_once(&self, free: &Entry, block: &Entry) -> bool {
        // relaxed: written before the first event.
        can_be_end(free, block)
            && (!is_of_heapledger_only(free, block) || self.is_in_order.load(Ordering::Relaxed) != 0)
    }

    /// Notes that the lanes are folded in the order of their stamps.
    pub(crate) fn set_in_order(&self) {
        // relaxed: no event is recorded yet.
        self.is_in_order.store(1, Ordering::Relaxed);
    }

    /// Whether a free must not end a block yet (W3 of `fold::flush`). This is the case if the free carries its whole
    /// size, and another free of the block, without its whole size, may be in a ring.
    pub(crate) fn is_kept_from(&self, block: &Entry, free: &Entry) -> bool {
        whole_size(free).is_some()
            && self.transition_since_ns().is_some_and(|since_ns| {
                block.at_ns <= since_ns.saturating_add(SEEN_NS).saturating_add(block.meta.time_error_ns())
            })
    }

    /// Notes that blocks are sampled out from now on. `transition_since_ns` is the time at which a transition (W3 of
    /// `fold::flush`) begins, if one begins.
    pub(crate) fn begin_sampling(&self, transition_since_ns: Option<u64>) {
        if let Some(since_ns) = transition_since_ns {
            // relaxed: published by the next store.
            self.transition_since_ns.store(since_ns, Ordering::Relaxed);
        }
        // Release: pairs with the acquire in `transition_since_ns`.
        self.sampling_used.store(1, Ordering::Release);
    }

    /// Whether blocks were ever sampled out. If so, a free without a block is no anomaly if it carries its whole size.
    pub(crate) fn is_sampling_used(&self) -> bool {
        // relaxed: the flag never returns to 0, and a flush reads it after it has taken the latches of all lanes.
        self.sampling_used.load(Ordering::Relaxed) != 0
    }

    /// Whether the transition is under way: blocks are sampled out, and frees without their whole size may still be in
    /// a ring.
    pub(crate) fn is_in_transition(&self) -> bool {
        self.transition_since_ns().is_some()
    }

    /// Returns the time at which sampling began, during the transition; otherwise `None`.
    pub(crate) fn transition_since_ns(&self) -> Option<u64> {
        // Acquire: pairs with the exchange in `end_transition`, and with the change of the level.
        Some(self.transition_since_ns.load(Ordering::Acquire)).filter(|since_ns| *since_ns != 0)
    }

    /// Ends the transition that began at `since_ns`, because every free without its whole size is booked. Does nothing
    /// if sampling has begun anew since then.
    pub(crate) fn end_transition(&self, since_ns: u64) {
        // Release: pairs with the acquire in `transition_since_ns`. A thread that sees the 0 sees the folds before this
        // call.
        let _ = self.transition_since_ns.compare_exchange(since_ns, 0, Ordering::Release, Ordering::Relaxed);
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
            // relaxed: the latch orders the accesses.
            while place < table.capacity && shard.waiting.load(Ordering::Relaxed) > 0 {
                let free = table.read(place);
                let is_old = free.meta.waits_since_before(round);
                if free.address == 0 || !free.meta.is_waiting() || !is_old || !is_meant(&free) {
                    place += 1;
                    continue;
                }
                table.remove(place);
                for _ in 0..=free.meta.more() {
                    add(&shard.len, -1);
                    add(&shard.waiting, -1);
                    removed(&free);
                }
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

    /// Returns the number of blocks in the table beyond the first block at their address.
    pub(crate) fn overlaps(&self) -> u64 {
        // relaxed: as above.
        self.shards.iter().map(|shard| u64::from(shard.overlaps.load(Ordering::Relaxed))).sum()
    }

    fn shard(&self, address: u64) -> &Shard {
        &self.shards[(spread(address >> SHARD_SHIFT) >> (u64::BITS - SHARDS.trailing_zeros())) as usize]
    }

    /// Counts a pairing if it is ambiguous.
    #[inline]
    fn count_if_ambiguous(&self, is_ambiguous: bool, doubt: Doubt) {
        if is_ambiguous {
            self.anomalies.doubts.add(doubt);
            // relaxed: a statistic, which needs no ordering.
            self.anomalies.ambiguous.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Shard {
    /// Makes room for one more entry: grows the table by a quarter, or doubles it while it is small. Returns `false`
    /// if there is no memory.
    fn make_room(&self, pages: &Pages) -> bool {
        // relaxed, all of it: the latch orders the accesses.
        let (len, (old_page, capacity)) = (self.len.load(Ordering::Relaxed), self.place());
        if u64::from(len + 1) * 16 <= u64::from(capacity) * 13 {
            return true;
        }
        let wanted =
            if capacity < 8 * CAPACITY_MIN { (capacity * 2).max(CAPACITY_MIN) } else { capacity / 4 * 5 };
        let wanted = wanted.next_multiple_of(CAPACITY_MIN);
        let Some(page) = pages.take_to_scatter(pages_of(wanted), For::LiveBlocks) else {
            // Some places must stay empty, because only an empty place ends a probe.
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
        // The new table is complete before it is published, and it is published before the old table is given back.
        compiler_barrier();
        self.table.store(both(page, wanted), Ordering::Relaxed);
        compiler_barrier();
        if capacity > 0 {
            pages.give_back(old_page, pages_of(capacity), For::LiveBlocks);
        }
        true
    }

    /// Whether every address occurs once in the table.
    #[inline(always)]
    fn has_each_address_once(&self) -> bool {
        // relaxed: the latch orders the accesses.
        self.waiting.load(Ordering::Relaxed) | self.overlaps.load(Ordering::Relaxed) == 0
    }

    /// Returns the page and the capacity of the table.
    #[inline(always)]
    fn place(&self) -> (u32, u32) {
        // relaxed: the latch orders the accesses. Callers without the latch only prefetch, or read a file that no
        // process writes.
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
    // relaxed: the latch orders the accesses.
    counter.store(counter.load(Ordering::Relaxed).wrapping_add_signed(change), Ordering::Relaxed);
}

#[cfg(test)]
mod tests;
