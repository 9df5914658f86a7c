//! Every way for a process to end: the dump has everything that was recorded, and heapledger does not change the way.

use std::cell::RefCell;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;

use heapledger::profile::Profile;

use super::case::{Case, Ended};
use super::laws::complete;
use super::tools::{block, free, lossless_point};

pub const CASES: &[Case] = &[
    Case::new("returning_from_main_leaves_a_complete_dump", leave_marks, |ended| {
        marked(&ended.quietly().dump(), 1);
    }),
    Case::new("exit_leaves_a_complete_dump_and_its_code", exit_with_code, |ended| {
        marked(&ended.with_code(7).dump(), 1);
    }),
    Case::new("exit_in_another_thread_leaves_a_complete_dump", exit_elsewhere, |ended| {
        marked(&ended.with_code(9).dump(), 1);
    }),
    Case::new(
        "exit_while_other_threads_allocate_leaves_an_honest_dump",
        exit_during_work,
        honest_during_work,
    ),
    Case::new("a_panic_that_is_caught_is_like_any_other_work", caught_panic, |ended| {
        marked(&panicked(ended.with_code(0)).dump(), 1);
    }),
    Case::new(
        "a_panic_in_main_leaves_a_complete_dump",
        || panic!("in main: {}", mark()),
        |ended| {
            marked(&panicked(ended.with_code(101)).dump(), 1);
        },
    ),
    Case::new("a_panic_in_a_thread_leaves_a_complete_dump", panic_in_thread, |ended| {
        marked(&panicked(ended.with_code(0)).dump(), 2);
    }),
    Case::new("a_panic_that_aborts_leaves_what_was_dumped_before", panic_that_aborts, dumped_before_abort),
    Case::new("a_panic_in_a_panic_leaves_what_was_dumped_before", panic_twice, dumped_before_abort),
    Case::new("an_abort_leaves_what_was_dumped_before", abort, dumped_before_abort),
    Case::new("another_program_in_its_place_leaves_no_dump_and_no_rest", become_another_program, |ended| {
        assert_eq!(ended.quietly().names(), [""; 0]);
    }),
    Case::new("an_exit_without_handlers_leaves_no_dump_and_no_rest", exit_at_once, |ended| {
        assert_eq!(ended.with_code(3).names(), [""; 0]);
    }),
    Case::new("what_destructors_of_thread_locals_do_is_recorded", thread_locals, |ended| {
        marked(&ended.quietly().dump(), 9);
    }),
    Case::new("what_handlers_of_exit_do_is_recorded", at_exit, |ended| {
        marked(&ended.quietly().dump(), 2);
    }),
];

/// Size of a block that stays live, so that the dump can be searched for it.
const MARK_BYTES: usize = 54_321;

/// Allocates a block of [`MARK_BYTES`] that stays live.
fn mark() -> usize {
    block(MARK_BYTES).addr()
}

/// Asserts that the profile is complete and has `marks` marks.
fn marked(profile: &Profile, marks: usize) {
    complete(profile).unwrap();
    assert_eq!(profile.live.iter().filter(|block| block.size == MARK_BYTES as u64).count(), marks);
}

/// Asserts that the child printed std's message of a panic and nothing from heapledger.
fn panicked(ended: &Ended) -> &Ended {
    assert!(
        ended.stderr.contains("panicked at") && !ended.stderr.contains("heapledger:"),
        "{}",
        ended.stderr
    );
    ended
}

fn leave_marks() {
    mark();
    lossless_point();
}

fn exit_with_code() {
    mark();
    std::process::exit(7);
}

fn exit_elsewhere() {
    let elsewhere = thread::spawn(|| {
        mark();
        std::process::exit(9);
    });
    let _ = elsewhere.join();
}

static WORK_DONE: AtomicU64 = AtomicU64::new(0);

fn exit_during_work() {
    for _ in 0..4 {
        thread::spawn(|| {
            let mut held: Vec<Box<[u8]>> = Vec::new();
            for round in 0usize.. {
                held.push(vec![0; 16 + round % 500].into_boxed_slice());
                if held.len() > 200 {
                    held.swap_remove(round % 200);
                }
                WORK_DONE.fetch_add(1, SeqCst);
            }
        });
    }
    while WORK_DONE.load(SeqCst) < 200_000 {
        thread::yield_now();
    }
    std::process::exit(5);
}

/// Asserts that nothing was lost, that events in flight are reported, and that at least the finished work is recorded.
fn honest_during_work(ended: &Ended) {
    let profile = ended.with_code(5).dump();
    assert!(ended.stderr.is_empty(), "{}", ended.stderr);
    let quality = &profile.quality;
    assert_eq!(quality.lost.total(), 0);
    assert!(quality.recorded > 390_000, "{quality:?}");
    // Of each thread what it had written when the books were closed, less what it did while they were copied.
    let in_flight: u64 = quality.attempted - quality.recorded;
    assert_eq!(quality.in_flight, in_flight);
    let anomalies = quality.anomalies;
    assert_eq!(anomalies.double_allocations + anomalies.layout_mismatches, 0, "{anomalies:?}");
}

fn caught_panic() {
    for round in 0..100 {
        let caught = catch_unwind(|| {
            let _held = vec![0u8; 100 + round];
            panic!("round {round}");
        });
        assert!(caught.is_err());
    }
    mark();
    lossless_point();
}

fn panic_in_thread() {
    let failed = thread::spawn(|| panic!("here: {}", mark())).join();
    assert!(failed.is_err());
    mark();
    drop(failed);
    lossless_point();
}

extern "C" fn cannot_unwind() {
    panic!("where there is no way to unwind");
}

fn panic_that_aborts() {
    mark();
    heapledger::dump("before.hl").unwrap();
    cannot_unwind();
}

fn abort() {
    mark();
    heapledger::dump("before.hl").unwrap();
    free(block(100), 100);
    std::process::abort();
}

fn dumped_before_abort(ended: &Ended) {
    assert_eq!(ended.with_signal(libc::SIGABRT).names(), ["before.hl"]);
    let profile = ended.dump_named("before.hl");
    assert_eq!(profile.process.reason, "request");
    marked(&profile, 1);
}

fn exit_at_once() {
    mark();
    // SAFETY: it ends the process without running anything.
    unsafe { libc::_exit(3) };
}

/// Makes a mark when its thread ends.
struct AtEnd(RefCell<Vec<u64>>);

impl Drop for AtEnd {
    fn drop(&mut self) {
        mark();
        let more: Vec<u64> = self.0.borrow().iter().map(|number| number + 1).collect();
        self.0.borrow_mut().extend(more);
    }
}

thread_local! {
    static AT_END: AtEnd = AtEnd(RefCell::new(vec![1, 2, 3]));
}

fn thread_locals() {
    let touch = || AT_END.with(|at_end| at_end.0.borrow_mut().push(4));
    let threads: Vec<_> = (0..8).map(|_| thread::spawn(touch)).collect();
    for thread in threads {
        thread.join().unwrap();
    }
    lossless_point();
    // The main thread's destructor runs after `main` has returned.
    touch();
}

extern "C" fn handler() {
    mark();
    free(block(777), 777);
}

fn at_exit() {
    // SAFETY: the handler lives as long as the program.
    unsafe {
        assert_eq!(libc::atexit(handler), 0);
        assert_eq!(libc::atexit(handler), 0);
    }
}

/// A value whose destructor panics. During a panic, that is the second panic.
struct PanicsAtItsEnd;

impl Drop for PanicsAtItsEnd {
    fn drop(&mut self) {
        panic!("and once more");
    }
}

fn panic_twice() {
    mark();
    heapledger::dump("before.hl").unwrap();
    let _last_word = PanicsAtItsEnd;
    panic!("once");
}

fn become_another_program() {
    use std::os::unix::process::CommandExt;
    mark();
    let error = std::process::Command::new("true").env_remove("HEAPLEDGER_DUMP").exec();
    panic!("{error}");
}
