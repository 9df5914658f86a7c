//! Booking of events in scopes.
//!
//! The *delta* of a site (`site_deltas`) in a scope has the mark `IN_SCOPE` in its stack number, so that this number
//! never equals the stack of an event. So an event in a scope selects its delta through the cold function
//! [`Fold::replace_delta`], and events outside scopes pay nothing for scopes. The delta stays selected for the next
//! events of the same stack. When this run of events ends, the change of the delta during the run is added to the
//! *tally*, the sums of the scope in this batch.
//!
//! While the delta is selected, its high-water mark is lowered to the scope's mark. So an allocation above the lower of
//! the two marks first delivers the frees in the outbox (see `high_water`). If the lowered mark rises, it is the
//! highest value of the run, so the scope's peak is exact to the event.

use super::batch::ScopedDelta;
use super::state::Fold;
use crate::ledger::scopes::ScopeSums;
use crate::ledger::site_delta::SiteDelta;

fn sums_of(delta: &SiteDelta) -> ScopeSums {
    let sums = &delta.sums;
    ScopeSums {
        total_blocks: sums.total_blocks,
        total_bytes: sums.total_bytes,
        freed_blocks: sums.freed_blocks,
        freed_bytes: sums.freed_bytes,
        reallocs: sums.reallocs,
    }
}

impl Fold<'_> {
    /// Begins a run of events of one site in `scope`. `at` is the delta of the site.
    pub(super) fn begin_scoped(&mut self, at: *mut SiteDelta, scope: u32) {
        if self.tally.scope != scope {
            self.commit_tally();
            self.tally.scope = scope;
        }
        let room = self.tally.high_water - self.tally.sums.live_bytes();
        // SAFETY: Y1, the fold holds the lane's latch.
        let delta = unsafe { &mut *at };
        self.scoped =
            Some(ScopedDelta { at, before: sums_of(delta), high_water_bytes: delta.high_water_bytes });
        delta.high_water_bytes = delta.high_water_bytes.min(delta.sums.live_bytes().saturating_add(room));
    }

    /// Ends the current run of events, and adds its sums to the tally.
    pub(super) fn end_scoped(&mut self) {
        let Some(scoped) = self.scoped.take() else { return };
        // SAFETY: Y1, the fold holds the lane's latch; no delta is committed or moved before this point.
        let delta = unsafe { &mut *scoped.at };
        let tally = &mut self.tally;
        let run = sums_of(delta).since(&scoped.before);
        let above = tally.sums.live_bytes().wrapping_sub(scoped.before.live_bytes());
        tally.high_water = tally.high_water.max(delta.high_water_bytes.wrapping_add(above));
        tally.sums.add(&run);
        delta.high_water_bytes = delta.high_water_bytes.max(scoped.high_water_bytes);
        if scoped.at == self.at {
            // The next event of the site then begins another run.
            self.stack = delta.stack;
        }
    }

    /// Adds the tally to the figures of the scope.
    pub(super) fn commit_tally(&mut self) {
        let tally = std::mem::take(&mut self.tally);
        if tally.scope != 0 && (tally.sums != ScopeSums::default() || tally.high_water != 0) {
            let (row, span) = (self.state.row, self.state.caught_up);
            self.ledger.scopes.commit(&self.ledger.pages, &tally, row, span);
        }
    }
}
