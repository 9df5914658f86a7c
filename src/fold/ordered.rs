//! The ordered fold: books all lanes together, event by event in the order of their time stamps. Used when every event
//! has a separate stamp (`ClockMode::PerEvent`).
//!
//! A free is stamped before its block goes back to the inner allocator, and an allocation after its block was given
//! out. So the stamps of the events at one address have the true order, and at any moment at most one lane has a live
//! block at the address. No pairing is ambiguous.
//!
//! Between the two halves of a realloc, the block has left its old address, but is not booked at the new one. So the
//! first half moves the block from another lane's nursery to the shared table, where the times of the blocks decide. If
//! the next block at the address was reallocated and is in the shared table too, its time is that of its first
//! allocation, so the ends of two blocks with equal size bits may be exchanged.
//!
//! # Bound of the fold
//!
//! A thread takes its stamp before it publishes the event, so an event with an old stamp may still be published. Two
//! facts bound the age of such an event. First, the folder reads the clock *before* it reads the lanes. Second, a flag
//! of a lane (`Stamping`) is set between stamp and publication. If no flag is set, every event that is not published
//! yet has a later stamp than the folder's clock reading. A flag may stay set, because its thread was put to sleep at
//! that point. Such a lane bounds the fold by its last published event.
//!
//! ```text
//!  thread:  stamping = 1 │ fence │ read clock, write, publish │ stamping = 0
//!  folder:  read clock   │ fence │ look at stamping, then at the head
//! ```
//!
//! Both fences are sequentially consistent: of two threads that each write first and then read, at least one sees the
//! other's write. With a weaker fence, the folder could miss a thread that already has its stamp.

use super::state::Fold;
use super::words::peek;
use crate::ledger::Ledger;
use crate::ledger::entry::Entry;
use crate::ledger::fold_state::fold_state_of;
use crate::ledger::live::agrees;
use crate::ledger::nursery::{Place, as_survivor};
use crate::ring::lane::Lane;
use crate::sys::latch::Taken;
use crate::sys::sync::{Ordering, fence};

impl Ledger {
    /// Books all lanes in the order of their stamps. Waits for a concurrent ordered fold. Returns whether all events from
    /// before the call are booked: no unfinished event bounded the fold.
    #[inline(never)]
    pub(crate) fn fold_in_order(&self) -> bool {
        let _order = self.order.take();
        self.fold_all_in_order()
    }

    /// Books all lanes in the order of their stamps, unless another ordered fold is running. Returns whether the lanes
    /// were booked.
    #[inline(never)]
    pub(crate) fn try_fold_in_order(&self) -> bool {
        let Some(_order) = self.order.try_take() else {
            return false;
        };
        self.fold_all_in_order();
        true
    }

    fn fold_all_in_order(&self) -> bool {
        let now_ns = self.clock.now_after_loads_ns();
        // SeqCst: pairs with the fence in `Stamping::begin`; see the module's documentation.
        fence(Ordering::SeqCst);
        for lane in self.lanes() {
            std::mem::forget(lane.folder.latch.take());
            lane.folder.in_order(true);
        }
        let is_complete = self.merge(now_ns);
        for lane in self.lanes_in_order() {
            lane.folder.in_order(false);
            lane.folder.latch.open();
        }
        is_complete
    }

    /// Returns the lanes whose latches this ordered fold holds.
    fn lanes_in_order(&self) -> impl Iterator<Item = &'static Lane> + '_ {
        self.lanes().filter(|lane| lane.folder.is_in_order())
    }

    /// Merges the lanes that are marked as in order. The caller holds their latches. `now_ns` is the time up to which
    /// events are booked. Returns whether all of them are booked: no unfinished event bounded the merge.
    pub(crate) fn merge(&self, now_ns: u64) -> bool {
        let mut until_ns = now_ns;
        for lane in self.lanes_in_order() {
            let over = lane.stamping().is_over();
            // SAFETY: B3, the caller holds the latch.
            let state = unsafe { &mut *fold_state_of(lane).as_ptr() };
            state.order_head = lane.head().observe();
            if !over {
                until_ns = until_ns.min(state.span_ns);
            }
        }
        loop {
            let mut first: Option<(NextEvent, &Lane)> = None;
            let mut second: Option<NextEvent> = None;
            for lane in self.lanes_in_order() {
                let Some(next) = self.next_event(lane) else { continue };
                match &first {
                    Some((best, _)) if *best <= next => {
                        second = Some(second.map_or(next, |second| second.min(next)));
                    }
                    _ => {
                        second = first.map(|(best, _)| best);
                        first = Some((next, lane));
                    }
                }
            }
            let Some((_, lane)) = first.filter(|(next, _)| next.at_ns <= until_ns) else {
                return until_ns == now_ns;
            };
            let bound = second.map_or(until_ns, |second| until_ns.min(second.at_ns));
            self.fold_until(lane, bound);
        }
    }

    /// Books the events of a lane up to the time `bound_ns`, in nanoseconds. The caller holds the lane's latch.
    #[inline(never)]
    fn fold_until(&self, lane: &Lane, bound_ns: u64) {
        // SAFETY: B3, the caller holds the latch; no other fold of this lane is under way.
        let taken = unsafe { Taken::assume(&lane.folder.latch) };
        Fold::begin_in_order(self, lane, &taken).run_until(bound_ns);
        std::mem::forget(taken);
    }

    /// Returns the next event of a lane, up to the head that this fold has observed.
    fn next_event(&self, lane: &Lane) -> Option<NextEvent> {
        // SAFETY: B3, the caller holds the latch.
        let state = unsafe { fold_state_of(lane).as_ref() };
        let tail = lane.folder.tail.own();
        if tail >= state.order_head {
            return None;
        }
        let (at_ns, is_alloc) = peek(self, lane, tail, state.span_ns);
        Some(NextEvent { at_ns, is_alloc })
    }

    /// Removes the block of a free from the nursery of a lane other than `own`, and returns the block. The caller holds
    /// the latches of all lanes in order.
    pub(super) fn take_from_nurseries(&self, own: &Lane, free: &Entry) -> Option<Entry> {
        let place = self.place_in_nurseries(own, free)?;
        let block = as_survivor(*place.entry());
        place.clear();
        Some(block)
    }

    /// Returns the place of a free's block in the nursery of a lane other than `own`. The caller holds the latches of
    /// all lanes in order.
    fn place_in_nurseries(&self, own: &Lane, free: &Entry) -> Option<Place> {
        let others = self.lanes_in_order().filter(|lane| !std::ptr::eq(*lane, own));
        others.filter_map(|lane| place_in_nursery(self, lane, free)).next()
    }
}

/// Returns the place of a free's block in the nursery of a lane. The caller holds the lane's latch, and no fold of the
/// lane is under way.
fn place_in_nursery(ledger: &Ledger, lane: &Lane, free: &Entry) -> Option<Place> {
    // SAFETY: B3, the latch is held, and this lane has no fold under way.
    let state = unsafe { &mut *fold_state_of(lane).as_ptr() };
    // A block that its thread is reallocating has left this address, so the free belongs to the next block there.
    if state.under_way.iter().any(|begun| begun.address == free.address) {
        return None;
    }
    let places = state.nursery.places(&ledger.pages, &raw mut state.youngest);
    let place = places.place_of(free.address)?;
    let young = *place.entry();
    (young.at_ns <= free.at_ns && agrees(&as_survivor(young), free)).then_some(place)
}

impl Fold<'_> {
    /// Removes the block of a free from another lane's nursery and returns it, in an ordered fold.
    pub(super) fn take_from_other_lane(&self, free: &Entry) -> Option<Entry> {
        if self.in_order { self.ledger.take_from_nurseries(self.lane, free) } else { None }
    }

    /// Moves the block of a realloc's first half from another lane's nursery to the shared table, in an ordered fold.
    ///
    /// The realloc is booked with its second half. Until then another thread may allocate a block at the address, and
    /// any thread may free that block. In the nursery, the old block would be taken for the new one.
    pub(super) fn bring_from_other_lane(&mut self, begun: &Entry) {
        if !self.in_order || self.places.find(begun.address).is_some() {
            return;
        }
        if let Some(place) = self.ledger.place_in_nurseries(self.lane, begun) {
            // The block enters the outbox before it leaves the nursery, so that at any time at least one of them has it.
            self.send_survivor(*place.entry());
            place.clear();
        }
    }
}

/// The time of a lane's next event. Of two events at the same time, a free comes before an allocation, because false is
/// less than true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct NextEvent {
    at_ns: u64,
    is_alloc: bool,
}
