//! Length of waits in `HighAccuracy` with a full ring: exactly the budget.
//!
//! The budget is that of `ConcurrencyConfig`: a number of retries, each after a wait. No assertion bounds elapsed time
//! from above:
//!
//! * The recorder counts a wait for the holder of the latch, however long it takes (`QualityIndicator::waits`). In this
//!   mode no allocation may wait so, however many are shed.
//! * A thread spins for the budget, by the clock. So no wait is shorter than the budget by more than the difference
//!   between the recorder's clock and the system's. The processor time of the thread, which passes only while it spins,
//!   shows whether it spun for longer. A shared processor makes some of these times longer, so the condition holds for
//!   most waits, not for all.
//!
//! The overload is forced: a snapshot of many live blocks holds the latches for longer than the budget.

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering::SeqCst};

use heapledger::{DataQualityMode, LossReason, QualityIndicator};

use super::case::Case;
use super::heap::{Heap, PATIENT_DELAY_NS, PATIENT_TRIES};
use super::laws;
use super::tools::{block, free, threads};

pub const CASES: &[Case] = &[
    Case::new("an_allocation_in_the_high_mode_waits_for_its_budget_and_no_longer", hold_books, |ended| {
        ended.quietly();
        let waits = Waits::said(|name| ended.said(name));
        assert_eq!(waits.judge(), Ok(()), "{waits:?}");
    })
    .heap(Heap::Patient)
    .variables(&[("HEAPLEDGER_MODE", "high")]),
    // The mode that waits for as long as it takes: the check must see that.
    Case::new("an_allocation_that_waits_without_a_budget_is_found_out", hold_books, |ended| {
        let waits = Waits::said(|name| ended.quietly().said(name));
        assert_eq!((waits.shed, waits.judge()), (0, Err("allocations wait for the holder of their books")));
    })
    .heap(Heap::Patient)
    .variables(&[("HEAPLEDGER_MODE", "perfect")]),
    Case::here("waits_are_judged", judged),
];

const BLOCK_BYTES: usize = 48;
/// Number of live blocks during the snapshots, so that each snapshot holds the latches for long.
const LIVE_BLOCKS: usize = 150_000;
/// Number of shed allocations that suffices for a verdict.
const ENOUGH: u64 = 20;
/// Number of waits for the holder that suffices for a verdict. Each hold of the latches causes at most one.
const ENOUGH_FOR_HOLDER: u64 = 3;
/// Maximum number of blocks of the load.
const LOAD_BLOCKS_MOST: u64 = 3_000_000;

/// Results of the allocations of one thread.
#[derive(Debug, PartialEq, Eq)]
struct Waits {
    /// Number of events shed because the ring was full.
    shed: u64,
    /// Number of waits for the holder of the latch.
    for_holder: u64,
    /// Number of allocations that took the whole budget or more. Booking a ring takes far less.
    turned: u64,
    /// Number of allocations that took more than twice the budget in processor time.
    over: u64,
}

impl Waits {
    fn said(said: impl Fn(&str) -> u64) -> Waits {
        Waits {
            shed: said("shed"),
            for_holder: said("for_holder"),
            turned: said("turned"),
            over: said("over"),
        }
    }

    fn judge(&self) -> Result<(), &'static str> {
        match self {
            // The thread that takes the snapshots frees as well, and a free may wait.
            Waits { shed, for_holder, .. } if *for_holder > shed / 10 => {
                Err("allocations wait for the holder of their books")
            }
            Waits { shed, turned, .. } if turned < shed => Err("allocations are shed too early"),
            Waits { turned, over, .. } if *over > turned / 2 => Err("allocations turn for too long"),
            _ => Ok(()),
        }
    }
}

fn judged() {
    let waits = |shed, for_holder, turned, over| Waits { shed, for_holder, turned, over }.judge().is_ok();
    assert!(waits(20, 2, 20, 10));
    assert!(!waits(20, 3, 20, 9) && !waits(20, 2, 19, 8) && !waits(20, 2, 20, 11));
}

/// The whole budget of an allocation, in nanoseconds. The delay has its maximum, so it does not double with each retry.
const BUDGET_NS: u64 = PATIENT_TRIES as u64 * PATIENT_DELAY_NS;
/// The recorder's clock may differ from the system's by one part in this many.
const CLOCK_PARTS: u64 = 1_000;
static TURNED: AtomicU64 = AtomicU64::new(0);
static OVER: AtomicU64 = AtomicU64::new(0);
static STOP: AtomicBool = AtomicBool::new(false);
/// The newest block of the load. Each block holds the address of the one before it.
static NEWEST: AtomicPtr<u8> = AtomicPtr::new(null_mut());

fn now_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writes.
    assert_eq!(unsafe { libc::clock_gettime(clock, &mut time) }, 0);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Allocates blocks and measures each allocation until told to stop. It frees no block, because frees may wait.
extern "C" fn load(_number: *mut c_void) -> *mut c_void {
    for _ in 0..LOAD_BLOCKS_MOST {
        if STOP.load(SeqCst) {
            return null_mut();
        }
        let began = [libc::CLOCK_MONOTONIC, libc::CLOCK_THREAD_CPUTIME_ID].map(now_ns);
        let made = block(BLOCK_BYTES);
        let ended = [libc::CLOCK_MONOTONIC, libc::CLOCK_THREAD_CPUTIME_ID].map(now_ns);
        TURNED.fetch_add(u64::from(ended[0] - began[0] >= BUDGET_NS - BUDGET_NS / CLOCK_PARTS), SeqCst);
        OVER.fetch_add(u64::from(ended[1] - began[1] > 2 * BUDGET_NS), SeqCst);
        // SAFETY: the block is larger than an address, and aligned for one.
        unsafe { made.cast::<*mut u8>().write(NEWEST.swap(made, SeqCst)) };
    }
    panic!("the books are never held for long");
}

/// Loads one thread and holds its latch repeatedly, until enough of its allocations found the ring full.
fn hold_books() {
    let live: Vec<*mut u8> = (0..LIVE_BLOCKS).map(|_| block(BLOCK_BYTES)).collect();
    let loading = std::thread::spawn(|| threads::<1>(load));
    let shed = |quality: &QualityIndicator| quality.lost.get(LossReason::RingFull);
    let mut quality = heapledger::quality();
    let is_enough = |quality: &QualityIndicator| match quality.mode {
        DataQualityMode::HighAccuracy => shed(quality) >= ENOUGH,
        _ => quality.waits >= ENOUGH_FOR_HOLDER,
    };
    while !is_enough(&quality) {
        heapledger::snapshot().expect("it is installed");
        quality = heapledger::quality();
    }
    STOP.store(true, SeqCst);
    loading.join().expect("the load ends");
    heapledger::flush();
    let quality = heapledger::quality();
    laws::counted(&quality).unwrap();
    println!("shed={}\nfor_holder={}", shed(&quality), quality.waits);
    println!("turned={}\nover={}", TURNED.load(SeqCst), OVER.load(SeqCst));
    live.into_iter().for_each(|held| free(held, BLOCK_BYTES));
    let mut newest = NEWEST.load(SeqCst);
    while !newest.is_null() {
        // SAFETY: the block is live, and holds the address of the one before it.
        let before = unsafe { newest.cast::<*mut u8>().read() };
        free(newest, BLOCK_BYTES);
        newest = before;
    }
}
