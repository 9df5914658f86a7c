//! Site deltas: what the events of a lane add to sites, gathered in the lane before it is committed.
//!
//! A site is shared by all threads and lies behind a latch, so a fold does not go there at every event. It adds to one delta
//! and changes to another when an event of another stack comes. A delta stays in the lane until another stack needs its
//! place, or until a snapshot commits all deltas.
//!
//! While no stacks are taken there is one delta, inside the lane's state. With the second stack comes a direct-mapped
//! table in pages of its own (`ledger::site_deltas`), which grows while stacks push each other out of it.

use super::state::{Fold, count_up};
use crate::ledger::site_deltas::{TALLIES_MAX, TALLIES_MIN, pages_of};
use crate::ledger::sites::Tally;
use crate::profile::bucket_of;

/// The factor by which a lane's table grows.
const GROWTH: u32 = 8;

/// Blocks that a tally holds back at most: its counts have 32 bits. Few in tests, so that they go this way too.
const HEAVY_BLOCKS: u64 = if cfg!(test) { 100 } else { 1 << 30 };

impl Fold<'_> {
    /// The tally at hand.
    #[inline(always)]
    pub(super) fn tally(&mut self) -> &mut Tally {
        // SAFETY: Y1, the fold holds the lane's latch, and `at` is the lane's.
        unsafe { &mut *self.at }
    }

    /// Makes sure that the tally at hand is that of this stack.
    #[inline(always)]
    pub(super) fn turn_to(&mut self, stack: u32) {
        if stack != self.stack {
            self.turn_to_other(stack);
        }
    }

    #[inline(never)]
    fn turn_to_other(&mut self, stack: u32) {
        self.relieve();
        let tallies = &self.books.tallies;
        let mut at = &raw mut self.books.tally;
        if stack != 0 && tallies.slots != 0 {
            at = tallies.start(&self.ledger.pages).wrapping_add(tallies.place_of(stack));
        }
        // SAFETY: Y1, as in `tally`.
        if unsafe { (*at).stack } != stack {
            at = self.move_in(stack);
        }
        self.take_up(at);
    }

    /// Takes up a tally. If it was not touched since the lane's latest height, it held then what it holds now.
    #[inline(always)]
    pub(super) fn take_up(&mut self, at: *mut Tally) {
        self.at = at;
        let height = self.books.tallies.height;
        let tally = self.tally();
        if tally.height != height {
            tally.height = height;
            (tally.at_height_bytes, tally.at_height_blocks) =
                (tally.sums.live_bytes(), tally.sums.live_blocks());
        }
        self.stack = self.tally().stack;
    }

    /// Gives a stack the place that is another's; what that one has goes into its account.
    #[cold]
    fn move_in(&mut self, stack: u32) -> *mut Tally {
        let at = self.place_of(stack);
        // SAFETY: Y1, as in `tally`.
        if unsafe { (*at).stack } != stack {
            self.books.tallies.pushed_out += 1;
            self.commit(at);
            // SAFETY: Y1.
            unsafe { (*at).stack = stack };
        }
        at
    }

    /// Where the tally of a stack lies, or has to lie.
    fn place_of(&mut self, stack: u32) -> *mut Tally {
        let inline = &raw mut self.books.tally;
        if stack == 0 {
            return inline;
        }
        let tallies = self.books.tallies;
        if tallies.slots == 0 || (tallies.pushed_out > 2 * tallies.slots && tallies.slots < TALLIES_MAX) {
            self.grow_tallies();
        }
        let tallies = &self.books.tallies;
        match tallies.slots {
            0 => inline,
            _ => tallies.start(&self.ledger.pages).wrapping_add(tallies.place_of(stack)),
        }
    }

    /// Moves to a larger table; everything in the old one is committed. Without memory it stays as it is.
    #[cold]
    fn grow_tallies(&mut self) {
        let before = self.books.tallies;
        let wanted = (before.slots * GROWTH).clamp(TALLIES_MIN, TALLIES_MAX);
        self.books.tallies.pushed_out = 0;
        let Some(page) = self.ledger.pages.take_to_scatter(pages_of(wanted)) else { return };
        self.commit_table();
        (self.books.tallies.page, self.books.tallies.slots) = (page, wanted);
        if before.slots > 0 {
            self.ledger.pages.give_back(before.page, pages_of(before.slots));
        }
    }

    /// Adds the birth of a block to the sums of the batch and of the tally at hand. Returns the live bytes of both.
    #[inline(always)]
    pub(super) fn add_birth(&mut self, size: u64) -> (i64, i64) {
        count_up(&mut self.batch.sums.total_blocks, 1);
        count_up(&mut self.batch.sums.total_bytes, size);
        let tally = self.tally();
        count_up(&mut tally.sums.total_blocks, 1);
        count_up(&mut tally.sums.total_bytes, size);
        // Wrapping: see `count_up`.
        let count = &mut tally.sizes[bucket_of(size)];
        *count = count.wrapping_add(1);
        let of_tally = tally.sums.live_bytes();
        (self.batch.sums.live_bytes(), of_tally)
    }

    /// Undoes [`Fold::add_birth`].
    pub(super) fn take_birth_back(&mut self, size: u64) {
        let of_batch = (&mut self.batch.sums.total_blocks, &mut self.batch.sums.total_bytes);
        // SAFETY: Y1, as in `tally`.
        let tally = unsafe { &mut *self.at };
        for (blocks, bytes) in [of_batch, (&mut tally.sums.total_blocks, &mut tally.sums.total_bytes)] {
            *blocks = blocks.wrapping_sub(1);
            *bytes = bytes.wrapping_sub(size);
        }
        let count = &mut tally.sizes[bucket_of(size)];
        *count = count.wrapping_sub(1);
    }

    /// Adds the end of a block to the sums of the batch and of the tally at hand.
    #[inline(always)]
    pub(super) fn add_end(&mut self, size: u64) {
        self.batch.sums.freed_blocks += 1;
        self.batch.sums.freed_bytes += size;
        let sums = &mut self.tally().sums;
        count_up(&mut sums.freed_blocks, 1);
        count_up(&mut sums.freed_bytes, size);
    }

    /// Moves a tally that is not at hand into its account and empties it.
    fn commit(&mut self, at: *mut Tally) {
        self.raise_peak();
        self.look_at_the_peak();
        let tallies = self.books.tallies;
        // SAFETY: Y1, as in `tally`.
        let tally = unsafe { &mut *at };
        if tally.is_empty() {
            // Its only block may have been taken back: what it rose to is of no stack that comes next.
            tally.rise_bytes = 0;
            (tally.at_height_bytes, tally.at_height_blocks) = (0, 0);
        } else {
            self.ledger.sites.commit(&self.ledger.pages, tally, tallies.height, tallies.peak_number);
        }
    }

    /// Commits the tally at hand long before its narrow counts can overflow.
    fn relieve(&mut self) {
        let sums = &self.tally().sums;
        if sums.total_blocks.max(sums.freed_blocks) >= HEAVY_BLOCKS {
            let at = self.at;
            self.commit(at);
        }
    }

    fn commit_table(&mut self) {
        let tallies = self.books.tallies;
        for slot in 0..tallies.slots as usize {
            self.commit(tallies.start(&self.ledger.pages).wrapping_add(slot));
        }
    }

    /// Ends a batch on the side of the sites: the process learns of its peak. The tallies stay.
    pub(super) fn settle_tallies(&mut self) {
        self.relieve();
        self.raise_peak();
        self.look_at_the_peak();
        let inline = &raw mut self.books.tally;
        self.take_up(inline);
    }

    /// Commits every tally of the lane.
    pub(crate) fn commit_tallies(&mut self) {
        self.settle_tallies();
        let inline = &raw mut self.books.tally;
        self.commit(inline);
        self.commit_table();
        self.take_up(inline);
    }
}
