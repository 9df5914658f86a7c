//! The flush. After it, every free that can find its block has found it.
//!
//! A remote free waits in the shared table while its block is still in the nursery of the thread that allocated it. The
//! flush empties all nurseries, which ends this wait.
//!
//! A free may still wait after that, although the allocation of its block must have been booked. Then there was a
//! *mix-up*. For example, thread B freed a block of thread A, and A received the same address again, as a block that
//! thread C had allocated. When A freed C's block, A's nursery still had A's old block, so the fold ended the old block
//! instead of C's. The flush pairs the waiting free with the block that remains. Then every sum is correct, as far as
//! size bits distinguish the blocks. The two swapped lifetimes are counted as ambiguous.
//!
//! # Rounds
//!
//! An allocation is published before its block reaches the thread that frees it. So once a free was seen in its ring,
//! every head that is read *afterwards* covers the allocation, and one more round over all lanes books it. Dates cannot
//! decide which frees are old enough, because a free after a long time off the processor is dated too early. So rounds
//! are numbered, and a free that begins to wait notes the number of the current round. Once a round has visited a lane,
//! every later fold of the lane sees the number of that round. A free with a smaller number was therefore seen in its
//! ring before the round ended, and is old enough after the next round.
//!
//! This holds for the block to which the free belongs, but not for the block that remains after a mix-up. The free that
//! took the wrong block may have come late in the last round, and the allocation of its block may not be booked yet. A
//! third block may lie at the address by then. So a free is paired only with a block of its size, with two exceptions:
//! no thread recorded anything during the rounds, or the free has waited for [`PATIENCE`] rounds. In both exceptions
//! the program freed a block with a layout other than the layout of its allocation.
//!
//! A free that has waited for [`PATIENCE`] rounds and has no block at its address never finds one: the block was
//! lost, or is older than the ledger. The flush counts the free as unmatched and removes it, so that later flushes do
//! not search for its block again.
//!
//! # Blocks of heapledger
//!
//! A mix-up between two blocks of the program leaves the program's sums correct. A mix-up between a block of the program
//! and an internal block, which is in no sum, would not, for as long as the other free is missing. The times of internal
//! events are in the true order with all others at the address (`recorder::stamps`), so a free by the program never ends
//! an internal block that was allocated later. A free by heapledger ends an internal block; it ends a block of the
//! program only if the flush has found no internal block for it. This also undoes the remaining mix-up: the free of the
//! program's next block has ended the internal block, whose free was not booked yet.
//!
//! # Sampled-out blocks
//!
//! A sampled-out block is in no table; only its size is in the totals. The free of such a block may find a different
//! block at its address: an older block whose free is still in a ring, or a younger block. The block that is ended
//! wrongly has a free too, which then finds nothing. The sums are right if this second free counts the same bytes. Five
//! rules, together the invariant **W**, make each free count the size of its block exactly once, whatever block it
//! finds:
//!
//! * **W1** A free is recorded with its whole size unless its thread has read a level at which no block is or was
//!   sampled out. The level is a part of the epoch word. So a thread that receives a block from a thread that has acted
//!   on a level acts on that level or a later one.
//! * **W2** A free with its whole size ends only a block of exactly that size. If it ends no block, it is counted with
//!   its size when it is dropped. So if two such frees may belong to one block, it does not matter which of them is
//!   paired.
//! * **W3** A free without its whole size, a *narrow* free, has a recorded block, and no free with its whole size may
//!   take that block away. If a sampled-out block gets the same address later, the narrow free was published before. So
//!   there is a *transition* during which narrow frees may be in a ring (`LiveTable::is_in_transition`). During it, a
//!   free with its whole size ends a block at once only if the block was allocated after all threads saw the change.
//!   Otherwise the free waits, and a flush pairs it after the rounds have booked everything that was published before
//!   it.
//! * **W4** A free is dropped only after the rounds, and after it was offered every block at its address. Dates do not
//!   decide here either, because a block whose free was dropped would stay live for ever.
//! * **W5** A free that was not found in the sampled set, an *unlisted* free, never ends an internal block that was in
//!   the set. Internal blocks are in no sum. So with W2 alone, the sums would lack the freed block until heapledger
//!   frees the internal block, which may be late. The set is cleared when a sampling period begins. So the record of
//!   the free has the number of its period, and the record of the block has the number of the period in which the block
//!   was listed. The rule holds if the block's period is the free's period or the next period. The address of an
//!   internal block enters the set before its record is written. So a free that does belong to the block finds it
//!   there, or belongs to a later period and may end the block.
//!
//! A flush ends the transition under two conditions. Before its rounds, a time of [`SEEN_NS`] has passed since the
//! change, and no thread is inside a record that it began before the change. After its rounds, no realloc is under way.
//! `recorder::state` handles the return from whole sizes to short records: it waits until no sampled-out block is live.

use super::state::Fold;
use crate::ledger::Ledger;
use crate::ledger::entry::{Entry, whole_size};
use crate::ledger::fold_state::fold_state_of;
use crate::ledger::live::{SEEN_NS, SHARDS, is_older_than_internal, may_be_end};
use crate::ring::lane::Lane;

/// Number of mix-ups of one shard that are paired at a time.
const MIX_UPS: usize = 16;
/// Number of rounds after which a free that still waits is paired with a block of another size. Without such a block
/// the free is given up.
const PATIENCE: u32 = 64;

impl Ledger {
    /// Books all events that any thread recorded before the call. Pairings of the flush are counted on the lane `own`:
    /// the caller's lane, or any other lane. The caller holds no latch, and its thread allocates nothing during the
    /// call.
    pub(crate) fn flush(&self, own: &Lane) {
        if self.is_ordered() {
            return self.flush_in_order();
        }
        let written = self.words_written();
        // This is checked first, because the rounds book only the words that threads have published before them.
        let transition =
            self.live.transition_since_ns().filter(|since_ns| self.is_change_seen(own, *since_ns));
        for lane in self.lanes() {
            self.fold(lane);
        }
        if self.live.waiting() == 0 && transition.is_none() {
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
            if self.live.waiting() == 0 && transition.is_none() {
                return;
            }
        }
        let is_sampling_used = self.is_sampling_used();
        // W3: narrow frees come first.
        let is_narrow = |free: &Entry| whole_size(free).is_none();
        self.pair_left_over(own, round, |block, free| is_narrow(free) && may_be_end(block, free));
        self.pair_left_over(own, round, may_be_end);
        if is_sampling_used {
            self.live.drop_sampled_out(&self.pages, round);
        }
        let patient = round.wrapping_sub(PATIENCE);
        let other_sizes = if self.words_written() == written { round } else { patient };
        let is_due = |free: &Entry| is_narrow(free) || !is_sampling_used;
        self.pair_left_over(own, other_sizes, |block, free| {
            is_due(free) && !is_older_than_internal(block, free)
        });
        self.live.give_up_waiting(&self.pages, patient);
        if let Some(since_ns) = transition.filter(|_| !self.is_realloc_under_way()) {
            self.live.end_transition(since_ns);
        }
    }

    /// Returns whether every thread has seen the change of the level at `since_ns`, or will see it at its next event. A
    /// thread will see the change if it writes no record, records at a level with whole sizes, or works for heapledger,
    /// whose frees have whole sizes.
    fn is_change_seen(&self, own: &Lane, since_ns: u64) -> bool {
        let others = || self.lanes().filter(|lane| !std::ptr::eq(*lane, own));
        // The caller itself has seen the change.
        if others().next().is_none() {
            return true;
        }
        self.clock.now_ns().saturating_sub(since_ns) >= SEEN_NS
            && others().all(Lane::is_outside_plain_records)
    }

    /// Returns whether a thread has begun a realloc and not ended it. The free of such a realloc lacks the whole size,
    /// and is booked when the realloc ends.
    fn is_realloc_under_way(&self) -> bool {
        self.lanes().any(|lane| {
            let _taken = lane.folder.latch.take();
            // SAFETY: B3, the latch is held.
            let state = unsafe { fold_state_of(lane).as_ref() };
            state.under_way.iter().any(|begun| begun.address != 0)
        })
    }

    /// Flushes lanes that are folded in order. No free is left without a block by a mix-up (see `ordered`): either the
    /// block of a waiting free was lost or sampled out, or an ending thread booked the free before the events of other
    /// threads. In the second case, the block is booked by a fold that no unfinished event bounds, and finds the free
    /// when it leaves the nursery. Any number of flushes may come before such a fold, and none of them gives a free up.
    fn flush_in_order(&self) {
        self.fold_in_order();
        if self.live.waiting() == 0 {
            return;
        }
        let round = self.live.begin_round();
        // A free with a smaller number was booked before the first of these folds took the latch of its lane, so the
        // second covers its block.
        self.fold_in_order();
        let is_complete = self.fold_in_order();
        for lane in self.lanes() {
            let taken = lane.folder.latch.take();
            Fold::begin_in_order(self, lane, &taken).empty_nursery();
        }
        if !is_complete {
            return;
        }
        if self.is_sampling_used() {
            self.live.drop_sampled_out(&self.pages, round);
        }
        self.live.give_up_waiting(&self.pages, round.wrapping_sub(PATIENCE));
    }

    /// Returns the number of words written to all rings.
    fn words_written(&self) -> u64 {
        self.lanes().map(|lane| lane.head().observe()).fold(0, u64::wrapping_add)
    }

    /// Pairs each free that has waited since before `round` with a block at its address for which `fits` returns true.
    fn pair_left_over(&self, own: &Lane, round: u32, fits: impl Fn(&Entry, &Entry) -> bool) {
        let taken = own.folder.latch.take();
        let mut fold = Fold::begin(self, own, &taken);
        for shard in 0..SHARDS {
            loop {
                let mut found = [None; MIX_UPS];
                self.live.take_left_over(&self.pages, shard, round, &fits, &mut found);
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
