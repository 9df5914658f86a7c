//! mod-alloc in its default tier: shared counters, no call sites.

#[global_allocator]
static HEAP: mod_alloc::ModAlloc = mod_alloc::ModAlloc::new();

fn main() {
    rivals::child::main(|| (Some(HEAP.snapshot().alloc_count), None));
}
