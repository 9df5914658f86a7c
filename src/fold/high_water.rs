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
use crate::ledger::fold_state::LaneCounters;
use crate::ledger::peak::HighWater;

impl Fold<'_> {
    /// The bytes by which an allocation may exceed what is live without being a new height of the batch or of the tally
    /// at hand.
    #[inline(always)]
    pub(super) fn room_below_high_water(&mut self) -> i64 {
        let of_batch = self.batch.high_water - self.batch.sums.live_bytes();
        let delta = self.delta();
        of_batch.min(delta.high_water_bytes - delta.sums.live_bytes())
    }

    /// Whether an allocation that is above the heights by the sums is not when the frees in the outbox are taken into account.
    #[inline(never)]
    pub(super) fn stays_below(&mut self, size: u64) -> bool {
        let (size, outbox_bytes_min) = (size as i64, self.batch.outbox_bytes_min as i64);
        let live = self.batch.sums.live_bytes() + size - outbox_bytes_min;
        // Where there is one tally only, it has all the blocks.
        let has_all = self.state.deltas.slots == 0 && self.ledger.facts.stacks().is_none();
        let delta = self.delta();
        let of_delta = delta.sums.live_bytes() + size - if has_all { outbox_bytes_min } else { 0 };
        let stays =
            live <= self.batch.high_water && of_delta <= self.delta().high_water_bytes && self.trusts_frees;
        if stays {
            self.batch.skipped_high_water = self.batch.skipped_high_water.max(live);
        }
        stays
    }

    /// Whether every free of the lane finds a block that is in the totals, unless another thread has not booked it yet.
    pub(super) fn may_trust_frees(&self) -> bool {
        let has_lost = self.lane.lost_in_all() + LaneCounters::read(&self.counters.table_full) > 0;
        !has_lost && self.state.has_sent_excluded == 0 && !self.ledger.is_sampling_used()
    }

    /// Remembers that the live bytes of the batch, or of the tally at hand, may be at their highest.
    #[inline(always)]
    pub(super) fn raise_high_water(&mut self, live: i64, of_delta: i64, index: u64) {
        let delta = self.delta();
        delta.high_water_bytes = delta.high_water_bytes.max(of_delta);
        if live > self.batch.high_water {
            self.batch.high_water = live;
            if live > self.peak_threshold {
                self.note_peak(live, index);
            }
        }
    }

    fn note_peak(&mut self, live: i64, index: u64) {
        self.peak_threshold = live;
        self.state.deltas.high_water_number += 1;
        let at_ns = self.batch.dates.at(index.max(self.batch.dates.first));
        self.batch.top = Some(HighWater { bytes: live, blocks: self.batch.sums.live_blocks(), at_ns });
        let number = self.state.deltas.high_water_number;
        let delta = self.delta();
        delta.high_water_number = number;
        (delta.at_high_water_bytes, delta.at_high_water_blocks) =
            (delta.sums.live_bytes(), delta.sums.live_blocks());
    }

    /// Tells the process of the highest point of this batch, in case it is a new peak.
    pub(super) fn raise_peak(&mut self) {
        let Some(top) = self.batch.top.take() else { return };
        let (bytes, blocks) = (self.ledger.booked.bytes(), self.ledger.booked.blocks());
        let top = HighWater { bytes: bytes + top.bytes, blocks: blocks + top.blocks, ..top };
        self.batch.interval_peak = self.batch.interval_peak.max(top.bytes);
        if let Some(number) = self.ledger.peak.raise(top) {
            self.state.deltas.peak_number = number;
        }
    }

    /// Takes a peak that another lane raised for a height of this one.
    pub(super) fn follow_peak(&mut self) {
        let number = self.ledger.peak.number();
        let deltas = &mut self.state.deltas;
        if deltas.peak_number != number {
            deltas.peak_number = number;
            deltas.high_water_number += 1;
        }
    }
}
