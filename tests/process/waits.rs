//! How long an allocation waits in `HighAccuracy` when its ring is full: as long as its budget says, and no longer.
//!
//! The budget is that of `ConcurrencyConfig`: so many tries, each after a wait. Nothing here bounds elapsed time from above:
//!
//! * Whoever goes on to wait for the holder of its books, for as long as that takes, is counted by the recorder
//!   (`QualityIndicator::waits`). No allocation may be, in this mode, however many are shed.
//! * The budget itself is waited out turning, by the clock. So no wait is shorter than the budget by more than the
//!   recorder's clock may be off from the system's, however busy the machine is; and the thread's own processor time,
//!   which passes while it turns only, tells whether it turned for longer. A processor that is shared makes some of it
//!   longer, so most of the waits count.
//!
//! The overload is forced: a snapshot of many live blocks holds the books for longer than the budget.

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
/// Blocks that live while snapshots are taken, so that each holds the books for long.
const LIVE_BLOCKS: usize = 150_000;
/// Allocations that were shed, after which there are enough to judge.
const ENOUGH: u64 = 20;
/// Waits for the holder, after which there are: at most one for each time that the books are held.
const ENOUGH_FOR_HOLDER: u64 = 3;
/// Blocks of the load at most.
const LOAD_BLOCKS_MOST: u64 = 3_000_000;

/// What the allocations of one thread came to.
#[derive(Debug, PartialEq, Eq)]
struct Waits {
    /// Events that were shed because the ring was full.
    shed: u64,
    /// Waits for whoever held the books.
    for_holder: u64,
    /// Allocations that took all of the budget, or more. To book a ring takes far less.
    turned: u64,
    /// Allocations that took more than twice the budget in processor time.
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

/// The whole budget of an allocation: the delay is at its limit, so it does not double with each try.
const BUDGET_NS: u64 = PATIENT_TRIES as u64 * PATIENT_DELAY_NS;
/// The recorder's clock runs at the rate of the system's but for one part of so many.
const CLOCK_PARTS: u64 = 1_000;
static TURNED: AtomicU64 = AtomicU64::new(0);
static OVER: AtomicU64 = AtomicU64::new(0);
static STOP: AtomicBool = AtomicBool::new(false);
/// The newest block of the load; each holds the address of the one before it.
static NEWEST: AtomicPtr<u8> = AtomicPtr::new(null_mut());

fn now_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writes.
    assert_eq!(unsafe { libc::clock_gettime(clock, &mut time) }, 0);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Makes blocks and looks what each costs, until told to stop. It frees none: frees may wait.
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

/// One thread under load, whose books are held again and again until enough of its allocations found no room.
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
