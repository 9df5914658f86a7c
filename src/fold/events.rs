//! Booking of the allocations and frees of one window, one after the other.
//!
//! The live bytes inside the batch are `total_bytes − freed_bytes`, so the loop needs no third sum.

use super::state::{Fold, count_up};
use super::usual::{self, PAIR_WORDS};
use super::words::Words;
use crate::ledger::entry::{Entry, Meta, is_unlisted, unlisted_in, with_whole_size};
use crate::ledger::nursery::{number_of_young, size_of_young};
use crate::ledger::pushed_out::Ending;
use crate::profile::{TEMPORARY_ALLOCS, bucket_of, bucket_of_narrow};
use crate::ring::event::{
    self, ALLOC_WORDS, TAG_ALLOC, TAG_BEGIN, TAG_FREE, TAG_MOVED, TAG_POINTER, TAG_REFUSED, TAG_THREAD,
    TAG_WIDE, Tag, Traits, record_words,
};
use crate::sys::sync::{AtomicU64, Ordering};

impl Fold<'_> {
    /// Books the records from `index` to `end`, which lie in one window.
    pub(super) fn book_window(&mut self, words: Words, mut index: u64, end: u64) {
        if self.batch.dates.at(end - 1) >= self.batch.interval_end_ns {
            self.enter_interval(self.batch.dates.first_ns);
        }
        if self.places.are_far() {
            self.prefetch_places(words.slice(index, end));
        }
        let is_general = self.in_order || usual::is_off();
        // Number of records that this general code books before the loop of `usual` is tried.
        let mut rest = if is_general { u64::MAX } else { self.rest.records };
        while index < end {
            if rest == 0 {
                let begun = index;
                index = self.book_usual(words, begun, end);
                rest = self.rest.after(index - begun);
                if index == end {
                    rest -= u64::from(rest == 1);
                    break;
                }
            }
            rest -= 1;
            self.note_applied_up_to(index);
            let word = words.get(index);
            match Tag::raw(word) {
                TAG_ALLOC => index += self.book_alloc(words, word, index, end),
                TAG_FREE => {
                    self.book_free(event::address_of(word), event::check_of(word), index);
                    index += 1;
                }
                tag => {
                    self.book_rare(words, word, index);
                    index += record_words(word);
                    // The loop of `usual` cannot begin between the two halves of a realloc.
                    rest += u64::from(tag == TAG_BEGIN && rest == 0);
                }
            }
        }
        self.rest.records = if is_general { 0 } else { rest };
        self.note_applied_up_to(end);
    }

    /// Prefetches the nursery places of all addresses in a window, so that no lookup waits for memory.
    #[inline(always)]
    fn prefetch_places(&self, words: &[AtomicU64]) {
        for word in words {
            // relaxed: ordered by the head's acquire, as in `Words::get`.
            let word = word.load(Ordering::Relaxed);
            if event::begins_with_address(word) {
                self.places.prefetch(event::address_of(word));
            }
        }
    }

    /// Notes that all words below `index` are booked. The reader of a killed process's black box needs this index.
    #[inline(always)]
    fn note_applied_up_to(&self, index: u64) {
        self.state.note_applied_up_to(index);
    }

    /// Books an allocation, and stores the block in the nursery. If a free of the block follows directly, books all
    /// such pairs from `index` on instead. Returns the number of words booked.
    #[inline(always)]
    fn book_alloc(&mut self, words: Words, word: u64, index: u64, end: u64) -> u64 {
        let (second, traits) = (words.get(index + 1), event::traits_of(word));
        let (size, stack) = (second >> 32, second as u32);
        if traits.is_excluded() {
            self.count_event();
            self.book_excluded(event::address_of(word), size, stack, traits, index);
            return ALLOC_WORDS;
        }
        self.select_delta(stack);
        if index + ALLOC_WORDS < end && event::is_pair(word, words.get(index + ALLOC_WORDS)) {
            let paired = self.book_pairs(words.slice(index, end));
            if paired > 0 {
                return paired;
            }
        }
        self.count_event();
        self.count_alloc(size, stack, index);
        let meta =
            self.batch.dates.meta | u64::from(stack) | Meta::of_block(0, 0, traits.align_log2(), false, 0).0;
        let (address, numbered) = (event::address_of(word), size | u64::from(self.state.allocs) << 32);
        self.put_in_nursery(Entry {
            address,
            size: numbered,
            at_ns: self.batch.dates.at(index),
            meta: Meta(meta),
        });
        ALLOC_WORDS
    }

    /// Counts an allocation as an event.
    #[inline(always)]
    fn count_event(&mut self) {
        count_up(&mut self.batch.recorded, 1);
        self.state.allocs = self.state.allocs.wrapping_add(1);
    }

    /// Books the pairs at the start of `words`, without the nursery. A *pair* is an allocation and a free of its block
    /// directly after it. Stops at the first record that is not a pair of the selected stack, and at an allocation that
    /// may be a high-water mark. Returns the number of words booked.
    #[inline(never)]
    fn book_pairs(&mut self, mut words: &[AtomicU64]) -> u64 {
        let stack = self.stack;
        let room = self.room_below_high_water().max(0) as u64;
        let (mut pairs, mut bytes) = (0u64, 0u64);
        // SAFETY: Y1, the fold holds the lane's latch; nothing else of the fold is accessed while `sizes` is in use.
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
                // The block may be a high-water mark, so it goes through the nursery, where marks are checked.
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

    /// Adds pairs of allocation and free to the sums.
    #[inline(always)]
    fn count_pairs(&mut self, pairs: u64, bytes: u64) {
        let bucket = self.batch.dates.bucket_of_pair();
        let sums = &mut self.batch.sums;
        count_up(&mut sums.total_blocks, pairs);
        count_up(&mut sums.total_bytes, bytes);
        sums.freed_blocks += pairs;
        sums.freed_bytes += bytes;
        count_up(&mut self.batch.recorded, 2 * pairs);
        self.state.allocs = self.state.allocs.wrapping_add(pairs as u32);
        let delta = self.delta();
        let sums = &mut delta.sums;
        count_up(&mut sums.total_blocks, pairs);
        count_up(&mut sums.total_bytes, bytes);
        count_up(&mut sums.freed_blocks, pairs);
        count_up(&mut sums.freed_bytes, bytes);
        sums.temporary_blocks += pairs;
        sums.temporary_bytes += bytes;
        let count = &mut delta.lifetimes[bucket];
        *count = count.wrapping_add(pairs as u32);
    }

    /// Books an allocation that is excluded from the program's totals: an internal or sampled block.
    #[cold]
    fn book_excluded(&mut self, address: u64, size: u64, stack: u32, traits: Traits, index: u64) {
        let (row, time_error_ns) = (self.state.row, self.batch.dates.time_error_ns);
        let mut meta = Meta::of_block(stack, row, traits.align_log2(), traits.is_own(), time_error_ns);
        if traits.is_own() {
            count_up(&mut self.batch.own_events, 1);
            meta = meta.with_listed_in(traits.period());
        } else {
            self.batch.sampled.start(size, traits.rate());
            meta = meta.sampled(traits.rate());
        }
        self.place_block(Entry { address, size, at_ns: self.batch.dates.at(index), meta });
    }

    /// Books the end of an excluded block, which is internal or sampled.
    #[cold]
    pub(super) fn end_excluded(&mut self, meta: Meta, size: u64) {
        match meta.rate() {
            0 => count_up(&mut self.batch.own_events, 1),
            rate => self.batch.sampled.end(size, rate),
        }
    }

    /// Stores a block in the nursery. A block that it replaces there goes to the outbox.
    #[inline(always)]
    pub(super) fn put_in_nursery(&mut self, block: Entry) {
        let places = self.places;
        places.bring(block, |before| {
            self.state.nursery.pushed_out += 1;
            self.send_survivor(before);
        });
    }

    /// Adds an allocation to the sums.
    #[inline(always)]
    pub(super) fn count_alloc(&mut self, size: u64, stack: u32, index: u64) {
        self.select_delta(stack);
        // Before an allocation that may be a high-water mark, the outbox is delivered, so that its frees lower the
        // sums. Otherwise the peak would contain blocks that are already freed.
        if self.batch.frees_sent > 0 && size as i64 > self.room_below_high_water() {
            if self.stays_below(size) {
                self.add_birth(size);
                return;
            }
            self.deliver();
            self.select_delta(stack);
        }
        let (live, of_delta) = self.add_birth(size);
        self.raise_high_water(live, of_delta, index);
    }

    /// Books a free. If neither this nursery nor the nursery of a partner has the block, the free goes to the outbox.
    #[inline(always)]
    fn book_free(&mut self, address: u64, check: u64, index: u64) {
        count_up(&mut self.batch.recorded, 1);
        let Some(place) = self.places.find(address) else {
            if self.partners.is_empty() || !self.is_booked_with_partner(address, check, index) {
                self.count_if_temporary(address, check);
                self.send_free(None, self.entry_of_free(address, check, index));
            }
            return;
        };
        let young = self.places.look_at(place);
        let (size, number, meta) = (size_of_young(young), number_of_young(young), young.meta);
        if !event::agrees(size, check) {
            let stale = self.places.empty(place);
            return self.send_free(Some(stale), self.entry_of_free(address, check, index));
        }
        let lifetime_ns = self.batch.dates.at(index).saturating_sub(young.at_ns);
        self.places.empty(place);
        if meta.is_excluded() {
            return self.end_excluded(meta, size);
        }
        self.count_free(meta, size, lifetime_ns);
        if self.state.allocs.wrapping_sub(number) <= TEMPORARY_ALLOCS {
            self.count_temporary(size);
        }
    }

    /// Counts the block of a free as temporary if the block has left the nursery and is one of the newest of the thread.
    /// The end of the block is counted when the shared table has paired the free.
    fn count_if_temporary(&mut self, address: u64, check: u64) {
        let (row, allocs) = (self.state.row, self.state.allocs);
        let free = Ending { address, check, row, allocs_before: allocs };
        if let Some(young) = self.state.pushed_out.take(&free, allocs) {
            self.select_delta(young.meta.stack());
            self.count_temporary(size_of_young(&young));
        }
    }

    #[inline(always)]
    fn count_temporary(&mut self, size: u64) {
        let sums = &mut self.delta().sums;
        sums.temporary_blocks += 1;
        sums.temporary_bytes += size;
    }

    /// Books a free that carries its whole size. Three kinds of blocks in the nursery are not ended by the free: blocks
    /// of another size, internal blocks to which W5 applies, and, during a transition, blocks to which W3 applies (see
    /// `flush`).
    fn book_whole_free(&mut self, address: u64, size: u64, traits: Traits, index: u64) {
        let check = unlisted_in(traits.period(), with_whole_size(size));
        let free = Entry { address, size: check, at_ns: 0, meta: Meta::of_waiting_free(0, 0) };
        let found = self.places.find(address).map(|place| (place, *self.places.look_at(place)));
        let stale = match found {
            // The block stays in the nursery.
            Some((_, young))
                if self.ledger.live.is_kept_from(&young, &free) || is_unlisted(&free, &young) =>
            {
                None
            }
            // The free means a block of heapledger, if there is one.
            Some((_, young)) if traits.is_own() && !young.meta.is_own() && !self.in_order => None,
            Some((_, young)) if size_of_young(&young) == size => {
                return self.book_free(address, check, index);
            }
            Some((place, _)) => Some(self.places.empty(place)),
            None => {
                self.count_if_temporary(address, check);
                None
            }
        };
        count_up(&mut self.batch.recorded, 1);
        let meta = self.batch.dates.meta_of_free().by_heapledger(traits.is_own());
        self.send_free(stale, Entry { address, size: check, at_ns: self.batch.dates.at(index), meta });
    }

    /// Sends a free whose block is not in this nursery to the outbox. `found` is a block of another size that the
    /// nursery had at the address. Another thread has freed that block before, and this free belongs to a block of a
    /// third thread. So `found` goes to the outbox first.
    #[cold]
    fn send_free(&mut self, found: Option<Entry>, free: Entry) {
        if let Some(stale) = found {
            self.send_survivor(stale);
        }
        self.send(free);
        self.batch.frees_sent += 1;
        self.batch.outbox_bytes_min += event::least_size(free.size);
    }

    /// Returns the entry of a free.
    fn entry_of_free(&self, address: u64, check: u64, index: u64) -> Entry {
        Entry {
            address,
            size: check,
            at_ns: self.batch.dates.at(index),
            meta: self.batch.dates.meta_of_free(),
        }
    }

    /// Adds the free of a block to the sums.
    #[inline(always)]
    pub(super) fn count_free(&mut self, meta: Meta, size: u64, lifetime_ns: u64) {
        self.select_delta(meta.stack());
        self.add_end(size);
        let delta = self.delta();
        let count = &mut delta.lifetimes[bucket_of(lifetime_ns)];
        *count = count.wrapping_add(1);
        let reallocs = meta.reallocs();
        if reallocs > 0 {
            delta.end_chain(reallocs);
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
            TAG_POINTER => self.batch.pointer_events += 1,
            _ => debug_assert!(false, "no such record: {word:#x}"),
        }
    }

    fn book_wide(&mut self, word: u64, [address, size, stack, old]: [u64; 4], index: u64) {
        let traits = event::traits_of(word);
        match event::wide_kind(word) {
            TAG_ALLOC => self.book_wide_alloc(address, size, stack as u32, traits, index),
            TAG_FREE => self.book_whole_free(address, size, traits, index),
            TAG_BEGIN => self.realloc_begins(address, with_whole_size(size), index),
            TAG_MOVED => self.realloc_ends(old, address, size, stack as u32, traits, index),
            _ => self.realloc_refused(address),
        }
    }

    fn book_wide_alloc(&mut self, address: u64, size: u64, stack: u32, traits: Traits, index: u64) {
        count_up(&mut self.batch.recorded, 1);
        self.state.allocs = self.state.allocs.wrapping_add(1);
        if traits.is_excluded() {
            return self.book_excluded(address, size, stack, traits, index);
        }
        self.count_alloc(size, stack, index);
        let meta =
            Meta::of_block(stack, self.state.row, traits.align_log2(), false, self.batch.dates.time_error_ns);
        self.place_block(Entry { address, size, at_ns: self.batch.dates.at(index), meta });
    }

    /// Stores a block in the nursery, or sends it to the shared table if its size does not fit into a nursery entry.
    pub(super) fn place_block(&mut self, block: Entry) {
        if block.size >> 32 == 0 {
            let size = block.size | u64::from(self.state.allocs) << 32;
            self.put_in_nursery(Entry { size, ..block });
            return;
        }
        if let Some(before) = self.places.take(block.address) {
            self.send_survivor(before);
        }
        self.send(block);
    }
}
