//! The thread's side of a lane, driven by a test. It writes windows, time marks and skips, and reuses segments, as
//! `recorder::window` does. It has no thread-locals, modes and signals, and the test chooses the length of the windows.

use crate::ledger::Ledger;
use crate::ledger::fold_state::fold_state_of;
use crate::profile::EventKind;
use crate::ring::event::{self, RECORD_WORDS_MAX, Tag, Traits};
use crate::ring::lane::{Lane, SEGMENT_PAGES, SEGMENT_WORDS};
use crate::sys::pages::For;
use crate::sys::sync::Ordering;

pub(crate) struct Producer {
    ledger: &'static Ledger,
    pub(crate) lane: &'static Lane,
    pub(super) row: u32,
    mark_index: Option<u64>,
    window_end: u64,
    /// Number of words of the next windows.
    pub(super) window_words: u64,
    /// Whether the next record opens a window even if the current window has room.
    pub(super) turn_is_due: bool,
    segments: u64,
    segments_max: u64,
    /// Events of this thread that the history should contain, oldest first.
    pub(super) log: Vec<EventKind>,
}

impl Producer {
    pub(crate) fn new(ledger: &'static Ledger, segments_max: u64) -> Producer {
        let (lane, _) = ledger.claim_lane().unwrap();
        let row = ledger.rows.next(&ledger.pages);
        ledger.rows.get(&ledger.pages, row).threads.store(1, Ordering::Relaxed);
        {
            let _taken = lane.folder.latch.take();
            // SAFETY: B3, the latch is held.
            unsafe { (*fold_state_of(lane).as_ptr()).row = row };
        }
        let mut producer = Producer {
            ledger,
            lane,
            row,
            mark_index: None,
            window_end: 0,
            window_words: 7,
            turn_is_due: true,
            segments: 0,
            segments_max,
            log: Vec::new(),
        };
        producer.write(&[event::thread_word(true, row)]);
        producer
    }

    pub(crate) fn alloc(&mut self, address: u64, size: u64, traits: Traits, stack: u32) {
        self.lane.attempt();
        if event::is_narrow(address, size) {
            self.write(&event::alloc_words(address, size, traits, stack));
        } else {
            self.write(&event::wide_words(Tag::Alloc, traits, [address, size, u64::from(stack), 0]));
        }
        if !traits.is_own() {
            self.log.push(EventKind::Alloc { address, size, zeroed: traits.is_zeroed() });
        }
    }

    pub(crate) fn free(&mut self, address: u64, size: u64) {
        if event::is_narrow(address, 0) {
            self.lane.attempt();
            self.write(&[event::free_word(address, size)]);
            self.log.push(EventKind::Free { address });
        } else {
            self.free_whole(address, size);
        }
    }

    /// Records a free with the whole size of its block, as a thread does below the full level.
    pub(super) fn free_whole(&mut self, address: u64, size: u64) {
        self.free_unlisted(address, size, 0);
    }

    /// Records a free whose address was not in the sampled set in a period.
    pub(crate) fn free_unlisted(&mut self, address: u64, size: u64, period: u64) {
        self.free_with(address, size, Traits::default().with_period(period));
    }

    /// Frees a block as heapledger does.
    pub(super) fn free_internally(&mut self, address: u64, size: u64) {
        self.free_with(address, size, Traits::default().as_own());
    }

    fn free_with(&mut self, address: u64, size: u64, traits: Traits) {
        self.lane.attempt();
        self.write(&event::wide_words(Tag::Free, traits, [address, size, 0, 0]));
        self.log.push(EventKind::Free { address });
    }

    pub(crate) fn realloc_begins(&mut self, address: u64, size: u64) {
        self.lane.attempt();
        if event::is_narrow(address, 0) {
            self.write(&[event::begin_word(address, size)]);
        } else {
            self.write(&event::wide_words(Tag::Begin, Traits::default(), [address, size, 0, 0]));
        }
    }

    pub(crate) fn realloc_refused(&mut self, address: u64) {
        if event::is_narrow(address, 0) {
            self.write(&[event::refused_word(address)]);
        } else {
            self.write(&event::wide_words(Tag::Refused, Traits::default(), [address, 0, 0, 0]));
        }
        self.log.push(EventKind::ReallocFailed { address });
    }

    pub(crate) fn realloc_ends(&mut self, old: u64, new: u64, size: u64, traits: Traits, stack: u32) {
        if event::is_narrow(new, size) && event::is_narrow(old, 0) {
            self.write(&event::moved_words(old, new, size, traits, stack));
        } else {
            self.write(&event::wide_words(Tag::Moved, traits, [new, size, u64::from(stack), old]));
        }
        self.log.push(EventKind::Realloc { old_address: old, new_address: new, new_size: size });
    }

    fn write(&mut self, words: &[u64]) {
        let mut head = self.lane.head().own();
        if self.turn_is_due || head + words.len() as u64 > self.window_end {
            head = self.turn(words.len() as u64);
        }
        for (index, word) in (head..).zip(words) {
            self.put(index, *word);
        }
        self.lane.head().publish(head + words.len() as u64);
    }

    /// Closes the open window and opens the next one. Returns the index for the record.
    fn turn(&mut self, record_words: u64) -> u64 {
        let mut head = self.lane.head().own();
        if let Some(index) = self.mark_index.take() {
            // SAFETY: I2, the mark is in the open segment.
            let mark = unsafe { self.lane.own_word(index) };
            mark.store(event::closed_mark(mark.load(Ordering::Relaxed), head - index - 1), Ordering::Relaxed);
        }
        let left = (SEGMENT_WORDS - head % SEGMENT_WORDS) % SEGMENT_WORDS;
        if left < 1 + RECORD_WORDS_MAX {
            if left > 0 {
                self.put(head, 0);
                head += left;
                self.lane.head().publish(head);
            }
            self.enter_segment(head / SEGMENT_WORDS);
        }
        self.put(head, event::mark_word(self.ledger.clock.now_ns()));
        self.mark_index = Some(head);
        self.turn_is_due = false;
        let words = self.window_words.max(record_words);
        self.window_end = (head + 1 + words).min((head | (SEGMENT_WORDS - 1)) + 1);
        head + 1
    }

    fn enter_segment(&mut self, number: u64) {
        let page = if self.segments < self.segments_max {
            self.segments += 1;
            self.ledger.pages.take(SEGMENT_PAGES, For::Rings).unwrap()
        } else {
            let oldest = self.lane.cold.oldest.own();
            if oldest + SEGMENT_WORDS > self.lane.folder.tail.observe() {
                self.ledger.fold(self.lane);
            }
            self.lane.cold.oldest.pass(oldest + SEGMENT_WORDS);
            self.lane.segment_page(oldest / SEGMENT_WORDS)
        };
        self.lane.enter_segment(&self.ledger.pages, number, page);
    }

    fn put(&self, index: u64, word: u64) {
        // SAFETY: I2, the caller writes into the open segment.
        unsafe { self.lane.own_word(index) }.store(word, Ordering::Relaxed);
    }
}
