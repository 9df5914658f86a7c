//! Bringing the two levels together: after it, every free that can find its block has found it.
//!
//! A thread's free of another thread's block waits in the shared table while the block is still in the nursery of
//! the thread that made it. Emptying all nurseries ends the wait.
//!
//! What still waits then, although its allocation must have been booked, was a mix-up: a thread's nursery still had
//! its old block of that address, which a second thread had freed meanwhile, when the first thread freed a *third*
//! party's block there. The old block was taken for the freed one. Such a free and the block that is left over are
//! paired with each other, which puts every sum right; that two lifetimes were swapped is counted as ambiguous.

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
        let began_ns = self.clock.now_after_loads_ns();
        for lane in self.lanes() {
            self.fold(lane);
        }
        if self.live.waiting() == 0 {
            return;
        }
        for lane in self.lanes() {
            let taken = lane.folder.latch.take();
            let mut fold = Fold::begin(self, lane, &taken);
            fold.run();
            fold.empty_nursery();
        }
        if self.live.waiting() > 0 {
            self.settle_mix_ups(own, began_ns);
        }
    }

    /// Pairs what has been left over since before `began_ns`.
    fn settle_mix_ups(&self, own: &Lane, began_ns: u64) {
        let taken = own.folder.latch.take();
        let mut fold = Fold::begin(self, own, &taken);
        for shard in 0..super::live::SHARDS {
            loop {
                let mut found = [None; MIX_UPS];
                self.live.take_mix_ups(&self.pages, shard, began_ns, &mut found);
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
