//! Models of [`Head`] and [`Tail`]: the thread writes words, the folder reads them, and the thread reuses their places.

use super::{Plain, explore, run_all};
use crate::ring::cursor::{Head, Tail};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread::yield_now;

/// Number of words of the ring: so small that the ring is often full and often empty.
const WORDS: u64 = 2;

/// Access to a word, for writing and reading.
trait Word: Send + Sync + 'static {
    fn empty() -> Self;
    fn read(&self) -> u64;
    fn write(&self, value: u64);
}

/// Access as in the real ring: relaxed, ordered by the cursors.
impl Word for AtomicU64 {
    fn empty() -> Self {
        AtomicU64::new(0)
    }

    fn read(&self) -> u64 {
        self.load(Ordering::Relaxed)
    }

    fn write(&self, value: u64) {
        self.store(value, Ordering::Relaxed);
    }
}

/// Access that loom checks, so that it detects a read that the thread's write overtakes.
impl Word for Plain {
    fn empty() -> Self {
        Plain::new(0)
    }

    fn read(&self) -> u64 {
        self.get()
    }

    fn write(&self, value: u64) {
        self.set(value);
    }
}

struct Ring<W> {
    head: Head,
    tail: Tail,
    words: [W; WORDS as usize],
}

impl<W: Word> Ring<W> {
    fn new() -> Arc<Self> {
        Arc::new(Ring { head: Head::new(), tail: Tail::new(), words: std::array::from_fn(|_| W::empty()) })
    }

    /// The thread's side: writes records of `each` words with the values from 1 on, but never beyond the observed tail.
    fn produce(&self, last: u64, each: u64, publish: fn(&Head, u64)) {
        let (mut head, mut tail) = (0, 0);
        while head < last {
            while head + each - tail > WORDS {
                tail = self.tail.observe();
                if head + each - tail > WORDS {
                    yield_now();
                }
            }
            for index in head..head + each {
                self.words[(index % WORDS) as usize].write(index + 1);
            }
            head += each;
            publish(&self.head, head);
        }
    }

    /// The folder's side: reads all published words, then releases them for reuse.
    fn consume(&self, last: u64, release: fn(&Tail, u64)) {
        let mut tail = 0;
        while tail < last {
            let head = self.head.observe();
            assert!(head >= tail && head - tail <= WORDS, "the head is out of bounds");
            if head == tail {
                yield_now();
                continue;
            }
            for index in tail..head {
                let word = self.words[(index % WORDS) as usize].read();
                assert_eq!(word, index + 1, "a word was not seen whole, once and in order");
            }
            tail = head;
            release(&self.tail, tail);
        }
    }
}

fn model<W: Word>(last: u64, each: u64, publish: fn(&Head, u64), release: fn(&Tail, u64)) -> impl Fn() {
    move || {
        let ring = Ring::<W>::new();
        let other = Arc::clone(&ring);
        run_all([
            Box::new(move || ring.produce(last, each, publish)),
            Box::new(move || other.consume(last, release)),
        ]);
    }
}

#[test]
fn every_word_is_seen_once_and_in_order() {
    explore(30_000, model::<AtomicU64>(3, 1, Head::publish, Tail::release));
}

#[test]
fn a_record_of_two_words_is_seen_whole() {
    explore(850, model::<AtomicU64>(4, 2, Head::publish, Tail::release));
}

#[test]
fn no_word_is_read_and_written_at_one_time() {
    explore(30_000, model::<Plain>(3, 1, Head::publish, Tail::release));
}

/// The thread reads its cursor back instead of keeping it in a variable, as in the real ring.
#[test]
fn cursors_that_are_read_back_by_their_owner_do_as_well() {
    explore(26_000, || {
        let ring = Ring::<AtomicU64>::new();
        let other = Arc::clone(&ring);
        let produce = move || {
            while ring.head.own() < 3 {
                let head = ring.head.own();
                while head == ring.tail.observe() + WORDS {
                    yield_now();
                }
                ring.words[(head % WORDS) as usize].write(head + 1);
                ring.head.publish(head + 1);
            }
        };
        let consume = move || {
            while other.tail.own() < 3 {
                let (tail, head) = (other.tail.own(), other.head.observe());
                for index in tail..head {
                    assert_eq!(other.words[(index % WORDS) as usize].read(), index + 1);
                }
                if head == tail {
                    yield_now();
                } else {
                    other.tail.release(head);
                }
            }
        };
        run_all([Box::new(produce), Box::new(consume)]);
    });
}

#[test]
#[should_panic(expected = "a word was not seen whole, once and in order")]
fn a_head_that_is_published_weakly_is_found_out() {
    explore(0, model::<AtomicU64>(3, 1, Head::publish_weakly, Tail::release));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_tail_that_is_released_weakly_is_found_out() {
    explore(0, model::<Plain>(3, 1, Head::publish, Tail::release_weakly));
}
