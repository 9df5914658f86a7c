//! A global allocator that forwards to one of three allocators. All three forward to System, so even a block that is
//! freed under another allocator would be freed correctly. The work frees each block under the allocator that allocated
//! it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU32, Ordering};

use heapledger::{DumpTarget, HeapLedger};
use stats_alloc::StatsAlloc;

/// The allocator that is global at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chosen {
    Bare,
    StatsAlloc,
    Heapledger,
}

impl Chosen {
    pub const ALL: [Chosen; 3] = [Chosen::Bare, Chosen::StatsAlloc, Chosen::Heapledger];
}

/// The measured allocators. Work that does not need a global allocator calls them directly.
pub struct Switch {
    turn: AtomicU32,
    pub stats_alloc: StatsAlloc<System>,
    pub heapledger: HeapLedger,
}

#[global_allocator]
pub static SWITCH: Switch = Switch {
    turn: AtomicU32::new(Chosen::Bare as u32),
    stats_alloc: StatsAlloc::system(),
    heapledger: HeapLedger::system().stacks(heapledger::Stacks::Off).dump(DumpTarget::Off),
};

/// Does the work with the chosen allocator as the global one. The work must free what it allocates.
pub fn while_global<T: Copy>(chosen: Chosen, work: impl FnOnce() -> T) -> T {
    // relaxed, all accesses: only one thread does the work, and a block of another thread may come from any of the
    // three.
    SWITCH.turn.store(chosen as u32, Ordering::Relaxed);
    let outcome = work();
    SWITCH.turn.store(Chosen::Bare as u32, Ordering::Relaxed);
    outcome
}

const STATS_ALLOC: u32 = Chosen::StatsAlloc as u32;
const HEAPLEDGER: u32 = Chosen::Heapledger as u32;

// SAFETY: every method hands its arguments to an allocator that keeps the contract, and all three forward to System.
unsafe impl GlobalAlloc for Switch {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        unsafe {
            match self.turn.load(Ordering::Relaxed) {
                HEAPLEDGER => self.heapledger.alloc(layout),
                STATS_ALLOC => self.stats_alloc.alloc(layout),
                _ => System.alloc(layout),
            }
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        unsafe {
            match self.turn.load(Ordering::Relaxed) {
                HEAPLEDGER => self.heapledger.alloc_zeroed(layout),
                STATS_ALLOC => self.stats_alloc.alloc_zeroed(layout),
                _ => System.alloc_zeroed(layout),
            }
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe {
            match self.turn.load(Ordering::Relaxed) {
                HEAPLEDGER => self.heapledger.dealloc(block, layout),
                STATS_ALLOC => self.stats_alloc.dealloc(block, layout),
                _ => System.dealloc(block, layout),
            }
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        unsafe {
            match self.turn.load(Ordering::Relaxed) {
                HEAPLEDGER => self.heapledger.realloc(block, layout, new_size),
                STATS_ALLOC => self.stats_alloc.realloc(block, layout, new_size),
                _ => System.realloc(block, layout, new_size),
            }
        }
    }
}
