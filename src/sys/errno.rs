//! Protection of the thread's error number, which belongs to the program: a `free` between a failed call and the
//! reading of `errno` must not change it.
//!
//! A [`KeptErrno`] surrounds every part of the recording path that may call the system: a thread's first and last
//! event, the slow path, and the recording of a new stack. Even a call that succeeds may change the number.

/// The saved error number, restored on drop.
#[must_use]
pub(crate) struct KeptErrno {
    before: i32,
}

impl KeptErrno {
    #[inline]
    pub(crate) fn keep() -> KeptErrno {
        KeptErrno { before: number::get() }
    }
}

impl Drop for KeptErrno {
    #[inline]
    fn drop(&mut self) {
        number::set(self.before);
    }
}

#[cfg(all(target_os = "linux", not(heapledger_portable)))]
mod number {
    #[inline]
    pub(super) fn get() -> i32 {
        // SAFETY: the thread's own number, which is there as long as the thread.
        unsafe { *libc::__errno_location() }
    }

    #[inline]
    pub(super) fn set(number: i32) {
        // SAFETY: as above.
        unsafe { *libc::__errno_location() = number };
    }
}

/// The portable twin, which does not call the system.
#[cfg(not(all(target_os = "linux", not(heapledger_portable))))]
mod number {
    pub(super) fn get() -> i32 {
        0
    }

    pub(super) fn set(_number: i32) {}
}
