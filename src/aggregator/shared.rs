//! A value that several threads of heapledger use, behind a latch for which nobody waits without limit.
//!
//! A thread that finds the latch taken does without the value. So a query never waits for another one for long, and a
//! forked child, in which the holder may not exist, starts afresh.

use std::cell::UnsafeCell;

use crate::sys::latch::{Latch, Taken};

/// A value behind a latch.
pub(super) struct Shared<T> {
    latch: Latch,
    value: UnsafeCell<T>,
}

// SAFETY: W1, the value is touched under the latch only.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub(super) const fn new(value: T) -> Self {
        Shared { latch: Latch::new(), value: UnsafeCell::new(value) }
    }

    /// Runs `work` on the value if its latch can be taken within `rounds` steps of waiting.
    pub(super) fn with<R>(&self, rounds: u32, work: impl FnOnce(&mut T) -> R) -> Option<R> {
        let _taken = self.pause(rounds)?;
        // SAFETY: W1.
        Some(work(unsafe { &mut *self.value.get() }))
    }

    /// Keeps every thread from the value while the result lives; waits at most `rounds` steps for the holder.
    pub(super) fn pause(&self, rounds: u32) -> Option<Taken<'_>> {
        self.latch.take_in_rounds(rounds)
    }

    /// Starts again with `value`, in a forked child. The old value is not dropped: its holder may have been changing it.
    pub(super) fn reset_after_fork(&self, value: T) {
        self.latch.open();
        if let Some(_taken) = self.latch.try_take() {
            // SAFETY: W1.
            unsafe { self.value.get().write(value) };
        }
    }
}
