//! Protection of the thread's error number, which belongs to the program. A `free` between a failed call and the
//! program's reading of `errno` must not change it.
//!
//! A [`KeptErrno`] surrounds every part of the recording path that may call the system: the first and the last event of
//! a thread, the slow path, and the recording of a new stack. Even a successful call may change the error number.

/// The error number at the time of construction. It is restored on drop.
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
        // SAFETY: the error number of the calling thread exists as long as the thread.
        unsafe { *libc::__errno_location() }
    }

    #[inline]
    pub(super) fn set(number: i32) {
        // SAFETY: the error number of the calling thread exists as long as the thread.
        unsafe { *libc::__errno_location() = number };
    }
}

/// The portable implementation, which has no error number to keep, because it does not call the system.
#[cfg(not(all(target_os = "linux", not(heapledger_portable))))]
mod number {
    pub(super) fn get() -> i32 {
        0
    }

    pub(super) fn set(_number: i32) {}
}
