//! The fold: takes the words of one lane, in order, and books them.
//!
//! Whoever holds the lane's latch may fold: the lane's own thread when a segment is full (that is *helping*, and the
//! words are still in its processor's cache), the aggregator when a lane has gone quiet or where booking is dear, and whoever
//! asks for a flush. What a fold needs lies in the lane's books; nothing is allocated.
//!
//! One batch goes through four stations:
//!
//! 1. **Date** the words: a window starts with a mark, its end is the next mark; times between are interpolated.
//! 2. **Match** a free with its allocation, if possible right behind it in the ring, else in the nursery.
//! 3. **Send** on what neither knows: survivors and strangers' blocks, in order, to the shared table (`settle`).
//! 4. **Settle** the sums: tally, timeline, peak, account (`settle`).
//!
//! Invariant **F1**: a segment that holds a word between tail and head stays the lane's until the tail has passed it.
//!
//! Live bytes inside the batch are `total_bytes − freed_bytes` of the batch, so that the loop keeps no third sum.

use super::Ledger;
use super::batch::{Batch, Dates, Part, STEP_BITS};
use super::books::{Account, Books, account_of, books_of};
use super::entry::{Entry, Meta};
use super::nursery::{Places, number_of_young, size_of_young};
use super::sites::Tally;
use super::tap::WindowHead;
use crate::profile::{TEMPORARY_ALLOCS, bucket_of, bucket_of_narrow};
use crate::ring::event::{
    self, TAG_ALLOC, TAG_BEGIN, TAG_DEED, TAG_FREE, TAG_MARK, TAG_MOVED, TAG_REFUSED, TAG_SKIP, TAG_THREAD,
    TAG_WIDE, Tag, Traits, record_words,
};
use crate::ring::lane::{Lane, SEGMENT_WORDS};
use crate::sys::latch::Taken;
use crate::sys::order::then;
use crate::sys::sync::{AtomicU64, Ordering};

/// A window that seems to span more than this, in nanoseconds, is cut at the next tick of the aggregator.
const SPAN_NS_PLAUSIBLE: u64 = 2_000_000;

/// A fold is dear if it takes more than one block or free for so many words to the shared table, a cache miss or two each.
const DEAR_SHARE: u64 = 8;

/// Words of an allocation and the free right behind it.
const PAIR_WORDS: u64 = event::ALLOC_WORDS + 1;

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

/// The size bits of a free that carries its whole size, with that size above them.
fn with_whole_size(size: u64) -> u64 {
    event::check_bits(size) | (size + 1) << event::CHECK_BITS
}

/// The size of a waiting free that carries its whole size, or `None`.
pub(super) fn whole_size(waiting: &Entry) -> Option<u64> {
    (waiting.size >> event::CHECK_BITS).checked_sub(1)
}

/// The stamp of the event that lies at `tail` or behind a mark there, and whether it takes memory.
pub(super) fn peek(ledger: &Ledger, lane: &Lane, tail: u64, not_before_ns: u64) -> (u64, bool) {
    let word = |index: u64| {
        // SAFETY: I3, the segment of an unfolded word has not been given back.
        let words = Words { start: unsafe { lane.segment(&ledger.pages, index / SEGMENT_WORDS) } };
        words.get(index)
    };
    let mut index = tail;
    if Tag::raw(word(index)) == TAG_SKIP {
        index = (index | (SEGMENT_WORDS - 1)) + 1;
        if index >= lane.head().observe() {
            return (not_before_ns, false);
        }
    }
    let mut at_ns = not_before_ns;
    if Tag::raw(word(index)) == TAG_MARK {
        at_ns = event::mark_time(word(index), not_before_ns).max(not_before_ns);
        index += 1;
    }
    (at_ns, matches!(Tag::raw(word(index)), TAG_ALLOC | TAG_MOVED))
}

/// The words of one segment.
#[derive(Clone, Copy)]
struct Words {
    start: *const AtomicU64,
}

impl Words {
    #[inline(always)]
    fn get(&self, index: u64) -> u64 {
        // SAFETY: F1, the segment is as long as the mask and belongs to the folder up to the observed head.
        let word = unsafe { &*self.start.add((index % SEGMENT_WORDS) as usize) };
        // relaxed: ordered by the head's acquire; history readers may look at the same time.
        word.load(Ordering::Relaxed)
    }

    /// The words from `index` to `end`, which lie in this segment.
    #[inline(always)]
    fn slice<'a>(&self, index: u64, end: u64) -> &'a [AtomicU64] {
        debug_assert!(index % SEGMENT_WORDS + (end - index) <= SEGMENT_WORDS);
        // SAFETY: F1, as in `get`; the segment outlives the fold.
        unsafe {
            let start = self.start.add((index % SEGMENT_WORDS) as usize);
            std::slice::from_raw_parts(start, (end - index) as usize)
        }
    }
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

    /// Books events up to a time, and at most those that the ordered fold has observed.
    pub(crate) fn run_until(&mut self, until_ns: u64) {
        let head = self.books.order_head;
        let mut tail = self.lane.folder.tail.own();
        while tail < head && peek(self.ledger, self.lane, tail, self.books.span_ns).0 <= until_ns {
            while tail < head && matches!(Tag::raw(self.words(tail).get(tail)), TAG_SKIP | TAG_MARK) {
                tail = self.step(tail, head);
            }
            if tail < head {
                tail = self.step(tail, head);
            }
        }
        self.finish();
        self.lane.folder.tail.release(tail);
    }

    /// Makes ready for a new batch.
    pub(super) fn start_over(&mut self) {
        self.batch = Batch { interval_peak: i64::MIN, passed_over: i64::MIN, ..Batch::default() };
        self.to_beat = self.ledger.peak.bytes() as i64 - self.ledger.booked.bytes();
        self.look_at_the_peak();
        self.take_up(self.at);
    }

    /// Books all words up to the head as it is now.
    pub(crate) fn run(&mut self) {
        self.run_some(Part::ALL);
    }

    /// As [`Fold::run`], but only a part of them.
    pub(crate) fn run_some(&mut self, part: Part) {
        let head = self.lane.head().observe();
        // After the head: no event below it can have happened later.
        self.now_ns = self.ledger.clock.now_after_loads_ns();
        let mut tail = self.lane.folder.tail.own();
        Account::raise(&self.lane.folder.high_water, head - tail);
        Account::raise(&self.lane.folder.recent_high_water, head - tail);
        let begun = tail;
        while tail < head && tail - begun < part.words && self.books.span_ns <= part.until_ns {
            tail = self.step(tail, head);
        }
        self.lane.folder.note_reached(self.books.span_ns);
        self.lane.folder.note_dear(self.batch.sent * DEAR_SHARE > tail - begun);
        self.is_behind = tail < head;
        self.finish();
        self.lane.folder.tail.release(tail);
    }

    /// Books what lies at `tail`: a mark, a skip, or the rest of a window. Returns the new tail.
    fn step(&mut self, tail: u64, head: u64) -> u64 {
        let words = self.words(tail);
        match Tag::raw(words.get(tail)) {
            TAG_SKIP => (tail | (SEGMENT_WORDS - 1)) + 1,
            TAG_MARK => {
                self.books.mark_index = tail;
                self.books.span_ns =
                    event::mark_time(words.get(tail), self.books.span_ns).max(self.books.span_ns);
                tail + 1
            }
            _ => {
                let end = self.date_window(words, tail, head);
                if self.ledger.tap.is_open() {
                    self.tap_window(words.slice(tail, end));
                }
                self.book_window(words, tail, end);
                end
            }
        }
    }

    /// Leaves a copy of a window, as it was dated, for the trace.
    #[cold]
    fn tap_window(&self, words: &[AtomicU64]) {
        let Dates { first_ns, step, .. } = self.batch.dates;
        let head = WindowHead { row: self.books.row, words: 0, first_ns, step };
        // relaxed: written before the lane was published.
        let lane = self.lane.cold.index.load(Ordering::Relaxed);
        self.ledger.tap.window(&self.ledger.pages, lane, head, words);
    }

    fn words(&self, index: u64) -> Words {
        // SAFETY: I3, the segment of an unfolded word has not been given back.
        Words { start: unsafe { self.lane.segment(&self.ledger.pages, index / SEGMENT_WORDS) } }
    }

    /// Finds the end of the window that `tail` lies in, and how its words are to be dated.
    fn date_window(&mut self, words: Words, tail: u64, head: u64) -> u64 {
        let mark_index = self.books.mark_index;
        let length = event::mark_length(words.get(mark_index));
        // While the window is being written, the head lies in it.
        let end = (mark_index + 1 + length).min(head);
        let until_ns = self.mark_time_at(end, head).unwrap_or(self.now_ns);
        let first_ns = self.books.span_ns;
        let mut span = until_ns.saturating_sub(first_ns);
        if span > SPAN_NS_PLAUSIBLE {
            span = span.min(self.ledger.ticks.next_after(first_ns).saturating_sub(first_ns));
        }
        let alone = tail == mark_index + 1 && tail + record_words(words.get(tail)) >= end;
        let doubt_ns = if alone { 0 } else { span };
        Account::raise(&self.account.longest_span_ns, doubt_ns);
        let step = (span << STEP_BITS) / (end - tail).max(1);
        let meta = Meta::of_block(0, self.books.row, 0, false, doubt_ns).0;
        self.batch.dates = Dates { first: tail, first_ns, step, doubt_ns, meta };
        self.books.span_ns = if alone { first_ns } else { first_ns + span };
        end
    }

    /// The time of the mark that follows a window, if it is below the head.
    fn mark_time_at(&self, end: u64, head: u64) -> Option<u64> {
        let mut index = end;
        if index < head && Tag::raw(self.words(index).get(index)) == TAG_SKIP {
            index = (index | (SEGMENT_WORDS - 1)) + 1;
        }
        let word = if index < head { self.words(index).get(index) } else { return None };
        debug_assert_eq!(Tag::raw(word), TAG_MARK);
        Some(event::mark_time(word, self.books.span_ns))
    }

    /// Books the records from `index` to `end`, all in one window.
    fn book_window(&mut self, words: Words, mut index: u64, end: u64) {
        if self.batch.dates.at(end - 1) >= self.batch.interval_end_ns {
            self.enter_interval(self.batch.dates.first_ns);
        }
        if self.places.are_far() {
            self.fetch_places(words.slice(index, end));
        }
        while index < end {
            self.has_worked_to(index);
            let word = words.get(index);
            match Tag::raw(word) {
                TAG_ALLOC => index += self.book_alloc(words, word, index, end),
                TAG_FREE => {
                    self.book_free(event::address_of(word), event::check_of(word), index);
                    index += 1;
                }
                _ => {
                    self.book_rare(words, word, index);
                    index += record_words(word);
                }
            }
        }
        self.has_worked_to(end);
    }

    /// Asks the processor for the places of all blocks that a window tells of, before the first is looked for: each would be
    /// waited for.
    #[inline(always)]
    fn fetch_places(&self, words: &[AtomicU64]) {
        for word in words {
            // relaxed: as in `Words::get`.
            let word = word.load(Ordering::Relaxed);
            if event::begins_with_address(word) {
                self.places.fetch(event::address_of(word));
            }
        }
    }

    /// Notes that everything below a word is in the tables, for whoever finds the books of a process that was killed.
    #[inline(always)]
    fn has_worked_to(&self, index: u64) {
        then();
        // relaxed: read from a file, when the process is gone.
        self.books.worked_to.store(index, Ordering::Relaxed);
        then();
    }

    /// Books an allocation and puts the block into the nursery; or all pairs that begin here. Returns how many words that
    /// took.
    #[inline(always)]
    fn book_alloc(&mut self, words: Words, word: u64, index: u64, end: u64) -> u64 {
        let (second, traits) = (words.get(index + 1), event::traits_of(word));
        let (size, stack) = (second >> 32, second as u32);
        if traits.is_apart() {
            self.count_event();
            self.book_apart(event::address_of(word), size, stack, traits, index);
            return event::ALLOC_WORDS;
        }
        self.turn_to(stack);
        if index + event::ALLOC_WORDS < end && event::is_pair(word, words.get(index + event::ALLOC_WORDS)) {
            let paired = self.book_pairs(words.slice(index, end));
            if paired > 0 {
                return paired;
            }
        }
        self.count_event();
        self.count_alloc(size, stack, index);
        let meta =
            self.batch.dates.meta | u64::from(stack) | Meta::of_block(0, 0, traits.align_log2(), false, 0).0;
        let (address, numbered) = (event::address_of(word), size | u64::from(self.books.allocs) << 32);
        self.bring_up(Entry { address, size: numbered, at_ns: self.batch.dates.at(index), meta: Meta(meta) });
        event::ALLOC_WORDS
    }

    /// Counts an allocation as an event.
    #[inline(always)]
    fn count_event(&mut self) {
        count_up(&mut self.batch.recorded, 1);
        self.books.allocs = self.books.allocs.wrapping_add(1);
    }

    /// Books blocks that were freed right after they were allocated, as many of the tally at hand as follow each other at
    /// the start of `words`, without asking the nursery. Returns how many words they took.
    #[inline(never)]
    fn book_pairs(&mut self, mut words: &[AtomicU64]) -> u64 {
        let stack = self.stack;
        let room = self.room_below_heights().max(0) as u64;
        let (mut pairs, mut bytes) = (0u64, 0u64);
        // SAFETY: Y1, the fold holds the lane's latch; the rest of the fold is not touched while this is used.
        let sizes = unsafe { &mut (*self.at).sizes };
        while let [first, second, third, rest @ ..] = words {
            // relaxed: see `Words::get`.
            let (first, second) = (first.load(Ordering::Relaxed), second.load(Ordering::Relaxed));
            let size = second >> 32;
            let behind = event::free_word(event::address_of(first), size);
            let is_pair = event::is_plain_alloc(first) & (second as u32 == stack);
            if !is_pair || third.load(Ordering::Relaxed) != behind {
                break;
            }
            if size > room {
                // Maybe a new height: the block goes through the nursery, where that is looked at.
                break;
            }
            pairs += 1;
            bytes += size;
            let count = &mut sizes[bucket_of_narrow(size as u32)];
            *count = count.wrapping_add(1);
            words = rest;
        }
        if pairs > 0 {
            self.count_pairs(pairs, bytes);
        }
        PAIR_WORDS * pairs
    }

    /// Adds blocks that were freed right behind their allocation to the sums.
    #[inline(always)]
    fn count_pairs(&mut self, pairs: u64, bytes: u64) {
        let lifetime_ns = (2 * self.batch.dates.step) >> STEP_BITS;
        let sums = &mut self.batch.sums;
        count_up(&mut sums.total_blocks, pairs);
        count_up(&mut sums.total_bytes, bytes);
        sums.freed_blocks += pairs;
        sums.freed_bytes += bytes;
        count_up(&mut self.batch.recorded, 2 * pairs);
        self.books.allocs = self.books.allocs.wrapping_add(pairs as u32);
        let tally = self.tally();
        let sums = &mut tally.sums;
        count_up(&mut sums.total_blocks, pairs);
        count_up(&mut sums.total_bytes, bytes);
        count_up(&mut sums.freed_blocks, pairs);
        count_up(&mut sums.freed_bytes, bytes);
        sums.temporary_blocks += pairs;
        sums.temporary_bytes += bytes;
        let count = &mut tally.lifetimes[bucket_of(lifetime_ns)];
        *count = count.wrapping_add(pairs as u32);
    }

    /// Books an allocation that is in no total of the program: heapledger's own, or a sample.
    #[cold]
    fn book_apart(&mut self, address: u64, size: u64, stack: u32, traits: Traits, index: u64) {
        let (row, doubt_ns) = (self.books.row, self.batch.dates.doubt_ns);
        let mut meta = Meta::of_block(stack, row, traits.align_log2(), traits.is_own(), doubt_ns);
        if traits.is_own() {
            count_up(&mut self.batch.own_events, 1);
        } else {
            self.batch.sampled.start(size, traits.rate());
            meta = meta.sampled(traits.rate());
        }
        self.settle_in(Entry { address, size, at_ns: self.batch.dates.at(index), meta });
    }

    /// Books the end of a block that is in no total of the program.
    #[cold]
    pub(super) fn end_apart(&mut self, meta: Meta, size: u64) {
        match meta.rate() {
            0 => count_up(&mut self.batch.own_events, 1),
            rate => self.batch.sampled.end(size, rate),
        }
    }

    /// Puts a block into the nursery; what it pushes out goes on to the shared table.
    #[inline(always)]
    pub(super) fn bring_up(&mut self, block: Entry) {
        let places = self.places;
        places.bring(block, |before| {
            self.books.nursery.pushed_out += 1;
            self.send_survivor(before);
        });
    }

    /// Adds an allocation to the sums.
    #[inline(always)]
    pub(super) fn count_alloc(&mut self, size: u64, stack: u32, index: u64) {
        self.turn_to(stack);
        // Before an allocation that may be a new height: the frees that came before it lower the sums now, not when the
        // outbox is full. Otherwise the peak would hold blocks that were gone.
        if self.batch.frees_sent > 0 && size as i64 > self.room_below_heights() {
            if self.stays_below(size) {
                self.add_birth(size);
                return;
            }
            self.deliver();
            self.turn_to(stack);
        }
        let (live, of_tally) = self.add_birth(size);
        self.note_heights(live, of_tally, index);
    }

    /// Books a free, in the nursery if its block is there.
    #[inline(always)]
    fn book_free(&mut self, address: u64, check: u64, index: u64) {
        count_up(&mut self.batch.recorded, 1);
        let Some(place) = self.places.find(address) else {
            return self.book_strange_free(None, address, check, index);
        };
        let young = self.places.look_at(place);
        let (size, number, meta) = (size_of_young(young), number_of_young(young), young.meta);
        if !event::agrees(size, check) {
            let stale = self.places.empty(place);
            return self.book_strange_free(Some(stale), address, check, index);
        }
        let lifetime_ns = self.batch.dates.at(index).saturating_sub(young.at_ns);
        self.places.empty(place);
        if meta.is_apart() {
            return self.end_apart(meta, size);
        }
        self.count_free(meta, size, lifetime_ns);
        if self.books.allocs.wrapping_sub(number) <= TEMPORARY_ALLOCS {
            let sums = &mut self.tally().sums;
            sums.temporary_blocks += 1;
            sums.temporary_bytes += size;
        }
    }

    /// A free of a block that this nursery does not have, or has with another size: then the thread's own block at
    /// this address was freed by someone else before, and this free means a stranger's.
    #[cold]
    fn book_strange_free(&mut self, found: Option<Entry>, address: u64, check: u64, index: u64) {
        let at_ns = self.batch.dates.at(index);
        if let Some(stale) = found {
            self.send_survivor(stale);
        }
        let meta = Meta::of_waiting_free(self.books.row, self.batch.dates.doubt_ns);
        self.send(Entry { address, size: check, at_ns, meta });
        self.batch.frees_sent += 1;
        self.batch.pledged += event::least_size(check);
    }

    /// Adds the free of a block to the sums.
    #[inline(always)]
    pub(super) fn count_free(&mut self, meta: Meta, size: u64, lifetime_ns: u64) {
        self.turn_to(meta.stack());
        self.add_end(size);
        let tally = self.tally();
        let count = &mut tally.lifetimes[bucket_of(lifetime_ns)];
        *count = count.wrapping_add(1);
        let reallocs = meta.reallocs();
        if reallocs > 0 {
            tally.sums.chains += 1;
            tally.sums.chain_links += reallocs;
            tally.longest_chain = tally.longest_chain.max(reallocs);
        }
    }

    #[cold]
    fn book_rare(&mut self, words: Words, word: u64, index: u64) {
        match Tag::raw(word) {
            TAG_BEGIN => self.realloc_begins(event::address_of(word), event::check_of(word), index),
            TAG_MOVED => {
                let second = words.get(index + 1);
                let new = event::address_of(word);
                self.realloc_ends(
                    words.get(index + 2),
                    new,
                    second >> 32,
                    second as u32,
                    event::traits_of(word),
                    index,
                );
            }
            TAG_REFUSED => self.realloc_refused(event::address_of(word)),
            TAG_WIDE => {
                let field = |n| words.get(index + n);
                self.book_wide(word, [field(1), field(2), field(3), field(4)], index);
            }
            TAG_THREAD => {}
            TAG_DEED => self.batch.deeds += 1,
            _ => debug_assert!(false, "no such record: {word:#x}"),
        }
    }

    fn book_wide(&mut self, word: u64, [address, size, stack, old]: [u64; 4], index: u64) {
        let traits = event::traits_of(word);
        match event::wide_kind(word) {
            TAG_ALLOC => self.wide_alloc(address, size, stack as u32, traits, index),
            TAG_FREE => self.book_free(address, with_whole_size(size), index),
            TAG_BEGIN => self.realloc_begins(address, event::check_bits(size), index),
            TAG_MOVED => self.realloc_ends(old, address, size, stack as u32, traits, index),
            _ => self.realloc_refused(address),
        }
    }

    fn wide_alloc(&mut self, address: u64, size: u64, stack: u32, traits: Traits, index: u64) {
        count_up(&mut self.batch.recorded, 1);
        self.books.allocs = self.books.allocs.wrapping_add(1);
        if traits.is_apart() {
            return self.book_apart(address, size, stack, traits, index);
        }
        self.count_alloc(size, stack, index);
        let meta =
            Meta::of_block(stack, self.books.row, traits.align_log2(), false, self.batch.dates.doubt_ns);
        self.settle_in(Entry { address, size, at_ns: self.batch.dates.at(index), meta });
    }

    /// A block with its full size: into the nursery if that size fits there, else on to the shared table.
    pub(super) fn settle_in(&mut self, block: Entry) {
        if block.size >> 32 == 0 {
            let size = block.size | u64::from(self.books.allocs) << 32;
            self.bring_up(Entry { size, ..block });
            return;
        }
        if let Some(before) = self.places.take(block.address) {
            self.send_survivor(before);
        }
        self.send(block);
    }

    pub(super) fn time_of(&self, index: u64) -> u64 {
        self.batch.dates.at(index)
    }

    pub(super) fn doubt_ns(&self) -> u64 {
        self.batch.dates.doubt_ns
    }
}
