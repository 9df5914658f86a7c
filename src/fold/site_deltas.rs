//! Site deltas. A *delta* collects what a lane's events add to one site, until it is committed to the site.
//!
//! All threads share the sites, which are protected by latches, so a fold does not access a site at every event. It
//! adds to the *selected* delta, and selects another delta at an event of another stack. A delta stays in the lane
//! until another stack needs its place, or until a snapshot commits all deltas.
//!
//! While stacks are not walked there is one delta, inside the lane's state. The second stack adds a direct-mapped table
//! in separate pages (`ledger::site_deltas`). The table grows while stacks replace each other in it.

use super::state::{Fold, count_up};
use crate::ledger::curves::{Dated, span_end_ns};
use crate::ledger::site_delta::{IN_SCOPE, SiteDelta};
use crate::ledger::site_deltas::{SITE_DELTAS_MAX, SITE_DELTAS_MIN, pages_of};
use crate::profile::bucket_of;
use crate::sys::pages::For;

/// The factor by which a lane's table grows.
const GROWTH: u32 = 8;

impl Fold<'_> {
    /// Returns the selected delta.
    #[inline(always)]
    pub(super) fn delta(&mut self) -> &mut SiteDelta {
        // SAFETY: Y1, the fold holds the lane's latch, and `at` points to a delta of the lane.
        unsafe { &mut *self.at }
    }

    /// Selects the delta of a stack.
    #[inline(always)]
    pub(super) fn select_delta(&mut self, stack: u32) {
        if stack != self.stack {
            self.select_other_delta(stack);
        }
    }

    #[inline(never)]
    fn select_other_delta(&mut self, stack: u32) {
        let deltas = &self.state.deltas;
        let mut at = &raw mut self.state.delta;
        if stack != 0 && deltas.slots != 0 {
            at = deltas.start(&self.ledger.pages).wrapping_add(deltas.place_of(stack));
        }
        // SAFETY: Y1, the fold holds the lane's latch.
        if unsafe { (*at).stack } != stack {
            at = self.replace_delta(stack);
        }
        self.use_delta(at);
        // The stack of the event, without the mark of a scope: see `scopes`.
        self.stack = stack;
        self.commit_before_overflow();
    }

    /// Selects the delta at `at`. If the delta is unchanged since the lane's latest high-water mark, its current
    /// figures are also its figures at the mark.
    #[inline(always)]
    pub(super) fn use_delta(&mut self, at: *mut SiteDelta) {
        self.at = at;
        let high_water_number = self.state.deltas.high_water_number;
        let delta = self.delta();
        delta.follow_mark(high_water_number);
        self.stack = delta.stack;
    }

    /// Commits the delta that occupies the place of `stack`, and assigns the place to `stack`. Called at the start of
    /// every run of events in a scope, because the stack number of such a delta is marked: see `scopes`.
    #[cold]
    fn replace_delta(&mut self, stack: u32) -> *mut SiteDelta {
        self.end_scoped();
        let scope = self.ledger.scopes.of_stack(&self.ledger.pages, stack);
        let marked = if scope == 0 { stack } else { stack | IN_SCOPE };
        let at = self.place_of(stack);
        // SAFETY: Y1, the fold holds the lane's latch.
        let delta = unsafe { &*at };
        let is_other = delta.stack != marked;
        if is_other || delta.is_heavy() {
            self.state.deltas.pushed_out += u32::from(is_other);
            self.commit(at);
            // SAFETY: Y1, the fold holds the lane's latch.
            unsafe { (*at).stack = marked };
        }
        if scope != 0 {
            self.begin_scoped(at, scope);
        }
        at
    }

    /// Returns the place of a stack's delta. Grows the table if stacks replace each other too often.
    fn place_of(&mut self, stack: u32) -> *mut SiteDelta {
        let inline = &raw mut self.state.delta;
        if stack == 0 {
            return inline;
        }
        let deltas = self.state.deltas;
        if deltas.slots == 0 || (deltas.pushed_out > 2 * deltas.slots && deltas.slots < SITE_DELTAS_MAX) {
            self.grow_deltas();
        }
        let deltas = &self.state.deltas;
        match deltas.slots {
            0 => inline,
            _ => deltas.start(&self.ledger.pages).wrapping_add(deltas.place_of(stack)),
        }
    }

    /// Replaces the table by a larger one. All deltas of the old table are committed first. Without memory for a larger
    /// table, the old table stays.
    #[cold]
    fn grow_deltas(&mut self) {
        let before = self.state.deltas;
        let wanted = (before.slots * GROWTH).clamp(SITE_DELTAS_MIN, SITE_DELTAS_MAX);
        self.state.deltas.pushed_out = 0;
        let Some(page) = self.ledger.pages.take_to_scatter(pages_of(wanted), For::Sites) else { return };
        self.commit_table();
        (self.state.deltas.page, self.state.deltas.slots) = (page, wanted);
        if before.slots > 0 {
            self.ledger.pages.give_back(before.page, pages_of(before.slots), For::Sites);
        }
    }

    /// Adds an allocated block to the sums of the batch and of the selected delta. Returns the live bytes of the batch
    /// and of the delta.
    #[inline(always)]
    pub(super) fn add_birth(&mut self, size: u64) -> (i64, i64) {
        count_up(&mut self.batch.sums.total_blocks, 1);
        count_up(&mut self.batch.sums.total_bytes, size);
        let delta = self.delta();
        count_up(&mut delta.sums.total_blocks, 1);
        count_up(&mut delta.sums.total_bytes, size);
        // Wraps, for the reason that `count_up` gives.
        let count = &mut delta.sizes[bucket_of(size)];
        *count = count.wrapping_add(1);
        let of_delta = delta.sums.live_bytes();
        (self.batch.sums.live_bytes(), of_delta)
    }

    /// Undoes [`Fold::add_birth`] for a block that the selected delta contains.
    pub(super) fn take_birth_back(&mut self, size: u64) {
        let of_batch = (&mut self.batch.sums.total_blocks, &mut self.batch.sums.total_bytes);
        // SAFETY: Y1, the fold holds the lane's latch.
        let delta = unsafe { &mut *self.at };
        for (blocks, bytes) in [of_batch, (&mut delta.sums.total_blocks, &mut delta.sums.total_bytes)] {
            *blocks = blocks.wrapping_sub(1);
            *bytes = bytes.wrapping_sub(size);
        }
        let count = &mut delta.sizes[bucket_of(size)];
        *count = count.wrapping_sub(1);
    }

    /// Adds a freed block to the sums of the batch and of the selected delta.
    #[inline(always)]
    pub(super) fn add_end(&mut self, size: u64) {
        self.batch.sums.freed_blocks += 1;
        self.batch.sums.freed_bytes += size;
        let sums = &mut self.delta().sums;
        count_up(&mut sums.freed_blocks, 1);
        count_up(&mut sums.freed_bytes, size);
    }

    /// Commits a delta to its site and empties it.
    fn commit(&mut self, at: *mut SiteDelta) {
        self.raise_peak();
        self.follow_peak();
        let deltas = self.state.deltas;
        // SAFETY: Y1, the fold holds the lane's latch.
        let delta = unsafe { &mut *at };
        if delta.is_empty() {
            // The delta's only block may have been subtracted again. Its high-water mark has no meaning for the next
            // stack.
            delta.high_water_bytes = 0;
            (delta.at_high_water_bytes, delta.at_high_water_blocks) = (0, 0);
        } else {
            let dated = Dated::new(deltas.dated_ns, self.ledger.booked.bytes());
            let marks = (deltas.high_water_number, deltas.peak_number);
            self.ledger.sites.commit(&self.ledger.pages, delta, marks, dated);
        }
    }

    /// Commits the selected delta if it is heavy, which is long before its 32-bit counts can overflow.
    fn commit_before_overflow(&mut self) {
        if self.delta().is_heavy() {
            self.end_scoped();
            let at = self.at;
            self.commit(at);
        }
    }

    /// Commits every delta of the lane, and sets the date of the next deltas, whose events lie in another span of the
    /// sites' curves.
    #[cold]
    pub(super) fn date_deltas(&mut self, at_ns: u64, interval_ns: u64) {
        self.deliver();
        self.commit_deltas();
        let deltas = &mut self.state.deltas;
        (deltas.dated_ns, deltas.dated_until_ns) = (at_ns, span_end_ns(at_ns, interval_ns));
    }

    fn commit_table(&mut self) {
        let deltas = self.state.deltas;
        for slot in 0..deltas.slots as usize {
            self.commit(deltas.start(&self.ledger.pages).wrapping_add(slot));
        }
    }

    /// Ends a batch for the sites: raises the process's peak if necessary, but keeps the deltas.
    pub(super) fn finish_deltas(&mut self) {
        self.end_scoped();
        self.commit_tally();
        self.commit_before_overflow();
        self.raise_peak();
        self.follow_peak();
        let inline = &raw mut self.state.delta;
        self.use_delta(inline);
    }

    /// Commits every delta of the lane.
    pub(crate) fn commit_deltas(&mut self) {
        self.finish_deltas();
        let inline = &raw mut self.state.delta;
        self.commit(inline);
        self.commit_table();
        self.use_delta(inline);
    }
}
