//! The high-water marks of a batch's live bytes, and the peak of the process.
//!
//! A report shows the figures of each site at the peak, so the *delta* of a site in a lane (`site_deltas`) must know
//! which part of it was live at the peak. A lane numbers the high-water marks of its batches. A delta that is selected
//! again notes its live blocks and bytes if it has not changed since the latest mark. When a batch raises the process's
//! peak, the latest mark is that peak. A peak that another lane raised counts as a mark of this lane from the moment
//! this lane sees it, at the next batch or commit. The difference is within the peak's uncertainty.
//!
//! # Frees in the outbox
//!
//! A free of a block in the shared table waits in the outbox. It lowers the sums when the outbox is delivered, so until
//! then the live bytes are too high. Delivering a fuller outbox overlaps more cache misses. The size bits of a free
//! give a lower bound of its block's size ([`event::least_size`](crate::ring::event::least_size)). If an allocation
//! stays below the mark after the subtraction of these bounds, it is no high-water mark and requires no delivery. This
//! is exact only if every free finds its block. So a fold skips the delivery only while its lane has lost no event and
//! no block was sampled out. If the block of a remote free is not booked yet, the uncertainty of the peak includes the
//! live bytes that the allocation may have reached.

use super::state::Fold;
use crate::ledger::fold_state::LaneCounters;
use crate::ledger::peak::HighWater;

impl Fold<'_> {
    /// Returns the bytes that can be allocated without a new high-water mark of the batch or of the selected delta.
    #[inline(always)]
    pub(super) fn room_below_high_water(&mut self) -> i64 {
        let of_batch = self.batch.high_water - self.batch.sums.live_bytes();
        let delta = self.delta();
        of_batch.min(delta.high_water_bytes - delta.sums.live_bytes())
    }

    /// Returns whether an allocation stays below the high-water marks even after the lower bounds of the frees in the
    /// outbox are subtracted.
    #[inline(never)]
    pub(super) fn stays_below(&mut self, size: u64) -> bool {
        let (size, outbox_bytes_min) = (size as i64, self.batch.outbox_bytes_min as i64);
        let live = self.batch.sums.live_bytes() + size - outbox_bytes_min;
        // If a lane has only one delta, this delta contains all blocks of the lane.
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

    /// Returns whether every free of the lane finds a block that is in the totals, or a block that another thread has
    /// not booked yet.
    pub(super) fn may_trust_frees(&self) -> bool {
        let has_lost = self.lane.lost_in_all() + LaneCounters::read(&self.counters.table_full) > 0;
        !has_lost && self.state.has_sent_excluded == 0 && !self.ledger.is_sampling_used()
    }

    /// Raises the high-water marks of the batch and of the selected delta to the current live bytes.
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

    /// Notes a mark above the process's peak, with the live bytes and blocks of the selected delta.
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

    /// Raises the peak of the process to the highest mark of this batch, if that mark is higher than the peak.
    pub(super) fn raise_peak(&mut self) {
        let Some(top) = self.batch.top.take() else { return };
        let (bytes, blocks) = (self.ledger.booked.bytes(), self.ledger.booked.blocks());
        let top = HighWater { bytes: bytes + top.bytes, blocks: blocks + top.blocks, ..top };
        self.batch.interval_peak = self.batch.interval_peak.max(top.bytes);
        if let Some(number) = self.ledger.peak.raise(top) {
            self.state.deltas.peak_number = number;
        }
    }

    /// If another lane has raised the peak, counts the peak as a high-water mark of this lane.
    pub(super) fn follow_peak(&mut self) {
        let number = self.ledger.peak.number();
        let deltas = &mut self.state.deltas;
        if deltas.peak_number != number {
            deltas.peak_number = number;
            deltas.high_water_number += 1;
        }
    }
}
