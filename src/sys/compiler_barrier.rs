//! The order of stores, for a reader of a killed process's black box.
//!
//! A process may be killed between any two instructions, and memory in a file outlives the process. The file then has
//! all stores that the processor had executed, in program order, so it suffices that the compiler moves no store past
//! another. The barrier does not order stores for other threads.

use std::sync::atomic::{Ordering, compiler_fence};

/// Keeps the compiler from moving a load or store past this point.
#[inline(always)]
pub(crate) fn compiler_barrier() {
    // Works in both directions: a store that publishes comes after the stores it publishes, and a store that retracts
    // comes before those that reuse the place.
    compiler_fence(Ordering::SeqCst);
}
