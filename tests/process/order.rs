//! P3: blocks that one thread allocates and another frees, at addresses that are reused at once.

use std::collections::HashMap;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::Mutex;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;

use heapledger::profile::Profile;

use super::case::{Case, Ended};
use super::heap::Heap;
use super::laws::complete;
use super::tools::{self, block, free, lossless_point};

const PER_EVENT: &[(&str, &str)] = &[("HEAPLEDGER_CLOCK", "per-event")];

pub const CASES: &[Case] = &[
    Case::new("what_producers_make_and_consumers_free_is_exact", hand_over, mixed_up_nothing),
    Case::new("addresses_that_wander_between_threads_are_exact", ping_pong, leftovers_are_the_live_ones),
    Case::new(
        "wandering_addresses_are_exact_without_a_background_thread",
        ping_pong,
        leftovers_are_the_live_ones,
    )
    .heap(Heap::Alone),
    Case::new("blocks_that_others_reallocate_are_exact", strange_reallocs, leftovers_are_the_live_ones),
    Case::new("tasks_that_wander_between_workers_are_exact", tasks, mixed_up_nothing),
    Case::new("a_stamp_on_every_event_leaves_no_doubt_between_producer_and_consumer", hand_over, no_doubt)
        .variables(PER_EVENT),
    Case::new("a_stamp_on_every_event_leaves_no_doubt_about_wandering_addresses", ping_pong, no_doubt)
        .variables(PER_EVENT),
    Case::new("a_stamp_on_every_event_leaves_no_doubt_about_strange_reallocs", strange_reallocs, no_doubt)
        .variables(PER_EVENT),
    Case::new("pairs_of_threads_without_a_cell_of_their_own_stand_together", cross_widely, are_all_counted),
];

/// Number of threads that allocate blocks, and of threads that each free one block of each: more pairs than the table
/// holds.
const MANY: usize = 64;
static WIDELY: [[AtomicPtr<u8>; MANY]; MANY] = [const { [const { AtomicPtr::new(null_mut()) }; MANY] }; MANY];

fn cross_widely() {
    extern "C" fn make(number: *mut c_void) -> *mut c_void {
        WIDELY[number.addr()].iter().for_each(|place| place.store(block(SIZE), SeqCst));
        null_mut()
    }
    extern "C" fn take(number: *mut c_void) -> *mut c_void {
        WIDELY.iter().for_each(|made| free(made[number.addr()].load(SeqCst), SIZE));
        null_mut()
    }
    tools::threads::<MANY>(make);
    tools::threads::<MANY>(take);
}

fn are_all_counted(ended: &Ended) {
    let profile = ended.dump();
    let (mut apart, mut together) = (0, 0);
    for pair in &profile.crossings {
        // Also those that stand for others, though no thread had to share a row.
        let is_listed = |index| profile.threads.iter().any(|row| row.index == index);
        assert!(is_listed(pair.allocated_by) && is_listed(pair.freed_by), "{pair:?}");
        if pair.allocated_by == pair.freed_by { together += pair.blocks } else { apart += pair.blocks }
    }
    assert!(apart + together >= (MANY * MANY) as u64 && together > 1_000, "{apart} + {together}");
}

/// Two producers and two consumers: every message is freed by a thread that did not allocate it.
fn hand_over() {
    const MESSAGES: usize = 50_000;
    let before = lossless_point();
    let mut workers = Vec::new();
    for producer in 0..2 {
        let (send, receive) = mpsc::sync_channel::<Box<[u8]>>(64);
        workers.push(thread::spawn(move || {
            for number in 0..MESSAGES {
                send.send(vec![producer; 64 + number % 4 * 16].into_boxed_slice()).unwrap();
            }
        }));
        workers.push(thread::spawn(move || {
            assert_eq!(receive.iter().map(|message| usize::from(message[0])).sum::<usize>() % MESSAGES, 0);
        }));
    }
    for worker in workers {
        worker.join().unwrap();
    }
    let after = lossless_point();
    assert!(after.total_blocks - before.total_blocks >= 2 * MESSAGES as u64);
}

fn mixed_up_nothing(ended: &Ended) {
    let profile = ended.quietly().dump();
    complete(&profile).unwrap();
    let crossed: u64 = profile.threads.iter().map(|row| row.cross_thread_frees).sum();
    // Who freed whose: the same blocks, pair by pair, and each thread's own.
    assert_eq!(crossed, profile.crossings.iter().map(|pair| pair.blocks).sum::<u64>());
    for row in &profile.threads {
        let of_row = profile.crossings.iter().filter(|pair| pair.freed_by == row.index);
        assert_eq!(row.cross_thread_frees, of_row.map(|pair| pair.blocks).sum::<u64>(), "{row:?}");
    }
    assert!(profile.crossings.iter().all(|pair| pair.allocated_by != pair.freed_by));
    assert!(crossed > 10_000, "{crossed} frees crossed threads");
    assert_eq!(crossed, profile.sites.iter().map(|site| site.cross_thread_frees).sum::<u64>());
    tell(&profile, crossed);
}

fn tell(profile: &Profile, crossed: u64) {
    println!(
        "  {crossed} of {} frees crossed threads, {} pairings in doubt",
        profile.totals.freed_blocks, profile.quality.anomalies.ambiguous_pairings
    );
}

/// Number of places where threads leave blocks for each other.
const PLACES: usize = 32;
static SHARED: [AtomicPtr<u8>; PLACES] = [const { AtomicPtr::new(null_mut()) }; PLACES];
/// Rounds of each thread. `THREADS` is the number of threads.
const ROUNDS: usize = 40_000;
const PLAYERS: usize = 4;
const SIZE: usize = 48;
static STARTED: AtomicUsize = AtomicUsize::new(0);

fn start_together() {
    STARTED.fetch_add(1, SeqCst);
    while STARTED.load(SeqCst) < PLAYERS {
        thread::yield_now();
    }
}

/// A small generator of random numbers, which chooses the place of a thread's next block.
fn step(state: &mut usize) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

extern "C" fn play(number: *mut c_void) -> *mut c_void {
    start_together();
    let mut state = number.addr() + 1;
    for _ in 0..ROUNDS {
        let mine = block(SIZE);
        let other = SHARED[step(&mut state) % PLACES].swap(mine, SeqCst);
        if !other.is_null() {
            free(other, SIZE);
        }
    }
    null_mut()
}

/// Every thread frees the blocks that it finds, most of them of other threads. All blocks have one size, so the
/// allocator reuses a freed address at once. The remaining blocks are reported to the parent.
fn ping_pong() {
    let before = lossless_point();
    tools::threads::<PLAYERS>(play);
    let after = lossless_point();
    let left: Vec<usize> = SHARED.iter().map(|place| place.load(SeqCst).addr()).collect();
    assert_eq!(after.total_blocks - before.total_blocks, (PLAYERS * ROUNDS) as u64);
    assert_eq!(after.live_blocks - before.live_blocks, PLACES as u64);
    assert_eq!(after.live_bytes - before.live_bytes, (PLACES * SIZE) as u64);
    for address in left {
        println!("left={address} {SIZE}");
    }
}

extern "C" fn grow_others(number: *mut c_void) -> *mut c_void {
    start_together();
    let mut state = number.addr() + 1;
    for _ in 0..ROUNDS {
        let place = step(&mut state) % PLACES;
        let found = SHARED[place].swap(null_mut(), SeqCst);
        // The first word of a block is its size.
        let old = if found.is_null() { 0 } else { unsafe_size(found) };
        let size = 16 + step(&mut state) % 300;
        let mine = if found.is_null() || old > 250 {
            if !found.is_null() {
                free(found, old);
            }
            block(size)
        } else {
            let layout = std::alloc::Layout::from_size_align(old, 8).unwrap();
            // SAFETY: the block was taken out of its place, so it is ours; its layout is what it was made with.
            unsafe { std::alloc::realloc(found, layout, size) }
        };
        // SAFETY: the block is ours and has at least 16 bytes.
        unsafe { mine.cast::<usize>().write(size) };
        let before = SHARED[place].swap(mine, SeqCst);
        if !before.is_null() {
            free(before, unsafe_size(before));
        }
    }
    null_mut()
}

fn unsafe_size(block: *mut u8) -> usize {
    // SAFETY: the thread that left the block in its place wrote its size into it first, and it is ours now.
    unsafe { block.cast::<usize>().read() }
}

/// As [`ping_pong`], but other threads reallocate most blocks repeatedly.
fn strange_reallocs() {
    let before = lossless_point();
    tools::threads::<PLAYERS>(grow_others);
    let after = lossless_point();
    assert!(after.reallocs - before.reallocs > ROUNDS as u64 / 2, "{after:?}");
    for place in &SHARED {
        let block = place.load(SeqCst);
        println!("left={} {}", block.addr(), if block.is_null() { 0 } else { unsafe_size(block) });
    }
}

/// Asserts that the live table has exactly the remaining blocks, each with its size.
fn leftovers_are_the_live_ones(ended: &Ended) {
    let profile = ended.quietly().dump();
    complete(&profile).unwrap();
    let live: HashMap<u64, u64> = profile.live.iter().map(|block| (block.address, block.size)).collect();
    assert_eq!(live.len(), profile.live.len(), "two live blocks at one address");
    let left = ended.stdout.lines().filter_map(|line| line.strip_prefix("left="));
    let mut found = 0;
    for (address, size) in left.filter_map(|line| line.split_once(' ')) {
        let (address, size): (u64, u64) = (address.parse().unwrap(), size.parse().unwrap());
        if address != 0 {
            assert_eq!(live.get(&address), Some(&size), "block at {address:#x}");
            found += 1;
        }
    }
    assert!(found > PLACES / 2, "{found} blocks left");
    tell(&profile, profile.threads.iter().map(|row| row.cross_thread_frees).sum());
}

/// Asserts that no pairing is ambiguous, because every event has a time stamp.
fn no_doubt(ended: &Ended) {
    let profile = ended.quietly().dump();
    complete(&profile).unwrap();
    assert_eq!(profile.quality.anomalies.total(), 0, "{:?}", profile.quality.anomalies);
}

/// Runs tasks on four workers. The tasks start on one worker and continue on another, with their blocks.
fn tasks() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
    let kept = std::sync::Arc::new(Mutex::new(Vec::new()));
    runtime.block_on(async {
        let (send, mut receive) = tokio::sync::mpsc::channel::<Vec<u8>>(16);
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..200usize {
            let (send, kept) = (send.clone(), kept.clone());
            tasks.spawn(async move {
                let mut held = Vec::new();
                for round in 0..100 {
                    held.push(vec![0u8; 32 + round]);
                    tokio::task::yield_now().await;
                    send.send(held.swap_remove(round / 2 % held.len())).await.unwrap();
                    held.push(vec![1u8; 16]);
                }
                kept.lock().unwrap().push(held.swap_remove(number % held.len()));
            });
        }
        drop(send);
        let mut bytes = 0;
        while let Some(message) = receive.recv().await {
            bytes += message.len();
        }
        assert!(bytes > 0);
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
    });
    // Ends the workers, and waits for them.
    drop(runtime);
    lossless_point();
    assert_eq!(kept.lock().unwrap().len(), 200);
}
