//! The system allocator with a delay before each call: the cost of a recorder that takes time and touches no memory. If
//! this program is faster than the bare one, the program's threads wait for each other.
#![allow(unsafe_code, reason = "is an allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;

struct Delayed;

/// Number of iterations of a loop before each call; they take some 2 ns.
const TURNS: u32 = 10;

#[inline(always)]
fn delay() {
    for turn in 0..TURNS {
        black_box(turn);
    }
}

// SAFETY: `System` does the work.
unsafe impl GlobalAlloc for Delayed {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        delay();
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        delay();
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static HEAP: Delayed = Delayed;

fn main() {
    rivals::child::main(|| (None, None));
}
