//! The global allocator of this program: a ledger with an inner allocator, both chosen by the environment.
//!
//! A process has one global allocator, and its options are constants. So the allocator here forwards each call to one
//! of several statics, always the same one in a process. One program can thus run every scenario.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::CStr;
use std::sync::atomic::{AtomicU32, Ordering};

use heapledger::{
    ConcurrencyConfig, DataQualityMode, DumpTarget, ForkPolicy, HeapLedger, HistoryLimits, QualityIndicator,
    Signal, Triggers, TuningGoal,
};

use super::chaos::Exact;
use super::inner::{Bump, CallsBack, Scripted};

/// Environment variable that names the heap of a child. It is read at the first allocation, before `main`.
pub const VARIABLE: &str = "PROCESS_TEST_HEAP";
const VARIABLE_C: &CStr = c"PROCESS_TEST_HEAP";

/// The allocator behind the global one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Heap {
    /// The system's allocator and no ledger: the test runner itself.
    Bare = 1,
    /// The ledger of the one-line set-up.
    Plain,
    /// A ledger around an allocator that counts and, on request, refuses.
    Counted,
    /// Like `Counted`, but without the background thread, so that only the program allocates.
    Alone,
    /// A ledger whose threads never book a full ring themselves and never wait, without a background thread.
    Shedding,
    /// A ledger with a limit of 16 MiB.
    Tight,
    /// A ledger without enough memory to open.
    Starved,
    /// A ledger with which forked children record nothing.
    ChildOff,
    /// A ledger around an allocator that a signal handler may call.
    Bump,
    /// A ledger around an allocator that calls the global allocator.
    CallsBack,
    /// A ledger whose builder switches the dump at exit off.
    NoDump,
    /// A ledger around jemalloc.
    Jemalloc,
    /// A ledger around mimalloc.
    Mimalloc,
    /// Another profiler, without a ledger.
    Dhat,
    /// A ledger without spare segments and without retries.
    Strict,
    /// A ledger that never helps, and whose tuner has a target near 1.
    Tuned,
    /// A ledger that never helps, without tuner and callback.
    Untuned,
    /// A ledger that never helps, and has a callback for crossings of the target.
    Telling,
    /// A ledger with invalid settings.
    Senseless,
    /// A ledger that records only if the environment asks for it.
    OnRequest,
    /// A ledger whose builder asks for dumps on a signal and above a limit.
    Watchful,
    /// A ledger without spare segments, with a few retries after long waits: [`PATIENT_TRIES`], [`PATIENT_DELAY_NS`].
    Patient,
    /// A ledger around an allocator that counts the calls of the program, and that a signal handler may call.
    Exact,
    /// A ledger that never helps, with the largest rings.
    WideRings,
}

impl Heap {
    const ALL: [Heap; 24] = [
        Heap::Bare,
        Heap::Plain,
        Heap::Counted,
        Heap::Alone,
        Heap::Shedding,
        Heap::Tight,
        Heap::Starved,
        Heap::ChildOff,
        Heap::Bump,
        Heap::CallsBack,
        Heap::NoDump,
        Heap::Jemalloc,
        Heap::Mimalloc,
        Heap::Dhat,
        Heap::Strict,
        Heap::Tuned,
        Heap::Untuned,
        Heap::Telling,
        Heap::Senseless,
        Heap::OnRequest,
        Heap::Watchful,
        Heap::Patient,
        Heap::Exact,
        Heap::WideRings,
    ];

    /// Returns the value of [`VARIABLE`]: one letter.
    pub fn letter(self) -> char {
        (b'a' + self as u8) as char
    }

    fn from_letter(letter: u8) -> Heap {
        // This runs at every call of the allocator, so it does not search. The comparison checks the order.
        let at = usize::from(letter.wrapping_sub(b'a' + Heap::Bare as u8));
        Heap::ALL.get(at).copied().filter(|heap| heap.letter() as u8 == letter).unwrap_or(Heap::Bare)
    }
}

static PLAIN: HeapLedger = HeapLedger::system();
static COUNTED: HeapLedger<Scripted> = HeapLedger::new(Scripted);
static ALONE: HeapLedger<Scripted> = HeapLedger::new(Scripted).background(false);
static SHEDDING: HeapLedger<Scripted> =
    HeapLedger::new(Scripted).background(false).mode(DataQualityMode::BestEffort);
static WIDE_RINGS: HeapLedger<Scripted> =
    HeapLedger::new(Scripted).background(false).mode(DataQualityMode::BestEffort).ring_bytes(384 << 10);
static TIGHT: HeapLedger<Scripted> = HeapLedger::new(Scripted).background(false).memory_limit(16 << 20);
static STARVED: HeapLedger<Scripted> = HeapLedger::new(Scripted).memory_limit(1 << 16);
static CHILD_OFF: HeapLedger<Scripted> = HeapLedger::new(Scripted).fork(ForkPolicy::Off);
static BUMP: HeapLedger<Bump> = HeapLedger::new(Bump);
static CALLS_BACK: HeapLedger<CallsBack> = HeapLedger::new(CallsBack).background(false);
static EXACT: HeapLedger<Exact> = HeapLedger::new(Exact).sampling_bytes(1 << 10);
static NO_DUMP: HeapLedger = HeapLedger::system().dump(DumpTarget::Off);
static JEMALLOC: HeapLedger<tikv_jemallocator::Jemalloc> = HeapLedger::new(tikv_jemallocator::Jemalloc);
static MIMALLOC: HeapLedger<mimalloc::MiMalloc> = HeapLedger::new(mimalloc::MiMalloc);
static DHAT: dhat::Alloc = dhat::Alloc;
static STRICT: HeapLedger<Scripted> =
    HeapLedger::new(Scripted).sampling_bytes(1 << 10).concurrency(ConcurrencyConfig {
        max_retries: 0,
        enable_overflow_buffer: false,
        ..ConcurrencyConfig::DEFAULT
    });
static TUNED: HeapLedger<Scripted> = HeapLedger::new(Scripted)
    .mode(DataQualityMode::BestEffort)
    .auto_tune(TuningGoal { target_completeness: 0.9999, budget_ns: 1_000_000, ..TuningGoal::DEFAULT });
static UNTUNED: HeapLedger<Scripted> = HeapLedger::new(Scripted)
    .mode(DataQualityMode::BestEffort)
    // Far fewer events than any ring holds, so that two readings under load agree.
    .history(HistoryLimits { events: 64, ..HistoryLimits::DEFAULT });
static TELLING: HeapLedger<Scripted> = HeapLedger::new(Scripted)
    .mode(DataQualityMode::BestEffort)
    // Far fewer events than any ring holds, so that two readings under load agree.
    .history(HistoryLimits { events: 64, ..HistoryLimits::DEFAULT })
    .on_quality(super::alarms::on_quality as fn(&QualityIndicator));
static ON_REQUEST: HeapLedger<Scripted> = HeapLedger::new(Scripted).on_request();
static SENSELESS: HeapLedger<Scripted> = HeapLedger::new(Scripted)
    .concurrency(ConcurrencyConfig { target_completeness: 1.5, ..ConcurrencyConfig::DEFAULT })
    .auto_tune(TuningGoal { target_completeness: f64::NAN, budget_ns: 0, ..TuningGoal::DEFAULT })
    .sampling_bytes(0)
    .memory_limit(0);

static WATCHFUL: HeapLedger<Scripted> = HeapLedger::new(Scripted)
    .dump_on_signal(Signal::Hangup)
    .triggers(Triggers { live_bytes: Some(5 << 20), ..Triggers::DEFAULT });

/// Retries of [`Heap::Patient`] when its ring is full.
pub const PATIENT_TRIES: u32 = 3;
/// Wait before each retry, in nanoseconds: the maximum.
pub const PATIENT_DELAY_NS: u64 = 100_000;
static PATIENT: HeapLedger<Scripted> = HeapLedger::new(Scripted).concurrency(ConcurrencyConfig {
    max_retries: PATIENT_TRIES,
    base_delay_ns: PATIENT_DELAY_NS,
    enable_overflow_buffer: false,
    ..ConcurrencyConfig::DEFAULT
});

/// Returns the allocator of [`Heap::Telling`] for direct calls, which are faster than calls through [`behind`].
pub fn telling() -> &'static HeapLedger<Scripted> {
    &TELLING
}

/// Returns the message of `validate` on the invalid settings.
pub fn senseless() -> String {
    SENSELESS.validate().expect_err("they mean nothing").to_string()
}

/// The heap of this process; 0 until the first call.
static CHOSEN: AtomicU32 = AtomicU32::new(0);

/// Returns the heap of this process.
pub fn chosen() -> Heap {
    let known = CHOSEN.load(Ordering::Relaxed);
    if known != 0 {
        return Heap::from_letter(known as u8);
    }
    // SAFETY: the name is terminated; the first call comes before there is a second thread.
    let letter = unsafe {
        let value = libc::getenv(VARIABLE_C.as_ptr());
        if value.is_null() { Heap::Bare.letter() as u8 } else { *value.cast::<u8>() }
    };
    CHOSEN.store(u32::from(letter), Ordering::Relaxed);
    Heap::from_letter(letter)
}

/// Returns the allocator behind the global one. The program's calls go through it.
fn behind() -> &'static dyn GlobalAlloc {
    match chosen() {
        Heap::Bare => &System,
        Heap::Plain => &PLAIN,
        Heap::Counted => &COUNTED,
        Heap::Alone => &ALONE,
        Heap::Shedding => &SHEDDING,
        Heap::Tight => &TIGHT,
        Heap::Starved => &STARVED,
        Heap::ChildOff => &CHILD_OFF,
        Heap::Bump => &BUMP,
        Heap::CallsBack => &CALLS_BACK,
        Heap::NoDump => &NO_DUMP,
        Heap::Jemalloc => &JEMALLOC,
        Heap::Mimalloc => &MIMALLOC,
        Heap::Dhat => &DHAT,
        Heap::Strict => &STRICT,
        Heap::Tuned => &TUNED,
        Heap::Untuned => &UNTUNED,
        Heap::Telling => &TELLING,
        Heap::Senseless => &SENSELESS,
        Heap::OnRequest => &ON_REQUEST,
        Heap::Watchful => &WATCHFUL,
        Heap::Patient => &PATIENT,
        Heap::Exact => &EXACT,
        Heap::WideRings => &WIDE_RINGS,
    }
}

struct Switch;

#[global_allocator]
static HEAP: Switch = Switch;

// SAFETY: every call goes, unchanged, to the same static allocator for the life of the process.
unsafe impl GlobalAlloc for Switch {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        unsafe { behind().alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        unsafe { behind().alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { behind().dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        unsafe { behind().realloc(block, layout, new_size) }
    }
}
