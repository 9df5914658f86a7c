//! The thread-local slot (`recorder::slot`), and the hook at the end of a thread.
//!
//! The slot is a constant-initialised thread-local without a destructor. Reading it is one load relative to the thread
//! pointer and never allocates. It stays readable while the thread's other destructors run.
//!
//! The exit hook is separate, so that the slot needs no destructor. Under Linux the hook is the destructor of a POSIX
//! thread key. Such destructors run after the destructors of Rust's thread-locals, in up to four rounds as long as they
//! set their keys again. The hook runs in the last round, so nearly every late free still finds its lane.

use std::cell::Cell;
use std::ptr::without_provenance;

use super::statics::STATICS;

/// The value of a slot that was never set. A lane's address has zeros in its low bits, and every other slot value has a
/// one there, so a single test distinguishes them. Null would pass this test as an address.
pub(crate) const UNSET: *const () = without_provenance(1);

/// The scope number of a thread without a lane. It is the number of no scope, and is never overwritten.
static NO_SCOPE: u32 = u32::MAX - 1;

thread_local! {
    static SLOT: Cell<*const ()> = const { Cell::new(UNSET) };
    static SCOPE: Cell<*const u32> = const { Cell::new(&raw const NO_SCOPE) };
}

/// Returns the address of the word that holds the thread's scope number: a word of its lane, or a constant that is the
/// number of no scope.
#[inline(always)]
pub(crate) fn scope_word() -> *const u32 {
    SCOPE.try_with(Cell::get).unwrap_or(&raw const NO_SCOPE)
}

/// Sets the thread's slot to its lane, and stores the address of the lane's scope number. A signal handler that runs
/// between the two stores may find the address without the slot.
pub(crate) fn set_lane(lane: *const (), scope: *const u32) {
    // Cannot fail, for the reason given in `set`.
    let _ = SCOPE.try_with(|place| place.set(scope));
    let _ = SLOT.try_with(|slot| slot.set(lane));
}

/// Returns the thread's slot. It is [`UNSET`] before it is set, and after the thread's local storage is gone.
#[inline(always)]
pub(crate) fn get() -> *const () {
    SLOT.try_with(Cell::get).unwrap_or(UNSET)
}

/// Sets the thread's slot to a value that is not a lane.
#[inline]
pub(crate) fn set(value: *const ()) {
    let _ = SCOPE.try_with(|place| place.set(&raw const NO_SCOPE));
    // Cannot fail, because the slot has no destructor. On a platform where it fails nevertheless, the slot stays unset.
    let _ = SLOT.try_with(|slot| slot.set(value));
}

/// Registers `on_exit` to be called at the end of each thread that has called [`arm`]. Called once, before the first
/// such thread.
pub(crate) fn prepare(on_exit: &'static fn()) -> bool {
    // A second call has no effect.
    let _ = STATICS.on_exit.set(on_exit);
    hook::prepare()
}

pub(crate) use hook::arm;

/// Calls the registered function.
fn run_on_exit() {
    if let Some(on_exit) = STATICS.on_exit.get() {
        on_exit();
    }
}

#[cfg(all(target_os = "linux", not(heapledger_portable)))]
mod hook {
    use std::ffi::c_void;
    use std::num::NonZeroUsize;
    use std::ptr::without_provenance_mut;

    use super::super::statics::STATICS;

    /// Number of rounds in which destructors of thread keys run: POSIX requires at least 4
    /// (`PTHREAD_DESTRUCTOR_ITERATIONS`).
    const ROUNDS: usize = 4;

    /// Makes the thread key. Returns whether it exists.
    pub(super) fn prepare() -> bool {
        let made = STATICS.os.exit_key.get_or_try_init(|| {
            let mut key: libc::pthread_key_t = 0;
            // SAFETY: `key` is valid for writes, and the destructor has the required type.
            let failed = unsafe { libc::pthread_key_create(&mut key, Some(round)) } != 0;
            let plus_one = NonZeroUsize::new(key as usize + 1);
            plus_one.filter(|_| !failed).ok_or(())
        });
        made.is_ok()
    }

    /// Registers the hook for the end of the calling thread. Returns whether that succeeded.
    pub(crate) fn arm() -> bool {
        set_round(1)
    }

    fn set_round(number: usize) -> bool {
        let Some(key) = STATICS.os.exit_key.get() else { return false };
        // SAFETY: the key exists for the rest of the process; the value is a number, and is never dereferenced.
        unsafe { libc::pthread_setspecific((key.get() - 1) as _, without_provenance_mut(number)) == 0 }
    }

    unsafe extern "C" fn round(value: *mut c_void) {
        let number = value.addr();
        if number < ROUNDS && set_round(number + 1) {
            return;
        }
        super::run_on_exit();
    }
}

#[cfg(not(all(target_os = "linux", not(heapledger_portable))))]
mod hook {
    /// A thread-local value whose destructor calls the hook, together with the destructors of the thread's other
    /// locals.
    struct AtEnd;

    impl Drop for AtEnd {
        fn drop(&mut self) {
            super::run_on_exit();
        }
    }

    thread_local! {
        static AT_END: AtEnd = const { AtEnd };
    }

    pub(super) fn prepare() -> bool {
        true
    }

    /// Registers the hook for the end of the calling thread: the first access registers the destructor.
    pub(crate) fn arm() -> bool {
        AT_END.try_with(|_| ()).is_ok()
    }
}
