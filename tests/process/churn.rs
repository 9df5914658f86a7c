//! P1 and P6: the figures of thousands of ended threads stay, and their memory is reused.

use std::ffi::c_void;
use std::hint::black_box;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use super::case::{Case, Ended};
use super::laws::complete;
use super::tools::{block, free, lossless_point, quiet_point, resident_bytes, threads};

/// Number of threads at one time.
const AT_ONCE: usize = 10;
/// Number of pairs of events that each thread makes.
const PAIRS: u64 = 50;
/// Number of threads with a separate row; the others share one.
const ROWS_OF_THEIR_OWN: usize = (1 << 14) - 1;

pub const CASES: &[Case] = &[
    Case::new("a_thousand_threads_leave_no_memory_behind", a_thousand_threads, every_thread_has_a_row),
    Case::new("ten_thousand_threads_are_all_accounted_for", ten_thousand_threads, |ended| {
        let profile = ended.quietly().dump();
        complete(&profile).unwrap();
        assert_eq!(short_lived(&profile), 10_000);
    }),
    Case::new("hundreds_of_threads_that_flush_and_take_snapshots_end", all_ask_at_once, |ended| {
        complete(&ended.quietly().dump()).unwrap();
    }),
    Case::new("each_of_several_threads_in_turn_has_stacks", one_by_one, |ended| {
        let profile = ended.quietly().dump();
        complete(&profile).unwrap();
        let kept: Vec<_> = profile.live.iter().filter(|block| block.size == KEPT_BYTES as u64).collect();
        let bare = kept.iter().filter(|block| block.stack == 0).count();
        assert_eq!((kept.len(), bare), (IN_TURN * KEPT, 0));
    })
    .variables(&[("HEAPLEDGER_STACKS", "auto")]),
    Case::new("more_threads_than_rows_share_the_last_row", too_many_threads, the_last_row_stands_for_many),
];

/// Number of threads that have started so far.
static STARTED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn live_briefly(_number: *mut c_void) -> *mut c_void {
    let wave = STARTED.fetch_add(1, SeqCst) / AT_ONCE;
    // All of a wave live at the same time, in each wave: what they need at most is there from the first one on.
    while STARTED.load(SeqCst) < (wave + 1) * AT_ONCE {
        std::thread::yield_now();
    }
    let mut held = [null_mut(); PAIRS as usize];
    for place in &mut held {
        *place = block(100);
    }
    for block in held {
        free(block, 100);
    }
    null_mut()
}

/// Number of threads of which each starts when the one before has ended, and takes its lane.
const IN_TURN: usize = 10;
/// Number and size of the blocks that each of them keeps: fewer than a window holds.
const KEPT: usize = 7;
const KEPT_BYTES: usize = 2_222;

extern "C" fn keep_some(_number: *mut c_void) -> *mut c_void {
    for _ in 0..KEPT {
        black_box(block(KEPT_BYTES));
    }
    null_mut()
}

fn one_by_one() {
    lossless_point();
    (0..IN_TURN).for_each(|_| threads::<1>(keep_some));
    lossless_point();
}

fn churn(count: usize) {
    for _ in 0..count / AT_ONCE {
        threads::<AT_ONCE>(live_briefly);
    }
}

fn a_thousand_threads() {
    churn(200);
    let (before, own) = (lossless_point(), quiet_point().own_bytes);
    // Queries allocate for a moment, so resident memory is read on this side of them.
    let resident = resident_bytes();
    churn(1000);
    let resident_grown = resident_bytes().saturating_sub(resident);
    let after = lossless_point();
    let grown = quiet_point().own_bytes - own;
    println!("own_grown={grown}\nresident_grown={resident_grown}");
    assert!(grown <= 1 << 20, "a thousand threads left {grown} bytes of heapledger's own");
    assert!(resident_grown <= 1 << 20, "a thousand threads left {resident_grown} bytes resident");
    assert_eq!(after.total_blocks - before.total_blocks, 1000 * PAIRS);
    assert_eq!((after.live_blocks, after.live_bytes), (before.live_blocks, before.live_bytes));
}

/// Threads that ask at the same time.
const ASKING: usize = 400;

extern "C" fn live_and_ask(_number: *mut c_void) -> *mut c_void {
    let kept = block(100);
    STARTED.fetch_add(1, SeqCst);
    while STARTED.load(SeqCst) < ASKING {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    for _ in 0..2 {
        heapledger::flush();
        let profile = heapledger::snapshot().expect("it is installed");
        // Each has allocated before the snapshot began.
        assert!(profile.live.iter().any(|live| live.address == kept.addr() as u64));
    }
    free(kept, 100);
    null_mut()
}

fn all_ask_at_once() {
    threads::<ASKING>(live_and_ask);
    lossless_point();
}

fn short_lived(profile: &heapledger::Profile) -> u64 {
    let rows = profile.threads.iter().filter(|row| row.attempted == 2 * PAIRS);
    rows.inspect(|row| assert_eq!((row.total_bytes, row.freed_bytes), (PAIRS * 100, PAIRS * 100))).count()
        as u64
}

fn every_thread_has_a_row(ended: &Ended) {
    let profile = ended.quietly().dump();
    complete(&profile).unwrap();
    assert_eq!(short_lived(&profile), 1200);
    assert!(profile.threads.iter().all(|row| row.threads == 1));
    println!(
        "  1,000 threads: own memory +{} bytes, resident +{} bytes",
        ended.said("own_grown"),
        ended.said("resident_grown")
    );
}

fn ten_thousand_threads() {
    churn(10_000);
    lossless_point();
}

fn too_many_threads() {
    let before = lossless_point();
    churn(ROWS_OF_THEIR_OWN + 1007);
    let after = lossless_point();
    let count = ((ROWS_OF_THEIR_OWN + 1007) / AT_ONCE * AT_ONCE) as u64;
    assert_eq!(after.total_blocks - before.total_blocks, count * PAIRS);
}

fn the_last_row_stands_for_many(ended: &Ended) {
    let profile = ended.quietly().dump();
    complete(&profile).unwrap();
    assert_eq!(profile.threads.len(), ROWS_OF_THEIR_OWN + 1);
    let last = profile.threads.last().unwrap();
    assert!(last.threads > 1000, "{last:?}");
    assert_eq!(last.attempted, 2 * PAIRS * last.threads);
    let alone = profile.threads[..ROWS_OF_THEIR_OWN].iter();
    assert!(alone.inspect(|row| assert_eq!(row.threads, 1)).count() == ROWS_OF_THEIR_OWN);
}
