//! An allocator that times each call of another allocator.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::RefCell;

use hdrhistogram::Histogram;

use crate::ticks;

/// Longest time that a histogram resolves, in ticks: more than half a minute. A longer time counts as this maximum.
const TICKS_MAX: u64 = 1 << 37;
/// Significant decimal digits of a histogram.
const DIGITS: u8 = 2;

/// Histograms of one thread. They are made before the measurement and never grow.
pub struct Meter {
    pub is_on: bool,
    pub allocs: Histogram<u64>,
    pub frees: Histogram<u64>,
}

impl Meter {
    pub fn new() -> Meter {
        Meter { is_on: false, allocs: histogram(), frees: histogram() }
    }

    pub fn add(&mut self, other: &Meter) {
        self.allocs.add(&other.allocs).expect("both have the same bounds");
        self.frees.add(&other.frees).expect("both have the same bounds");
    }
}

/// Returns an empty histogram of ticks.
pub fn histogram() -> Histogram<u64> {
    let mut histogram =
        Histogram::new_with_bounds(1, TICKS_MAX, DIGITS).expect("the bounds are those of a histogram");
    // Writes to the whole histogram, so that none of its pages is touched for the first time during the measurement.
    histogram.clear();
    histogram
}

/// An allocator that times each call of `inner`, for one thread.
pub struct Timed<'a, A> {
    inner: &'a A,
    meter: &'a RefCell<Meter>,
}

impl<'a, A> Timed<'a, A> {
    pub fn new(inner: &'a A, meter: &'a RefCell<Meter>) -> Self {
        Timed { inner, meter }
    }
}

// SAFETY: both methods hand their arguments to an allocator that keeps the contract.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Timed<'_, A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let began = ticks::now();
        // SAFETY: the caller's promise, passed on.
        let block = unsafe { self.inner.alloc(layout) };
        let took = ticks::now().saturating_sub(began);
        let mut meter = self.meter.borrow_mut();
        if meter.is_on {
            meter.allocs.saturating_record(took);
        }
        block
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let began = ticks::now();
        // SAFETY: the caller's promise, passed on.
        unsafe { self.inner.dealloc(block, layout) };
        let took = ticks::now().saturating_sub(began);
        let mut meter = self.meter.borrow_mut();
        if meter.is_on {
            meter.frees.saturating_record(took);
        }
    }
}

/// An allocator that does nothing, which shows the cost of the clock and the noise of the machine.
pub struct Nothing;

// SAFETY: none of its blocks is ever written or read: the one workload that uses it does neither.
unsafe impl GlobalAlloc for Nothing {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        std::ptr::without_provenance_mut(layout.align())
    }

    #[inline]
    unsafe fn dealloc(&self, _block: *mut u8, _layout: Layout) {}
}
