//! A value that several threads of heapledger use, behind a latch for which every wait is limited.
//!
//! A thread that finds the latch taken continues without the value. So a query never waits long for another one. In a
//! forked child the holder may not exist, so the value is reset there.

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

    /// Runs `work` on the value, if the latch can be taken within `rounds` steps of waiting.
    pub(super) fn with<R>(&self, rounds: u32, work: impl FnOnce(&mut T) -> R) -> Option<R> {
        let _taken = self.pause(rounds)?;
        // SAFETY: W1.
        Some(work(unsafe { &mut *self.value.get() }))
    }

    /// Keeps other threads from the value while the result lives. Waits up to `rounds` steps for the holder.
    pub(super) fn pause(&self, rounds: u32) -> Option<Taken<'_>> {
        self.latch.take_in_rounds(rounds)
    }

    /// Resets the value to `value` in a forked child. The old value is not dropped, because its holder may have been
    /// changing it.
    pub(super) fn reset_after_fork(&self, value: T) {
        self.latch.open();
        if let Some(_taken) = self.latch.try_take() {
            // SAFETY: W1.
            unsafe { self.value.get().write(value) };
        }
    }
}
