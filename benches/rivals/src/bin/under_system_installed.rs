//! The system allocator as an explicit `#[global_allocator]`. Calls are shorter than with the default allocator, so
//! this contestant is a fairer baseline for tight loops.

use std::alloc::System;

#[global_allocator]
static HEAP: System = System;

fn main() {
    rivals::child::main(|| (None, None));
}
