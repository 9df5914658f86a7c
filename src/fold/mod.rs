//! The fold: books the words of one lane into the ledger, in order.
//!
//! The holder of a lane's latch folds the lane. The holder is one of three: the lane's thread when a segment is full
//! (this is called *helping*: the words are still in its processor's cache), the background thread when a lane is idle
//! or booking is costly, or the caller of a flush. The state of a fold lies next to its lane (`ledger::fold_state`); a
//! fold allocates nothing.
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
//! A batch, which is the unit that one fold books at a time, has four steps:
//!
//! 1. **Date** the words (`run`): a window starts with a time mark and ends at the next; times between are
//!    interpolated.
//! 2. **Match** each free with its allocation: directly before it in the ring, otherwise in the nursery (`events`,
//!    `realloc`).
//! 3. **Send** survivors of the nursery and remote frees, in order, to the shared table (`outbox`, `remote_frees`).
//! 4. **Sum** up: sites, timeline, peak, lane counters (`site_deltas`, `high_water`, `totals`).
//!
//! Most blocks die young on the thread that made them: such blocks never leave the lane's state, which no other thread
//! accesses. All lanes share two latches, which are taken once per batch: the timeline's, and the peak's when there is
//! a new peak.
//!
//! # Order
//!
//! A free of an address is never booked before its allocation, nor after the next allocation of that address. In one
//! thread the ring gives the order. Between threads, a free is published before the block can be given out again, and
//! an allocation is published after its block was given out. So as soon as both are folded, their times decide. Until
//! then the free waits in the shared table (`flush`). Where the clocks allow two pairings, the ledger chooses one and
//! counts it (`ambiguous_pairings`). With a time stamp on every event, all lanes are folded together (`ordered`), and
//! no pairing is ambiguous.

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

/// These functions are not inlined, so the stack memory of a fold is in their frames, and the recording path needs
/// little stack before and after a fold.
impl Ledger {
    /// Books all events that the lane's thread has recorded. Waits for a concurrent fold of the lane.
    #[inline(never)]
    pub(crate) fn fold(&self, lane: &Lane) {
        if self.is_ordered() {
            return self.fold_in_order();
        }
        let taken = lane.folder.latch.take();
        Fold::begin(self, lane, &taken).run();
    }

    /// Books `part` of the events of the lane, or in an ordered ledger the events of all lanes. Returns `false` if
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

    /// Like [`Ledger::try_fold`], but a remote free may find its block in the nursery of one of the `others`. The
    /// part `ahead` of each of these lanes is booked first: see `partners`.
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
