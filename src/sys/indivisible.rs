//! Additions that no signal handler of the same thread can come between: a handler that counts as well would lose one of the two.
//!
//! Other threads only read what is counted so. On x86-64 one instruction is enough, without the lock prefix that keeps other
//! processors away and takes twenty times as long; elsewhere it is the usual atomic addition.

use super::sync::AtomicU64;

/// Adds to a counter that one thread and its handlers write. It wraps.
#[inline(always)]
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    #[cfg(all(target_arch = "x86_64", not(loom)))]
    // SAFETY: the counter is valid for reads and writes, and aligned, so that who reads it sees the old value or the new one.
    unsafe {
        core::arch::asm!(
            "add qword ptr [{counter}], {count}",
            counter = in(reg) counter.as_ptr(),
            count = in(reg) count,
            options(nostack),
        );
    }
    #[cfg(not(all(target_arch = "x86_64", not(loom))))]
    // relaxed: a counter; nothing is published by it.
    counter.fetch_add(count, super::sync::Ordering::Relaxed);
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sys::sync::Ordering;

    #[test]
    fn it_adds_and_wraps() {
        let counter = AtomicU64::new(u64::MAX - 1);
        add(&counter, 3);
        assert_eq!(counter.load(Ordering::Relaxed), 1);
    }
}
