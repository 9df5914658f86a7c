//! The Tracy client without call stacks. No server listens, so events stay in memory.

use std::alloc::System;

use tracy_client::ProfiledAllocator;

#[global_allocator]
static HEAP: ProfiledAllocator<System> = ProfiledAllocator::new(System, 0);

fn main() {
    rivals::child::main(|| (None, None));
}
