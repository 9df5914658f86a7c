//! The error number of the thread, which is the program's: a `free` between a call that failed and the look at why must not change it.
//!
//! Whatever in the recording path may ask the system for something stands between a [`KeptErrno`] and its end: the first event of
//! a thread, a turn of the window with all that may be booked there, and a stack that is new.

/// The error number as it was, put back when this goes.
#[must_use]
pub(crate) struct KeptErrno {
    #[cfg(target_os = "linux")]
    before: i32,
}

impl KeptErrno {
    #[inline]
    pub(crate) fn keep() -> KeptErrno {
        KeptErrno {
            // SAFETY: the thread's own number, which is there as long as the thread.
            #[cfg(target_os = "linux")]
            before: unsafe { *libc::__errno_location() },
        }
    }
}

impl Drop for KeptErrno {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: as above.
        #[cfg(target_os = "linux")]
        unsafe {
            *libc::__errno_location() = self.before;
        }
    }
}
