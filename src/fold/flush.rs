//! Bringing the two levels together: after it, every free that can find its block has found it.
//!
//! A thread's free of another thread's block waits in the shared table while the block is still in the nursery of
//! the thread that made it. Emptying all nurseries ends the wait.
//!
//! What still waits then, although its allocation must have been booked, was a mix-up: a thread's nursery still had
//! its old block of that address, which a second thread had freed meanwhile, when the first thread freed a *third*
//! party's block there. The old block was taken for the freed one. Such a free and the block that is left over are
//! paired with each other, which puts every sum right (where size bits tell the blocks apart); that two lifetimes were
//! swapped is counted as ambiguous.
//!
//! When must the allocation of a waiting free have been booked? An allocation is published before its block reaches
//! the thread that frees it. So once a free has been seen in its ring, every head that is looked at *afterwards*
//! covers the allocation: it takes one more round over all lanes. Dates cannot tell which frees those are: one that a
//! thread made after it was off the processor for long is dated too early. So the rounds are counted, and a free that
//! begins to wait notes the count. Whoever folds a lane after a round has been there sees that round's number, so a free
//! with a smaller one was seen in its ring before the round was over: after the next round it is old enough.
//!
//! That holds for its own block, but not for the one that a mix-up leaves over in its place: the free that took the wrong
//! block may have come late in the last round, and the block that it meant may not be booked yet. Meanwhile yet another
//! block can lie at the address. So a free is paired with a block of its own size only, unless no thread recorded
//! anything while the rounds were made, or it has waited for [`PATIENCE`] of them. Then the program did free with
//! another layout than it allocated with.
//!
//! A free that has waited as long and has no block at its address will never find one: the block was lost, or is older than
//! the ledger. It is counted as unmatched and given up, so that later flushes need not look for it again.

use super::state::Fold;
use crate::ledger::Ledger;
use crate::ledger::live::SHARDS;
use crate::ring::lane::Lane;

/// Mix-ups that are resolved at one look at a shard.
const MIX_UPS: usize = 16;
/// Rounds after which a free that still waits is paired with a block of another size, or given up if there is none.
const PATIENCE: u32 = 64;

impl Ledger {
    /// Books everything that any thread recorded before the call. `own` is the caller's lane, or any other: its
    /// account takes what is settled here. No latch may be held and nothing may be allocated by the caller's thread
    /// meanwhile.
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
            // Frees of blocks that were left out by choice must not take others.
            self.live.drop_waiting(&self.pages, round, true);
        }
        let other_sizes = if self.words_written() == written { round } else { round.wrapping_sub(PATIENCE) };
        self.pair_left_over(own, round, other_sizes);
        if self.is_sampling_used() {
            self.live.drop_waiting(&self.pages, round, false);
        }
        self.live.give_up_waiting(&self.pages, round.wrapping_sub(PATIENCE));
    }

    /// In order nothing is mixed up: a free that waits has no block, because that was lost or left out.
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

    /// Words written so far to all rings.
    fn words_written(&self) -> u64 {
        self.lanes().map(|lane| lane.head().observe()).fold(0, u64::wrapping_add)
    }

    /// Pairs what has been left over, of the frees that came before a round.
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
