//! The error number of the thread, which is the program's: a `free` between a call that failed and the look at why must not change it.
//!
//! Whatever in the recording path may ask the system for something stands between a [`KeptErrno`] and its end: the first event of
//! a thread and its last, a turn of the window with all that may be booked there, and a stack that is new. Even a call that succeeds may
//! change the number.

/// The error number as it was, put back when this goes.
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

/// The portable twin does not call the system.
#[cfg(not(all(target_os = "linux", not(heapledger_portable))))]
mod number {
    pub(super) fn get() -> i32 {
        0
    }

    pub(super) fn set(_number: i32) {}
}
