//! The system allocator, each call of which comes a little later: what a recorder that only took time, and touched nothing,
//! would cost. Where this is cheaper than nothing at all, the program's threads keep each other waiting.
#![allow(unsafe_code, reason = "is an allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;

struct Delayed;

/// Turns of a loop before each call: some 2 ns.
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
