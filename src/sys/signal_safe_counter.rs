//! A counter of events and bytes that a signal handler of the same thread cannot corrupt. With a separate load and
//! store, an event would be lost if a handler counted it between the two.
//!
//! One thread counts, and other threads read. On x86-64 each addition is one instruction without the lock prefix: the
//! prefix would order the access against other processors, and take twenty times as long. On other processors the
//! addition is atomic.

use super::sync::AtomicU64;

/// The number of events, and the sum of their bytes. All zero bytes are a valid counter at zero.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct SignalSafeCounter {
    pub(crate) events: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

impl SignalSafeCounter {
    /// Adds an event. Called only by the thread that counts and by its signal handlers. Both sums wrap.
    #[inline(always)]
    pub(crate) fn count(&self, bytes: u64) {
        #[cfg(all(target_arch = "x86_64", not(loom)))]
        // SAFETY: `events` and `bytes` are adjacent (`repr(C)`), valid for reads and writes, and aligned. So a reader
        // sees the old or the new value of each.
        unsafe {
            core::arch::asm!(
                "inc qword ptr [{counted}]",
                "add qword ptr [{counted} + 8], {bytes}",
                counted = in(reg) self.events.as_ptr(),
                bytes = in(reg) bytes,
                options(nostack),
            );
        }
        #[cfg(not(all(target_arch = "x86_64", not(loom))))]
        {
            use super::sync::Ordering;
            // relaxed, both: they publish no data.
            self.events.fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Subtracts an event that this thread has counted.
    #[cold]
    pub(crate) fn take_back(&self, bytes: u64) {
        #[cfg(all(target_arch = "x86_64", not(loom)))]
        // SAFETY: the same accesses as in `count`, where the fields are valid for reads and writes.
        unsafe {
            core::arch::asm!(
                "dec qword ptr [{counted}]",
                "sub qword ptr [{counted} + 8], {bytes}",
                counted = in(reg) self.events.as_ptr(),
                bytes = in(reg) bytes,
                options(nostack),
            );
        }
        #[cfg(not(all(target_arch = "x86_64", not(loom))))]
        {
            use super::sync::Ordering;
            // relaxed, both: they publish no data.
            self.events.fetch_sub(1, Ordering::Relaxed);
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sys::sync::Ordering;

    #[test]
    fn it_counts_and_wraps() {
        let counted = SignalSafeCounter { events: AtomicU64::new(7), bytes: AtomicU64::new(u64::MAX - 1) };
        counted.count(3);
        assert_eq!(counted.events.load(Ordering::Relaxed), 8);
        assert_eq!(counted.bytes.load(Ordering::Relaxed), 1);
        counted.take_back(3);
        assert_eq!(counted.events.load(Ordering::Relaxed), 7);
        assert_eq!(counted.bytes.load(Ordering::Relaxed), u64::MAX - 1);
    }
}
