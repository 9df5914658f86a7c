//! The trace buffer. A fold copies the words that it books into this buffer, and the writer (a thread of heapledger)
//! writes them to the trace file.
//!
//! The words of a window (a run of words behind one time stamp) are in the processor's cache during a fold. So the
//! cheapest complete trace is a copy of these words, preceded by the window's thread and times. A fold only makes this
//! copy: it encodes nothing, and writes to no file.
//!
//! ```text
//!  fold of lane n ──► stripe n mod 16: open chunk ──full──► queue ──► writer ──► spent chunks
//!                        ▲                                                           │
//!                        └───────────────────────────────────────────────────────────┘
//! ```
//!
//! A chunk is one run of pages. Up to [`TRACE_CHUNKS_MAX`] chunks are made, when they are needed. A lane's windows stay
//! in order, because a lane has one stripe and is folded by one thread at a time, and chunks leave a stripe in the
//! order in which they were filled.
//!
//! A fold never waits for the trace. But a thread may wait before it folds its ring, while it holds no latch. If few
//! chunks are left ([`TraceBuffer::is_short`]), the thread waits for the writer, for no longer than its mode allows.
//! The remaining chunks are for folds that cannot wait, and for threads that checked at the same moment. If a fold
//! finds no chunk, its window is missing from the trace, and the events of the window are counted as lost for the
//! trace. The ledger books these events in any case.
//!
//! Invariant **A1**: at any time a chunk is owned by one stripe, by one list or by the writer, and only the owner
//! accesses the chunk.

use crate::ring::event::{self, TAG_ALLOC, TAG_FREE, TAG_MOVED, TAG_REFUSED, TAG_WIDE, Tag, record_words};
use crate::sys::latch::Latch;
use crate::sys::pages::{For, PAGE_BYTES, Pages};
use crate::sys::sync::{AtomicU32, AtomicU64, Ordering};

/// Maximum number of chunks.
pub(crate) const TRACE_CHUNKS_MAX: u32 = 1024;
/// Number of pages of a chunk.
const CHUNK_PAGES: u32 = 8;
/// Number of words of a chunk.
const CHUNK_WORDS: usize = CHUNK_PAGES as usize * PAGE_BYTES / 8;
/// Number of words at the start of a chunk. They hold the page of the next chunk in its list, and the number of used
/// words.
const CHUNK_HEAD: usize = 2;
/// Number of words in front of a window. They hold its thread and length, the time of its first word, and the time from
/// word to word.
pub(crate) const WINDOW_HEAD: usize = 3;
/// Number of stripes, each of which has one open chunk.
const STRIPES: usize = 16;
/// Number of chunks that are reserved for folds that cannot wait.
const CHUNKS_KEPT: u32 = 64;
/// Number of bits of the length in the first of these words.
const LENGTH_BITS: u32 = 16;

/// The open, filled and spent chunks. All zero bytes are a valid, closed buffer.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct TraceBuffer {
    stripes: [Stripe; STRIPES],
    pool: Pool,
    /// Whether windows are copied.
    open: AtomicU32,
    /// Whether a writer takes filled chunks.
    written: AtomicU32,
    /// Number of times that the writer has given a chunk back.
    spent: AtomicU64,
    /// Value of [`TraceBuffer::spent`], plus one, when a thread last gave up waiting for `spent` to rise; 0 if no
    /// thread has given up.
    stalled_at: AtomicU64,
    /// Number of times that threads waited for the writer; `waited_ns` is the total duration.
    waits: AtomicU64,
    waited_ns: AtomicU64,
}

/// A stripe: the open chunk for all lanes with the same number modulo 16.
#[repr(C, align(64))]
#[derive(Debug)]
struct Stripe {
    latch: Latch,
    /// Page of the open chunk; 0 if there is none.
    page: AtomicU32,
    /// Number of lost events, for whose windows there was no chunk.
    lost: AtomicU64,
}

/// The list of filled chunks, which wait for the writer, and the list of spent chunks, which can be filled again.
#[repr(C, align(64))]
#[derive(Debug)]
struct Pool {
    latch: Latch,
    made: AtomicU32,
    spent_first: AtomicU32,
    spent_count: AtomicU32,
    full_first: AtomicU32,
    full_last: AtomicU32,
    full_count: AtomicU32,
}

/// The head of a window: its thread, its length, and the dates of its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WindowHead {
    pub(crate) row: u32,
    pub(crate) words: u32,
    pub(crate) first_ns: u64,
    pub(crate) step: u64,
}

impl WindowHead {
    /// Reads the words in front of a window.
    pub(crate) fn read([first, first_ns, step]: [u64; WINDOW_HEAD]) -> WindowHead {
        let words = (first & ((1 << LENGTH_BITS) - 1)) as u32;
        WindowHead { row: (first >> LENGTH_BITS) as u32, words, first_ns, step }
    }

    fn to_words(self) -> [u64; WINDOW_HEAD] {
        [u64::from(self.words) | u64::from(self.row) << LENGTH_BITS, self.first_ns, self.step]
    }
}

/// A chunk that the writer owns.
#[derive(Debug)]
pub(crate) struct Chunk {
    page: u32,
}

impl Chunk {
    /// Returns the words of all windows of the chunk. A head precedes each window.
    pub(crate) fn words<'a>(&'a self, pages: &'a Pages) -> &'a [u64] {
        // SAFETY: A1, the chunk is the writer's; its pages are zeroed or written, and stay mapped.
        let words = unsafe {
            std::slice::from_raw_parts(pages.at(self.page).cast::<u64>().cast_const(), CHUNK_WORDS)
        };
        let used = words.get(1).map_or(0, |used| (*used as usize).clamp(CHUNK_HEAD, CHUNK_WORDS));
        words.get(CHUNK_HEAD..used).unwrap_or(&[])
    }
}

impl TraceBuffer {
    /// Opens the buffer, so that folds copy their windows.
    pub(crate) fn open(&self) {
        // relaxed: a fold that sees the store late only omits a copy; the buffer is opened before the first event.
        self.open.store(1, Ordering::Relaxed);
    }

    /// Closes the buffer and sends open chunks to the writer. The caller holds the latches of all lanes, so that all
    /// lanes are cut at the same moment.
    pub(crate) fn close(&self, pages: &Pages) {
        // relaxed: the latches of the lanes order the accesses.
        self.open.store(0, Ordering::Relaxed);
        self.push_out(pages);
    }

    /// Closes the buffer when there is no writer; the copies in it are dropped.
    pub(crate) fn give_up(&self) {
        // relaxed: a fold that sees the store late leaves a copy that is thrown away.
        self.open.store(0, Ordering::Relaxed);
    }

    #[inline(always)]
    pub(crate) fn is_open(&self) -> bool {
        // relaxed: see `open` and `close`.
        self.open.load(Ordering::Relaxed) != 0
    }

    /// Notes whether a writer takes filled chunks.
    pub(crate) fn set_written(&self, written: bool) {
        // relaxed: a thread that sees the store late decides once wrongly whether to wait.
        self.written.store(u32::from(written), Ordering::Relaxed);
    }

    /// Copies a window of a lane into the open chunk of the lane's stripe.
    #[inline(never)]
    pub(crate) fn window(&self, pages: &Pages, lane: u32, head: WindowHead, words: &[AtomicU64]) {
        let stripe = &self.stripes[lane as usize % STRIPES];
        let _taken = stripe.latch.take();
        let needed = WINDOW_HEAD + words.len();
        // relaxed, all of this function: the latch orders the accesses.
        let mut page = stripe.page.load(Ordering::Relaxed);
        if page != 0 && used(pages, page) + needed > CHUNK_WORDS {
            self.pool.push_full(pages, page);
            page = 0;
        }
        if page == 0 {
            page = self.pool.take_spent(pages).unwrap_or(0);
            stripe.page.store(page, Ordering::Relaxed);
        }
        if page == 0 || needed > CHUNK_WORDS - CHUNK_HEAD {
            stripe.lost.store(stripe.lost.load(Ordering::Relaxed) + events_in(words), Ordering::Relaxed);
            return;
        }
        let (start, at) = (pages.at(page).cast::<u64>(), used(pages, page));
        let head = WindowHead { words: words.len() as u32, ..head };
        let values = head.to_words().into_iter().chain(words.iter().map(|word| word.load(Ordering::Relaxed)));
        for (index, value) in (at..).zip(values) {
            // SAFETY: A1, the chunk is the stripe's, whose latch is held; `at + needed` is within it.
            unsafe { start.add(index).write(value) };
        }
        // SAFETY: as above.
        unsafe { start.add(1).write((at + needed) as u64) };
    }

    /// Sends open chunks to the writer.
    pub(crate) fn push_out(&self, pages: &Pages) {
        for stripe in &self.stripes {
            let _taken = stripe.latch.take();
            // relaxed: the latch orders the accesses.
            let page = stripe.page.load(Ordering::Relaxed);
            if page != 0 {
                stripe.page.store(0, Ordering::Relaxed);
                self.pool.push_full(pages, page);
            }
        }
    }

    /// Returns the oldest chunk that waits for the writer.
    pub(crate) fn take_full(&self, pages: &Pages) -> Option<Chunk> {
        self.pool.take_full(pages).map(|page| Chunk { page })
    }

    /// Returns the number of chunks that wait for the writer.
    pub(crate) fn full_count(&self) -> u32 {
        // relaxed: only the writer calls this, and only the writer lowers the number.
        self.pool.full_count.load(Ordering::Relaxed)
    }

    /// Takes a chunk back from the writer.
    pub(crate) fn give_back(&self, pages: &Pages, chunk: Chunk) {
        self.pool.push_spent(pages, chunk.page);
        // relaxed: waiting threads only check whether the number rises.
        self.spent.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a thread should wait for the writer before it folds its ring. While the result is `false`, there are
    /// enough chunks for all `lanes` to fold at once, if each lane has words for less than half a chunk.
    pub(crate) fn is_short(&self, lanes: u32) -> bool {
        // relaxed: both numbers may change directly after the check.
        let made = self.pool.made.load(Ordering::Relaxed);
        let free = TRACE_CHUNKS_MAX.saturating_sub(made) + self.pool.spent_count.load(Ordering::Relaxed);
        free < (CHUNKS_KEPT + lanes / 2).min(TRACE_CHUNKS_MAX / 4 * 3)
    }

    /// Whether waiting for the writer can help: a writer exists, and no thread has timed out since the writer last gave
    /// a chunk back.
    pub(crate) fn is_worth_waiting(&self) -> bool {
        // relaxed: see `set_written`.
        self.written.load(Ordering::Relaxed) != 0
            && self.stalled_at.load(Ordering::Relaxed) != self.spent_so_far() + 1
    }

    /// Notes that a thread has waited for its maximum time while the writer gave no chunk back. `spent` is the result
    /// of [`TraceBuffer::spent_so_far`], which did not change during the wait.
    pub(crate) fn note_stall(&self, spent: u64) {
        // relaxed: a hint for threads that would wait.
        self.stalled_at.store(spent + 1, Ordering::Relaxed);
    }

    /// Returns the number of times that the writer has given a chunk back.
    pub(crate) fn spent_so_far(&self) -> u64 {
        // relaxed: a number that threads only compare.
        self.spent.load(Ordering::Relaxed)
    }

    /// Counts a wait of a thread, which took `ns` nanoseconds.
    pub(crate) fn count_wait(&self, ns: u64) {
        // relaxed, both: statistics, which need no ordering.
        self.waits.fetch_add(1, Ordering::Relaxed);
        self.waited_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// Returns the number of events that are missing from the trace because there was no chunk for them.
    pub(crate) fn lost(&self) -> u64 {
        // relaxed: statistics, which need no ordering.
        self.stripes.iter().map(|stripe| stripe.lost.load(Ordering::Relaxed)).sum()
    }

    /// Returns the number of waits, and their total duration in nanoseconds.
    pub(crate) fn waits(&self) -> (u64, u64) {
        // relaxed: statistics, which need no ordering.
        (self.waits.load(Ordering::Relaxed), self.waited_ns.load(Ordering::Relaxed))
    }
}

impl Pool {
    /// Returns a chunk to fill: a spent chunk, or a new chunk if there are fewer than [`TRACE_CHUNKS_MAX`].
    fn take_spent(&self, pages: &Pages) -> Option<u32> {
        let _taken = self.latch.take();
        // relaxed, all of this type: the latch orders the accesses.
        let first = self.spent_first.load(Ordering::Relaxed);
        let page = if first != 0 {
            self.spent_first.store(next(pages, first), Ordering::Relaxed);
            self.spent_count.store(self.spent_count.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
            first
        } else {
            let made = self.made.load(Ordering::Relaxed);
            if made >= TRACE_CHUNKS_MAX {
                return None;
            }
            let page = pages.take(CHUNK_PAGES, For::Tables)?;
            self.made.store(made + 1, Ordering::Relaxed);
            page
        };
        set_head(pages, page, 0, CHUNK_HEAD);
        Some(page)
    }

    fn push_spent(&self, pages: &Pages, page: u32) {
        let _taken = self.latch.take();
        set_head(pages, page, self.spent_first.load(Ordering::Relaxed), CHUNK_HEAD);
        self.spent_first.store(page, Ordering::Relaxed);
        self.spent_count.store(self.spent_count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    fn push_full(&self, pages: &Pages, page: u32) {
        let _taken = self.latch.take();
        let last = self.full_last.load(Ordering::Relaxed);
        if last == 0 {
            self.full_first.store(page, Ordering::Relaxed);
        } else {
            set_head(pages, last, page, used(pages, last));
        }
        self.full_last.store(page, Ordering::Relaxed);
        self.full_count.store(self.full_count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    fn take_full(&self, pages: &Pages) -> Option<u32> {
        let _taken = self.latch.take();
        let first = self.full_first.load(Ordering::Relaxed);
        if first == 0 {
            return None;
        }
        let after = next(pages, first);
        self.full_first.store(after, Ordering::Relaxed);
        if after == 0 {
            self.full_last.store(0, Ordering::Relaxed);
        }
        self.full_count.store(self.full_count.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
        Some(first)
    }
}

/// Returns the page of the chunk that follows a chunk in its list, or 0.
fn next(pages: &Pages, page: u32) -> u32 {
    // SAFETY: A1, the caller owns the chunk, or holds the latch of its list.
    unsafe { pages.at(page).cast::<u64>().read() as u32 }
}

/// Returns the number of used words of a chunk.
fn used(pages: &Pages, page: u32) -> usize {
    // SAFETY: A1, as in `next`.
    unsafe { pages.at(page).cast::<u64>().add(1).read() as usize }
}

fn set_head(pages: &Pages, page: u32, next: u32, used: usize) {
    let start = pages.at(page).cast::<u64>();
    // SAFETY: A1, as in `next`; both words are within the chunk.
    unsafe {
        start.write(u64::from(next));
        start.add(1).write(used as u64);
    }
}

/// Returns the number of events in the words of a window. As in the ledger, a realloc is counted at its second half.
fn events_in(words: &[AtomicU64]) -> u64 {
    let (mut index, mut events) = (0, 0);
    while let Some(word) = words.get(index) {
        // relaxed: ordered by the head's acquire.
        let word = word.load(Ordering::Relaxed);
        let kind = if Tag::raw(word) == TAG_WIDE { event::wide_kind(word) } else { Tag::raw(word) };
        events += u64::from(matches!(kind, TAG_ALLOC | TAG_FREE | TAG_MOVED | TAG_REFUSED));
        index += record_words(word) as usize;
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::event::{Traits, alloc_words, begin_word, free_word};

    /// Runs a test on a trace buffer in a separate region.
    fn with_buffer(bytes: u64, test: impl FnOnce(&TraceBuffer, &Pages)) {
        let region = Pages::reserve(bytes, size_of::<Pages>()).unwrap();
        // SAFETY: P1, the region lives until the end of the test.
        let pages = unsafe { region.as_ref() };
        let layout = std::alloc::Layout::new::<TraceBuffer>();
        // SAFETY: the layout is not empty, and zero bytes are a valid buffer.
        let trace_buffer = unsafe { Box::from_raw(std::alloc::alloc_zeroed(layout).cast::<TraceBuffer>()) };
        test(&trace_buffer, pages);
        Pages::release(region);
    }

    fn words(raw: &[u64]) -> Vec<AtomicU64> {
        raw.iter().map(|word| AtomicU64::new(*word)).collect()
    }

    fn head(row: u32, first_ns: u64) -> WindowHead {
        WindowHead { row, words: 0, first_ns, step: 7 }
    }

    /// Takes all filled chunks as the writer does. Returns the thread, time and words of each window.
    fn drained(trace_buffer: &TraceBuffer, pages: &Pages) -> Vec<(u32, u64, Vec<u64>)> {
        let mut found = Vec::new();
        while let Some(chunk) = trace_buffer.take_full(pages) {
            let mut rest = chunk.words(pages);
            while let [first, second, third, behind @ ..] = rest {
                let head = WindowHead::read([*first, *second, *third]);
                let (own, after) = behind.split_at(head.words as usize);
                found.push((head.row, head.first_ns, own.to_vec()));
                rest = after;
            }
            trace_buffer.give_back(pages, chunk);
        }
        found
    }

    #[test]
    fn windows_come_out_as_they_went_in_and_in_the_order_of_their_lane() {
        with_buffer(64 << 20, |trace_buffer, pages| {
            let expected: Vec<(u32, u64, Vec<u64>)> =
                (0..5_000u64).map(|n| (3, n, (0..n % 64).map(|word| n * 100 + word).collect())).collect();
            let mut found = Vec::new();
            for (row, at_ns, own) in &expected {
                trace_buffer.window(pages, 3, head(*row, *at_ns), &words(own));
                if at_ns % 700 == 0 {
                    found.extend(drained(trace_buffer, pages));
                }
            }
            trace_buffer.push_out(pages);
            found.extend(drained(trace_buffer, pages));
            assert_eq!(found, expected);
            assert_eq!((trace_buffer.lost(), trace_buffer.take_full(pages).is_none()), (0, true));
        });
    }

    #[test]
    fn without_a_chunk_the_events_of_a_window_are_counted_and_nothing_else_changes() {
        with_buffer(1 << 20, |trace_buffer, pages| {
            let [first, second] = alloc_words(4096, 5, Traits::default(), 0);
            let window = words(&[first, second, begin_word(64, 5), free_word(4096, 5)]);
            let mut copied = 0;
            while trace_buffer.lost() == 0 {
                trace_buffer.window(pages, 0, head(1, 9), &window);
                copied += 1;
            }
            assert_eq!(trace_buffer.lost(), 2, "an allocation and a free; a realloc counts with its end");
            trace_buffer.push_out(pages);
            assert_eq!(drained(trace_buffer, pages).len(), copied - 1);
            trace_buffer.window(pages, 0, head(1, 9), &window);
            trace_buffer.push_out(pages);
            assert_eq!((drained(trace_buffer, pages).len(), trace_buffer.lost()), (1, 2));
        });
    }

    #[test]
    fn chunks_are_short_before_they_run_out_and_a_stall_ends_with_a_chunk() {
        with_buffer(64 << 20, |trace_buffer, pages| {
            assert!(!trace_buffer.is_short(10) && !trace_buffer.is_worth_waiting());
            trace_buffer.set_written(true);
            let window = words(&vec![free_word(64, 5); 1000]);
            let mut windows = 0;
            while !trace_buffer.is_short(10) {
                trace_buffer.window(pages, 0, head(1, 9), &window);
                windows += 1;
            }
            assert_eq!((trace_buffer.lost(), windows / 4), (0, TRACE_CHUNKS_MAX - CHUNKS_KEPT - 5));
            assert!(trace_buffer.is_worth_waiting());
            trace_buffer.note_stall(trace_buffer.spent_so_far());
            assert!(!trace_buffer.is_worth_waiting());
            let chunk = trace_buffer.take_full(pages).unwrap();
            trace_buffer.give_back(pages, chunk);
            assert!(trace_buffer.is_worth_waiting());
        });
    }
}
