//! The conditions for heapledger's background thread: it starts once there is a reason and a place where it can be
//! started, which no event is, and never in a program that has one thread and allocates all the time.

use std::ffi::c_void;
use std::fs;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use super::case::{Case, Ended};
use super::forks::{share_memory, stack_of_child};
use super::laws::complete;
use super::tools::{self, block, free, lossless_point};

pub const CASES: &[Case] = &[
    Case::series(
        "a_busy_program_with_one_thread_is_left_alone_with_it",
        || say_whether_it_comes_after(|| asked_once_after(|| ())),
        is_left_alone,
    ),
    Case::new(
        "a_second_thread_of_the_program_brings_heapledgers_own",
        || assert!(is_there_after(two_threads)),
        ends_quietly,
    ),
    Case::new(
        "two_queries_bring_heapledgers_own_thread",
        || assert!(is_there_after(two_queries)),
        ends_quietly,
    ),
    Case::new(
        "no_event_starts_a_thread_however_many_threads_there_are",
        many_threads_without_end,
        ends_quietly,
    ),
    Case::new(
        "a_program_that_pauses_again_and_again_has_its_events_dated_by_ticks",
        || assert!(is_there_after(|| asked_once_after(pauses))),
        ends_quietly,
    ),
    Case::new(
        "a_child_that_shares_memory_leaves_the_thread_to_its_parent",
        || assert!(is_there_after(child_that_asks)),
        ends_quietly,
    ),
    Case::series(
        "what_is_costly_to_book_is_left_to_heapledgers_own_thread",
        exchange_and_say_who_booked,
        |case| {
            let relieves = |_| {
                let ended = case.play();
                let ended = ended.quietly();
                complete(&ended.dump()).unwrap();
                ended.said("away") * PARTS > ended.said("home")
            };
            assert!((0..PLAYS).any(relieves), "it did not in any of {PLAYS} plays");
        },
    ),
    Case::new(
        "what_is_costly_to_book_for_long_brings_heapledgers_own_thread",
        || assert!(is_there_after(|| asked_once_after(replace_among_many))),
        ends_quietly,
    ),
    Case::series(
        "on_one_processor_what_is_costly_to_book_brings_no_thread",
        || {
            say_whether_it_comes_after(|| {
                stay_on_one_processor();
                asked_once_after(replace_among_many);
            });
        },
        is_left_alone,
    ),
    Case::new("on_one_processor_each_thread_books_for_itself", exchange_on_one_processor, |ended| {
        let ended = ended.quietly();
        complete(&ended.dump()).unwrap();
        assert!(ended.said("away") * PARTS < ended.said("home"), "{}", ended.stdout);
    }),
    Case::series(
        "one_pause_brings_no_thread",
        || say_whether_it_comes_after(|| asked_once_after(pause)),
        is_left_alone,
    ),
    Case::series(
        "pauses_now_and_then_bring_no_thread",
        || say_whether_it_comes_after(|| asked_once_after(pauses_now_and_then)),
        is_left_alone,
    ),
    Case::new(
        "a_mark_in_the_environment_brings_heapledgers_own_thread",
        || assert!(is_there_after(|| ())),
        ends_quietly,
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

fn ends_quietly(ended: &Ended) {
    ended.quietly();
}

/// Maximum number of runs of a child, of which one must be without interruptions.
const PLAYS: u32 = 20;

/// Asserts that the thread does not start. On a loaded machine the system interrupts the program often, and then the
/// thread starts for good reason. So the child runs until one run was not interrupted.
fn is_left_alone(case: &Case) {
    let comes = |_| case.play().quietly().said("comes") != 0;
    assert!(!(0..PLAYS).all(comes), "it came in each of {PLAYS} plays");
}

fn say_whether_it_comes_after(something: impl FnOnce()) {
    println!("comes={}", u64::from(is_there_after(something)));
}

/// Number of rounds of work after which the thread has started if it ever does.
const ROUNDS: u32 = 2_000;
/// Number of pairs in each round: several windows.
const PAIRS: usize = 200;

/// Whether the background thread starts while the program works, after a call of `something`.
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

/// One query starts the thread only if an event has noted a reason before.
fn asked_once_after(something: impl FnOnce()) {
    something();
    heapledger::stats();
}

fn two_queries() {
    heapledger::stats();
    work();
    heapledger::stats();
}

static ENDS: AtomicBool = AtomicBool::new(false);

/// Two threads allocate for long, and none ends. Then there is a query.
fn many_threads_without_end() {
    extern "C" fn work_on(_number: *mut c_void) -> *mut c_void {
        while !ENDS.load(SeqCst) {
            work();
        }
        null_mut()
    }
    let working = thread::spawn(|| tools::threads::<2>(work_on));
    assert!(!is_there_after(|| ()));
    assert!(is_there_after(|| {
        heapledger::stats();
    }));
    ENDS.store(true, SeqCst);
    working.join().unwrap();
    lossless_point();
}

/// A child in its parent's memory, whose parent is stopped meanwhile, needs the thread and does not get it: the thread
/// would belong to the child and end with it. Its parent gets it.
fn child_that_asks() {
    extern "C" fn ask_and_work(_argument: *mut c_void) -> libc::c_int {
        two_queries();
        two_queries();
        0
    }
    share_memory(ask_and_work, &mut stack_of_child());
    assert!(!is_there());
    two_queries();
}

fn pause() {
    free(block(100), 100);
    thread::sleep(Duration::from_millis(2));
}

fn pauses() {
    (0..100).for_each(|_| pause());
}

/// Pauses as often as a busy machine interrupts a program: once in about twenty windows.
fn pauses_now_and_then() {
    for _ in 0..100 {
        (0..5).for_each(|_| work());
        pause();
    }
}

/// Number of blocks that two threads exchange: more than their nurseries hold.
const PLACES: usize = 20_000;
static PLACE: [AtomicPtr<u8>; PLACES] = [const { AtomicPtr::new(null_mut()) }; PLACES];
const EXCHANGES: usize = 300_000;
const EXCHANGED_BYTES: usize = 40;
/// If the background thread relieves the other threads, it folds more than once per this number of their folds, even in
/// a slow build.
const PARTS: u64 = 50;

/// Allocates a block and frees the block in its place, which the other thread may have allocated.
extern "C" fn exchange(number: *mut c_void) -> *mut c_void {
    for round in 0..EXCHANGES {
        let place = (round * 7919 + number.addr() * PLACES / 2) % PLACES;
        let old = PLACE[place].swap(block(EXCHANGED_BYTES), SeqCst);
        if !old.is_null() {
            free(old, EXCHANGED_BYTES);
        }
    }
    null_mut()
}

/// Number of blocks of one thread: more than a nursery holds.
const MANY: usize = 100_000;

fn replace_among_many() {
    let mut blocks: Vec<*mut u8> = (0..MANY).map(|_| block(EXCHANGED_BYTES)).collect();
    for round in 0..EXCHANGES {
        let old = std::mem::replace(&mut blocks[round * 7919 % MANY], block(EXCHANGED_BYTES));
        free(old, EXCHANGED_BYTES);
    }
    blocks.into_iter().for_each(|block| free(block, EXCHANGED_BYTES));
}

fn exchange_and_say_who_booked() {
    work();
    two_queries();
    tools::threads::<2>(exchange);
    let quality = heapledger::quality();
    println!("home={}\naway={}", quality.folds_at_home, quality.folds_away);
}

fn stay_on_one_processor() {
    // SAFETY: all zero bytes are a valid, empty set, of which one processor is chosen that this thread is allowed.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(libc::sched_getcpu() as usize, &mut set);
        assert_eq!(libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set), 0);
    }
}

fn exchange_on_one_processor() {
    stay_on_one_processor();
    exchange_and_say_who_booked();
}
