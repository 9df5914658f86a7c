//! How long an allocation waits in `HighAccuracy` when its ring is full: as long as its budget says, and no longer.
//!
//! The budget is that of `ConcurrencyConfig`: so many tries, each after a wait that doubles. A thread waits it out
//! turning, so its own processor time tells the wait, whatever else the machine does; an allocation that waited for the
//! holder of its books instead would go to sleep, which the system counts for each thread. Elapsed time is not looked
//! at. The overload is forced: a snapshot of many live blocks holds the books for longer than the budget.

use std::ffi::c_void;
use std::hint::spin_loop;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use heapledger::LossReason;

use super::case::Case;
use super::heap::{Heap, PATIENT_DELAY_NS, PATIENT_TRIES};
use super::laws;
use super::tools::{block, free, threads};

pub const CASES: &[Case] = &[
    Case::new(
        "an_allocation_in_the_high_mode_waits_for_its_budget_and_no_longer",
        wait_by_turning,
        |ended| {
            ended.quietly();
            let waits = Waits::said(|name| ended.said(name));
            assert_eq!(waits.judge(), Ok(()), "{waits:?}");
        },
    )
    .heap(Heap::Patient)
    .variables(&[("HEAPLEDGER_MODE", "high")]),
    // The mode that waits for as long as it takes: the check must see that.
    Case::new("an_allocation_that_waits_without_a_budget_is_found_out", wait_until_served, |ended| {
        ended.quietly();
        let waits = Waits::said(|name| ended.said(name));
        assert!(waits.slept > 0 && waits.judge().is_err(), "{waits:?}");
    })
    .heap(Heap::Patient)
    .variables(&[("HEAPLEDGER_MODE", "perfect")]),
    Case::here("waits_are_judged", judged),
];

const BLOCK_BYTES: usize = 48;
/// Blocks that live while snapshots are taken, so that each holds the books for long.
const LIVE_BLOCKS: usize = 150_000;
/// Waits after which there are enough to judge.
const ENOUGH: u64 = 200;
/// Nanoseconds that one round of a wait is said to take.
const ROUND_NS: u64 = 20;
/// The longest single wait between two tries, whatever is configured.
const DELAY_NS_MAX: u64 = 100_000;
/// Of a hundred waits, so many may be disturbed: by page faults, interrupts, or a processor that was taken away.
const DISTURBED_PERCENT: u64 = 10;

/// What the allocations of one thread came to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Waits {
    /// Allocations that took at least half of the budget.
    waited: u64,
    /// Of these, those that took more than twice the budget.
    over: u64,
    /// Of these, those in which the thread went to sleep.
    slept: u64,
}

impl Waits {
    fn said(said: impl Fn(&str) -> u64) -> Waits {
        Waits { waited: said("waited"), over: said("over"), slept: said("slept") }
    }

    fn judge(&self) -> Result<(), &'static str> {
        let few = self.waited * DISTURBED_PERCENT / 100;
        match self {
            Waits { waited: 0, .. } => Err("nothing waited"),
            Waits { over, .. } if *over > few => Err("allocations wait for longer than their budget"),
            Waits { slept, .. } if *slept > few => Err("allocations sleep"),
            _ => Ok(()),
        }
    }
}

fn judged() {
    let waits = |waited, over, slept| Waits { waited, over, slept }.judge();
    assert_eq!(waits(200, 20, 20), Ok(()));
    assert!(waits(200, 21, 0).is_err() && waits(200, 0, 21).is_err() && waits(0, 0, 0).is_err());
}

/// Processor time of the budget, as turning takes it on this machine.
static BUDGET_NS: AtomicU64 = AtomicU64::new(0);
static WAITED: AtomicU64 = AtomicU64::new(0);
static OVER: AtomicU64 = AtomicU64::new(0);
static SLEPT: AtomicU64 = AtomicU64::new(0);
static STOP: AtomicBool = AtomicBool::new(false);

fn thread_cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writes.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) }, 0);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// How often this thread gave its processor away to sleep.
fn sleeps() -> i64 {
    // SAFETY: all zero bytes are a valid value of this plain structure, which is valid for writes.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_THREAD, &mut usage), 0);
        usage.ru_nvcsw
    }
}

/// Turns as often as a wait for the whole budget does, and returns what that takes: the least of some times.
fn turned_ns() -> u64 {
    let rounds: u64 =
        (0..PATIENT_TRIES).map(|tries| (PATIENT_DELAY_NS << tries).min(DELAY_NS_MAX) / ROUND_NS).sum();
    let once = |_| {
        let began = thread_cpu_ns();
        (0..rounds).for_each(|_| spin_loop());
        thread_cpu_ns() - began
    };
    (0..20).map(once).min().expect("there are some")
}

/// Makes blocks and looks what each costs, then frees them, until told to stop.
extern "C" fn load(_number: *mut c_void) -> *mut c_void {
    let budget_ns = BUDGET_NS.load(SeqCst);
    let mut held = [null_mut::<u8>(); 2_000];
    while !STOP.load(SeqCst) {
        for slot in &mut held {
            let (slept, began) = (sleeps(), thread_cpu_ns());
            *slot = block(BLOCK_BYTES);
            let (took, slept) = (thread_cpu_ns() - began, sleeps() - slept);
            if took >= budget_ns / 2 || slept > 0 {
                WAITED.fetch_add(1, SeqCst);
                OVER.fetch_add(u64::from(took > 2 * budget_ns), SeqCst);
                SLEPT.fetch_add(u64::from(slept > 0), SeqCst);
            }
        }
        held.iter().for_each(|slot| free(*slot, BLOCK_BYTES));
    }
    null_mut()
}

/// One thread under load, whose books are held again and again until enough of its allocations have waited.
fn hold_books() {
    BUDGET_NS.store(turned_ns(), SeqCst);
    let live: Vec<*mut u8> = (0..LIVE_BLOCKS).map(|_| block(BLOCK_BYTES)).collect();
    let loading = std::thread::spawn(|| threads::<1>(load));
    while WAITED.load(SeqCst) < ENOUGH {
        heapledger::snapshot().expect("it is installed");
    }
    STOP.store(true, SeqCst);
    loading.join().expect("the load ends");
    heapledger::flush();
    laws::counted(&heapledger::quality()).unwrap();
    live.into_iter().for_each(|held| free(held, BLOCK_BYTES));
    println!("budget={}", BUDGET_NS.load(SeqCst));
    for (name, count) in [("waited", &WAITED), ("over", &OVER), ("slept", &SLEPT)] {
        println!("{name}={}", count.load(SeqCst));
    }
}

fn wait_by_turning() {
    hold_books();
    // Those that waited in vain were shed, and counted.
    assert!(
        heapledger::quality().lost.get(LossReason::RingFull) >= ENOUGH / 4,
        "{:?}",
        heapledger::quality()
    );
}

fn wait_until_served() {
    hold_books();
    assert_eq!(heapledger::quality().lost.total(), 0);
}
