//! Booking of reallocs, which have two halves: one recorded before the call of the inner allocator, and one after it.

use super::state::{Fold, count_up};
use crate::ledger::entry::{Entry, Meta};
use crate::ledger::live::Freed;
use crate::ledger::nursery::{as_survivor, number_of_young};
use crate::ledger::pushed_out::Ending;
use crate::profile::TEMPORARY_ALLOCS;
use crate::ring::event::{self, Traits};

impl Fold<'_> {
    /// Stores the first half of a realloc. From then on another thread may receive the old address.
    pub(super) fn realloc_begins(&mut self, address: u64, check: u64, index: u64) {
        let meta = Meta::of_waiting_free(self.state.row, self.time_error_ns());
        // The number of the last allocation, in place of a round, until the free waits.
        let meta = meta.waiting_since(self.state.allocs);
        let begun = Entry { address, size: check, at_ns: self.time_of(index), meta };
        let under_way = &mut self.state.under_way;
        // An entry of the same address has lost its second half, so it is overwritten. If all places are taken, signal
        // handlers interrupted reallocs and never returned. Then the first entry is dropped.
        let place = under_way.iter().position(|entry| entry.address == 0 || entry.address == address);
        under_way[place.unwrap_or(0)] = begun;
        self.bring_from_other_lane(&begun);
    }

    /// Removes the first half of a realloc of this address and returns it.
    fn begun(&mut self, address: u64) -> Option<Entry> {
        let place = self.state.under_way.iter().position(|entry| entry.address == address)?;
        Some(std::mem::take(&mut self.state.under_way[place]))
    }

    /// Books a realloc that failed: the block stays live and unchanged.
    pub(super) fn realloc_refused(&mut self, address: u64) {
        count_up(&mut self.batch.recorded, 1);
        let _ = self.begun(address);
    }

    /// Books a realloc that succeeded: the block stays live with a new address and size, and keeps its time of
    /// allocation.
    pub(super) fn realloc_ends(
        &mut self,
        old: u64,
        new: u64,
        size: u64,
        stack: u32,
        traits: Traits,
        index: u64,
    ) {
        count_up(&mut self.batch.recorded, 1);
        let Some((before, number)) = self.take_reallocated(old, traits.is_own(), index) else {
            return self.start_afresh(new, size, stack, traits, index);
        };
        let own = before.meta.is_own();
        let mut low = traits.align_log2();
        if own {
            count_up(&mut self.batch.own_events, 1);
            low = traits.period();
        } else if before.meta.rate() != 0 {
            // The block was sampled, but every event is recorded by now. So the sample ends, and the block is in the
            // totals from now on.
            self.end_excluded(before.meta, before.size);
            self.count_alloc(size, stack, index);
            self.batch.reallocs += 1;
            self.delta().sums.reallocs += 1;
        } else {
            self.count_realloc(&before, size, stack, index, old != new);
        }
        let meta = match before.meta.rate() {
            0 => before.meta,
            _ => Meta::of_block(0, 0, 0, own, before.meta.time_error_ns())
                .with_reallocs(before.meta.reallocs()),
        };
        let mut meta = meta.reallocated(Meta(self.batch.dates.meta), stack, low);
        let mut at_ns = before.at_ns;
        if own {
            // No figure shows the age of an internal block, but its time decides which frees may mean the block.
            meta = meta.reallocated_internally(traits.is_own());
            at_ns = self.time_of(index);
        }
        let block = Entry { address: new, size, at_ns, meta };
        if size >> 32 == 0 {
            // The allocation number stays, because a realloc does not make a block younger.
            self.put_in_nursery(Entry { size: size | u64::from(number) << 32, ..block });
        } else {
            self.place_block(block);
        }
    }

    /// Removes the block at the old address from the nursery or the shared table. Returns the block with its allocation
    /// number. Returns `None` if the block's allocation is not booked yet; then a free waits for it in the shared
    /// table.
    fn take_reallocated(&mut self, old: u64, internal: bool, index: u64) -> Option<(Entry, u32)> {
        let meta = Meta::of_waiting_free(self.state.row, self.time_error_ns());
        let begun = self.begun(old);
        let free = begun.unwrap_or(Entry { address: old, size: 0, at_ns: self.time_of(index), meta });
        match self.places.take(old) {
            Some(young) if begun.is_none_or(|begun| event::agrees(as_survivor(young).size, begun.size)) => {
                Some((as_survivor(young), (young.size >> 32) as u32))
            }
            stale => {
                if let Some(stale) = stale {
                    self.send_survivor(stale);
                }
                let (row, allocs) = (self.state.row, self.state.allocs);
                let allocs_before = begun.map_or(allocs, |begun| begun.meta.stack());
                let ending = Ending { address: old, check: free.size, row, allocs_before };
                let noted = self.state.pushed_out.take(&ending, allocs);
                // A block that has left the nursery and is not noted is too old to be temporary.
                let number =
                    noted.map_or(allocs.wrapping_sub(TEMPORARY_ALLOCS + 1), |young| number_of_young(&young));
                let free = Entry { meta: free.meta.by_realloc(internal), ..free };
                let before = self.take_from_shared(free, begun.is_some());
                before.map(|block| (block, number))
            }
        }
    }

    /// Books the new block of a realloc whose old block is not booked yet.
    fn start_afresh(&mut self, address: u64, size: u64, stack: u32, traits: Traits, index: u64) {
        let own = traits.is_own();
        count_up(&mut self.batch.own_events, u64::from(own));
        if !traits.is_excluded() {
            // The lane's counter of reallocs is incremented when the old block is found, because that block may be
            // internal.
            self.count_alloc(size, stack, index);
            self.delta().sums.reallocs += 1;
        }
        let (row, time_error_ns) = (self.state.row, self.time_error_ns());
        let low = if own { traits.period() } else { traits.align_log2() };
        let meta = Meta::of_block(stack, row, low, own, time_error_ns);
        let meta = if own { meta.reallocated_internally(true) } else { meta.with_reallocs(1) };
        self.place_block(Entry { address, size, at_ns: self.time_of(index), meta });
    }

    /// Adds a realloc of a program's block to the sums, as the end of the old block and the allocation of the new one.
    fn count_realloc(&mut self, before: &Entry, size: u64, stack: u32, index: u64, moved: bool) {
        self.select_delta(before.meta.stack());
        self.add_end(before.size);
        self.count_alloc(size, stack, index);
        self.batch.reallocs += 1;
        let sums = &mut self.delta().sums;
        sums.reallocs += 1;
        if moved {
            sums.moved += 1;
            sums.copied_bytes += before.size.min(size);
        }
    }

    /// Removes a block from the shared table and returns it, after delivering the outbox. `is_begun` means that the
    /// first half of the realloc was booked; then the block is in no other lane's nursery any more.
    fn take_from_shared(&mut self, free: Entry, is_begun: bool) -> Option<Entry> {
        self.deliver();
        if !is_begun && let Some(block) = self.take_from_other_lane(&free) {
            return Some(block);
        }
        match self.ledger.live.free(&self.ledger.pages, free) {
            Freed::Block(block) => Some(block),
            Freed::Waits => None,
            Freed::Full => {
                self.batch.lost += 1;
                self.batch.recorded = self.batch.recorded.wrapping_sub(1);
                None
            }
        }
    }
}
