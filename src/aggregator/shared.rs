//! Plain data that heapledger's own thread and queries share.
//!
//! It is behind a latch that nobody waits for: whoever finds it taken goes without, so a query never waits for another
//! one, and a forked child, where the holder may not exist, starts afresh.

use std::cell::UnsafeCell;

use crate::sys::latch::{Latch, Taken, wait};

/// A value that is made when it is first needed.
pub(super) struct Shared<T> {
    latch: Latch,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: W1, the value is touched under the latch only.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub(super) const fn empty() -> Self {
        Shared { latch: Latch::new(), value: UnsafeCell::new(None) }
    }

    /// Works on the value, which `make` makes if there is none. `None` when someone else is at it, or there is none.
    pub(super) fn with<R>(
        &self,
        make: impl FnOnce() -> Option<T>,
        work: impl FnOnce(&mut T) -> R,
    ) -> Option<R> {
        let _taken = self.latch.try_take()?;
        // SAFETY: W1.
        let slot = unsafe { &mut *self.value.get() };
        if slot.is_none() {
            *slot = make();
        }
        slot.as_mut().map(work)
    }

    /// As [`Shared::with`], but waits so many steps for whoever is at it.
    pub(super) fn with_patience<R>(
        &self,
        rounds: u32,
        make: impl FnOnce() -> Option<T>,
        work: impl FnOnce(&mut T) -> R,
    ) -> Option<R> {
        let _taken = self.pause(rounds)?;
        // SAFETY: W1.
        let slot = unsafe { &mut *self.value.get() };
        if slot.is_none() {
            *slot = make();
        }
        slot.as_mut().map(work)
    }

    /// Keeps everyone from the value for as long as the result lives; waits so many steps for whoever is at it.
    pub(super) fn pause(&self, rounds: u32) -> Option<Taken<'_>> {
        (0..rounds).find_map(|round| {
            let taken = self.latch.try_take();
            if taken.is_none() {
                wait(round);
            }
            taken
        })
    }

    /// Starts afresh, in a forked child. What the value held is left where it is: its holder may have been in the
    /// midst of changing it.
    pub(super) fn forget(&self) {
        self.latch.open();
        if let Some(_taken) = self.latch.try_take() {
            // SAFETY: W1. The old value is overwritten, not dropped.
            unsafe { self.value.get().write(None) };
        }
    }
}
