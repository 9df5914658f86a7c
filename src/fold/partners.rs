//! Partners: lanes in whose nurseries the frees of another lane find their blocks.
//!
//! Where one thread allocates and another thread frees, nearly every block would go to the shared table and come back
//! from there. So a fold of such a lane also takes the latches of other lanes, its *partners*. It looks in their
//! nurseries for blocks that the lane's nursery lacks. These blocks never reach the shared table. A thread that books
//! its lane books the partners first. An allocation is published before its block reaches the thread that frees it, so
//! the blocks of all its frees are booked by then. The background thread books lanes one after the other, up to about
//! the same time.
//!
//! # Order
//!
//! A free ends a block of a partner's nursery only if three conditions hold: the sizes agree, the free is not older
//! than the block, and the partner's events are booked up to the time of the free. Without the third condition, an
//! event that is not booked yet might end the block, and the free might belong to the next block at the address.
//!
//! If the clocks show that the free is younger than the block, the free belongs to this block, which is the youngest
//! block that its thread allocated at the address. If the clocks do not show it, the free could also belong to an older
//! block at this address, which would then be in the shared table. If the shared table has no block there, the free
//! belongs to the partner's block. Otherwise the block and the free go to the shared table, which chooses and counts
//! the ambiguity. So partners do not change which pairings are counted as ambiguous.
//!
//! If the clocks do not decide and the outbox has a block of the lane at the address, the free goes to the outbox
//! behind that block.
//!
//! A block whose thread is reallocating it has left its address, so it is not taken.
//!
//! # Latches
//!
//! A fold takes a partner's latch only if the latch is open; otherwise the free goes to the shared table. Waiting could
//! cause a deadlock, because threads that wait for the latches of several lanes must do so in one order.

use super::batch::{Part, Partner};
use super::state::Fold;
use crate::ledger::Ledger;
use crate::ledger::entry::Entry;
use crate::ledger::fold_state::fold_state_of;
use crate::ledger::live::time_error;
use crate::ledger::nursery::{Place, Places, as_survivor, size_of_young};
use crate::ring::event;
use crate::ring::lane::Lane;
use crate::sys::latch::Taken;

/// Maximum number of partners of a fold. A free may have to search the nursery of each partner.
const PARTNERS_MAX: usize = 4;

/// The partners of a fold, and their latches.
#[derive(Default)]
pub(super) struct Partners<'a> {
    known: [Option<Partner>; PARTNERS_MAX],
    taken: [Option<Taken<'a>>; PARTNERS_MAX],
}

impl<'a> Partners<'a> {
    /// Takes the latches of those lanes whose latches are open, up to [`PARTNERS_MAX`]. Books the part `ahead` of each
    /// such lane.
    pub(super) fn of_lanes(
        ledger: &Ledger,
        lanes: impl Iterator<Item = &'a Lane>,
        ahead: Part,
    ) -> Partners<'a> {
        let mut partners = Partners::default();
        let opened = lanes.filter_map(|lane| Some((lane, lane.folder.latch.try_take()?)));
        for ((known, taken), (lane, latch)) in partners.known.iter_mut().zip(&mut partners.taken).zip(opened)
        {
            let latch = taken.insert(latch);
            // The clock is read before the head: a word that is not below the head was published after this time.
            let observed_ns = ledger.clock.now_ns();
            if ahead.words > 0 {
                Fold::begin(ledger, lane, latch).run_some(ahead);
            }
            let mut state = fold_state_of(lane);
            // SAFETY: B3, the latch is held, and the fold is over.
            let of_state = unsafe { state.as_mut() };
            // For the reader of a killed process's black box, which sees that the latch is held: no word behind the
            // tail is booked.
            of_state.note_applied_up_to(lane.folder.tail.own().saturating_sub(1));
            let places = of_state.nursery.places(&ledger.pages, &raw mut of_state.youngest);
            let is_booked = lane.folder.tail.own() == lane.head().observe();
            let booked_until_ns = match is_booked {
                false => of_state.span_ns,
                // The lane of the calling thread is booked: every block that this thread has freed was published
                // before.
                true if ahead.words > 0 => u64::MAX,
                true => observed_ns,
            };
            let is_reallocating = of_state.under_way.iter().any(|begun| begun.address != 0);
            *known = Some(Partner { state, places, booked_until_ns, is_reallocating });
        }
        partners
    }

    pub(super) fn known(&mut self) -> &mut [Option<Partner>] {
        &mut self.known
    }
}

impl Fold<'_> {
    /// Returns the nursery of the first partner, and the time up to which the partner's events are booked, in
    /// nanoseconds. Returns `None` if the partner's thread is reallocating a block.
    #[inline(always)]
    pub(super) fn places_of_partner(&self) -> Option<(Places, u64)> {
        let partner = self.partners.first()?.as_ref().filter(|partner| !partner.is_reallocating)?;
        Some((partner.places, partner.booked_until_ns))
    }

    /// Adds to the number of blocks that frees of this fold have taken from the first partner's nursery.
    pub(super) fn note_matched(&mut self, blocks: u32) {
        if let Some(Some(partner)) = self.partners.first_mut() {
            self.batch.matched += u64::from(blocks);
            // SAFETY: B3, the caller of the fold holds the partner's latch.
            unsafe { partner.state.as_mut() }.nursery.taken += blocks;
        }
    }

    /// Returns the partner whose nursery has a block at the address, and the place of the block there. Moves this
    /// partner to the front.
    #[inline(always)]
    fn find_partner(&mut self, address: u64) -> Option<(&mut Partner, Place)> {
        let known = self.partners.iter().map_while(Option::as_ref);
        let found = known.map(|partner| partner.places.place_of(address)).enumerate();
        let (number, place) = found.filter_map(|(number, place)| Some((number, place?))).next()?;
        if number > 0 {
            self.partners.swap(0, number);
        }
        Some((self.partners.first_mut()?.as_mut()?, place))
    }

    /// Returns whether the outbox has a block at the address, on its way from the lane's nursery to the shared table.
    fn has_sent(&self, address: u64) -> bool {
        let mut sent = self.state.outbox.iter().take(self.state.outbox_len);
        sent.any(|entry| entry.address == address && !entry.meta.is_waiting())
    }

    /// Books a free whose block is in a partner's nursery, if the free cannot belong to another block. Returns whether
    /// it was booked.
    #[inline(never)]
    pub(super) fn is_booked_with_partner(&mut self, address: u64, check: u64, index: u64) -> bool {
        let Some((partner, place)) = self.find_partner(address) else { return false };
        // SAFETY: B3, the caller of the fold holds the partner's latch; this borrow ends before the next one begins.
        let state = unsafe { partner.state.as_mut() };
        let is_left = state.under_way.iter().any(|begun| begun.address == address);
        let booked_until_ns = partner.booked_until_ns;
        let young = *place.entry();
        let at_ns = self.batch.dates.at(index);
        let free = Entry { address, size: check, at_ns, meta: self.batch.dates.meta_of_free() };
        let error_ns = time_error(&free, &young);
        let is_behind = at_ns.saturating_add(self.batch.dates.time_error_ns) > booked_until_ns;
        let may_mean_it = event::agrees(size_of_young(&young), check) && at_ns + error_ns >= young.at_ns;
        if is_left || is_behind || !may_mean_it {
            return false;
        }
        let is_certain = at_ns >= young.at_ns + error_ns;
        if !is_certain && self.has_sent(address) {
            return false;
        }
        if !is_certain && self.ledger.live.has_any_at(&self.ledger.pages, address) {
            // The block enters the outbox before it leaves the nursery, so that at any time at least one of them has
            // it.
            self.send_survivor(young);
            place.clear();
            return false;
        }
        place.clear();
        self.note_matched(1);
        self.count_pairing(&as_survivor(young), &free);
        true
    }
}
