//! The outbox: a buffer of survivors of the nursery and of remote frees on their way to the shared table.

use super::state::Fold;
use crate::ledger::entry::Entry;
use crate::ledger::fold_state::OUTBOX;
use crate::ledger::live::{Freed, Placed};
use crate::ledger::nursery::as_survivor;
use crate::ring::event;
use crate::sys::compiler_barrier::compiler_barrier;

/// Number of entries by which the prefetching of the shared table precedes the delivery.
const PREFETCH_AHEAD: usize = 6;

/// The result of the delivery of one entry to the shared table.
enum Delivered {
    /// The table stored the entry.
    Stored,
    /// The table paired a block with its free.
    Paired(Entry, Entry),
    /// The table had no room for a block.
    BlockRefused,
    /// The table had no room for a waiting free.
    FreeRefused,
}

impl Fold<'_> {
    /// Sends a block that leaves the nursery.
    #[inline]
    pub(super) fn send_survivor(&mut self, young: Entry) {
        self.state.pushed_out.note(&young, self.state.allocs);
        self.send(as_survivor(young));
    }

    /// Appends a block or a free to the outbox. Delivers the outbox first if it is full.
    #[inline]
    pub(super) fn send(&mut self, entry: Entry) {
        self.state.has_sent_excluded |= u32::from(entry.meta.is_excluded() && !entry.meta.is_waiting());
        if self.state.outbox_len == OUTBOX {
            self.deliver();
        }
        self.state.outbox[self.state.outbox_len] = entry;
        compiler_barrier();
        self.state.outbox_len += 1;
        compiler_barrier();
    }

    /// Delivers the outbox to the shared table, in order.
    pub(super) fn deliver(&mut self) {
        let len = self.state.outbox_len;
        self.state.handing = len;
        compiler_barrier();
        self.state.outbox_len = 0;
        self.batch.sent += len as u64;
        self.batch.frees_sent = 0;
        self.batch.outbox_bytes_min = 0;
        let freed_before = self.batch.sums.freed_bytes;
        let (mut outbox_bytes_min, mut short) = (0, 0);
        let (ledger, pages) = (self.ledger, &self.ledger.pages);
        for ahead in 0..len.min(PREFETCH_AHEAD) {
            ledger.live.prefetch(pages, self.state.outbox[ahead].address);
        }
        for place in 0..len {
            if place + PREFETCH_AHEAD < len {
                ledger.live.prefetch(pages, self.state.outbox[place + PREFETCH_AHEAD].address);
            }
            let entry = self.state.outbox[place];
            let delivered = self.hand(entry);
            // Written at once: the reader of a killed process's black box must know whether the outbox or the shared
            // table has the entry.
            compiler_barrier();
            self.state.handed = place + 1;
            compiler_barrier();
            match delivered {
                Delivered::Stored => self.batch.has_remote_frees |= entry.meta.is_waiting(),
                Delivered::Paired(block, free) => self.count_pairing(&block, &free),
                Delivered::BlockRefused => self.take_back(&entry),
                Delivered::FreeRefused => {
                    self.batch.lost += 1;
                    self.batch.recorded = self.batch.recorded.wrapping_sub(1);
                }
            }
            if entry.meta.is_waiting() {
                outbox_bytes_min += event::least_size(entry.size);
                short =
                    outbox_bytes_min.saturating_sub(self.batch.sums.freed_bytes - freed_before).max(short);
            }
        }
        self.state.handing = 0;
        compiler_barrier();
        self.state.handed = 0;
        let skipped_high_water = std::mem::replace(&mut self.batch.skipped_high_water, i64::MIN);
        if short > 0 {
            self.batch.high_water_at_most =
                self.batch.high_water_at_most.max(skipped_high_water.saturating_add(short as i64));
        }
    }

    /// Delivers one entry to the shared table.
    #[inline(always)]
    fn hand(&self, entry: Entry) -> Delivered {
        let (ledger, pages) = (self.ledger, &self.ledger.pages);
        if !entry.meta.is_waiting() {
            return match ledger.live.place(pages, entry) {
                Placed::Live => Delivered::Stored,
                Placed::FreedBy(free) => Delivered::Paired(entry, free),
                Placed::Full => Delivered::BlockRefused,
            };
        }
        if let Some(block) = self.take_from_other_lane(&entry) {
            return Delivered::Paired(block, entry);
        }
        match ledger.live.free(pages, entry) {
            Freed::Block(block) => Delivered::Paired(block, entry),
            Freed::Waits => Delivered::Stored,
            Freed::Full => Delivered::FreeRefused,
        }
    }

    /// Adds the end of a block to the sums, after the block was paired with `free`.
    pub(crate) fn count_pairing(&mut self, block: &Entry, free: &Entry) {
        if block.meta.is_excluded() {
            // The realloc was counted with its new block. But if the old block was sampled, its end was not counted.
            if !free.meta.is_by_realloc() || block.meta.rate() != 0 {
                self.end_excluded(block.meta, block.size);
            }
            return;
        }
        self.select_delta(block.meta.stack());
        if free.meta.is_by_realloc() {
            // The realloc has counted the new block; the end of the old block is still missing.
            self.add_end(block.size);
            self.batch.reallocs += 1;
        } else {
            self.count_free(block.meta, block.size, free.at_ns.saturating_sub(block.at_ns));
        }
        self.count_remote_free(block, free);
    }

    /// Undoes the booking of an allocation for which the shared table has no room. The event counts as lost instead of
    /// recorded.
    #[cold]
    fn take_back(&mut self, block: &Entry) {
        self.batch.recorded = self.batch.recorded.wrapping_sub(1);
        self.batch.lost += 1;
        if block.meta.is_excluded() {
            match block.meta.rate() {
                0 => self.batch.own_events = self.batch.own_events.wrapping_sub(1),
                rate => self.batch.sampled.end(block.size, rate),
            }
            return;
        }
        self.select_delta(block.meta.stack());
        self.take_birth_back(block.size);
    }
}
