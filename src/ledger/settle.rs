//! The second half of a fold: reallocs, what goes to the shared table, and the sums.

use super::batch::{Batch, Told};
use super::books::{Account, OUTBOX};
use super::entry::{Entry, Meta};
use super::estimate::WeightedSums;
use super::fold::{Fold, count_up};
use super::live::{Freed, Placed};
use super::nursery::grown_up;
use super::timeline::Flow;
use crate::profile::TEMPORARY_ALLOCS;
use crate::ring::event::{self, Traits};
use crate::ring::lane::add;
use crate::sys::order::then;
use crate::sys::sync::Ordering;

/// How many entries ahead the shared table is asked to be fetched.
const PREFETCH_AHEAD: usize = 6;

/// What became of an entry that was brought to the shared table.
enum Delivered {
    /// It lies there.
    Rests,
    /// A block and its free have met.
    Pairs(Entry, Entry),
    /// There was no room for a block.
    BlockRefused,
    /// There was no room for a free to wait.
    FreeRefused,
}

impl Fold<'_> {
    /// A realloc is under way: from now on someone else may get the old address.
    pub(super) fn realloc_begins(&mut self, address: u64, check: u64, index: u64) {
        let meta = Meta::of_waiting_free(self.books.row, self.doubt_ns());
        let begun = Entry { address, size: check, at_ns: self.time_of(index), meta };
        let under_way = &mut self.books.under_way;
        // One of the same address has lost its second half, and the first of them is the one that is found. With all places taken,
        // handlers have interrupted reallocs that never came back: the oldest is forgotten.
        let place = under_way.iter().position(|entry| entry.address == 0 || entry.address == address);
        under_way[place.unwrap_or(0)] = begun;
    }

    fn begun(&mut self, address: u64) -> Option<Entry> {
        let place = self.books.under_way.iter().position(|entry| entry.address == address)?;
        Some(std::mem::take(&mut self.books.under_way[place]))
    }

    pub(super) fn realloc_refused(&mut self, address: u64) {
        count_up(&mut self.batch.recorded, 1);
        let _ = self.begun(address);
    }

    /// A realloc was carried out: the block lives on under a new address and size, with the same birth.
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
        let meta = Meta::of_waiting_free(self.books.row, self.doubt_ns());
        let begun = self.begun(old);
        let free = begun.unwrap_or(Entry { address: old, size: 0, at_ns: self.time_of(index), meta });
        let before = match self.places.take(old) {
            Some(young) if begun.is_none_or(|begun| event::agrees(grown_up(young).size, begun.size)) => {
                Some((grown_up(young), (young.size >> 32) as u32))
            }
            stale => {
                if let Some(stale) = stale {
                    self.send_survivor(stale);
                }
                // It has outlived a nursery, so it is too old to be temporary.
                let number = self.books.allocs.wrapping_sub(TEMPORARY_ALLOCS + 1);
                let before = self.take_from_shared(Entry { meta: free.meta.by_realloc(), ..free });
                before.map(|block| (block, number))
            }
        };
        let Some((before, number)) = before else {
            // The old block is still in another thread's books. Its free waits there; the new block starts afresh.
            count_up(&mut self.batch.own_events, u64::from(traits.is_own()));
            if !traits.is_apart() {
                // Among all reallocs it is counted when the old block is found: it may be none of the program's.
                self.count_alloc(size, stack, index);
                self.tally().sums.reallocs += 1;
            }
            let meta =
                Meta::of_block(stack, self.books.row, traits.align_log2(), traits.is_own(), self.doubt_ns());
            return self.settle_in(Entry {
                address: new,
                size,
                at_ns: self.time_of(index),
                meta: meta.with_reallocs(1),
            });
        };
        let own = before.meta.is_own();
        if own {
            count_up(&mut self.batch.own_events, 1);
        } else if before.meta.rate() != 0 {
            // Sampled before everything was recorded again: the sample ends, and the block is among all from now on.
            self.end_apart(before.meta, before.size);
            self.count_alloc(size, stack, index);
            self.batch.reallocs += 1;
            self.tally().sums.reallocs += 1;
        } else {
            self.count_realloc(&before, size, stack, index, old != new);
        }
        let meta = Meta::of_block(stack, self.books.row, traits.align_log2(), own, before.meta.doubt_ns())
            .with_reallocs(before.meta.reallocs() + 1);
        let block = Entry { address: new, size, at_ns: before.at_ns, meta };
        if size >> 32 == 0 {
            // The same running number: a realloc does not make a block younger.
            self.bring_up(Entry { size: size | u64::from(number) << 32, ..block });
        } else {
            self.settle_in(block);
        }
    }

    fn count_realloc(&mut self, before: &Entry, size: u64, stack: u32, index: u64, moved: bool) {
        self.turn_to(before.meta.stack());
        self.add_end(before.size);
        self.count_alloc(size, stack, index);
        self.batch.reallocs += 1;
        let sums = &mut self.tally().sums;
        sums.reallocs += 1;
        if moved {
            sums.moved += 1;
            sums.copied_bytes += before.size.min(size);
        }
    }

    /// Takes a block out of the shared table, after everything that was sent there before.
    fn take_from_shared(&mut self, free: Entry) -> Option<Entry> {
        self.deliver();
        if let Some(block) = self.take_from_other_lane(&free) {
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

    /// In an ordered fold: the block that a free means, if another lane's nursery has it.
    fn take_from_other_lane(&self, free: &Entry) -> Option<Entry> {
        if self.in_order { self.ledger.take_from_nurseries(self.lane, free) } else { None }
    }

    /// Sends a block that has outlived the nursery to the shared table.
    #[inline]
    pub(super) fn send_survivor(&mut self, young: Entry) {
        self.send(grown_up(young));
    }

    /// Sends a block, or a free that looks for its block, to the shared table.
    #[inline]
    pub(super) fn send(&mut self, entry: Entry) {
        self.books.has_sent_apart |= u32::from(entry.meta.is_apart() && !entry.meta.is_waiting());
        if self.books.outbox_len == OUTBOX {
            self.deliver();
        }
        self.books.outbox[self.books.outbox_len] = entry;
        then();
        self.books.outbox_len += 1;
        then();
    }

    /// Brings everything in the outbox to the shared table, in order.
    pub(super) fn deliver(&mut self) {
        let len = self.books.outbox_len;
        self.books.handing = len;
        then();
        self.books.outbox_len = 0;
        self.batch.sent += len as u64;
        self.batch.frees_sent = 0;
        self.batch.pledged = 0;
        let freed_before = self.batch.sums.freed_bytes;
        let (mut pledged, mut short) = (0, 0);
        let (ledger, pages) = (self.ledger, &self.ledger.pages);
        for ahead in 0..len.min(PREFETCH_AHEAD) {
            ledger.live.prefetch(pages, self.books.outbox[ahead].address);
        }
        for place in 0..len {
            if place + PREFETCH_AHEAD < len {
                ledger.live.prefetch(pages, self.books.outbox[place + PREFETCH_AHEAD].address);
            }
            let entry = self.books.outbox[place];
            let delivered = self.hand(entry);
            // At once: whoever finds the books of a process that was killed must know who has the entry.
            then();
            self.books.handed = place + 1;
            then();
            match delivered {
                Delivered::Rests => {}
                Delivered::Pairs(block, free) => self.count_pairing(&block, &free),
                Delivered::BlockRefused => self.take_back(&entry),
                Delivered::FreeRefused => {
                    self.batch.lost += 1;
                    self.batch.recorded = self.batch.recorded.wrapping_sub(1);
                }
            }
            if entry.meta.is_waiting() {
                pledged += event::least_size(entry.size);
                short = pledged.saturating_sub(self.batch.sums.freed_bytes - freed_before).max(short);
            }
        }
        self.books.handing = 0;
        then();
        self.books.handed = 0;
        let passed_over = std::mem::replace(&mut self.batch.passed_over, i64::MIN);
        if short > 0 {
            self.batch.rise_at_most = self.batch.rise_at_most.max(passed_over.saturating_add(short as i64));
        }
    }

    /// Brings one entry to the shared table.
    #[inline(always)]
    fn hand(&self, entry: Entry) -> Delivered {
        let (ledger, pages) = (self.ledger, &self.ledger.pages);
        if !entry.meta.is_waiting() {
            return match ledger.live.place(pages, entry) {
                Placed::Live => Delivered::Rests,
                Placed::FreedBy(free) => Delivered::Pairs(entry, free),
                Placed::Full => Delivered::BlockRefused,
            };
        }
        if let Some(block) = self.take_from_other_lane(&entry) {
            return Delivered::Pairs(block, entry);
        }
        match ledger.live.free(pages, entry) {
            Freed::Block(block) => Delivered::Pairs(block, entry),
            Freed::Waits => Delivered::Rests,
            Freed::Full => Delivered::FreeRefused,
        }
    }

    /// Adds the end of a block to the sums, that this fold or an earlier one of another thread had seen freed.
    pub(crate) fn count_pairing(&mut self, block: &Entry, free: &Entry) {
        if block.meta.is_apart() {
            // A realloc counted itself; not so a block that was sampled, of which it knew nothing.
            if !free.meta.is_by_realloc() || block.meta.rate() != 0 {
                self.end_apart(block.meta, block.size);
            }
            return;
        }
        self.turn_to(block.meta.stack());
        if free.meta.is_by_realloc() {
            // The realloc that freed it counted the new block; only the old block's share was missing.
            self.add_end(block.size);
            self.batch.reallocs += 1;
        } else {
            self.count_free(block.meta, block.size, free.at_ns.saturating_sub(block.at_ns));
        }
        self.count_crossed(block, free);
    }

    /// Takes an allocation back that the shared table has no room for: it is lost, not recorded.
    #[cold]
    fn take_back(&mut self, block: &Entry) {
        self.batch.recorded = self.batch.recorded.wrapping_sub(1);
        self.batch.lost += 1;
        if block.meta.is_apart() {
            match block.meta.rate() {
                0 => self.batch.own_events = self.batch.own_events.wrapping_sub(1),
                rate => self.batch.sampled.end(block.size, rate),
            }
            return;
        }
        self.turn_to(block.meta.stack());
        self.take_birth_back(block.size);
    }

    /// Tells the timeline what the batch did since it was last told, and goes on to the interval of `at_ns`.
    pub(super) fn enter_interval(&mut self, at_ns: u64) {
        if self.has_flow() {
            // What was freed before the interval ends belongs into it.
            self.deliver();
            self.end_height();
            self.flow_out(at_ns);
        }
        self.batch.interval_end_ns = self.ledger.timeline.around(at_ns).1.end;
    }

    /// Tells the interval at hand how high the live bytes rose in it; the next one begins where they stand.
    fn end_height(&mut self) {
        self.raise_peak();
        self.note_interval_peak();
        self.batch.rise_at_most = self.batch.rise_at_most.max(self.batch.rise);
        self.batch.rise = self.batch.sums.live_bytes();
    }

    fn note_interval_peak(&mut self) {
        let highest = self.ledger.booked.bytes() + self.batch.rise.max(self.batch.sums.live_bytes());
        self.batch.interval_peak = self.batch.interval_peak.max(highest);
    }

    /// Whether the batch did anything since the timeline was last told.
    fn has_flow(&self) -> bool {
        let Batch { sums, lost, at_flow, interval_peak, .. } = &self.batch;
        *interval_peak != i64::MIN || *at_flow != Told { sums: *sums, lost: *lost }
    }

    /// Tells the timeline what the batch did since it was last told, dated into the interval at hand, or to `at_ns`
    /// if none was entered yet. One visit to what all lanes share.
    fn flow_out(&mut self, at_ns: u64) {
        let now = Told { sums: self.batch.sums, lost: self.batch.lost };
        let then = std::mem::replace(&mut self.batch.at_flow, now);
        let flow = Flow {
            allocated_blocks: now.sums.total_blocks.wrapping_sub(then.sums.total_blocks),
            allocated_bytes: now.sums.total_bytes.wrapping_sub(then.sums.total_bytes),
            freed_blocks: now.sums.freed_blocks.wrapping_sub(then.sums.freed_blocks),
            freed_bytes: now.sums.freed_bytes.wrapping_sub(then.sums.freed_bytes),
            peak_bytes: self.batch.interval_peak.max(0) as u64,
            lost: now.lost - then.lost + self.newly_lost(),
        };
        let at_ns = if self.batch.interval_end_ns == 0 { at_ns } else { self.batch.interval_end_ns - 1 };
        self.ledger.timeline.add(at_ns, &flow);
        self.batch.interval_peak = i64::MIN;
    }

    /// Events that were lost on the lane since the timeline was last told. The thread counts them, and notes no time.
    fn newly_lost(&mut self) -> u64 {
        let lost = self.lane.lost_in_all();
        lost - std::mem::replace(&mut self.books.lost_told, lost)
    }

    /// Ends a batch: everything in it is booked, and visible to all. The fold may go on with another one.
    pub(super) fn finish(&mut self) {
        self.fit_nursery();
        self.deliver();
        self.tell_crossed();
        self.settle_tallies();
        self.note_interval_peak();
        self.flow_out(self.books.span_ns);
        self.ledger.booked.add(self.batch.sums.live_bytes(), self.batch.sums.live_blocks());
        let account = self.account;
        let changes = [
            (&account.total_blocks, self.batch.sums.total_blocks),
            (&account.total_bytes, self.batch.sums.total_bytes),
            (&account.freed_blocks, self.batch.sums.freed_blocks),
            (&account.freed_bytes, self.batch.sums.freed_bytes),
            (&account.own_events, self.batch.own_events),
            (&account.deeds, self.batch.deeds),
            (&account.reallocs, self.batch.reallocs),
            (&account.cross_thread_frees, self.batch.cross_thread_frees),
            (&account.freed_for_others_blocks, self.batch.for_others.0),
            (&account.freed_for_others_bytes, self.batch.for_others.1),
            (&account.table_full, self.batch.lost),
            (&account.recorded, self.batch.recorded),
        ];
        for (figure, change) in changes {
            add(figure, change);
        }
        if self.batch.sampled != WeightedSums::default() {
            account.sampled.add(&self.batch.sampled);
        }
        let rise = self.batch.rise.max(self.batch.rise_at_most).max(0);
        Account::raise(&account.rise_bytes, rise.saturating_add(self.books.behind_bytes) as u64);
        // What a lane is behind by is more than a batch while its words are booked in parts.
        let behind = self.books.behind_bytes.saturating_add(self.batch.sums.live_bytes());
        self.books.behind_bytes = if self.is_behind { behind.max(0) } else { 0 };
        // relaxed: a figure for people.
        account.booked_until_ns.store(self.now_ns, Ordering::Relaxed);
        self.start_over();
    }

    /// Gives the nursery another size, if the one it has is not right.
    fn fit_nursery(&mut self) {
        let Some(wanted) = self.books.nursery.look(self.books.allocs) else { return };
        let (before, first) = (self.books.nursery, &raw mut self.books.youngest);
        let pages = &self.ledger.pages;
        if let Some(nursery) = before.resized(pages, first, wanted, |entry| self.send_survivor(entry)) {
            self.books.nursery.go_over_to(nursery);
            self.places = nursery.places(pages, first);
            before.give_up(pages, first);
        }
    }

    /// Sends every block of the nursery to the shared table, where frees of other threads may wait for it.
    pub(crate) fn empty_nursery(&mut self) {
        for place in 0..self.places.len() {
            let entry = self.places.at(place);
            if entry.address != 0 {
                self.send_survivor(entry);
                self.places.put(place, Entry::default());
            }
        }
        self.finish();
    }
}
