//! The state of a running fold: the lane, its fold state, and the sums of the current batch.

use super::batch::{Batch, Partner, Rest, ScopedDelta};
use crate::ledger::INTERNAL_STAMPS;
use crate::ledger::Ledger;
use crate::ledger::fold_state::{FoldState, LaneCounters, fold_state_of, lane_counters_of};
use crate::ledger::nursery::Places;
use crate::ledger::scopes::ScopeTally;
use crate::ledger::site_delta::SiteDelta;
use crate::ledger::ticks::Cuts;
use crate::ring::lane::Lane;
use crate::sys::latch::Taken;

/// A running fold. The latch of its lane is held as long as the fold borrows `state`.
pub(crate) struct Fold<'a> {
    pub(super) ledger: &'a Ledger,
    pub(super) lane: &'a Lane,
    pub(super) counters: &'a LaneCounters,
    pub(super) state: &'a mut FoldState,
    pub(super) places: Places,
    /// Partners: lanes whose latches the caller of the fold holds too (see `partners`).
    pub(super) partners: &'a mut [Option<Partner>],
    /// Number of records that the loop of `usual` leaves to the general code.
    pub(super) rest: Rest,
    pub(super) now_ns: u64,
    /// Cuts of windows that were found after `now_ns` was read. An ordered fold needs none.
    pub(super) cuts: Option<Cuts<'a, INTERNAL_STAMPS>>,
    /// Whether the fold is part of an ordered fold, which holds the latches of all lanes.
    pub(super) in_order: bool,
    pub(super) batch: Batch,
    /// Live bytes of the batch above which the process has a new peak.
    pub(super) peak_threshold: i64,
    /// Whether more words wait in the lane's ring than this fold has booked.
    pub(super) is_behind: bool,
    /// Result of [`Fold::may_trust_frees`] at the start of the fold.
    pub(super) trusts_frees: bool,
    /// The selected site delta; `stack` is the stack of that delta.
    pub(super) at: *mut SiteDelta,
    pub(super) stack: u32,
    /// The selected delta, if it belongs to a site in a scope. `tally` has the sums of that scope's events.
    pub(super) scoped: Option<ScopedDelta>,
    pub(super) tally: ScopeTally,
}

/// Adds to a sum of a batch or a site delta. The sum wraps, and may be below zero: an allocation for which the shared
/// table has no room is subtracted again, maybe in a later batch.
#[inline(always)]
pub(super) fn count_up(sum: &mut u64, by: u64) {
    *sum = sum.wrapping_add(by);
}

impl<'a> Fold<'a> {
    /// Begins a fold. `_taken` proves that the lane's latch is held, and it outlives the fold.
    #[inline(always)]
    pub(crate) fn begin(ledger: &'a Ledger, lane: &'a Lane, _taken: &'a Taken<'a>) -> Fold<'a> {
        // SAFETY: B3, the latch is held for as long as this borrow lives.
        let state = unsafe { &mut *fold_state_of(lane).as_ptr() };
        let places = state.nursery.places(&ledger.pages, &raw mut state.youngest);
        let mut fold = Fold {
            ledger,
            lane,
            counters: lane_counters_of(lane),
            places,
            partners: &mut [],
            rest: Rest::default(),
            now_ns: ledger.clock.now_ns(),
            cuts: None,
            in_order: false,
            batch: Batch::default(),
            peak_threshold: 0,
            is_behind: false,
            trusts_frees: false,
            at: &raw mut state.delta,
            stack: state.delta.stack,
            scoped: None,
            tally: ScopeTally::default(),
            state,
        };
        fold.start_over();
        fold.trusts_frees = fold.may_trust_frees();
        fold
    }

    /// Begins a fold of one lane as part of an ordered fold.
    #[inline(always)]
    pub(crate) fn begin_in_order(ledger: &'a Ledger, lane: &'a Lane, taken: &'a Taken<'a>) -> Fold<'a> {
        let mut fold = Fold::begin(ledger, lane, taken);
        fold.in_order = true;
        fold
    }

    /// Begins a new batch. It is not inlined, so that no copy of a batch stays on the stack of a fold.
    #[inline(never)]
    pub(super) fn start_over(&mut self) {
        self.batch = Batch { interval_peak: i64::MIN, skipped_high_water: i64::MIN, ..Batch::default() };
        self.peak_threshold = self.ledger.peak.bytes() as i64 - self.ledger.booked.bytes();
        self.follow_peak();
        self.use_delta(self.at);
    }

    /// Returns the time of the event at this word, in nanoseconds.
    pub(super) fn time_of(&self, index: u64) -> u64 {
        self.batch.dates.at(index)
    }

    /// Returns the time error of the current window, in nanoseconds.
    pub(super) fn time_error_ns(&self) -> u64 {
        self.batch.dates.time_error_ns
    }
}
