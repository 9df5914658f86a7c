//! Models of the latch, and of the two folders of one lane: the lane's thread and the aggregator.

use super::{Plain, explore, explore_three, run_all};
use crate::ring::cursor::{Head, Tail};
use crate::sys::latch::{Latch, Taken};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread::yield_now;

type TryTake = for<'a> fn(&'a Latch) -> Option<Taken<'a>>;
type Open = for<'a> fn(Taken<'a>);

fn open<'a>(taken: Taken<'a>) {
    drop(taken);
}

struct Guarded {
    latch: Latch,
    sum: Plain,
}

fn counting(try_take: TryTake, open: Open) -> impl Fn() {
    move || {
        let guarded = Arc::new(Guarded { latch: Latch::new(), sum: Plain::new(0) });
        let count = |guarded: Arc<Guarded>| -> Box<dyn FnOnce() + Send> {
            Box::new(move || {
                for _ in 0..2 {
                    let taken = loop {
                        match try_take(&guarded.latch) {
                            Some(taken) => break taken,
                            None => yield_now(),
                        }
                    };
                    guarded.sum.set(guarded.sum.get() + 1);
                    open(taken);
                }
            })
        };
        run_all([count(Arc::clone(&guarded)), count(Arc::clone(&guarded))]);
        assert_eq!(guarded.sum.get(), 4, "two held the latch at one time");
    }
}

#[test]
fn two_holders_exclude_each_other_and_hand_over_what_they_wrote() {
    explore(450, counting(Latch::try_take, open));
}

#[test]
fn waiting_for_the_latch_ends_and_excludes_as_well() {
    explore(1_000, counting(|latch| Some(latch.take()), open));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_latch_that_is_taken_weakly_is_found_out() {
    explore(0, counting(Latch::try_take_weakly, open));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_latch_that_is_opened_weakly_is_found_out() {
    explore(0, counting(Latch::try_take, Latch::open_weakly));
}

const WORDS: u64 = 2;

/// A lane, reduced to what both folders access.
struct Lane {
    head: Head,
    tail: Tail,
    latch: Latch,
    words: [AtomicU64; WORDS as usize],
    /// The number of booked words, in place of the fold state.
    booked: Plain,
}

impl Lane {
    fn new() -> Arc<Lane> {
        Arc::new(Lane {
            head: Head::new(),
            tail: Tail::new(),
            latch: Latch::new(),
            words: std::array::from_fn(|_| AtomicU64::new(0)),
            booked: Plain::new(0),
        })
    }

    /// Folds the lane once, unless the latch is taken.
    fn try_fold(&self, open: Open) -> bool {
        let Some(taken) = self.latch.try_take() else { return false };
        let (tail, head) = (self.tail.own(), self.head.observe());
        for index in tail..head {
            let word = self.words[(index % WORDS) as usize].load(Ordering::Relaxed);
            let booked = self.booked.get();
            assert_eq!((index, word), (booked, booked + 1), "a word was booked twice, or not in order");
            self.booked.set(booked + 1);
        }
        self.tail.release(head);
        open(taken);
        true
    }

    /// The thread's side: writes words, and folds the lane when the ring is full.
    fn write(&self, last: u64, open: Open) {
        for head in 0..last {
            while head == self.tail.observe() + WORDS {
                if !self.try_fold(open) {
                    yield_now();
                }
            }
            self.words[(head % WORDS) as usize].store(head + 1, Ordering::Relaxed);
            self.head.publish(head + 1);
        }
    }
}

fn folding(last: u64, open: Open) -> impl Fn() {
    move || {
        let lane = Lane::new();
        let (home, away) = (Arc::clone(&lane), Arc::clone(&lane));
        run_all([
            Box::new(move || home.write(last, open)),
            Box::new(move || {
                away.try_fold(open);
            }),
        ]);
        assert!(lane.try_fold(open));
        assert_eq!(lane.booked.get(), last, "a word was never booked");
    }
}

#[test]
fn a_thread_that_folds_at_home_and_the_aggregator_book_every_word_once() {
    explore(2_400, folding(4, open));
}

#[test]
fn a_flush_besides_both_books_every_word_once() {
    explore_three(25_000, || {
        let lane = Lane::new();
        let (home, away, flush) = (Arc::clone(&lane), Arc::clone(&lane), Arc::clone(&lane));
        run_all([
            Box::new(move || home.write(3, open)),
            Box::new(move || {
                away.try_fold(open);
            }),
            Box::new(move || {
                flush.try_fold(open);
            }),
        ]);
        assert!(lane.try_fold(open));
        assert_eq!(lane.booked.get(), 3, "a word was never booked");
    });
}

#[test]
#[should_panic(expected = "a word was booked twice, or not in order")]
fn folders_that_open_the_latch_weakly_are_found_out() {
    explore(0, folding(3, Latch::open_weakly));
}
