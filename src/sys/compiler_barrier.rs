//! A barrier that keeps stores in program order, for a reader of a killed process's black box.
//!
//! A process may be killed between any two instructions, and memory in a file outlives the process. The file then
//! contains all stores that the processor had executed, in program order. So it suffices that the compiler moves no
//! store past another. The barrier does not order stores for other threads.

use std::sync::atomic::{Ordering, compiler_fence};

/// Keeps the compiler from moving a load or store past this point.
#[inline(always)]
pub(crate) fn compiler_barrier() {
    // Orders both directions: a store that publishes entries comes after the stores of the entries, and a store that
    // withdraws an entry comes before the stores that reuse its place.
    compiler_fence(Ordering::SeqCst);
}
