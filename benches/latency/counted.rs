//! The global allocator of the bench: System with a count of the calls of each thread. This allocator is not measured.
//! Its counts prove that measuring does not allocate.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

/// Returns the number of calls of the global allocator by this thread so far.
pub fn calls() -> u64 {
    CALLS.get()
}

struct Counted;

#[global_allocator]
static GLOBAL: Counted = Counted;

fn count() {
    CALLS.set(CALLS.get() + 1);
}

// SAFETY: every method hands its arguments to System.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(block, layout) }
    }
}
