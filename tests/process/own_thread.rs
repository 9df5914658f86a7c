//! When heapledger's own thread is there: as soon as it is of use, and not in a program that has one thread and
//! allocates all the time.

use std::fs;
use std::thread;
use std::time::Duration;

use super::case::Case;
use super::tools::{block, free, lossless_point};

pub const CASES: &[Case] = &[
    Case::new(
        "a_busy_program_with_one_thread_is_left_alone_with_it",
        || assert!(!is_there_after(|| ())),
        |ended| {
            ended.quietly();
        },
    ),
    Case::new(
        "a_second_thread_of_the_program_brings_heapledgers_own",
        || assert!(is_there_after(two_threads)),
        |ended| {
            ended.quietly();
        },
    ),
    Case::new(
        "a_query_brings_heapledgers_own_thread",
        || assert!(is_there_after(query)),
        |ended| {
            ended.quietly();
        },
    ),
    Case::new(
        "a_program_that_pauses_again_and_again_has_its_events_dated_by_ticks",
        || assert!(is_there_after(pauses)),
        |ended| {
            ended.quietly();
        },
    ),
    Case::new(
        "a_child_that_shares_memory_leaves_the_thread_to_its_parent",
        || assert!(is_there_after(child_that_asks)),
        |ended| {
            ended.quietly();
        },
    ),
    Case::new(
        "one_pause_brings_no_thread",
        || assert!(!is_there_after(one_pause)),
        |ended| {
            ended.quietly();
        },
    ),
    Case::new(
        "a_mark_in_the_environment_brings_heapledgers_own_thread",
        || assert!(is_there_after(|| ())),
        |ended| {
            ended.quietly();
        },
    )
    .variables(&[("HEAPLEDGER_WARN", "1")]),
    Case::new(
        "samples_need_no_thread_for_their_dates",
        || assert!(!is_there_after(|| ())),
        |ended| {
            let profile = ended.quietly().dump();
            assert!(profile.quality.sampled_out > 0, "{:?}", profile.quality);
        },
    )
    .variables(&[("HEAPLEDGER_MODE", "throughput")]),
];

/// Rounds of work after which a thread that is to come is there, and more.
const ROUNDS: u32 = 2_000;
/// Pairs of each: several turns.
const PAIRS: usize = 200;

/// Whether heapledger's own thread comes while the program works, after it has done `something`.
fn is_there_after(something: impl FnOnce()) -> bool {
    work();
    something();
    (0..ROUNDS).any(|round| {
        work();
        // The look takes longer than the work.
        round % 16 == 0 && is_there()
    })
}

fn work() {
    for round in 0..PAIRS {
        free(block(16 + round), 16 + round);
    }
}

fn is_there() -> bool {
    let tasks = fs::read_dir("/proc/self/task").expect("a process has a list of its threads");
    let name_of = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm")).unwrap_or_default();
    tasks.flatten().any(|task| name_of(task).trim_end() == "heapledger")
}

fn two_threads() {
    thread::spawn(work).join().expect("it works");
}

fn query() {
    lossless_point();
}

/// A child in the memory of its parent, which stands still meanwhile, asks for the thread and does not get it: it would be the
/// child's, and end with it.
fn child_that_asks() {
    extern "C" fn ask_and_work(_argument: *mut std::ffi::c_void) -> libc::c_int {
        query();
        work();
        0
    }
    let mut stack = vec![0u8; 256 << 10];
    let top = stack.as_mut_ptr_range().end;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack is the child's alone until the call returns, which is after its end.
    let pid = unsafe { libc::clone(ask_and_work, top.cast(), flags, std::ptr::null_mut()) };
    assert!(pid > 0);
    let mut status = 0;
    // SAFETY: `status` is valid for writes.
    assert_eq!((unsafe { libc::waitpid(pid, &mut status, 0) }, status), (pid, 0));
}

fn pause() {
    free(block(100), 100);
    thread::sleep(Duration::from_millis(2));
}

fn pauses() {
    (0..100).for_each(|_| pause());
}

fn one_pause() {
    pause();
}
