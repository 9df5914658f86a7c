//! A fold under way: the lane, its state, and the sums of the present batch.

use super::batch::Batch;
use crate::ledger::Ledger;
use crate::ledger::books::{Account, Books, account_of, books_of};
use crate::ledger::nursery::Places;
use crate::ledger::sites::Tally;
use crate::ring::lane::Lane;
use crate::sys::latch::Taken;

/// A fold under way. Holds the latch of its lane through `books`.
pub(crate) struct Fold<'a> {
    pub(super) ledger: &'a Ledger,
    pub(super) lane: &'a Lane,
    pub(super) account: &'a Account,
    pub(super) books: &'a mut Books,
    pub(super) places: Places,
    pub(super) now_ns: u64,
    /// Whether this is part of an ordered fold, which holds the latches of all lanes.
    pub(super) in_order: bool,
    pub(super) batch: Batch,
    /// Live bytes of the batch above which the process is at a new peak.
    pub(super) to_beat: i64,
    /// Whether more words wait in the lane's ring than this fold has booked.
    pub(super) is_behind: bool,
    /// Whether frees that find no block are out of the question, as far as this lane can tell: see `tallies`.
    pub(super) trusts_frees: bool,
    /// The tally at hand, and its stack.
    pub(super) at: *mut Tally,
    pub(super) stack: u32,
}

/// Adds to a sum of a batch or a tally. Wrapping: an allocation that was taken back because the shared table had no
/// room for it may have been added in an earlier batch, and leaves this one's sum below zero.
#[inline(always)]
pub(super) fn count_up(sum: &mut u64, by: u64) {
    *sum = sum.wrapping_add(by);
}

impl<'a> Fold<'a> {
    /// Begins a fold. `_taken` shows that the lane's latch is held, and must outlive the fold.
    pub(crate) fn begin(ledger: &'a Ledger, lane: &'a Lane, _taken: &'a Taken<'a>) -> Fold<'a> {
        // SAFETY: B3, the latch is held, and for as long as this borrow lives.
        let books = unsafe { &mut *books_of(lane).as_ptr() };
        let places = books.nursery.places(&ledger.pages, &raw mut books.youngest);
        let mut fold = Fold {
            ledger,
            lane,
            account: account_of(lane),
            places,
            now_ns: ledger.clock.now_ns(),
            in_order: false,
            batch: Batch::default(),
            to_beat: 0,
            is_behind: false,
            trusts_frees: false,
            at: &raw mut books.tally,
            stack: books.tally.stack,
            books,
        };
        fold.start_over();
        fold.trusts_frees = fold.may_trust_frees();
        fold
    }

    /// Begins a fold of one lane as part of an ordered fold.
    pub(crate) fn begin_in_order(ledger: &'a Ledger, lane: &'a Lane, taken: &'a Taken<'a>) -> Fold<'a> {
        Fold { in_order: true, ..Fold::begin(ledger, lane, taken) }
    }

    /// Makes ready for a new batch.
    pub(super) fn start_over(&mut self) {
        self.batch = Batch { interval_peak: i64::MIN, passed_over: i64::MIN, ..Batch::default() };
        self.to_beat = self.ledger.peak.bytes() as i64 - self.ledger.booked.bytes();
        self.look_at_the_peak();
        self.take_up(self.at);
    }

    pub(super) fn time_of(&self, index: u64) -> u64 {
        self.batch.dates.at(index)
    }

    pub(super) fn doubt_ns(&self) -> u64 {
        self.batch.dates.doubt_ns
    }
}
