//! Access of a fold to the words of a lane.
//!
//! Invariant **F1**: a segment that contains a word between tail and head belongs to the lane until the tail has passed
//! it.

use crate::ledger::Ledger;
use crate::ring::event::{self, TAG_ALLOC, TAG_MARK, TAG_MOVED, TAG_SKIP, Tag};
use crate::ring::lane::{Lane, SEGMENT_WORDS};
use crate::sys::sync::{AtomicU64, Ordering};

/// The words of one segment.
#[derive(Clone, Copy)]
pub(super) struct Words {
    pub(super) start: *const AtomicU64,
}

impl Words {
    /// Returns the word with this index, which lies in this segment.
    #[inline(always)]
    pub(super) fn get(&self, index: u64) -> u64 {
        // SAFETY: F1, the mask keeps the index within the segment, which belongs to the folder up to the observed head.
        let word = unsafe { &*self.start.add((index % SEGMENT_WORDS) as usize) };
        // relaxed: ordered by the head's acquire; readers of the history read at the same time.
        word.load(Ordering::Relaxed)
    }

    /// Returns the words of this segment, which contains `index`. Reading one of these words computes no remainder of
    /// its index.
    #[inline(always)]
    pub(super) fn of_segment(&self, index: u64) -> SegmentWords {
        let first = index - index % SEGMENT_WORDS;
        SegmentWords { zero: self.start.wrapping_sub(first as usize) }
    }

    /// Returns the words from `index` to `end`, which lie in this segment.
    #[inline(always)]
    pub(super) fn slice<'a>(&self, index: u64, end: u64) -> &'a [AtomicU64] {
        debug_assert!(index % SEGMENT_WORDS + (end - index) <= SEGMENT_WORDS);
        // SAFETY: F1, as in `get`; the segment outlives the fold.
        unsafe {
            let start = self.start.add((index % SEGMENT_WORDS) as usize);
            std::slice::from_raw_parts(start, (end - index) as usize)
        }
    }
}

/// The words of one segment, accessed by their index in the ring.
#[derive(Clone, Copy)]
pub(super) struct SegmentWords {
    /// Address that word 0 of the ring would have if the segment reached back to it.
    zero: *const AtomicU64,
}

impl SegmentWords {
    /// Returns the word with this index, which lies in the segment.
    #[inline(always)]
    pub(super) fn get(&self, index: u64) -> u64 {
        // SAFETY: F1, as in `Words::get`.
        let word = unsafe { &*self.zero.wrapping_add(index as usize) };
        // relaxed: see `Words::get`.
        word.load(Ordering::Relaxed)
    }

    /// Returns the end of a run of pairs. A pair is three words: the two words of an allocation, and the word of the
    /// free directly after it. The run begins at `index` with `pair`, and ends at or before `end`. Its pairs differ
    /// only in the addresses of their blocks.
    #[inline(always)]
    pub(super) fn end_of_equal(&self, mut index: u64, end: u64, pair: [u64; 3]) -> u64 {
        let [first, second, behind] = pair;
        loop {
            index += pair.len() as u64;
            if index + pair.len() as u64 > end
                || self.get(index + 1) != second
                || self.get(index) ^ self.get(index + 2) != first ^ behind
                || event::address_of(self.get(index) ^ first) != self.get(index) ^ first
            {
                return index;
            }
        }
    }
}

/// Returns the time stamp in nanoseconds of the event at `tail`, and whether the event is an allocation. If a mark is
/// at `tail`, the event is the one behind the mark.
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
