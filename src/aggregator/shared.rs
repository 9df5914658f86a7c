//! A value behind a latch, for several threads of heapledger. Every wait for the latch is limited.
//!
//! A thread that cannot take the latch in time continues without the value. So a query never waits long for another
//! query. The latch is not fair, so a thread that takes the value repeatedly pauses between two uses while other
//! threads wait ([`Shared::let_others`]). In a forked child, the holder of the latch may not exist, so the value is
//! reset there.

use std::cell::UnsafeCell;

use crate::sys::latch::{Latch, Taken};
use crate::sys::platform;
use crate::sys::sync::{AtomicU32, Ordering};

/// Maximum number of pauses in one call of [`Shared::let_others`], in which waiting threads can take the value.
const LET_PAUSES_MAX: u32 = 20;
/// Length of one of these pauses, in nanoseconds: about the length of one waiting step.
const PAUSE_NS: u64 = 50_000;

/// A value behind a latch.
pub(super) struct Shared<T> {
    latch: Latch,
    /// Number of threads that wait for the value.
    waiting: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: W1, the value is accessed under the latch only.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub(super) const fn new(value: T) -> Self {
        Shared { latch: Latch::new(), waiting: AtomicU32::new(0), value: UnsafeCell::new(value) }
    }

    /// Runs `work` on the value, if the latch can be taken within `rounds` steps of waiting.
    pub(super) fn with<R>(&self, rounds: u32, work: impl FnOnce(&mut T) -> R) -> Option<R> {
        let _taken = self.pause(rounds)?;
        // SAFETY: W1.
        Some(work(unsafe { &mut *self.value.get() }))
    }

    /// Keeps other threads from the value while the result lives. Waits up to `rounds` steps for the holder.
    pub(super) fn pause(&self, rounds: u32) -> Option<Taken<'_>> {
        if let Some(taken) = self.latch.try_take() {
            return Some(taken);
        }
        // relaxed, both: a hint to the holder.
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let taken = self.latch.take_in_rounds(rounds);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        taken
    }

    /// Pauses while other threads wait for the value, for a limited time. A thread that takes the value repeatedly must
    /// call this function between two uses, unless it pauses there for another reason.
    pub(super) fn let_others(&self) {
        for _ in 0..LET_PAUSES_MAX {
            // relaxed: a hint. A thread that has given up meanwhile costs one pause.
            if self.waiting.load(Ordering::Relaxed) == 0 {
                return;
            }
            platform::sleep_ns(PAUSE_NS);
        }
    }

    /// Resets the value to `value` in a forked child. The old value is not dropped, because its holder may have been
    /// changing it.
    pub(super) fn reset_after_fork(&self, value: T) {
        self.latch.open();
        // relaxed: there is one thread.
        self.waiting.store(0, Ordering::Relaxed);
        if let Some(_taken) = self.latch.try_take() {
            // SAFETY: W1.
            unsafe { self.value.get().write(value) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    use std::time::Duration;

    use super::*;

    /// Without the pauses, a thread that takes the value again at once would keep it from other threads until their
    /// waits time out.
    #[test]
    fn a_thread_that_takes_the_value_all_the_time_lets_others_have_it() {
        static VALUE: Shared<u64> = Shared::new(0);
        static STOP: AtomicBool = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !STOP.load(SeqCst) {
                    VALUE.with(1, |value| {
                        *value += 1;
                        std::thread::sleep(Duration::from_millis(2));
                    });
                    VALUE.let_others();
                }
            });
            while VALUE.with(1, |value| *value) == Some(0) {
                std::thread::yield_now();
            }
            let got = (0..20).filter(|_| VALUE.with(1_000, |value| *value).is_some()).count();
            STOP.store(true, SeqCst);
            assert_eq!(got, 20);
        });
    }
}
