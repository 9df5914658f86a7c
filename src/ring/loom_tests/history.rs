//! Models of [`Oldest`]: a reader of the history copies words that the thread may be reusing.
//!
//! The reader holds the lane's latch, so the tail does not move. All words below the tail are folded, and the thread
//! may reuse their segments at any time.

use super::{explore, explore_three, run_all};
use crate::ring::cursor::{Head, Oldest};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};

const SEGMENT: u64 = 2;
const SEGMENTS: u64 = 2;
/// Number of words at the start of the model, all of which are folded.
const FOLDED: u64 = SEGMENT * SEGMENTS;

struct Lane {
    oldest: Oldest,
    words: [AtomicU64; FOLDED as usize],
}

impl Lane {
    fn new() -> Arc<Lane> {
        let words = std::array::from_fn(|index| AtomicU64::new(index as u64 + 1));
        Arc::new(Lane { oldest: Oldest::new(), words })
    }

    fn word(&self, index: u64) -> &AtomicU64 {
        &self.words[(index % FOLDED) as usize]
    }

    /// The thread's side: publishes that a segment is reused, then overwrites it.
    fn reuse(&self, segments: u64, pass: fn(&Oldest, u64)) {
        for _ in 0..segments {
            let reused = self.oldest.own();
            pass(&self.oldest, reused + SEGMENT);
            for number in FOLDED + reused..FOLDED + reused + SEGMENT {
                self.word(number).store(number + 1, Ordering::Relaxed);
            }
        }
    }

    /// The reader's side: copies the words, then asks which of them it has to drop.
    fn copy(&self, still_whole: fn(&Oldest) -> u64) {
        let first = still_whole(&self.oldest);
        let copied: Vec<u64> =
            (first..FOLDED).map(|index| self.word(index).load(Ordering::Relaxed)).collect();
        let whole = still_whole(&self.oldest).max(first);
        for index in whole..FOLDED {
            let word = copied[(index - first) as usize];
            assert_eq!(word, index + 1, "a word that was written over is believed");
        }
    }
}

fn model(segments: u64, pass: fn(&Oldest, u64), still_whole: fn(&Oldest) -> u64) -> impl Fn() {
    move || {
        let lane = Lane::new();
        let other = Arc::clone(&lane);
        run_all([Box::new(move || lane.reuse(segments, pass)), Box::new(move || other.copy(still_whole))]);
    }
}

#[test]
fn nothing_that_was_written_over_is_believed() {
    explore(25_000, model(2, Oldest::pass, Oldest::still_whole));
}

#[test]
#[should_panic(expected = "a word that was written over is believed")]
fn a_segment_that_is_passed_weakly_is_found_out() {
    explore(0, model(1, Oldest::pass_weakly, Oldest::still_whole));
}

#[test]
#[should_panic(expected = "a word that was written over is believed")]
fn a_copy_that_is_checked_weakly_is_found_out() {
    explore(0, model(1, Oldest::pass, Oldest::still_whole_weakly));
}

/// Returns a model of a segment that a lane gives back, to the overflow pool or to the region, and that the thread of
/// another lane overwrites. A reader of the first lane's history may still be copying the segment.
fn given_away(enter: fn()) -> impl Fn() {
    move || {
        let (lane, pool) = (Lane::new(), Arc::new(AtomicU64::new(0)));
        let (giver, reader) = (Arc::clone(&lane), Arc::clone(&lane));
        let taker = Arc::clone(&pool);
        run_all([
            Box::new(move || {
                giver.oldest.pass(SEGMENT);
                pool.store(1, Ordering::Release);
            }),
            Box::new(move || {
                if taker.load(Ordering::Acquire) == 1 {
                    enter();
                    lane.word(0).store(99, Ordering::Relaxed);
                }
            }),
            Box::new(move || reader.copy(Oldest::still_whole)),
        ]);
    }
}

#[test]
fn nothing_that_another_lane_wrote_over_is_believed() {
    explore_three(4_700, given_away(Oldest::enter_after_others));
}

#[test]
#[should_panic(expected = "a word that was written over is believed")]
fn a_segment_that_is_entered_weakly_is_found_out() {
    explore_three(0, given_away(|| ()));
}

#[test]
fn who_sees_the_new_head_sees_that_a_segment_was_passed() {
    explore(650, || {
        let (lane, head) = (Lane::new(), Arc::new(Head::new()));
        let (writer, observed) = (Arc::clone(&lane), Arc::clone(&head));
        run_all([
            Box::new(move || {
                writer.oldest.pass(SEGMENT);
                writer.word(FOLDED).store(FOLDED + 1, Ordering::Relaxed);
                head.publish(FOLDED + 1);
            }),
            Box::new(move || {
                let head = observed.observe();
                assert!(head == 0 || lane.oldest.still_whole() >= SEGMENT, "reused before it was passed");
                lane.copy(Oldest::still_whole);
            }),
        ]);
    });
}
