//! The thread's slot, and the hook at the thread's end.
//!
//! The slot is a constant-initialised thread-local without a destructor: reading it is one load relative to the
//! thread pointer, it never allocates, and it stays readable while the thread's other destructors run.
//!
//! The hook is something else, so that the slot can stay that simple. Under Linux it is a destructor of a POSIX
//! thread key: those run after the destructors of Rust's own thread-locals, and a key that sets itself again is
//! called in up to four rounds. Using the last round means that nearly every late free still finds its lane.

use std::cell::Cell;
use std::ptr::without_provenance;

/// What the slot holds until it is set. Not null, so that one test of the low bits tells an aligned address from all else.
pub(crate) const UNSET: *const () = without_provenance(1);

thread_local! {
    static SLOT: Cell<*const ()> = const { Cell::new(UNSET) };
}

/// The thread's slot; [`UNSET`] until it is set, and where the thread's storage is already gone.
#[inline(always)]
pub(crate) fn get() -> *const () {
    SLOT.try_with(Cell::get).unwrap_or(UNSET)
}

/// Sets the thread's slot.
#[inline]
pub(crate) fn set(value: *const ()) {
    // It has no destructor, so it cannot be gone; should a platform think otherwise, the slot stays unset.
    let _ = SLOT.try_with(|slot| slot.set(value));
}

pub(crate) use hook::{arm, prepare};

#[cfg(all(target_os = "linux", not(heapledger_portable)))]
mod hook {
    use std::ffi::c_void;
    use std::ptr::without_provenance_mut;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Rounds in which destructors of thread keys run: `PTHREAD_DESTRUCTOR_ITERATIONS` of POSIX is at least 4.
    const ROUNDS: usize = 4;

    /// The key plus one; 0 while there is none.
    static KEY: AtomicU64 = AtomicU64::new(0);
    /// What to call, as an address; written before the key.
    static ON_EXIT: AtomicU64 = AtomicU64::new(0);

    /// Makes the hook ready for the whole process; called once, before the first [`arm`].
    pub(crate) fn prepare(on_exit: fn()) -> bool {
        // Acquire: pairs with the release below.
        if KEY.load(Ordering::Acquire) != 0 {
            return true;
        }
        let mut key: libc::pthread_key_t = 0;
        // SAFETY: `key` is valid for writes and the destructor is a function of the right type.
        if unsafe { libc::pthread_key_create(&mut key, Some(round)) } != 0 {
            return false;
        }
        // relaxed: published by the release store of the key.
        ON_EXIT.store(on_exit as usize as u64, Ordering::Relaxed);
        // Release: whoever sees the key sees the function.
        KEY.store(u64::from(key) + 1, Ordering::Release);
        true
    }

    /// Asks for the hook at the end of the calling thread.
    pub(crate) fn arm() -> bool {
        set_round(1)
    }

    fn set_round(number: usize) -> bool {
        // Acquire: pairs with the release in `prepare`.
        let key = KEY.load(Ordering::Acquire);
        // SAFETY: the key exists for the rest of the process; the value is a number, never dereferenced.
        key != 0 && unsafe { libc::pthread_setspecific((key - 1) as _, without_provenance_mut(number)) } == 0
    }

    unsafe extern "C" fn round(value: *mut c_void) {
        let number = value.addr();
        if number < ROUNDS && set_round(number + 1) {
            return;
        }
        // relaxed: the key was seen by this thread, and the function before it.
        let address = ON_EXIT.load(Ordering::Relaxed) as usize;
        if address != 0 {
            // SAFETY: the only value ever stored is the address of a `fn()`.
            let on_exit = unsafe { std::mem::transmute::<usize, fn()>(address) };
            on_exit();
        }
    }
}

#[cfg(not(all(target_os = "linux", not(heapledger_portable))))]
mod hook {
    use std::cell::Cell;

    struct AtEnd {
        on_exit: Cell<Option<fn()>>,
    }

    impl Drop for AtEnd {
        fn drop(&mut self) {
            if let Some(on_exit) = self.on_exit.get() {
                on_exit();
            }
        }
    }

    thread_local! {
        static AT_END: AtEnd = const { AtEnd { on_exit: Cell::new(None) } };
    }

    static ON_EXIT: std::sync::OnceLock<fn()> = std::sync::OnceLock::new();

    /// Makes the hook ready for the whole process; called once, before the first [`arm`].
    pub(crate) fn prepare(on_exit: fn()) -> bool {
        let _ = ON_EXIT.set(on_exit);
        true
    }

    /// Asks for the hook at the end of the calling thread.
    pub(crate) fn arm() -> bool {
        AT_END.try_with(|at_end| at_end.on_exit.set(ON_EXIT.get().copied())).is_ok()
    }
}
