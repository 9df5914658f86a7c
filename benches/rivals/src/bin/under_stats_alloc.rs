//! stats_alloc: six shared counters, no events.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    rivals::child::main(|| {
        let stats = HEAP.stats();
        (Some((stats.allocations + stats.reallocations) as u64), None)
    });
}
