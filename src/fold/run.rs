//! The walk through the windows of a ring: it finds their ends, dates them, and copies them to the trace.

use super::batch::{Dates, Part, STEP_BITS};
use super::state::Fold;
use super::words::{Words, peek};
use crate::ledger::entry::Meta;
use crate::ledger::fold_state::LaneCounters;
use crate::ledger::trace_buffer::WindowHead;
use crate::ring::event::{self, TAG_MARK, TAG_SKIP, Tag, record_words};
use crate::ring::lane::SEGMENT_WORDS;
use crate::sys::sync::{AtomicU64, Ordering};

/// Maximum plausible span of a window, in nanoseconds. A window with a longer span is assumed to end at the next tick
/// of the background thread.
const SPAN_NS_PLAUSIBLE: u64 = 2_000_000;

/// Threshold of a costly fold, in words per costly entry. A costly entry is one that the fold sends to the shared table
/// or matches with a partner; it costs one or two cache misses. A fold with fewer words per costly entry is costly.
const COSTLY_SHARE: u64 = 8;

impl Fold<'_> {
    /// Books all words up to the current head.
    pub(crate) fn run(&mut self) {
        self.run_some(Part::ALL);
    }

    /// Books a part of the words up to the current head.
    pub(crate) fn run_some(&mut self, part: Part) {
        let head = self.lane.head().observe();
        // The clock is read after the head, so no event below the head can have happened later.
        self.now_ns = self.ledger.clock.now_after_loads_ns();
        self.cuts = Some(self.ledger.internal_stamps.cuts());
        let mut tail = self.lane.folder.tail.own();
        LaneCounters::raise(&self.lane.folder.high_water, head - tail);
        LaneCounters::raise(&self.lane.folder.recent_high_water, head - tail);
        let begun = tail;
        while tail < head && tail - begun < part.words && self.state.span_ns <= part.until_ns {
            tail = self.step(tail, head);
        }
        self.lane.folder.note_reached(self.state.span_ns);
        // Blocks that folds of other lanes have taken are included: they would have gone to the shared table if the
        // lane's thread had booked its words.
        let taken = u64::from(std::mem::take(&mut self.state.nursery.taken));
        let shared = self.batch.sent + self.batch.matched + taken;
        self.lane.folder.note_hand_over(self.batch.has_remote_frees, taken > 0);
        self.lane.folder.note_costly(shared * COSTLY_SHARE > tail - begun);
        self.is_behind = tail < head;
        self.finish();
        self.lane.folder.tail.release(tail);
    }

    /// Books events up to the time `until_ns`, and up to the head that the ordered fold has observed.
    pub(crate) fn run_until(&mut self, until_ns: u64) {
        let head = self.state.order_head;
        let mut tail = self.lane.folder.tail.own();
        while tail < head && peek(self.ledger, self.lane, tail, self.state.span_ns).0 <= until_ns {
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

    /// Books the mark, the skip, or the rest of the window that begins at `tail`. Returns the new tail.
    fn step(&mut self, tail: u64, head: u64) -> u64 {
        let words = self.words(tail);
        match Tag::raw(words.get(tail)) {
            TAG_SKIP => (tail | (SEGMENT_WORDS - 1)) + 1,
            TAG_MARK => {
                self.state.mark_index = tail;
                self.state.mark_ns = event::mark_time(words.get(tail), self.state.span_ns);
                self.state.span_ns = self.state.mark_ns.max(self.state.span_ns);
                tail + 1
            }
            _ => {
                let end = self.date_window(words, tail, head);
                if self.ledger.trace_buffer.is_open() {
                    self.copy_to_trace(words.slice(tail, end));
                }
                self.book_window(words, tail, end);
                end
            }
        }
    }

    /// Copies a window with its dates to the trace buffer.
    #[cold]
    fn copy_to_trace(&self, words: &[AtomicU64]) {
        let Dates { first_ns, step, .. } = self.batch.dates;
        let head = WindowHead { row: self.state.row, words: 0, first_ns, step };
        // relaxed: the index is written before the lane is published.
        let lane = self.lane.cold.index.load(Ordering::Relaxed);
        self.ledger.trace_buffer.window(&self.ledger.pages, lane, head, words);
    }

    /// Returns the words of the segment that contains this word.
    fn words(&self, index: u64) -> Words {
        // SAFETY: I3, the segment of an unfolded word has not been given back.
        Words { start: unsafe { self.lane.segment(&self.ledger.pages, index / SEGMENT_WORDS) } }
    }

    /// Dates the words of the window that contains `tail`. Returns the end of the window.
    fn date_window(&mut self, words: Words, tail: u64, head: u64) -> u64 {
        let mark_index = self.state.mark_index;
        let length = event::mark_length(words.get(mark_index));
        // A window that is still being written ends at the head.
        let end = (mark_index + 1 + length).min(head);
        let until_ns = self.mark_time_at(end, head).unwrap_or(self.now_ns);
        let first_ns = self.state.span_ns;
        let mut span = until_ns.saturating_sub(first_ns);
        if span > SPAN_NS_PLAUSIBLE {
            span = span.min(self.ledger.ticks.next_after(first_ns).saturating_sub(first_ns));
        }
        let alone = tail == mark_index + 1 && tail + record_words(words.get(tail)) >= end;
        let time_error_ns = if alone { 0 } else { span };
        LaneCounters::raise(&self.counters.longest_span_ns, time_error_ns);
        // A cut changes the order of dates, and no event's true time. So it leaves the time error.
        if let Some(cuts) = &self.cuts {
            // All parts of a window are cut at the first stamp after its mark.
            span = span.min(cuts.latest_ns(self.state.mark_ns).saturating_sub(first_ns));
        }
        let step = (span << STEP_BITS) / (end - tail).max(1);
        let meta = Meta::of_block(0, self.state.row, 0, false, time_error_ns).0;
        self.batch.dates = Dates { first: tail, first_ns, step, time_error_ns, meta };
        self.state.span_ns = if alone { first_ns } else { first_ns + span };
        end
    }

    /// Returns the time of the mark that follows a window, if the mark is below the head.
    fn mark_time_at(&self, end: u64, head: u64) -> Option<u64> {
        let mut index = end;
        if index < head && Tag::raw(self.words(index).get(index)) == TAG_SKIP {
            index = (index | (SEGMENT_WORDS - 1)) + 1;
        }
        let word = if index < head { self.words(index).get(index) } else { return None };
        debug_assert_eq!(Tag::raw(word), TAG_MARK);
        Some(event::mark_time(word, self.state.span_ns))
    }
}
