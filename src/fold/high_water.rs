//! High-water marks of a batch, and the peak of the process.
//!
//! Which part of a tally was live at the peak of the process? A lane counts the *heights* that its own batches reach;
//! a tally that is taken up notes what it holds if it has not been touched since the latest height. When a batch
//! raises the process's peak, the latest height is that peak. A peak that another lane raised is taken for a height of
//! this one when this lane learns of it, at the next batch or commit: that is within what the peak's uncertainty covers.
//!
//! # Frees in the outbox
//!
//! A free of a block that is in the shared table has a place in the outbox, and lowers the sums when that is delivered; the fuller it is
//! by then, the more of the waiting for memory is done at one time. Until then the live bytes seem higher than they are. But a free
//! tells how large its block is at least ([`event::least_size`](crate::ring::event::least_size)): with that *pledged*, an allocation that
//! stays below the heights all the same is none, and nothing has to be delivered for it. That is exact where every free finds its
//! block. So it is done only where the lane has lost nothing and left nothing out; and where a free of another thread's block finds
//! it not booked yet, what the allocation may have come to goes into the uncertainty of the peak.

use super::state::Fold;
use crate::ledger::books::Account;
use crate::ledger::peak::Height;

impl Fold<'_> {
    /// The bytes by which an allocation may exceed what is live without being a new height of the batch or of the tally
    /// at hand.
    #[inline(always)]
    pub(super) fn room_below_heights(&mut self) -> i64 {
        let of_batch = self.batch.rise - self.batch.sums.live_bytes();
        let tally = self.tally();
        of_batch.min(tally.rise_bytes - tally.sums.live_bytes())
    }

    /// Whether an allocation that is above the heights by the sums is not when the frees in the outbox are taken into account.
    #[inline(never)]
    pub(super) fn stays_below(&mut self, size: u64) -> bool {
        let (size, pledged) = (size as i64, self.batch.pledged as i64);
        let live = self.batch.sums.live_bytes() + size - pledged;
        // Where there is one tally only, it has all the blocks.
        let has_all = self.books.tallies.slots == 0 && self.ledger.facts.stacks().is_none();
        let tally = self.tally();
        let of_tally = tally.sums.live_bytes() + size - if has_all { pledged } else { 0 };
        let stays = live <= self.batch.rise && of_tally <= self.tally().rise_bytes && self.trusts_frees;
        if stays {
            self.batch.passed_over = self.batch.passed_over.max(live);
        }
        stays
    }

    /// Whether every free of the lane finds a block that is in the totals, unless another thread has not booked it yet.
    pub(super) fn may_trust_frees(&self) -> bool {
        let has_lost = self.lane.lost_in_all() + Account::read(&self.account.table_full) > 0;
        !has_lost && self.books.has_sent_apart == 0 && !self.ledger.is_sampling_used()
    }

    /// Remembers that the live bytes of the batch, or of the tally at hand, may be at their highest.
    #[inline(always)]
    pub(super) fn note_heights(&mut self, live: i64, of_tally: i64, index: u64) {
        let tally = self.tally();
        tally.rise_bytes = tally.rise_bytes.max(of_tally);
        if live > self.batch.rise {
            self.batch.rise = live;
            if live > self.to_beat {
                self.note_peak(live, index);
            }
        }
    }

    fn note_peak(&mut self, live: i64, index: u64) {
        self.to_beat = live;
        self.books.tallies.height += 1;
        let at_ns = self.batch.dates.at(index.max(self.batch.dates.first));
        self.batch.top = Some(Height { bytes: live, blocks: self.batch.sums.live_blocks(), at_ns });
        let height = self.books.tallies.height;
        let tally = self.tally();
        tally.height = height;
        (tally.at_height_bytes, tally.at_height_blocks) = (tally.sums.live_bytes(), tally.sums.live_blocks());
    }

    /// Tells the process of the highest point of this batch, in case it is a new peak.
    pub(super) fn raise_peak(&mut self) {
        let Some(top) = self.batch.top.take() else { return };
        let (bytes, blocks) = (self.ledger.booked.bytes(), self.ledger.booked.blocks());
        let height = Height { bytes: bytes + top.bytes, blocks: blocks + top.blocks, at_ns: top.at_ns };
        self.batch.interval_peak = self.batch.interval_peak.max(height.bytes);
        if let Some(number) = self.ledger.peak.raise(height) {
            self.books.tallies.peak_number = number;
        }
    }

    /// Takes a peak that another lane raised for a height of this one.
    pub(super) fn look_at_the_peak(&mut self) {
        let number = self.ledger.peak.number();
        let tallies = &mut self.books.tallies;
        if tallies.peak_number != number {
            tallies.peak_number = number;
            tallies.height += 1;
        }
    }
}
