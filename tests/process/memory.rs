//! P6: heapledger's own memory, by its report and by the system's.

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use super::case::{Case, Ended};
use super::heap::Heap;
use super::laws::complete;
use super::tools::{block, free, lossless_point, quiet_point, resident_bytes, threads};

pub const CASES: &[Case] = &[
    Case::new("an_idle_thread_costs_at_most_sixteen_kibibytes", idle_threads, |ended| {
        complete(&ended.quietly().dump()).unwrap();
        let (own, resident) = (ended.said("own"), ended.said("resident"));
        println!("  an idle thread: {own} bytes of its own, {resident} of them resident");
    })
    .heap(Heap::Bump),
    Case::new("a_million_live_blocks_cost_at_most_48_bytes_each", a_million_blocks, a_million_are_live),
    Case::series(
        "locking_all_memory_locks_no_address_space_that_is_not_used",
        lock_all_memory,
        is_little_and_complete,
    )
    .heap(Heap::Counted)
    // Threads of the program may or may not share an arena of the system's allocator, which takes 64 MiB.
    .variables(&[("HEAPLEDGER_STACKS", "auto"), ("MALLOC_ARENA_MAX", "1")]),
];

/// Bytes that heapledger may lock in addition to the program: its tables, two rings and the stack of its thread.
const LOCKED_BYTES: u64 = 6 << 20;

/// Bytes of locked memory, as the system says.
fn locked_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the status of this process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmLck:")).expect("its locked memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

extern "C" fn allocate_some(_number: *mut c_void) -> *mut c_void {
    for size in 1..2_000 {
        free(block(size), size);
    }
    null_mut()
}

fn lock_all_memory() {
    threads::<2>(allocate_some);
    heapledger::flush();
    // SAFETY: no memory is involved.
    let failed = unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) };
    if failed != 0 {
        // A limit of this machine that the program alone exceeds.
        return println!("locked=0");
    }
    let locked = locked_bytes();
    threads::<4>(allocate_some);
    heapledger::flush();
    println!("locked={locked}");
}

fn is_little_and_complete(case: &Case) {
    let (on, off) = (case.play_with(&[]), case.play_with(&[("HEAPLEDGER", "off")]));
    complete(&on.quietly().dump()).unwrap();
    let (locked, alone) = (on.said("locked"), off.quietly().said("locked"));
    println!("  {locked} bytes locked, {alone} of them by the program alone");
    assert!(locked.saturating_sub(alone) <= LOCKED_BYTES);
}

const IDLE: usize = 64;
/// Bytes of a thread's row in the table of threads, in addition to its ring and tables. The row stays when the thread
/// ends.
const ROW_BYTES: u64 = 256;
/// Current stage of the scenario. A thread continues once its stage is reached.
static STAGE: AtomicUsize = AtomicUsize::new(0);
static ARRIVED: [AtomicUsize; 3] = [const { AtomicUsize::new(0) }; 3];

fn wait_for(stage: usize) {
    ARRIVED[stage].fetch_add(1, SeqCst);
    while STAGE.load(SeqCst) <= stage {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

/// Touches the pages of the thread's stack before any measurement.
#[inline(never)]
fn touch_stack() {
    std::hint::black_box([1u8; 64 << 10]);
}

extern "C" fn idle(_number: *mut c_void) -> *mut c_void {
    touch_stack();
    wait_for(0);
    free(block(64), 64);
    wait_for(1);
    null_mut()
}

extern "C" fn measure_or_idle(number: *mut c_void) -> *mut c_void {
    if number.addr() < IDLE { idle(number) } else { measure() }
}

/// The last thread measures.
fn measure() -> *mut c_void {
    let all_at = |stage: usize| {
        while ARRIVED[stage].load(SeqCst) < IDLE {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    };
    all_at(0);
    // Queries allocate for a moment; what they leave behind is there before memory is read: the ring of this thread has
    // its full size, and their blocks are freed.
    let (mut own_before, mut repeated) = (0, 0);
    while repeated < 20 {
        let own = quiet_point().own_bytes;
        repeated = if own == own_before { repeated + 1 } else { 0 };
        own_before = own;
    }
    let resident_before = resident_bytes();
    STAGE.store(1, SeqCst);
    all_at(1);
    let resident = (resident_bytes() - resident_before) / IDLE as u64;
    let own = (quiet_point().own_bytes - own_before) / IDLE as u64;
    STAGE.store(2, SeqCst);
    assert!(own <= (16 << 10) + ROW_BYTES, "an idle thread costs {own} bytes");
    assert!(resident <= 16 << 10, "an idle thread costs {resident} bytes of resident memory");
    println!("own={own}\nresident={resident}");
    null_mut()
}

fn idle_threads() {
    threads::<{ IDLE + 1 }>(measure_or_idle);
    lossless_point();
}

const MILLION: u64 = 1_000_000;

fn a_million_blocks() {
    lossless_point();
    let before = quiet_point().own_bytes;
    for _ in 0..MILLION {
        block(16);
    }
    let quality = quiet_point();
    let cost = (quality.own_bytes - before).div_ceil(MILLION);
    assert!(cost <= 48, "{cost} bytes a live block");
    println!("cost={cost}");
    lossless_point();
}

fn a_million_are_live(ended: &Ended) {
    let profile = ended.quietly().dump();
    complete(&profile).unwrap();
    assert!(profile.live.len() as u64 >= MILLION);
    println!("  a live block: {} bytes", ended.said("cost"));
}
