//! The tallies of a lane: what its events add to the accounts of sites, gathered before it goes there.
//!
//! An account is shared by all threads and lies behind a latch, so a fold does not go there at every event. It has a
//! tally at hand, to which it adds, and takes up another one when an event of another stack comes. Tallies stay
//! in the lane until its place is needed for another stack, or until a snapshot commits all tallies.
//!
//! While no stacks are taken there is one tally, inside the lane's books. With the second stack comes a direct-mapped
//! table in pages of its own, which grows while stacks push each other out of it.
//!
//! # The peak
//!
//! Which part of a tally was live at the peak of the process? A lane counts the *heights* that its own batches reach;
//! a tally that is taken up notes what it holds if it has not been touched since the latest height. When a batch
//! raises the process's peak, the latest height is that peak. A peak that another lane raised is taken for a height of
//! this one when this lane learns of it, at the next batch or commit: that is within what the peak's uncertainty covers.
//!
//! # Frees on their way
//!
//! A free of a block that is in the shared table has a place in the outbox, and lowers the sums when that is delivered; the fuller it is
//! by then, the more of the waiting for memory is done at one time. Until then the live bytes seem higher than they are. But a free
//! tells how large its block is at least ([`event::least_size`](crate::ring::event::least_size)): with that *pledged*, an allocation that
//! stays below the heights all the same is none, and nothing has to be delivered for it. That is exact where every free finds its
//! block. So it is done only where the lane has lost nothing and left nothing out; and where a free of another thread's block finds
//! it not booked yet, what the allocation may have come to goes into the uncertainty of the peak.
//!
//! Invariant **Y1**: the tally at hand and all tallies of the table are touched under the latch of their lane only; the
//! table is a run of this lane's, and lives as long as it is in `Tallies`.

use super::books::Account;
use super::fold::{Fold, count_up};
use super::peak::Height;
use super::sites::Tally;
use crate::profile::bucket_of;
use crate::sys::pages::{PAGE_BYTES, Pages};

/// Tallies of a lane's first table: as many as fit into a page, to a power of two.
const TALLIES_MIN: u32 = 4;
/// Tallies of the largest table.
const TALLIES_MAX: u32 = 512;
/// The factor by which it grows.
const GROWTH: u32 = 8;

/// Where a lane's tallies lie. All zero bytes mean that there is no table yet.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tallies {
    page: u32,
    slots: u32,
    /// Tallies committed since the last growth because their place was needed.
    pushed_out: u32,
    /// Heights that the lane has reached.
    height: u64,
    /// The process's peak that the latest height stands for.
    peak_number: u64,
}

impl Tallies {
    /// The page and the number of tallies of the table.
    pub(crate) fn place(&self) -> (u32, u32) {
        (self.page, self.slots)
    }

    fn start(&self, pages: &Pages) -> *mut Tally {
        pages.at(self.page).cast::<Tally>()
    }

    fn place_of(&self, stack: u32) -> usize {
        (stack.wrapping_mul(0x9E37_79B9) >> (u32::BITS - self.slots.trailing_zeros())) as usize
    }
}

/// Blocks that a tally holds back at most: its counts have 32 bits. Few in tests, so that they go this way too.
const HEAVY_BLOCKS: u64 = if cfg!(test) { 100 } else { 1 << 30 };

fn pages_of(slots: u32) -> u32 {
    (slots as usize * size_of::<Tally>()).div_ceil(PAGE_BYTES) as u32
}

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

    /// The bytes by which an allocation may exceed what is live without being a new height of the batch or of the tally
    /// at hand.
    #[inline(always)]
    pub(super) fn room_below_heights(&mut self) -> i64 {
        let of_batch = self.batch.rise - self.batch.sums.live_bytes();
        let tally = self.tally();
        of_batch.min(tally.rise_bytes - tally.sums.live_bytes())
    }

    /// Whether an allocation that is above the heights by the sums is not when the frees in the outbox are taken into account.
    #[inline(never)]
    pub(super) fn stays_below(&mut self, size: u64) -> bool {
        let (size, pledged) = (size as i64, self.batch.pledged as i64);
        let live = self.batch.sums.live_bytes() + size - pledged;
        // Where there is one tally only, it has all the blocks.
        let has_all = self.books.tallies.slots == 0 && self.ledger.facts.stacks().is_none();
        let tally = self.tally();
        let of_tally = tally.sums.live_bytes() + size - if has_all { pledged } else { 0 };
        let stays = live <= self.batch.rise && of_tally <= self.tally().rise_bytes && self.trusts_frees;
        if stays {
            self.batch.passed_over = self.batch.passed_over.max(live);
        }
        stays
    }

    /// Whether every free of the lane finds a block that is in the totals, unless another thread has not booked it yet.
    pub(super) fn may_trust_frees(&self) -> bool {
        let has_lost = self.lane.lost_in_all() + Account::read(&self.account.table_full) > 0;
        !has_lost && self.books.has_sent_apart == 0 && !self.ledger.is_sampling_used()
    }

    /// Remembers that the live bytes of the batch, or of the tally at hand, may be at their highest.
    #[inline(always)]
    pub(super) fn note_heights(&mut self, live: i64, of_tally: i64, index: u64) {
        let tally = self.tally();
        tally.rise_bytes = tally.rise_bytes.max(of_tally);
        if live > self.batch.rise {
            self.batch.rise = live;
            if live > self.to_beat {
                self.note_peak(live, index);
            }
        }
    }

    fn note_peak(&mut self, live: i64, index: u64) {
        self.to_beat = live;
        self.books.tallies.height += 1;
        let at_ns = self.batch.dates.at(index.max(self.batch.dates.first));
        self.batch.top = Some(Height { bytes: live, blocks: self.batch.sums.live_blocks(), at_ns });
        let height = self.books.tallies.height;
        let tally = self.tally();
        tally.height = height;
        (tally.at_height_bytes, tally.at_height_blocks) = (tally.sums.live_bytes(), tally.sums.live_blocks());
    }

    /// Tells the process of the highest point of this batch, in case it is a new peak.
    pub(super) fn raise_peak(&mut self) {
        let Some(top) = self.batch.top.take() else { return };
        let (bytes, blocks) = (self.ledger.booked.bytes(), self.ledger.booked.blocks());
        let height = Height { bytes: bytes + top.bytes, blocks: blocks + top.blocks, at_ns: top.at_ns };
        self.batch.interval_peak = self.batch.interval_peak.max(height.bytes);
        if let Some(number) = self.ledger.peak.raise(height) {
            self.books.tallies.peak_number = number;
        }
    }

    /// Takes a peak that another lane raised for a height of this one.
    pub(super) fn look_at_the_peak(&mut self) {
        let number = self.ledger.peak.number();
        let tallies = &mut self.books.tallies;
        if tallies.peak_number != number {
            tallies.peak_number = number;
            tallies.height += 1;
        }
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
