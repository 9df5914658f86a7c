//! The fold: books the words of one lane into the ledger, in their order.
//!
//! The thread that holds a lane's latch folds the lane. This is the lane's thread when a segment is full (it *helps*:
//! the words are still in its processor's cache), the background thread when a lane is idle or booking is costly, or a
//! thread that flushes. The state of a fold lies next to its lane (`ledger::fold_state`). A fold allocates nothing.
//!
//! ```text
//!             under the lane's latch                          under the shard's latch
//!  ring ──► date ──► match in the nursery ──survivors,──► shared table: live blocks and
//!            │            │                  remote           frees that wait for theirs
//!            │            │                  frees                 │
//!            └──► timeline└──► site delta ──► site ◄──────────────┘
//!                              └──► lane counters ──► totals, peak
//! ```
//!
//! A *batch* is the unit of events that one fold books. It has four steps:
//!
//! 1. **Date** the words (`run`): a window starts with a time mark and ends at the next mark; times between the marks
//!    are interpolated.
//! 2. **Match** each free with its allocation: directly before it in the ring, otherwise in the nursery (`events`,
//!    `realloc`).
//! 3. **Send** to the shared table, in order: blocks that leave the nursery alive (*survivors*), and frees of blocks
//!    that another thread allocated (*remote frees*) (`outbox`, `remote_frees`).
//! 4. **Sum** up: sites, timeline, peak, lane counters (`site_deltas`, `high_water`, `totals`).
//!
//! Most blocks are freed soon by the thread that allocated them. Such blocks never leave the lane's state, which no
//! other thread accesses during the fold. A batch takes the timeline's latch once, and the peak's latch once if there
//! is a new peak. All lanes share these two latches.
//!
//! # Order
//!
//! A free of an address is never booked before the allocation of its block, nor after the next allocation of that
//! address. In one thread the ring gives the order. Between threads, a free is published before the block can be given
//! out again, and an allocation is published after its block was given out. So once both events are folded, their times
//! decide. Until then the free waits in the shared table (`flush`). Where the clocks allow two pairings, the ledger
//! chooses one and counts it as ambiguous (`ambiguous_pairings`). If every event has a time stamp, all lanes are folded
//! together (`ordered`), and no pairing is ambiguous.

pub(crate) mod batch;
mod events;
mod flush;
mod high_water;
mod ordered;
mod outbox;
mod partners;
mod realloc;
mod remote_frees;
mod run;
mod scopes;
mod site_deltas;
pub(crate) mod state;
mod totals;
pub(crate) mod usual;
mod words;

use crate::ledger::Ledger;
use crate::ring::lane::Lane;
use batch::Part;
use partners::Partners;
use state::Fold;

/// These functions are not inlined. So the stack memory of a fold lies in their frames, and the recording path needs
/// little stack before and after a fold.
impl Ledger {
    /// Books all events that the lane's thread has recorded. Waits for a concurrent fold of the lane.
    #[inline(never)]
    pub(crate) fn fold(&self, lane: &Lane) {
        if self.is_ordered() {
            self.fold_in_order();
            return;
        }
        let taken = lane.folder.latch.take();
        Fold::begin(self, lane, &taken).run();
    }

    /// Books `part` of the events of the lane; in an ordered ledger, books the events of all lanes. Returns `false` if
    /// another fold is running.
    #[inline(never)]
    pub(crate) fn try_fold(&self, lane: &Lane, part: Part) -> bool {
        if self.is_ordered() {
            return self.try_fold_in_order();
        }
        let Some(taken) = lane.folder.latch.try_take() else {
            return false;
        };
        Fold::begin(self, lane, &taken).run_some(part);
        true
    }

    /// Folds like [`Ledger::try_fold`]. In addition, a remote free may find its block in the nursery of one of the
    /// lanes `others`. The part `ahead` of each of these lanes is booked first: see `partners`.
    #[inline(never)]
    pub(crate) fn try_fold_with<'a>(
        &self,
        lane: &'a Lane,
        part: Part,
        others: impl Iterator<Item = &'a Lane>,
        ahead: Part,
    ) -> bool {
        if self.is_ordered() {
            return self.try_fold_in_order();
        }
        let Some(taken) = lane.folder.latch.try_take() else {
            return false;
        };
        let mut partners = Partners::of_lanes(self, others, ahead);
        let mut fold = Fold::begin(self, lane, &taken);
        fold.partners = partners.known();
        fold.run_some(part);
        true
    }
}
