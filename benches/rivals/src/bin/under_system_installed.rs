//! The system allocator as an explicit `#[global_allocator]`. Calls are shorter than with the default allocator, so
//! this is a fairer base for tight loops.

use std::alloc::System;

#[global_allocator]
static HEAP: System = System;

fn main() {
    rivals::child::main(|| (None, None));
}
