//! Code that must not allocate: clones and drops of tracked pointers, and recording in every strategy.

#![allow(unsafe_code, reason = "implements an allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// An allocator that counts the allocations of each thread.
struct Counting;

// SAFETY: every method passes its arguments on to the system's allocator and returns its result.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(block, layout) };
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Returns the number of allocations of this thread during `work`.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn clones_and_drops_of_tracked_pointers_do_not_allocate() {
    let pointer = heapledger::Tracked::new(Arc::new(1), "pointer");
    // The counter does count an allocation.
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
    let cloned_and_dropped = allocations(|| (0..10_000).for_each(|_| drop(pointer.clone())));
    assert_eq!(cloned_and_dropped, 0);
    let inner = Arc::new(2);
    let wrapped = allocations(|| drop(heapledger::Tracked::new(inner, "another").into_inner()));
    assert_eq!(wrapped, 0);
    assert_eq!(heapledger::tracked().pointers[0].clones, 10_000);
}

#[cfg(feature = "strategies")]
#[test]
fn recording_allocates_in_no_strategy() {
    use heapledger::strategies::{Event, Limits, all};

    for collector in all(&Limits { queue_events: 64, ..Limits::default() }) {
        let mut handle = collector.register().expect("a place");
        let recorded = allocations(|| {
            for number in 0..10_000 {
                collector.record(&mut handle, Event::alloc(number, 64));
            }
        });
        assert_eq!(recorded, 0, "{}", collector.name());
    }
}
