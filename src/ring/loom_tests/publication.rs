//! Models of the order of publication on which the pairing of blocks and frees relies. A free, like the first half of a
//! realloc, is published *before* the block goes back to the inner allocator. An allocation is published *after* the
//! inner allocator has returned the block. So a folder that has seen the second allocation of an address, and reads the
//! other thread's head afterwards, sees the free before it.

use super::{explore_three, run_all};
use crate::ring::cursor::Head;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};

/// Two lanes, with two words and one word, and an inner allocator that has one block.
struct Program {
    leaver: Head,
    leaver_words: [AtomicU64; 2],
    taker: Head,
    /// Whether the block is free in the inner allocator. As in every allocator, the last owner's writes are visible to
    /// the next owner.
    available: AtomicU64,
}

const FREE: u64 = 3;
const MOVED: u64 = 4;

impl Program {
    fn new() -> Arc<Program> {
        Arc::new(Program {
            leaver: Head::new(),
            leaver_words: std::array::from_fn(|_| AtomicU64::new(0)),
            taker: Head::new(),
            available: AtomicU64::new(0),
        })
    }

    fn record_free(&self) {
        self.leaver_words[0].store(FREE, Ordering::Relaxed);
        self.leaver.publish(1);
    }

    fn give_back(&self) {
        self.available.store(1, Ordering::Release);
    }

    /// Records the new address of a realloc, when the old address may already belong to another thread.
    fn record_moved(&self) {
        self.leaver_words[1].store(MOVED, Ordering::Relaxed);
        self.leaver.publish(2);
    }

    fn take(&self, publish: fn(&Head, u64)) {
        if self.available.load(Ordering::Acquire) == 1 {
            publish(&self.taker, 1);
        }
    }

    fn saw_the_free(&self) -> bool {
        self.leaver.observe() >= 1 && self.leaver_words[0].load(Ordering::Relaxed) == FREE
    }
}

fn model(leave: fn(&Program), publish: fn(&Head, u64), look: fn(&Program)) -> impl Fn() {
    move || {
        let program = Program::new();
        let (leaver, taker) = (Arc::clone(&program), Arc::clone(&program));
        run_all([
            Box::new(move || leave(&leaver)),
            Box::new(move || taker.take(publish)),
            Box::new(move || look(&program)),
        ]);
    }
}

fn free_and_give_back(program: &Program) {
    program.record_free();
    program.give_back();
}

fn look_at_the_taker_first(program: &Program) {
    if program.taker.observe() == 1 {
        assert!(program.saw_the_free(), "given out again before it was free");
    }
}

#[test]
fn who_sees_an_address_given_out_again_sees_that_it_was_freed() {
    explore_three(1_000, model(free_and_give_back, Head::publish, look_at_the_taker_first));
}

#[test]
fn who_sees_an_address_given_out_again_sees_the_realloc_that_left_it() {
    let leave = |program: &Program| {
        program.record_free();
        program.give_back();
        program.record_moved();
    };
    explore_three(1_400, model(leave, Head::publish, look_at_the_taker_first));
}

#[test]
#[should_panic(expected = "given out again before it was free")]
fn a_free_that_is_recorded_after_the_block_was_given_back_is_found_out() {
    let leave = |program: &Program| {
        program.give_back();
        program.record_free();
    };
    explore_three(0, model(leave, Head::publish, look_at_the_taker_first));
}

#[test]
#[should_panic(expected = "given out again before it was free")]
fn an_allocation_that_is_published_weakly_is_found_out() {
    explore_three(0, model(free_and_give_back, Head::publish_weakly, look_at_the_taker_first));
}

/// Shows that the rule does not hold for a reader that reads the two lanes in the opposite order. For this reason a
/// flush lets frees wait, and compares times.
#[test]
#[should_panic(expected = "given out again before it was free")]
fn looking_at_the_leaver_first_proves_nothing() {
    let look = |program: &Program| {
        let freed = program.saw_the_free();
        assert!(program.taker.observe() == 0 || freed, "given out again before it was free");
    };
    explore_three(0, model(free_and_give_back, Head::publish, look));
}
