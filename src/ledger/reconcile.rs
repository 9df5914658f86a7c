//! Bringing the two levels together: after it, every free that can find its block has found it.
//!
//! A thread's free of another thread's block waits in the shared table while the block is still in the nursery of
//! the thread that made it. Emptying all nurseries ends the wait.
//!
//! What still waits then, although its allocation must have been booked, was a mix-up: a thread's nursery still had
//! its old block of that address, which a second thread had freed meanwhile, when the first thread freed a *third*
//! party's block there. The old block was taken for the freed one. Such a free and the block that is left over are
//! paired with each other, which puts every sum right; that two lifetimes were swapped is counted as ambiguous.
//!
//! When must the allocation of a waiting free have been booked? An allocation is published before its block reaches
//! the thread that frees it. So once a free has been seen in its ring, every head that is looked at *afterwards*
//! covers the allocation: it takes one more round over all lanes. The clock cannot tell which frees those are, since
//! the last ones are dated up to the fold itself; so a round more is made, and every free dated before the first of
//! the two is old enough.

use super::Ledger;
use super::fold::Fold;
use crate::ring::lane::Lane;

/// Mix-ups that are resolved at one look at a shard.
const MIX_UPS: usize = 16;

impl Ledger {
    /// Books everything that any thread recorded before the call. `own` is the caller's lane, or any other: its
    /// account takes what is settled here. No latch may be held and nothing may be allocated by the caller's thread
    /// meanwhile.
    pub(crate) fn flush(&self, own: &Lane) {
        if self.is_ordered() {
            return self.fold_in_order();
        }
        for lane in self.lanes() {
            self.fold(lane);
        }
        if self.live.waiting() == 0 {
            return;
        }
        let until_ns = self.clock.now_after_loads_ns();
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
            self.live.drop_waiting(&self.pages, until_ns, true);
        }
        self.settle_mix_ups(own, until_ns);
        if self.is_sampling_used() {
            self.live.drop_waiting(&self.pages, until_ns, false);
        }
    }

    /// Pairs what has been left over, of the frees up to `until_ns`.
    fn settle_mix_ups(&self, own: &Lane, until_ns: u64) {
        let taken = own.folder.latch.take();
        let mut fold = Fold::begin(self, own, &taken);
        for shard in 0..super::live::SHARDS {
            loop {
                let mut found = [None; MIX_UPS];
                self.live.take_mix_ups(&self.pages, shard, until_ns, &mut found);
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
