//! The usual events of a window, in a loop without calls.
//!
//! The *usual* events are of a few kinds: an allocation whose block finds a free place in the nursery, the free of a
//! block in the nursery, and a realloc of such a block. The delta of the event's site must be in the lane's table.
//! Nearly all events are usual. The loop of this module books them with its state in registers. It ends at the first
//! event of another kind, which the general code (`events`, `realloc`) books.
//!
//! The loop and the general code book the same events in the same way. A test books random windows with and without the
//! loop, and compares all figures. After each word the batch has the same figures in both cases, except for sums that
//! the loop adds at its end.
//!
//! | not usual | reason |
//! | --- | --- |
//! | an internal or sampled block | it has separate sums |
//! | both places taken, or a block of this address in the nursery | a block goes to the outbox |
//! | a free or realloc whose block is not in the nursery, or has another size | the block is in the shared table |
//! | an allocation above the peak | see `high_water` |
//! | while frees are in the outbox, an allocation above the mark of the batch or the site | see `high_water` |
//! | an event of a site without a delta, or the first of a run in a scope | see `site_deltas`, `scopes` |
//!
//! # Kills
//!
//! The reader of a killed process's black box needs the index of the next word to be booked. So the loop stores the
//! index of each record before it books the record, like the general code. In a run of pairs, both store only the index
//! of the first pair. The loop empties or fills a place of the nursery with one store of its address.

use super::batch::Dates;
use super::state::{Fold, count_up};
use super::words::{SegmentWords, Words};
use crate::ledger::Ledger;
use crate::ledger::entry::{Entry, Meta};
use crate::ledger::nursery::{Places, number_of_young, size_of_young};
use crate::ledger::site_delta::SiteDelta;
use crate::ledger::site_deltas::KnownDeltas;
use crate::profile::{TEMPORARY_ALLOCS, bucket_of, bucket_of_narrow};
use crate::ring::event::{self, ALLOC_WORDS, FREE_WORDS, MOVED_WORDS, TAG_BEGIN, TAG_FREE, Tag};

/// Returns whether the loop is switched off, which only a test does to compare it with the general code.
#[cfg(not(test))]
#[inline(always)]
pub(super) const fn is_off() -> bool {
    false
}

#[cfg(test)]
thread_local! {
    static IS_OFF: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

#[cfg(test)]
pub(super) fn is_off() -> bool {
    IS_OFF.get()
}

/// Runs `work`, and books all events of the calling thread's folds by the general code meanwhile.
#[cfg(test)]
pub(crate) fn without<T>(work: impl FnOnce() -> T) -> T {
    IS_OFF.set(true);
    let result = work();
    IS_OFF.set(false);
    result
}

/// The state of the loop.
struct Usual {
    places: Places,
    dates: Dates,
    deltas: KnownDeltas,
    /// The selected delta and its stack.
    at: *mut SiteDelta,
    stack: u32,
    /// Running number of the last allocation.
    allocs: u32,
    /// Live bytes of the batch. `high_water` is their maximum in the loop. An allocation that would raise `high_water`
    /// above `limit` is not usual.
    live: i64,
    high_water: i64,
    limit: i64,
    /// Live bytes of the selected delta minus the live bytes of the batch. Used if there is only one delta.
    above: i64,
    /// Whether an allocation may raise the high-water mark of a site.
    may_raise: bool,
    reallocs: u64,
    /// Bytes of new blocks, including the new blocks of reallocs.
    bytes: u64,
    remote: Remote,
}

/// The first partner's nursery as the loop uses it, and the loop's sums of blocks that are freed there.
#[derive(Clone, Copy)]
struct Remote {
    places: Option<Places>,
    /// Whether the outbox has entries. They may be blocks of the lane.
    has_sent: bool,
    /// The thread that allocated the blocks of the current run of remote frees: see `remote_frees`.
    allocated_by: u32,
    time_error_ns: u64,
    /// Time in nanoseconds after which frees are not usual: see `partners`.
    until_ns: u64,
    blocks: u64,
    bytes: u64,
}

/// Number of words of an allocation and the free directly after it.
pub(super) const PAIR_WORDS: u64 = ALLOC_WORDS + FREE_WORDS;

/// Marks a branch as rarely taken, for the compiler.
#[cold]
fn is_rare() {}

impl Fold<'_> {
    /// Books the usual events from `index` on. Returns the index of the first event that is not usual, or `end`.
    #[inline(always)]
    pub(super) fn book_usual(&mut self, words: Words, index: u64, end: u64) -> u64 {
        match (self.state.deltas.slots, self.partners.is_empty()) {
            (0, true) => self.usual::<false, false>(words, index, end),
            (0, false) => self.usual::<false, true>(words, index, end),
            (_, true) => self.usual::<true, false>(words, index, end),
            (_, false) => self.usual::<true, true>(words, index, end),
        }
    }

    /// Runs the loop, as [`Fold::book_usual`] describes. Without `SITES`, all events belong to the selected delta, and
    /// their sums are added at the end. With `PARTNERS`, the blocks of frees may be in the nursery of a partner.
    #[inline(never)]
    fn usual<const SITES: bool, const PARTNERS: bool>(
        &mut self,
        words: Words,
        mut index: u64,
        end: u64,
    ) -> u64 {
        let (begun, live) = (index, self.batch.sums.live_bytes());
        let mut usual = self.begin_usual::<SITES, PARTNERS>(live);
        let (state, words) = (&*self.state, words.of_segment(index));
        while index < end {
            state.note_applied_up_to(index);
            let word = words.get(index);
            if Tag::raw(word) == TAG_FREE {
                let is_booked = usual.free::<SITES>(word, index)
                    || PARTNERS && usual.remote_free::<SITES>(word, index, self.ledger);
                if !is_booked {
                    break;
                }
                index += FREE_WORDS;
            } else if event::is_plain_alloc(word) && index + ALLOC_WORDS < end {
                let (second, behind) = (words.get(index + 1), words.get(index + ALLOC_WORDS));
                if event::is_pair(word, behind) {
                    if !usual.pair::<SITES>(word, second, behind, self.batch.high_water) {
                        break;
                    }
                    index = usual.further_pairs::<SITES>(words, index + PAIR_WORDS, end, second);
                    continue;
                } else if !usual.alloc::<SITES>(word, second, index) {
                    break;
                }
                index += ALLOC_WORDS;
            } else {
                if Tag::raw(word) != TAG_BEGIN || index + FREE_WORDS + MOVED_WORDS > end {
                    break;
                }
                is_rare();
                let moved = [1, 2, 3].map(|behind| words.get(index + behind));
                if !usual.realloc::<SITES>(word, moved, || state.note_applied_up_to(index + FREE_WORDS)) {
                    break;
                }
                index += FREE_WORDS + MOVED_WORDS;
            }
        }
        self.add_usual::<SITES>(&usual, live, index - begun);
        if PARTNERS {
            self.add_remote(usual.remote);
        }
        index
    }

    /// Returns the state with which the loop begins. `live` is the number of live bytes of the batch.
    #[inline(always)]
    fn begin_usual<const SITES: bool, const PARTNERS: bool>(&mut self, live: i64) -> Usual {
        let may_raise = self.batch.frees_sent == 0;
        let mut limit = if may_raise { self.peak_threshold } else { self.batch.high_water };
        // Live bytes of the selected delta minus the live bytes of the batch.
        let above = self.delta().sums.live_bytes().wrapping_sub(live);
        if !SITES && !may_raise {
            limit = limit.min(self.delta().high_water_bytes.wrapping_sub(above));
        }
        Usual {
            places: self.places,
            dates: self.batch.dates,
            deltas: self.state.deltas.known(&self.ledger.pages),
            at: self.at,
            stack: self.stack,
            allocs: self.state.allocs,
            live,
            high_water: i64::MIN,
            limit,
            above,
            may_raise,
            reallocs: 0,
            bytes: 0,
            remote: self.remote_run::<PARTNERS>(),
        }
    }

    /// Returns the current run of remote frees, with the nursery of the first partner if the run's blocks may be there.
    #[inline(always)]
    fn remote_run<const PARTNERS: bool>(&self) -> Remote {
        let run = &self.batch.remote_frees;
        let goes_on = PARTNERS && !run.is_empty() && run.freed_by == self.state.row;
        let partner = if goes_on { self.places_of_partner() } else { None };
        let time_error_ns = Meta(self.batch.dates.meta).time_error_ns();
        Remote {
            has_sent: self.state.outbox_len > 0,
            places: partner.map(|(places, _)| places),
            allocated_by: run.allocated_by,
            time_error_ns,
            until_ns: partner.map_or(0, |(_, until_ns)| until_ns.saturating_sub(time_error_ns)),
            blocks: 0,
            bytes: 0,
        }
    }

    /// Adds the remote frees of the loop to the current run.
    fn add_remote(&mut self, remote: Remote) {
        let run = &mut self.batch.remote_frees.remote_frees;
        run.blocks += remote.blocks;
        run.bytes += remote.bytes;
        self.batch.cross_thread_frees += remote.blocks;
        self.note_matched(remote.blocks as u32);
    }

    /// Adds the sums of the loop to the batch. The loop has booked `words` words. `live` is the number of live bytes of
    /// the batch before the loop.
    #[inline(always)]
    fn add_usual<const SITES: bool>(&mut self, usual: &Usual, live: i64, words: u64) {
        let Usual { reallocs, bytes, high_water, above, .. } = *usual;
        let allocs = u64::from(usual.allocs.wrapping_sub(self.state.allocs));
        let frees = words - ALLOC_WORDS * allocs - (FREE_WORDS + MOVED_WORDS) * reallocs;
        let freed_bytes = bytes.wrapping_sub(usual.live.wrapping_sub(live) as u64);
        (self.at, self.stack) = (usual.at, usual.stack);
        self.state.allocs = usual.allocs;
        self.batch.high_water = self.batch.high_water.max(high_water);
        self.batch.reallocs += reallocs;
        count_up(&mut self.batch.recorded, allocs + frees + reallocs);
        let sums = &mut self.batch.sums;
        count_up(&mut sums.total_blocks, allocs + reallocs);
        count_up(&mut sums.total_bytes, bytes);
        count_up(&mut sums.freed_blocks, frees + reallocs);
        count_up(&mut sums.freed_bytes, freed_bytes);
        if !SITES {
            let delta = self.delta();
            let sums = &mut delta.sums;
            count_up(&mut sums.total_blocks, allocs + reallocs);
            count_up(&mut sums.total_bytes, bytes);
            count_up(&mut sums.freed_blocks, frees + reallocs);
            count_up(&mut sums.freed_bytes, freed_bytes);
            if high_water != i64::MIN {
                delta.high_water_bytes = delta.high_water_bytes.max(high_water.wrapping_add(above));
            }
        }
    }
}

impl Usual {
    /// Returns the delta of a stack, if it is selected or in the table.
    #[inline(always)]
    fn delta_of<const SITES: bool>(&self, stack: u32) -> Option<*mut SiteDelta> {
        if stack == self.stack {
            return Some(self.at);
        }
        if SITES { self.deltas.find(stack) } else { None }
    }

    /// Adds a block to the sums, and returns true. Returns false if the block may be a high-water mark, which the
    /// general code has to book. `live` is the number of live bytes of the batch including the block.
    #[inline(always)]
    fn adds_block<const SITES: bool>(&mut self, delta: &mut SiteDelta, size: u64, live: i64) -> bool {
        if live > self.limit {
            return false;
        }
        if SITES {
            let of_delta = delta.sums.live_bytes().wrapping_add(size as i64);
            if of_delta > delta.high_water_bytes {
                if !self.may_raise {
                    return false;
                }
                delta.high_water_bytes = of_delta;
            }
            count_up(&mut delta.sums.total_blocks, 1);
            count_up(&mut delta.sums.total_bytes, size);
        }
        let count = &mut delta.sizes[bucket_of_narrow(size as u32)];
        *count = count.wrapping_add(1);
        self.live = live;
        self.high_water = self.high_water.max(live);
        self.bytes = self.bytes.wrapping_add(size);
        true
    }

    #[inline(always)]
    fn alloc<const SITES: bool>(&mut self, word: u64, second: u64, index: u64) -> bool {
        let (address, size, stack) = (event::address_of(word), second >> 32, second as u32);
        let Some(place) = self.places.vacancy(address) else { return false };
        let Some(at) = self.delta_of::<SITES>(stack) else { return false };
        // SAFETY: Y1, the fold holds the lane's latch, and the delta is the lane's.
        if !self.adds_block::<SITES>(unsafe { &mut *at }, size, self.live.wrapping_add(size as i64)) {
            return false;
        }
        (self.at, self.stack) = (at, stack);
        self.allocs = self.allocs.wrapping_add(1);
        let meta =
            Meta(self.dates.meta | u64::from(stack) | Meta::of_align(event::traits_of(word).align_log2()).0);
        let numbered = size | u64::from(self.allocs) << 32;
        place.fill(Entry { address, size: numbered, at_ns: self.dates.at(index), meta });
        true
    }

    /// Books an allocation and the free directly after it, without the nursery, and returns true. Returns false if the
    /// block may be a high-water mark. `high_water` is the mark of the batch before the loop.
    #[inline(always)]
    fn pair<const SITES: bool>(&mut self, word: u64, second: u64, behind: u64, high_water: i64) -> bool {
        let (size, stack) = (second >> 32, second as u32);
        let live = self.live.wrapping_add(size as i64);
        if behind != event::free_word(event::address_of(word), size) || live > self.high_water.max(high_water)
        {
            return false;
        }
        let Some(at) = self.delta_of::<SITES>(stack) else { return false };
        // SAFETY: Y1, as in `alloc`.
        let delta = unsafe { &mut *at };
        let of_delta = if SITES { delta.sums.live_bytes() } else { self.live.wrapping_add(self.above) };
        if of_delta.wrapping_add(size as i64) > delta.high_water_bytes && (SITES || live > self.high_water) {
            return false;
        }
        (self.at, self.stack) = (at, stack);
        if SITES {
            count_up(&mut delta.sums.total_blocks, 1);
            count_up(&mut delta.sums.total_bytes, size);
            count_up(&mut delta.sums.freed_blocks, 1);
            count_up(&mut delta.sums.freed_bytes, size);
        }
        delta.sums.temporary_blocks += 1;
        delta.sums.temporary_bytes += size;
        for count in [
            &mut delta.sizes[bucket_of_narrow(size as u32)],
            &mut delta.lifetimes[self.dates.bucket_of_pair()],
        ] {
            *count = count.wrapping_add(1);
        }
        self.allocs = self.allocs.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(size);
        true
    }

    /// Books the pairs from `begun` on that have the stack of the previous pair and whose blocks are not larger than
    /// the previous block. So these blocks are no high-water marks. `before` is the second word of the previous pair.
    /// Returns the index of the first other record.
    #[inline(always)]
    fn further_pairs<const SITES: bool>(
        &mut self,
        words: SegmentWords,
        begun: u64,
        end: u64,
        before: u64,
    ) -> u64 {
        // SAFETY: Y1, as in `alloc`.
        let delta = unsafe { &mut *self.at };
        let (mut index, mut bytes) = (begun, 0u64);
        while index + PAIR_WORDS <= end {
            let [first, second, behind] = [0, 1, 2].map(|word| words.get(index + word));
            let size = second >> 32;
            let is_alike =
                event::is_plain_alloc(first) & (second as u32 == before as u32) & (second <= before);
            if !is_alike || behind != event::free_word(event::address_of(first), size) {
                break;
            }
            let equal = words.end_of_equal(index, end, [first, second, behind]);
            let pairs = (equal - index) / PAIR_WORDS;
            let count = &mut delta.sizes[bucket_of_narrow(size as u32)];
            *count = count.wrapping_add(pairs as u32);
            bytes += pairs * size;
            index = equal;
        }
        let pairs = (index - begun) / PAIR_WORDS;
        if pairs > 0 {
            if SITES {
                count_up(&mut delta.sums.total_blocks, pairs);
                count_up(&mut delta.sums.total_bytes, bytes);
                count_up(&mut delta.sums.freed_blocks, pairs);
                count_up(&mut delta.sums.freed_bytes, bytes);
            }
            delta.sums.temporary_blocks += pairs;
            delta.sums.temporary_bytes += bytes;
            let count = &mut delta.lifetimes[self.dates.bucket_of_pair()];
            *count = count.wrapping_add(pairs as u32);
            self.allocs = self.allocs.wrapping_add(pairs as u32);
            self.bytes = self.bytes.wrapping_add(bytes);
        }
        index
    }

    /// Books the free of a block in the nursery, and returns true. Returns false if the free is not usual.
    #[inline(always)]
    fn free<const SITES: bool>(&mut self, word: u64, index: u64) -> bool {
        let Some(place) = self.places.place_of(event::address_of(word)) else { return false };
        let young = place.entry();
        let (size, number, meta) = (size_of_young(young), number_of_young(young), young.meta);
        if meta.is_excluded() || !event::agrees(size, event::check_of(word)) {
            return false;
        }
        let Some(at) = self.delta_of::<SITES>(meta.stack()) else { return false };
        let lifetime_ns = self.dates.at(index).saturating_sub(young.at_ns);
        place.clear();
        (self.at, self.stack) = (at, meta.stack());
        self.live = self.live.wrapping_sub(size as i64);
        // SAFETY: Y1, as in `alloc`.
        let delta = unsafe { &mut *at };
        if SITES {
            count_up(&mut delta.sums.freed_blocks, 1);
            count_up(&mut delta.sums.freed_bytes, size);
        }
        let count = &mut delta.lifetimes[bucket_of(lifetime_ns)];
        *count = count.wrapping_add(1);
        if self.allocs.wrapping_sub(number) <= TEMPORARY_ALLOCS {
            delta.sums.temporary_blocks += 1;
            delta.sums.temporary_bytes += size;
        }
        if meta.reallocs() > 0 {
            is_rare();
            delta.end_chain(meta.reallocs());
        }
        true
    }

    /// Books the free of a block in the first partner's nursery, and returns true. Returns false if the free does not
    /// continue the run of remote frees, or may belong to another block: see `partners`.
    #[inline(always)]
    fn remote_free<const SITES: bool>(&mut self, word: u64, index: u64, ledger: &Ledger) -> bool {
        let address = event::address_of(word);
        let Some(place) = self.remote.places.and_then(|places| places.place_of(address)) else {
            return false;
        };
        if self.places.place_of(address).is_some() {
            return false;
        }
        let (young, at_ns) = (place.entry(), self.dates.at(index));
        let (size, meta) = (size_of_young(young), young.meta);
        let is_usual =
            !meta.is_unusual() && meta.thread() == self.remote.allocated_by && at_ns <= self.remote.until_ns;
        if !is_usual || !event::agrees(size, event::check_of(word)) {
            return false;
        }
        let error_ns = self.remote.time_error_ns + meta.time_error_ns();
        let is_certain = at_ns >= young.at_ns + error_ns;
        let may_be_other = || self.remote.has_sent || !ledger.live.is_empty_around(address);
        if !is_certain && (at_ns + error_ns < young.at_ns || may_be_other()) {
            return false;
        }
        let Some(at) = self.delta_of::<SITES>(meta.stack()) else { return false };
        let lifetime_ns = at_ns.saturating_sub(young.at_ns);
        place.clear();
        (self.at, self.stack) = (at, meta.stack());
        self.live = self.live.wrapping_sub(size as i64);
        // SAFETY: Y1, as in `alloc`.
        let delta = unsafe { &mut *at };
        if SITES {
            count_up(&mut delta.sums.freed_blocks, 1);
            count_up(&mut delta.sums.freed_bytes, size);
        }
        delta.sums.cross_thread_frees += 1;
        let count = &mut delta.lifetimes[bucket_of(lifetime_ns)];
        *count = count.wrapping_add(1);
        self.remote.blocks += 1;
        self.remote.bytes += size;
        true
    }

    /// Books a realloc, and returns true. Returns false unless both halves follow each other and the block is in the
    /// nursery. `between` notes that the first half is booked.
    #[inline(always)]
    fn realloc<const SITES: bool>(
        &mut self,
        word: u64,
        [first, second, old]: [u64; 3],
        between: impl FnOnce(),
    ) -> bool {
        if !event::is_plain_moved(first) || old != event::address_of(word) {
            return false;
        }
        let Some(place) = self.places.place_of(old) else { return false };
        let before = *place.entry();
        let (address, size, stack) = (event::address_of(first), second >> 32, second as u32);
        let (size_before, moves) = (size_of_young(&before), address != old);
        if before.meta.is_excluded() || !event::agrees(size_before, event::check_of(word)) {
            return false;
        }
        let target = if moves { self.places.vacancy(address) } else { Some(place) };
        let (of_before, of_after) =
            (self.delta_of::<SITES>(before.meta.stack()), self.delta_of::<SITES>(stack));
        let (Some(target), Some(of_before), Some(of_after)) = (target, of_before, of_after) else {
            return false;
        };
        let live = self.live.wrapping_sub(size_before as i64).wrapping_add(size as i64);
        // The old block ends first, so the mark of a site that keeps the block does not include both blocks.
        // SAFETY: Y1, as in `alloc`; here and below, one borrow at a time.
        let ends = |blocks: u64, bytes: u64| unsafe {
            if SITES {
                count_up(&mut (*of_before).sums.freed_blocks, blocks);
                count_up(&mut (*of_before).sums.freed_bytes, bytes);
            }
        };
        ends(1, size_before);
        // SAFETY: Y1, as in `alloc`.
        if !self.adds_block::<SITES>(unsafe { &mut *of_after }, size, live) {
            ends(u64::MAX, size_before.wrapping_neg());
            return false;
        }
        (self.at, self.stack) = (of_after, stack);
        self.reallocs += 1;
        // SAFETY: Y1, as in `alloc`.
        let sums = unsafe { &mut (*of_after).sums };
        sums.reallocs += 1;
        if moves {
            sums.moved += 1;
            sums.copied_bytes += size_before.min(size);
        }
        between();
        let align_log2 = event::traits_of(first).align_log2();
        let meta = before.meta.reallocated(Meta(self.dates.meta), stack, align_log2);
        place.clear();
        target.fill(Entry {
            address,
            size: before.size & !u64::from(u32::MAX) | size,
            at_ns: before.at_ns,
            meta,
        });
        true
    }
}
