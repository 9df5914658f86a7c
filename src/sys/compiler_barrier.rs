//! The order of stores, for a reader of a killed process's black box.
//!
//! A process may be killed between any two instructions, and memory in a file outlives it. The file then has all stores that the
//! processor had executed, in program order, so only the compiler must not move one store past another. For other threads this
//! orders nothing.

use std::sync::atomic::{Ordering, compiler_fence};

/// Keeps the compiler from moving a load or store past this point.
#[inline(always)]
pub(crate) fn compiler_barrier() {
    // In both directions: a store that publishes comes after the stores it publishes, and one that retracts before those that
    // reuse the place.
    compiler_fence(Ordering::SeqCst);
}
