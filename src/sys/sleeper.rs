//! A thread that sleeps at a word until another thread changes the word and wakes it.

pub(crate) use os::{CAN_BE_WOKEN, sleep_while, wake};

#[cfg(all(target_os = "linux", not(heapledger_portable)))]
mod os {
    use super::super::sync::AtomicU32;

    /// Whether [`wake`] ends a sleep.
    pub(crate) const CAN_BE_WOKEN: bool = true;

    /// Sleeps for about `ns` nanoseconds while the word has this value. A signal ends the sleep early, as [`wake`]
    /// does.
    pub(crate) fn sleep_while(word: &'static AtomicU32, value: u32, ns: u64) {
        let time = libc::timespec { tv_sec: (ns / 1_000_000_000) as _, tv_nsec: (ns % 1_000_000_000) as _ };
        let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
        // SAFETY: word and time are valid for reads. The call returns at once if the word has another value.
        unsafe { libc::syscall(libc::SYS_futex, word, operation, value, &raw const time) };
    }

    /// Wakes the thread that sleeps at the word. Safe in a signal handler.
    pub(crate) fn wake(word: &'static AtomicU32) {
        // SAFETY: the word lives as long as the program.
        unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1) };
    }
}

/// Twin for systems on which the crate wakes no thread.
#[cfg(not(all(target_os = "linux", not(heapledger_portable))))]
mod os {
    use super::super::platform;
    use super::super::sync::{AtomicU32, Ordering};

    pub(crate) const CAN_BE_WOKEN: bool = false;

    pub(crate) fn sleep_while(word: &'static AtomicU32, value: u32, ns: u64) {
        // relaxed: a sleep in vain is bounded.
        if word.load(Ordering::Relaxed) == value {
            platform::sleep_ns(ns);
        }
    }

    pub(crate) fn wake(_word: &'static AtomicU32) {}
}
