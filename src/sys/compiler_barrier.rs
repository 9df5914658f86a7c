//! The order of stores, for whoever finds the memory of a process that was killed.
//!
//! A process may be killed between any two instructions, and what lies in a file outlives it (see the black box). All that its
//! processor had carried out by then is there, in the order of the program, so only the compiler has to be kept from
//! moving one store past another. For other threads this orders nothing.

use std::sync::atomic::{Ordering, compiler_fence};

/// What stands before is stored before what follows.
#[inline(always)]
pub(crate) fn compiler_barrier() {
    // Both ways: a store that makes a thing known comes after it, and one that takes it away after the last that needs it.
    compiler_fence(Ordering::SeqCst);
}
