//! P1 and P2: saturated threads lose nothing in the default mode, and the figures of every thread are exact to the
//! byte.

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use super::case::{Case, Ended};
use super::laws::complete;
use super::tools::{self, block, free, lossless_point};

/// Number of blocks that each thread allocates and frees.
const BLOCKS: usize = 50_000;
/// Number of blocks that a thread holds at one time.
const HELD: usize = 64;

pub const CASES: &[Case] = &[
    Case::new("one_saturated_thread_loses_nothing", saturate::<1>, check::<1>),
    Case::new("two_saturated_threads_lose_nothing", saturate::<2>, check::<2>),
    Case::new("four_saturated_threads_lose_nothing", saturate::<4>, check::<4>),
    Case::new("eight_saturated_threads_lose_nothing", saturate::<8>, check::<8>),
    Case::new("sixty_four_saturated_threads_lose_nothing", saturate::<64>, check::<64>),
    Case::new("eight_threads_lose_nothing_without_a_background_thread", saturate::<8>, check::<8>)
        .heap(super::heap::Heap::Alone),
    Case::new("eight_threads_lose_nothing_with_a_stamp_on_every_event", saturate::<8>, check::<8>)
        .variables(&[("HEAPLEDGER_CLOCK", "per-event")]),
    Case::new("eight_threads_lose_nothing_with_the_monotonic_clock", saturate::<8>, check::<8>)
        .variables(&[("HEAPLEDGER_CLOCK", "monotonic")]),
    Case::new("every_temporary_block_is_counted_wherever_the_blocks_lie", free_the_newest, |ended| {
        assert!(ended.quietly().said("temporary") > 0);
    }),
];

/// Number of threads that are ready.
static READY: AtomicUsize = AtomicUsize::new(0);
static THREADS: AtomicUsize = AtomicUsize::new(0);

fn size_of(number: usize) -> usize {
    16 + number * 37 % 1000
}

/// Returns the number of bytes that one thread allocates.
fn bytes() -> u64 {
    (0..BLOCKS).map(|number| size_of(number) as u64).sum()
}

extern "C" fn work(_number: *mut c_void) -> *mut c_void {
    READY.fetch_add(1, SeqCst);
    while READY.load(SeqCst) < THREADS.load(SeqCst) {
        std::thread::yield_now();
    }
    let mut held = [(null_mut::<u8>(), 0); HELD];
    for number in 0..BLOCKS + HELD {
        let place = number % HELD;
        let (old, old_size) = held[place];
        if !old.is_null() {
            free(old, old_size);
        }
        if number < BLOCKS {
            held[place] = (block(size_of(number)), size_of(number));
        }
    }
    null_mut()
}

fn saturate<const N: usize>() {
    THREADS.store(N, SeqCst);
    let before = lossless_point();
    tools::threads::<N>(work);
    let after = lossless_point();
    let n = N as u64;
    assert_eq!(after.total_blocks - before.total_blocks, n * BLOCKS as u64);
    assert_eq!(after.total_bytes - before.total_bytes, n * bytes());
    assert_eq!((after.live_blocks, after.live_bytes), (before.live_blocks, before.live_bytes));
}

fn check<const N: usize>(ended: &Ended) {
    let profile = ended.quietly().dump();
    complete(&profile).unwrap();
    let quality = &profile.quality;
    assert_eq!((quality.recorded, quality.current_completeness), (quality.attempted, 1.0));
    assert!(quality.attempted >= 2 * (N * BLOCKS) as u64);
    let rows: Vec<_> = profile.threads.iter().filter(|row| row.total_blocks == BLOCKS as u64).collect();
    assert_eq!(rows.len(), N, "{:?}", profile.threads);
    for row in rows {
        assert_eq!((row.attempted, row.recorded), (2 * BLOCKS as u64, 2 * BLOCKS as u64));
        assert_eq!((row.total_bytes, row.freed_bytes, row.freed_blocks), (bytes(), bytes(), BLOCKS as u64));
        assert!(row.ended_ns.is_some() && row.cross_thread_frees == 0 && !row.own);
    }
}

/// Temporary blocks of the threads, by their own count.
static TEMPORARY: AtomicUsize = AtomicUsize::new(0);

/// Frees blocks that are among the newest fifteen of the thread, most of which have shared places in its nursery with
/// others.
extern "C" fn free_some_of_the_newest(number: *mut c_void) -> *mut c_void {
    let mut held: [(*mut u8, usize, usize); 15] = [(null_mut(), 0, 0); 15];
    let (mut random, mut temporary) = (number.addr() as u64 + 1, 0);
    for allocs in 1..=BLOCKS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let place = &mut held[(random >> 33) as usize % 15];
        if !place.0.is_null() {
            free(place.0, place.1);
            // The block of this number is not allocated yet.
            temporary += usize::from(allocs - 1 - place.2 <= heapledger::profile::TEMPORARY_ALLOCS as usize);
        }
        let size = 16 << ((random >> 40) % 8);
        *place = (block(size), size, allocs);
        if allocs % 5_000 == 0 {
            // Empties the nurseries of all threads.
            heapledger::flush();
        }
    }
    held.iter().filter(|held| !held.0.is_null()).for_each(|held| {
        free(held.0, held.1);
        temporary += usize::from(BLOCKS - held.2 <= heapledger::profile::TEMPORARY_ALLOCS as usize);
    });
    TEMPORARY.fetch_add(temporary, SeqCst);
    null_mut()
}

fn free_the_newest() {
    let counted = || -> u64 {
        let profile = heapledger::snapshot().expect("it is installed");
        profile.sites.iter().map(|site| site.temporary_blocks).sum()
    };
    let before = counted();
    tools::threads::<2>(free_some_of_the_newest);
    assert_eq!(counted() - before, TEMPORARY.load(SeqCst) as u64);
    println!("temporary={}", counted() - before);
}
