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

#[cfg(all(unix, not(heapledger_portable)))]
mod number {
    #[cfg(any(target_os = "android", target_os = "netbsd", target_os = "openbsd"))]
    use libc::__errno as place;
    #[cfg(not(any(
        target_os = "android",
        target_os = "netbsd",
        target_os = "openbsd",
        target_vendor = "apple",
        target_os = "freebsd"
    )))]
    use libc::__errno_location as place;
    #[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
    use libc::__error as place;

    #[inline]
    pub(super) fn get() -> i32 {
        // SAFETY: the thread's own number, which is there as long as the thread.
        unsafe { *place() }
    }

    #[inline]
    pub(super) fn set(number: i32) {
        // SAFETY: as above.
        unsafe { *place() = number };
    }
}

/// Nothing is asked of the system there.
#[cfg(not(all(unix, not(heapledger_portable))))]
mod number {
    pub(super) fn get() -> i32 {
        0
    }

    pub(super) fn set(_number: i32) {}
}
