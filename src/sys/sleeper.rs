//! Timed sleep of a thread on an atomic word (a futex): the thread sleeps for a limited time while the word has a given
//! value. Another thread that changes the word can end the sleep early with [`wake`], if [`CAN_BE_WOKEN`].

pub(crate) use os::{CAN_BE_WOKEN, sleep_while, wake};

#[cfg(all(target_os = "linux", not(heapledger_portable)))]
mod os {
    use super::super::sync::AtomicU32;

    /// Whether [`wake`] can end a sleep on this system.
    pub(crate) const CAN_BE_WOKEN: bool = true;

    /// Sleeps for about `ns` nanoseconds while the word has this value. A call of [`wake`] or a signal ends the sleep
    /// early.
    pub(crate) fn sleep_while(word: &'static AtomicU32, value: u32, ns: u64) {
        let time = libc::timespec { tv_sec: (ns / 1_000_000_000) as _, tv_nsec: (ns % 1_000_000_000) as _ };
        let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
        // SAFETY: word and time are valid for reads. The call returns at once if the word has another value.
        unsafe { libc::syscall(libc::SYS_futex, word, operation, value, &raw const time) };
    }

    /// Wakes the thread that sleeps at the word. May be called in a signal handler.
    pub(crate) fn wake(word: &'static AtomicU32) {
        // SAFETY: the word lives as long as the program.
        unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1) };
    }
}

/// The implementation for systems on which the crate wakes no thread.
#[cfg(not(all(target_os = "linux", not(heapledger_portable))))]
mod os {
    use super::super::platform;
    use super::super::sync::{AtomicU32, Ordering};

    pub(crate) const CAN_BE_WOKEN: bool = false;

    pub(crate) fn sleep_while(word: &'static AtomicU32, value: u32, ns: u64) {
        // relaxed: if a change is missed, the thread sleeps for `ns` at most.
        if word.load(Ordering::Relaxed) == value {
            platform::sleep_ns(ns);
        }
    }

    pub(crate) fn wake(_word: &'static AtomicU32) {}
}
