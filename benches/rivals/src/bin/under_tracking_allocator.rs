//! tracking-allocator with a minimal tracker, which counts.

use std::alloc::System;
use std::sync::atomic::{AtomicU64, Ordering};

use tracking_allocator::{AllocationGroupId, AllocationRegistry, AllocationTracker, Allocator};

#[global_allocator]
static HEAP: Allocator<System> = Allocator::system();

static ALLOCATED: AtomicU64 = AtomicU64::new(0);
static FREED: AtomicU64 = AtomicU64::new(0);

struct Counter;

impl AllocationTracker for Counter {
    fn allocated(&self, _: usize, _: usize, _: usize, _: AllocationGroupId) {
        // relaxed: a count.
        ALLOCATED.fetch_add(1, Ordering::Relaxed);
    }

    fn deallocated(&self, _: usize, _: usize, _: usize, _: AllocationGroupId, _: AllocationGroupId) {
        // relaxed: a count.
        FREED.fetch_add(1, Ordering::Relaxed);
    }
}

fn main() {
    AllocationRegistry::set_global_tracker(Counter).expect("it is the only one");
    AllocationRegistry::enable_tracking();
    rivals::child::main(|| (Some(ALLOCATED.load(Ordering::Relaxed)), None));
}
