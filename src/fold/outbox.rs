//! The outbox: survivors of the nursery and remote frees, gathered on their way to the shared table.

use super::state::Fold;
use crate::ledger::books::OUTBOX;
use crate::ledger::entry::Entry;
use crate::ledger::live::{Freed, Placed};
use crate::ledger::nursery::grown_up;
use crate::ring::event;
use crate::sys::order::then;

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
    /// In an ordered fold: the block that a free means, if another lane's nursery has it.
    pub(super) fn take_from_other_lane(&self, free: &Entry) -> Option<Entry> {
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
}
