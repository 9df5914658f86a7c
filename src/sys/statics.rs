//! All statics of the module `sys`, in one struct, so that the reset in a forked child covers all of them.
//!
//! The cells are of `once_cell::race`. A cell is set at most once, and neither blocks nor allocates, so it is safe
//! inside an allocator and in a signal handler. Setting a cell is a release, getting its value an acquire.

use once_cell::race::OnceRef;

use super::sync::{AtomicU32, Ordering};

pub(super) static STATICS: Statics =
    Statics { asked: AtomicU32::new(0), on_exit: OnceRef::new(), os: os::State::new() };

/// All state of the module that lies neither in a ledger nor in a thread-local.
pub(super) struct Statics {
    /// Requested dumps that have not begun, one bit each (`signals`).
    pub(super) asked: AtomicU32,
    /// The function that is called at the end of each thread.
    pub(super) on_exit: OnceRef<'static, fn()>,
    pub(super) os: os::State,
}

/// Resets the state that is invalid in a forked child, which has one thread and writes no dump yet. All other state
/// stays: the child has its parent's thread key, signal handlers and mappings.
pub(crate) fn reset_after_fork() {
    let Statics { asked, on_exit: _, os } = &STATICS;
    // relaxed: there is one thread.
    asked.store(0, Ordering::Relaxed);
    os.reset_after_fork();
}

#[cfg(all(target_os = "linux", not(heapledger_portable)))]
pub(super) use os::SIGNALS;

#[cfg(all(target_os = "linux", not(heapledger_portable)))]
mod os {
    use once_cell::race::OnceNonZeroUsize;

    use crate::sys::sync::{AtomicU32, AtomicU64, Ordering};

    /// Number of signals that can request a dump.
    pub(in crate::sys) const SIGNALS: usize = 5;

    pub(in crate::sys) struct State {
        /// The program's handler of each signal: the address of a function, or `SIG_DFL` or `SIG_IGN`.
        pub(in crate::sys) handlers: [AtomicU64; SIGNALS],
        /// The flags with which the program's handler of each signal was set.
        pub(in crate::sys) flags: [AtomicU32; SIGNALS],
        /// Whether the dump thread waits for signals.
        pub(in crate::sys) is_watched: AtomicU32,
        /// Signals that end the process after the dump, one bit each.
        pub(in crate::sys) ending: AtomicU32,
        /// Number of the thread key whose destructor is the exit hook, plus one.
        pub(in crate::sys) exit_key: OnceNonZeroUsize,
        /// Device and inode of standard error when the ledger was opened; both are 0 if standard error was closed.
        pub(in crate::sys) standard_error: [AtomicU64; 2],
        /// Address of the mapping that marks this copy of the crate as the copy that records.
        pub(in crate::sys) mark: OnceNonZeroUsize,
        /// Address of the loader's function and of the C library's variable that `loaded_object` uses.
        pub(in crate::sys) find_object: OnceNonZeroUsize,
        pub(in crate::sys) single_threaded: OnceNonZeroUsize,
        /// Number of heapledger's threads that are running.
        pub(in crate::sys) own_threads: AtomicU32,
        /// State of the main thread: a constant of `own_threads`.
        pub(in crate::sys) main_thread: AtomicU32,
    }

    impl State {
        pub(super) const fn new() -> State {
            State {
                handlers: [const { AtomicU64::new(0) }; SIGNALS],
                flags: [const { AtomicU32::new(0) }; SIGNALS],
                is_watched: AtomicU32::new(0),
                ending: AtomicU32::new(0),
                exit_key: OnceNonZeroUsize::new(),
                standard_error: [const { AtomicU64::new(0) }; 2],
                mark: OnceNonZeroUsize::new(),
                find_object: OnceNonZeroUsize::new(),
                single_threaded: OnceNonZeroUsize::new(),
                own_threads: AtomicU32::new(0),
                main_thread: AtomicU32::new(0),
            }
        }

        pub(super) fn reset_after_fork(&self) {
            let State {
                handlers: _,
                flags: _,
                is_watched,
                ending,
                exit_key: _,
                standard_error: _,
                mark: _,
                find_object: _,
                single_threaded: _,
                own_threads,
                main_thread,
            } = self;
            // relaxed, all: there is one thread, which is the main thread and may have no lane.
            own_threads.store(0, Ordering::Relaxed);
            main_thread.store(0, Ordering::Relaxed);
            is_watched.store(0, Ordering::Relaxed);
            ending.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(not(all(target_os = "linux", not(heapledger_portable))))]
mod os {
    use std::time::Instant;

    use once_cell::race::OnceRef;

    use crate::sys::sync::AtomicU64;

    pub(in crate::sys) struct State {
        /// The first reading of the clock. All times are relative to it.
        pub(in crate::sys) first_instant: OnceRef<'static, Instant>,
        /// Number of threads to which a number was assigned.
        pub(in crate::sys) threads: AtomicU64,
    }

    impl State {
        pub(super) const fn new() -> State {
            State { first_instant: OnceRef::new(), threads: AtomicU64::new(0) }
        }

        pub(super) fn reset_after_fork(&self) {
            let State { first_instant: _, threads: _ } = self;
        }
    }
}
