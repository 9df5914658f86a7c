//! The system allocator once more, put in by the attribute. Calls take a shorter way than when nothing is put in, so
//! this is the fairer base for the tightest work.

use std::alloc::System;

#[global_allocator]
static HEAP: System = System;

fn main() {
    rivals::child::main(|| (None, None));
}
