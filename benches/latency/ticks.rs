//! The clock: the processor's counter if it is invariant, else the system's monotonic clock.
//!
//! The counter is read between two fences, so that no part of the measured call runs before the first reading or after
//! the second. The fences cost some nanoseconds, which every figure includes.

use std::time::{Duration, Instant};

/// Time over which the counter's rate is measured.
const CALIBRATION: Duration = Duration::from_millis(100);

/// Returns the current reading, in ticks.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub fn now() -> u64 {
    use std::arch::x86_64::{_mm_lfence, _rdtsc};
    // SAFETY: every processor of this architecture has these instructions.
    unsafe {
        _mm_lfence();
        let ticks = _rdtsc();
        _mm_lfence();
        ticks
    }
}

/// Returns the current reading, in nanoseconds.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writes.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The length of a tick.
pub struct Clock {
    pub ns_per_tick: f64,
}

impl Clock {
    /// Measures the length of a tick against the system's clock.
    pub fn calibrated() -> Clock {
        let (start, first) = (Instant::now(), now());
        while start.elapsed() < CALIBRATION {
            std::hint::spin_loop();
        }
        let (took, last) = (start.elapsed(), now());
        Clock { ns_per_tick: took.as_nanos() as f64 / last.saturating_sub(first).max(1) as f64 }
    }

    pub fn name(&self) -> &'static str {
        if cfg!(target_arch = "x86_64") { "the processor's counter, between fences" } else { "clock_gettime" }
    }

    pub fn ns(&self, ticks: u64) -> f64 {
        ticks as f64 * self.ns_per_tick
    }
}
