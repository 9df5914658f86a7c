//! The bounded history: the last events of every lane, read back from the ring after their fold.
//!
//! A folded segment keeps its words until the thread needs the segment again, so recording pays nothing for the
//! history. A reader holds the lane's latch, so the lane is not folded during the reading, but the thread continues and
//! may reuse a segment that is being read. The reader detects the reuse by the `oldest` cursor, which it reads last,
//! and drops the words below the cursor.

use super::fold_state::fold_state_of;
use super::region::Ledger;
use crate::profile::tracked::PointerEvent;
use crate::profile::{Event, EventKind};
use crate::ring::event::{
    self, TAG_ALLOC, TAG_FREE, TAG_MARK, TAG_MOVED, TAG_POINTER, TAG_REFUSED, TAG_SKIP, TAG_THREAD, TAG_WIDE,
    Tag, record_words,
};
use crate::ring::lane::{Lane, SEGMENT_SLOTS, SEGMENT_WORDS};
use crate::sys::sync::{AtomicU64, Ordering};

/// Maximum number of words of one lane's history.
pub(crate) const LANE_WORDS_MAX: usize = (SEGMENT_SLOTS * SEGMENT_WORDS) as usize;

/// Maximum plausible time, in nanoseconds: 36 years. A later time comes from a damaged file.
pub(crate) const TIME_NS_BOUND: u64 = 1 << 60;

/// A copy of the folded words of one lane.
#[derive(Debug, Default)]
pub(crate) struct LaneWords {
    /// Index of the first word.
    first: u64,
    words: Vec<u64>,
    row: u32,
    /// Time by which all events in `words` had happened, in nanoseconds.
    until_ns: u64,
}

impl LaneWords {
    /// Returns an empty copy with room for `words` words. Allocates, so no latch may be held.
    pub(crate) fn with_room(words: usize) -> LaneWords {
        LaneWords { words: Vec::with_capacity(words), ..LaneWords::default() }
    }

    /// Returns a copy that consists of `words`, for words that were read from a file. `first` is the index of the first
    /// word.
    pub(crate) fn of(first: u64, words: Vec<u64>, row: u32, until_ns: u64) -> LaneWords {
        LaneWords { first, words, row, until_ns }
    }

    /// Returns the number of folded words in a lane.
    pub(crate) fn folded(lane: &Lane) -> usize {
        let _taken = lane.folder.latch.take();
        (lane.folder.tail.own() - lane.cold.oldest.still_whole()) as usize
    }

    /// Copies the folded words of a lane. If there is not enough room, copies only the newest words. Allocates nothing.
    pub(crate) fn copy(&mut self, ledger: &Ledger, lane: &Lane) {
        let _taken = lane.folder.latch.take();
        // SAFETY: B3, the latch is held.
        let state = unsafe { fold_state_of(lane).as_ref() };
        (self.row, self.until_ns) = (state.row, state.span_ns);
        self.words.clear();
        let tail = lane.folder.tail.own();
        let oldest = lane.cold.oldest.still_whole();
        let room = self.words.capacity() as u64;
        self.first =
            if tail - oldest > room { (tail - room).next_multiple_of(SEGMENT_WORDS) } else { oldest };
        for index in self.first..tail {
            // SAFETY: I3, segments from `oldest` on belong to the lane. A segment that is reused meanwhile is still
            // memory of the lane, and its words are dropped below.
            let words: *const AtomicU64 = unsafe { lane.segment(&ledger.pages, index / SEGMENT_WORDS) };
            // SAFETY: as above; the offset is below the length of a segment.
            let word = unsafe { &*words.add((index % SEGMENT_WORDS) as usize) };
            // relaxed: validated by `still_whole` below.
            self.words.push(word.load(Ordering::Relaxed));
        }
        let whole = lane.cold.oldest.still_whole();
        if whole > self.first {
            let gone = ((whole - self.first) as usize).min(self.words.len());
            self.words.drain(..gone);
            self.first += gone as u64;
        }
    }

    /// Calls `visit` with the program's events in the copy, oldest first. Returns the number of internal events.
    pub(crate) fn events(&self, mut visit: impl FnMut(Event)) -> u64 {
        let mut decoder = Decoder {
            words: self,
            row: self.first_row(),
            mark_ns: 0,
            mark_at: 0,
            end: 0,
            end_ns: 0,
            own: 0,
            own_blocks: Vec::new(),
        };
        let mut index = 0;
        while index < self.words.len() {
            index = decoder.step(index, &mut visit);
        }
        decoder.own
    }

    /// Returns the row of the thread that wrote the first words. If the first record about a thread is a thread's end,
    /// the record has the row. Otherwise, the row is the lane's row.
    fn first_row(&self) -> u32 {
        let mut index = 0;
        while let Some(word) = self.words.get(index) {
            match Tag::raw(*word) {
                TAG_THREAD if word >> event::ADDRESS_BITS & 3 == 2 => return event::address_of(*word) as u32,
                TAG_THREAD => return self.row,
                TAG_SKIP => index = self.next_segment(index),
                _ => index += record_words(*word) as usize,
            }
        }
        self.row
    }

    fn next_segment(&self, index: usize) -> usize {
        let number = self.first + index as u64;
        (((number | (SEGMENT_WORDS - 1)) + 1) - self.first) as usize
    }
}

struct Decoder<'a> {
    words: &'a LaneWords,
    row: u32,
    mark_ns: u64,
    mark_at: usize,
    end: usize,
    end_ns: u64,
    own: u64,
    /// Addresses of internal blocks so far. They are needed because the record of a free does not tell whether its
    /// block is internal.
    own_blocks: Vec<u64>,
}

impl Decoder<'_> {
    fn step(&mut self, index: usize, visit: &mut impl FnMut(Event)) -> usize {
        let words = &self.words.words;
        let word = words[index];
        let field = |n: usize| words.get(index + n).copied().unwrap_or(0);
        let kind = match Tag::raw(word) {
            TAG_SKIP => return self.words.next_segment(index),
            TAG_MARK => {
                self.enter_window(index, word);
                return index + 1;
            }
            TAG_THREAD => {
                self.row = event::address_of(word) as u32;
                return index + 1;
            }
            TAG_ALLOC => {
                self.alloc(event::address_of(word), field(1) >> 32, event::traits_of(word), field(1) as u32)
            }
            TAG_FREE => self.free(event::address_of(word)),
            TAG_MOVED => {
                let said = moved(field(2), event::address_of(word), field(1) >> 32, field(1) as u32);
                self.moved(field(2), event::address_of(word), event::traits_of(word), said)
            }
            TAG_REFUSED => Some((EventKind::ReallocFailed { address: event::address_of(word) }, 0)),
            TAG_POINTER => PointerEvent::of(event::pointer_event_of(word)).map(|what| {
                let (pointer, held) = (event::address_of(word) as u32, (field(1) >> 32) as u32);
                (EventKind::Tracked { pointer, event: what, held }, field(1) as u32)
            }),
            TAG_WIDE => match event::wide_kind(word) {
                TAG_ALLOC => self.alloc(field(1), field(2), event::traits_of(word), field(3) as u32),
                TAG_FREE => self.free(field(1)),
                TAG_MOVED => {
                    let said = moved(field(4), field(1), field(2), field(3) as u32);
                    self.moved(field(4), field(1), event::traits_of(word), said)
                }
                TAG_REFUSED => Some((EventKind::ReallocFailed { address: field(1) }, 0)),
                _ => None,
            },
            _ => None,
        };
        if let Some((kind, stack)) = kind {
            visit(Event { at_ns: self.time_of(index), thread: self.row, stack, kind });
        }
        index + record_words(word) as usize
    }

    fn alloc(
        &mut self,
        address: u64,
        size: u64,
        traits: event::Traits,
        stack: u32,
    ) -> Option<(EventKind, u32)> {
        if traits.is_own() {
            self.own += 1;
            self.own_blocks.push(address);
            return None;
        }
        Some((EventKind::Alloc { address, size, zeroed: traits.is_zeroed() }, stack))
    }

    fn free(&mut self, address: u64) -> Option<(EventKind, u32)> {
        if let Some(at) = self.own_blocks.iter().rposition(|block| *block == address) {
            self.own_blocks.swap_remove(at);
            self.own += 1;
            return None;
        }
        Some((EventKind::Free { address }, 0))
    }

    fn moved(
        &mut self,
        old: u64,
        new: u64,
        traits: event::Traits,
        said: (EventKind, u32),
    ) -> Option<(EventKind, u32)> {
        if !traits.is_own() {
            return Some(said);
        }
        self.own_blocks.retain(|block| *block != old);
        self.own_blocks.push(new);
        self.own += 1;
        None
    }

    fn enter_window(&mut self, index: usize, mark: u64) {
        self.mark_ns = event::mark_time(mark, self.mark_ns).min(TIME_NS_BOUND);
        self.mark_at = index;
        self.end = (index + 1 + event::mark_length(mark) as usize).min(self.words.words.len());
        let mut next = self.end;
        if self.words.words.get(next).is_some_and(|word| Tag::raw(*word) == TAG_SKIP) {
            next = self.words.next_segment(next);
        }
        let end_ns = match self.words.words.get(next) {
            Some(word) if Tag::raw(*word) == TAG_MARK => event::mark_time(*word, self.mark_ns),
            _ => self.words.until_ns,
        };
        // If the clock went back, the window gets a length of 0 ns.
        self.end_ns = end_ns.min(TIME_NS_BOUND).max(self.mark_ns);
    }

    fn time_of(&self, index: usize) -> u64 {
        let length = self.end.saturating_sub(self.mark_at + 1).max(1) as u64;
        // Words after the end of the window get the time of the end.
        let passed = (index.saturating_sub(self.mark_at + 1) as u64).min(length);
        let span = u128::from(self.end_ns.saturating_sub(self.mark_ns));
        self.mark_ns + (span * u128::from(passed) / u128::from(length)) as u64
    }
}

fn moved(old_address: u64, new_address: u64, new_size: u64, stack: u32) -> (EventKind, u32) {
    (EventKind::Realloc { old_address, new_address, new_size }, stack)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::event::{Traits, alloc_words, closed_mark, mark_word};

    /// No thread writes a record beyond the end of a window, but a damaged file may contain such records.
    #[test]
    fn records_behind_the_end_of_their_window_are_dated_within_it() {
        let mark = closed_mark(mark_word(1 << 50), 0);
        let records = (0..500).flat_map(|_| alloc_words(0x1000, 16, Traits::default(), 0));
        let words = LaneWords::of(0, std::iter::once(mark).chain(records).collect(), 0, u64::MAX);
        let mut dates = Vec::new();
        words.events(|event| dates.push(event.at_ns));
        assert_eq!(dates.len(), 500);
        assert_eq!((dates[0], dates[1]), (1 << 50, TIME_NS_BOUND));
        assert!(dates.is_sorted() && dates[499] == TIME_NS_BOUND);
    }
}
