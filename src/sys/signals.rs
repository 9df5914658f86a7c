//! Signals that request a dump, and the wake-up of the thread that writes it.
//!
//! A signal handler cannot write a dump, because the thread that it interrupted may be writing a record, or hold a
//! latch. So the handler notes the signal, wakes the dump thread and returns, and the interrupted thread continues. The
//! dump thread writes the dump, and then performs the action that the signal has without heapledger:
//!
//! | the program's disposition of the signal | effect |
//! | --- | --- |
//! | none | the dump, then the default action: the process ends by the signal |
//! | a function | it is called at once, in the handler; the dump is written at the same time |
//! | ignored, where the default would end the process | the signal stays ignored, and no dump is written |
//!
//! A signal that ends the process ends it in any case. The default action follows at once if the signal comes a second
//! time. It also follows if the dump takes longer than [`DEADLINE_S`], because a timer then sends the signal again.
//!
//! Threads request dumps for other reasons in the same way.

use super::statics::STATICS;
use super::sync::Ordering;

/// Maximum time by which a dump delays the end of the process, in seconds.
#[cfg_attr(
    any(not(target_os = "linux"), heapledger_portable),
    allow(dead_code, reason = "no signal is waited for")
)]
pub(crate) const DEADLINE_S: i64 = 10;

/// Requests a dump: sets the bit of the request, and wakes the dump thread. May be called in a signal handler.
pub(crate) fn ask(bit: u32) {
    // Release: pairs with the acquire in `wait`.
    let asked = &STATICS.asked;
    asked.fetch_or(bit, Ordering::Release);
    os::wake(asked);
}

/// Waits for requests. Returns their bits, or 0 after a quarter of a second without a request.
pub(crate) fn wait() -> u32 {
    // Acquire: pairs with the release in `ask`.
    match STATICS.asked.swap(0, Ordering::Acquire) {
        0 => {
            os::sleep_at(&STATICS.asked);
            STATICS.asked.swap(0, Ordering::Acquire)
        }
        asked => asked,
    }
}

pub(crate) use os::{end_if_due, end_watch, set_deadline, watch};

#[cfg(all(target_os = "linux", not(heapledger_portable)))]
mod os {
    use std::ffi::{c_int, c_void};
    use std::mem::zeroed;
    use std::ptr::{null, null_mut};

    use super::super::errno::KeptErrno;
    use super::super::statics::{SIGNALS as COUNT, STATICS};
    use super::super::sync::{AtomicU32, Ordering};

    /// The signals, each with the flag whether its default action follows the dump. The index of a signal is its bit
    /// number.
    const SIGNALS: [(c_int, bool); COUNT] = [
        (libc::SIGHUP, true),
        (libc::SIGINT, true),
        (libc::SIGTERM, true),
        (libc::SIGUSR1, false),
        (libc::SIGUSR2, false),
    ];

    pub(super) fn wake(word: &AtomicU32) {
        // SAFETY: the word lives as long as the program; the call is allowed in a signal handler.
        unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1) };
    }

    pub(super) fn sleep_at(word: &AtomicU32) {
        let time = libc::timespec { tv_sec: 0, tv_nsec: 250_000_000 };
        // SAFETY: word and time are valid for reads. The call returns at once if the word is no longer 0.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                word,
                libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
                0,
                &raw const time,
            )
        };
    }

    extern "C" fn on_signal(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
        let Some(index) = SIGNALS.iter().position(|(number, _)| *number == signal) else { return };
        let _errno = KeptErrno::keep();
        // relaxed, all: `handlers` and `flags` were written before the handler was set; the other words are single
        // bits.
        let function = STATICS.os.handlers[index].load(Ordering::Relaxed) as usize;
        let is_watched = STATICS.os.is_watched.load(Ordering::Relaxed) != 0;
        let bit = 1 << index;
        if function == libc::SIG_DFL && SIGNALS[index].1 {
            // `is_watched` is tested first: without a waiting thread the bit stays clear, so that a later signal does
            // not count as the second.
            if !is_watched || STATICS.os.ending.fetch_or(bit, Ordering::Relaxed) & bit != 0 {
                end(signal);
            } else {
                super::ask(bit);
            }
        } else if is_watched {
            super::ask(bit);
        }
        if function != libc::SIG_DFL && function != libc::SIG_IGN {
            // SAFETY: this is the program's handler of this signal, and it is called as the system would call it by its
            // flags.
            unsafe {
                if STATICS.os.flags[index].load(Ordering::Relaxed) & libc::SA_SIGINFO as u32 != 0 {
                    type WithInfo = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
                    std::mem::transmute::<usize, WithInfo>(function)(signal, info, context);
                } else {
                    std::mem::transmute::<usize, extern "C" fn(c_int)>(function)(signal);
                }
            }
        }
    }

    /// Performs the default action of a signal. In the signal's handler, where the signal is blocked, the action
    /// follows when the handler returns.
    fn end(signal: c_int) {
        // SAFETY: all zero bytes are the default action; the other calls access no memory.
        unsafe {
            let action: libc::sigaction = zeroed();
            libc::sigaction(signal, &action, null_mut());
            libc::raise(signal);
        }
    }

    /// Installs handlers for the signals of `bits`, except for those that the program ignores. Called by the dump
    /// thread, so that handlers exist only while this thread exists. Returns whether all handlers were installed.
    pub(crate) fn watch(bits: u32) -> bool {
        // relaxed: the calls that set the handlers follow.
        STATICS.os.is_watched.store(1, Ordering::Relaxed);
        let wanted = SIGNALS.iter().enumerate().filter(|(index, _)| bits & (1 << index) != 0);
        wanted.fold(true, |all, (index, (signal, ends))| watch_one(index, *signal, *ends) && all)
    }

    fn watch_one(index: usize, signal: c_int, ends: bool) -> bool {
        // SAFETY: every object is initialised. The handler has the signature that the flags require, and calls only
        // functions that a handler may call.
        unsafe {
            let mut before: libc::sigaction = zeroed();
            if libc::sigaction(signal, null(), &mut before) != 0 {
                return false;
            }
            let ours = on_signal as *const () as usize;
            if before.sa_sigaction == ours {
                // This is a forked child, which knows the program's handler already.
                return true;
            }
            if ends && before.sa_sigaction == libc::SIG_IGN {
                return true;
            }
            // relaxed: stored before the handler is set.
            STATICS.os.handlers[index].store(before.sa_sigaction as u64, Ordering::Relaxed);
            STATICS.os.flags[index].store(before.sa_flags as u32, Ordering::Relaxed);
            let mut action: libc::sigaction = zeroed();
            action.sa_sigaction = ours;
            action.sa_mask = before.sa_mask;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | (before.sa_flags & libc::SA_ONSTACK);
            libc::sigaction(signal, &action, null_mut()) == 0
        }
    }

    /// Ends the effect of [`watch`]. No thread waits for signals from now on, so each signal has the effect that it has
    /// without heapledger.
    pub(crate) fn end_watch() {
        // relaxed: a signal whose handler sees the old value has no effect any more.
        STATICS.os.is_watched.store(0, Ordering::Relaxed);
    }

    /// Returns whether the process ends after the dump for this signal. If so, sets a timer that sends the signal again
    /// at the deadline.
    pub(crate) fn set_deadline(index: usize) -> bool {
        // relaxed: the bit was set before this thread was woken.
        if STATICS.os.ending.load(Ordering::Relaxed) & (1 << index) == 0 {
            return false;
        }
        // SAFETY: every object is initialised and outlives its call. Without a timer there is no deadline.
        unsafe {
            let mut event: libc::sigevent = zeroed();
            event.sigev_notify = libc::SIGEV_SIGNAL;
            event.sigev_signo = SIGNALS[index].0;
            let mut timer: libc::timer_t = zeroed();
            if libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer) == 0 {
                let mut time: libc::itimerspec = zeroed();
                time.it_value.tv_sec = super::DEADLINE_S as libc::time_t;
                libc::timer_settime(timer, 0, &time, null_mut());
            }
        }
        true
    }

    /// Performs the default action of a signal after its dump, if the signal ends the process.
    pub(crate) fn end_if_due(index: usize) {
        // relaxed: the bit was set before this thread was woken.
        if STATICS.os.ending.load(Ordering::Relaxed) & (1 << index) == 0 {
            return;
        }
        let signal = SIGNALS[index].0;
        // SAFETY: every object is initialised. This thread blocks all signals, and unblocks this signal now.
        unsafe {
            let action: libc::sigaction = zeroed();
            libc::sigaction(signal, &action, null_mut());
            let mut one: libc::sigset_t = zeroed();
            libc::sigemptyset(&mut one);
            libc::sigaddset(&mut one, signal);
            libc::pthread_sigmask(libc::SIG_UNBLOCK, &one, null_mut());
            libc::raise(signal);
        }
    }
}

/// The portable implementation, without signals: the dump thread polls for requests.
#[cfg(not(all(target_os = "linux", not(heapledger_portable))))]
mod os {
    use super::super::platform::sleep_ns;
    use super::super::sync::AtomicU32;

    pub(super) fn wake(_word: &AtomicU32) {}

    pub(super) fn sleep_at(_word: &AtomicU32) {
        sleep_ns(50_000_000);
    }

    pub(crate) fn watch(bits: u32) -> bool {
        bits == 0
    }

    pub(crate) fn end_watch() {}

    pub(crate) fn set_deadline(_index: usize) -> bool {
        false
    }

    pub(crate) fn end_if_due(_index: usize) {}
}
