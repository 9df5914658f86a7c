//! The clock: raw ticks on the hot path, and nanoseconds since the opening of the ledger everywhere else.
//!
//! The clock has two sources. Reading the processor's time-stamp counter costs a fifth of a call of the system's clock.
//! The counter is used only under two conditions: the processor promises a constant rate through all power states,
//! *and* the system trusts the counter (Linux: `tsc` is the current clock source). Otherwise the system's monotonic
//! clock is used. Every dump contains the chosen source and the reason.
//!
//! The rate of the counter is measured against the monotonic clock for [`CALIBRATION_NS`] when the ledger is opened,
//! which bounds the error of the rate to about a hundredth of a percent. The rate is not corrected later, so time never
//! jumps. At the start and at the end of this comparison, both clocks are read several times, and the reading with the
//! smallest uncertainty is used. Otherwise an interruption between the two clocks would make the rate wrong for the
//! whole run.

use std::sync::atomic::{AtomicU64, Ordering};

/// Time for which the counter is compared with the monotonic clock, in nanoseconds. With readings that are exact to 20
/// ns, 200 µs leave an error of about 10⁻⁴. A longer comparison would noticeably delay the start of the program.
const CALIBRATION_NS: u64 = 200_000;
/// Number of readings of both clocks at either end of the comparison. The reading with the smallest uncertainty is
/// used.
const READINGS: usize = 8;

/// Fractional bits of the factor from ticks to nanoseconds.
const FACTOR_BITS: u32 = 32;

/// The reason for the choice of the clock source. It implies the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Choice {
    /// The counter is invariant and the system trusts it.
    Counter = 1,
    /// The user asked for the monotonic clock.
    Asked = 2,
    /// The processor does not promise a constant rate.
    NotInvariant = 3,
    /// The system does not use the counter as its clock source.
    NotTrusted = 4,
    /// This build has no counter for this processor.
    NoCounter = 5,
}

impl Choice {
    pub(crate) fn source(self) -> &'static str {
        if self == Choice::Counter { "tsc" } else { "monotonic" }
    }

    pub(crate) fn why(self) -> &'static str {
        match self {
            Choice::Counter => "the counter runs at a constant rate and the system trusts it",
            Choice::Asked => "asked for",
            Choice::NotInvariant => "the processor's counter does not run at a constant rate",
            Choice::NotTrusted => "the system does not use the processor's counter as its own clock",
            Choice::NoCounter => "no counter is supported on this processor",
        }
    }

    fn from_raw(raw: u64) -> Choice {
        match raw {
            1 => Choice::Counter,
            2 => Choice::Asked,
            3 => Choice::NotInvariant,
            4 => Choice::NotTrusted,
            _ => Choice::NoCounter,
        }
    }
}

/// A clock, which can lie in zeroed pages. It is written once, before the ledger is published.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Clock {
    choice: AtomicU64,
    start_ticks: AtomicU64,
    /// Nanoseconds per tick, with [`FACTOR_BITS`] fractional bits.
    factor: AtomicU64,
    /// The time that a test has set, in nanoseconds; 0 while the test has set none.
    #[cfg(test)]
    by_hand_ns: AtomicU64,
}

#[cfg(test)]
impl Clock {
    /// Sets the time, which then stays constant until the next call. `ns` is not 0.
    pub(crate) fn set_by_hand(&self, ns: u64) {
        self.by_hand_ns.store(ns, Ordering::Relaxed);
    }
}

impl Clock {
    /// Chooses a source and measures its rate. The caller calls this once, before the ledger is published.
    pub(crate) fn start(&self, want_monotonic: bool) {
        let choice = if want_monotonic { Choice::Asked } else { counter::judge() };
        let factor = if choice == Choice::Counter { measured_factor() } else { 1 << FACTOR_BITS };
        // relaxed: the ledger that holds this clock is published by a release store later.
        self.choice.store(choice as u64, Ordering::Relaxed);
        self.factor.store(factor, Ordering::Relaxed);
        self.start_ticks.store(self.ticks(), Ordering::Relaxed);
    }

    pub(crate) fn choice(&self) -> Choice {
        // relaxed: written before the ledger was published.
        Choice::from_raw(self.choice.load(Ordering::Relaxed))
    }

    /// Returns the time since the ledger was opened, in nanoseconds. The reading may be some hundred cycles early or
    /// late.
    #[inline]
    pub(crate) fn now_ns(&self) -> u64 {
        #[cfg(test)]
        if let by_hand @ 1.. = self.by_hand_ns.load(Ordering::Relaxed) {
            return by_hand;
        }
        self.since_start(self.ticks())
    }

    /// Returns the time like [`Clock::now_ns`], but read only after the loads before this call are complete. This time
    /// is the stamp of an allocation: it must not precede the stamp of the free that made the address available.
    #[inline]
    pub(crate) fn now_after_loads_ns(&self) -> u64 {
        counter::finish_loads();
        self.now_ns()
    }

    #[inline]
    fn ticks(&self) -> u64 {
        if self.choice() == Choice::Counter { counter::read() } else { monotonic_ns() }
    }

    #[inline]
    fn since_start(&self, ticks: u64) -> u64 {
        // relaxed: written before the ledger was published.
        let start = self.start_ticks.load(Ordering::Relaxed);
        let factor = self.factor.load(Ordering::Relaxed);
        // Directly after the start, the counter of another core may lag by a few ticks.
        let elapsed = ticks.saturating_sub(start);
        ((u128::from(elapsed) * u128::from(factor)) >> FACTOR_BITS) as u64
    }
}

/// A reading of the system's clock between two readings of the counter.
#[derive(Debug, Clone, Copy)]
struct Reading {
    before: u64,
    ns: u64,
    after: u64,
}

impl Reading {
    fn take() -> Reading {
        let before = counter::read();
        let ns = monotonic_ns();
        Reading { before, ns, after: counter::read() }
    }

    /// Returns the uncertainty of the counter's value at the reading, in ticks.
    fn doubt(&self) -> u64 {
        self.after.saturating_sub(self.before)
    }

    /// Returns the estimated value of the counter at the reading, in ticks.
    fn ticks(&self) -> u64 {
        self.before + self.doubt() / 2
    }
}

/// Reads both clocks several times, and returns the reading with the smallest uncertainty.
fn tightest(mut take: impl FnMut(usize) -> Reading) -> Reading {
    let first = take(0);
    (1..READINGS)
        .map(take)
        .fold(first, |best, reading| if reading.doubt() < best.doubt() { reading } else { best })
}

fn measured_factor() -> u64 {
    let began = tightest(|_| Reading::take());
    while monotonic_ns().saturating_sub(began.ns) < CALIBRATION_NS {}
    factor(began, tightest(|_| Reading::take()))
}

/// Returns the nanoseconds per tick between two readings, with [`FACTOR_BITS`] fractional bits.
fn factor(began: Reading, ended: Reading) -> u64 {
    let elapsed_ticks = ended.ticks().wrapping_sub(began.ticks()).max(1);
    ((u128::from(ended.ns.saturating_sub(began.ns)) << FACTOR_BITS) / u128::from(elapsed_ticks)) as u64
}

/// Returns the time of the system's monotonic clock, in nanoseconds from an arbitrary origin.
#[cfg(all(target_os = "linux", not(heapledger_portable)))]
pub(crate) fn monotonic_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writes; this clock exists on every supported system.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Returns the time of the system's monotonic clock, in nanoseconds from an arbitrary origin.
#[cfg(not(all(target_os = "linux", not(heapledger_portable))))]
pub(crate) fn monotonic_ns() -> u64 {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::time::Instant;
    // `Instant` has no origin, so the first reading is the origin. It lies in memory of the system's allocator that is
    // never freed, because this call may come from inside the global allocator.
    let first = super::statics::STATICS.os.first_instant.get_or_try_init(|| {
        // SAFETY: the layout is not empty; a block that is not null is fresh, and has the layout of an `Instant`.
        unsafe {
            let first = System.alloc(Layout::new::<Instant>()).cast::<Instant>();
            if !first.is_null() {
                first.write(Instant::now());
            }
            first.as_ref().ok_or(())
        }
    });
    first.map_or(0, |first| first.elapsed().as_nanos() as u64)
}

#[cfg(all(target_arch = "x86_64", target_os = "linux", not(heapledger_portable)))]
mod counter {
    use super::Choice;
    use core::arch::x86_64::{__cpuid, _mm_lfence, _rdtsc};

    #[inline(always)]
    pub(super) fn read() -> u64 {
        // SAFETY: every x86-64 processor has the instruction; it touches no memory.
        unsafe { _rdtsc() }
    }

    /// Waits until earlier loads are complete. `rdtsc` alone does not wait (Intel SDM, volume 2B, RDTSC).
    #[inline(always)]
    pub(super) fn finish_loads() {
        // SAFETY: the instruction is part of SSE2, which every x86-64 processor has.
        unsafe { _mm_lfence() };
    }

    /// Chooses the counter if it is invariant and trusted. CPUID leaf 8000_0007h, EDX bit 8, promises an "invariant
    /// TSC" (Intel SDM, volume 3B, 19.17.1).
    pub(super) fn judge() -> Choice {
        let highest = __cpuid(0x8000_0000).eax;
        if highest < 0x8000_0007 || __cpuid(0x8000_0007).edx & (1 << 8) == 0 {
            return Choice::NotInvariant;
        }
        if system_trusts_it() { Choice::Counter } else { Choice::NotTrusted }
    }

    fn system_trusts_it() -> bool {
        let mut text = [0u8; 16];
        let path = c"/sys/devices/system/clocksource/clocksource0/current_clocksource";
        // kvm-clock is computed from the counter with a factor of the host. So under kvm-clock the counter itself is
        // reliable.
        match super::super::platform::read_small_file(path, &mut text) {
            Some(length) => matches!(text[..length].trim_ascii(), b"tsc" | b"kvm-clock"),
            None => false,
        }
    }
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux", not(heapledger_portable))))]
mod counter {
    use super::Choice;

    pub(super) fn read() -> u64 {
        super::monotonic_ns()
    }

    pub(super) fn finish_loads() {
        std::sync::atomic::fence(std::sync::atomic::Ordering::Acquire);
    }

    pub(super) fn judge() -> Choice {
        Choice::NoCounter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(want_monotonic: bool) -> Clock {
        let clock = Clock {
            choice: AtomicU64::new(0),
            start_ticks: AtomicU64::new(0),
            factor: AtomicU64::new(0),
            by_hand_ns: AtomicU64::new(0),
        };
        clock.start(want_monotonic);
        clock
    }

    #[test]
    fn both_sources_agree_within_one_percent() {
        let (chosen, monotonic) = (clock(false), clock(true));
        assert_eq!(monotonic.choice(), Choice::Asked);
        let before = (chosen.now_ns(), monotonic.now_ns());
        while monotonic.now_ns() - before.1 < 20_000_000 {}
        let after = (chosen.now_ns(), monotonic.now_ns());
        let ratio = (after.0 - before.0) as f64 / (after.1 - before.1) as f64;
        assert!((0.99..1.01).contains(&ratio), "{:?}: ratio {ratio}", chosen.choice());
    }

    #[test]
    fn an_interruption_while_the_clocks_are_read_does_not_spoil_the_rate() {
        // The clock has three ticks per nanosecond. All readings but one at either end are interrupted: half of them
        // before, and half of them after the system's clock is read.
        let reading = |at_ns: u64, lucky: usize| {
            move |number: usize| {
                let ns = at_ns + number as u64 * 1_000_000;
                let late = if number == lucky { 0 } else { 400_000 };
                let [before, after] = if number.is_multiple_of(2) { [0, late] } else { [late, 0] };
                Reading { before: 3 * ns - 30 - before, ns, after: 3 * ns + 30 + after }
            }
        };
        let (began, ended) = (tightest(reading(1_000_000, 3)), tightest(reading(20_000_000, 6)));
        assert_eq!((began.ns, ended.ns), (4_000_000, 26_000_000));
        assert_eq!(factor(began, ended), (1 << FACTOR_BITS) / 3);
    }

    #[test]
    fn time_does_not_run_backwards() {
        let clock = clock(false);
        let mut last = 0;
        for _ in 0..10_000 {
            let now = clock.now_after_loads_ns();
            assert!(now >= last);
            last = now;
        }
    }
}
