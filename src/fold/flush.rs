//! The flush, after which every free that can find its block has found it.
//!
//! A remote free waits in the shared table while its block is still in the nursery of the thread that allocated it.
//! Emptying all nurseries ends the wait.
//!
//! A free that still waits after that, although its allocation must have been booked, shows a mix-up. Thread A's
//! nursery still had its old block of an address, which thread B had freed, when A freed a block of thread C at the
//! same address. So A's old block was taken for the freed one. The flush pairs the waiting free with the block that
//! remains, which makes every sum correct (where size bits distinguish the blocks); the two swapped lifetimes are
//! counted as ambiguous.
//!
//! # Rounds
//!
//! An allocation is published before its block reaches the thread that frees it. So once a free was seen in its ring,
//! every head that is read *afterwards* covers the allocation: one more round over all lanes books it. Dates cannot
//! decide which frees these are: a free after a long time off the processor is dated too early. So rounds are numbered,
//! and a free that begins to wait notes the number. A fold of a lane after a round has visited it sees that round's
//! number. So a free with a smaller number was seen in its ring before the round ended, and is old enough after the
//! next round.
//!
//! That holds for the block that the free means, but not for the block that remains after a mix-up: the free that took
//! the wrong block may have come late in the last round, and the block that it meant may not be booked yet. Meanwhile
//! yet another block can lie at the address. So a free is paired only with a block of its size, with two exceptions: no
//! thread recorded anything during the rounds, or the free has waited for [`PATIENCE`] rounds. In both cases the
//! program did free with another layout than it allocated with.
//!
//! A free that has waited for that long and has no block at its address never finds one: the block was lost, or is
//! older than the ledger. The free is counted as unmatched and removed, so that later flushes do not search for its
//! block again.

use super::state::Fold;
use crate::ledger::Ledger;
use crate::ledger::live::SHARDS;
use crate::ring::lane::Lane;

/// Number of mix-ups of a shard that are paired at a time.
const MIX_UPS: usize = 16;
/// Number of rounds after which a free that still waits is paired with a block of another size, or given up if there is
/// none.
const PATIENCE: u32 = 64;

impl Ledger {
    /// Books all events that any thread recorded before the call. Pairs made by the flush are counted on the lane
    /// `own`: the caller's lane, or any other. The caller holds no latch, and its thread allocates nothing during the
    /// call.
    pub(crate) fn flush(&self, own: &Lane) {
        if self.is_ordered() {
            return self.flush_in_order();
        }
        let written = self.words_written();
        for lane in self.lanes() {
            self.fold(lane);
        }
        if self.live.waiting() == 0 {
            return;
        }
        let round = self.live.begin_round();
        for _ in 0..2 {
            for lane in self.lanes() {
                let taken = lane.folder.latch.take();
                let mut fold = Fold::begin(self, lane, &taken);
                fold.run();
                fold.empty_nursery();
            }
            if self.live.waiting() == 0 {
                return;
            }
        }
        if self.is_sampling_used() {
            // Frees of sampled-out blocks must not be paired with others.
            self.live.drop_waiting(&self.pages, round, true);
        }
        let other_sizes = if self.words_written() == written { round } else { round.wrapping_sub(PATIENCE) };
        self.pair_left_over(own, round, other_sizes);
        if self.is_sampling_used() {
            self.live.drop_waiting(&self.pages, round, false);
        }
        self.live.give_up_waiting(&self.pages, round.wrapping_sub(PATIENCE));
    }

    /// Flushes lanes that are folded in order. They have no mix-ups: the block of a waiting free was lost or sampled
    /// out.
    fn flush_in_order(&self) {
        self.fold_in_order();
        if self.live.waiting() == 0 {
            return;
        }
        let round = self.live.begin_round();
        self.fold_in_order();
        if self.is_sampling_used() {
            self.live.drop_waiting(&self.pages, round, false);
        }
        self.live.give_up_waiting(&self.pages, round.wrapping_sub(PATIENCE));
    }

    /// Returns the number of words written to all rings.
    fn words_written(&self) -> u64 {
        self.lanes().map(|lane| lane.head().observe()).fold(0, u64::wrapping_add)
    }

    /// Pairs frees that have waited since before a round with the blocks that remain.
    fn pair_left_over(&self, own: &Lane, round: u32, other_sizes: u32) {
        let taken = own.folder.latch.take();
        let mut fold = Fold::begin(self, own, &taken);
        for shard in 0..SHARDS {
            loop {
                let mut found = [None; MIX_UPS];
                self.live.take_mix_ups(&self.pages, shard, round, other_sizes, &mut found);
                for (block, free) in found.iter().flatten() {
                    fold.count_pairing(block, free);
                }
                if found[MIX_UPS - 1].is_none() {
                    break;
                }
            }
        }
        fold.run();
    }
}
