//! Descriptors that outlive a call. A program may close any descriptor, also one of heapledger, and the next file that
//! it opens gets the same number. So the holder of a descriptor compares device and inode before each use, and uses or
//! closes the descriptor only if they match the file that it opened.

pub(crate) use os::{Identity, move_up};

#[cfg(all(target_os = "linux", not(heapledger_portable)))]
mod os {
    use std::ffi::c_int;

    /// Lowest number of a descriptor of heapledger. A program expects to get the numbers below, and a daemon closes
    /// those one by one.
    const LOWEST: u64 = 512;

    /// Identity of the file behind a descriptor.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct Identity {
        pub(crate) device: u64,
        pub(crate) inode: u64,
    }

    impl Identity {
        /// Returns the identity of the file behind `descriptor`; `None` if the descriptor is closed.
        pub(crate) fn of(descriptor: c_int) -> Option<Identity> {
            // SAFETY: a zeroed `stat` is valid, and valid for writes.
            unsafe {
                let mut about: libc::stat = std::mem::zeroed();
                let is_open = libc::fstat(descriptor, &mut about) == 0;
                is_open.then_some(Identity { device: about.st_dev, inode: about.st_ino })
            }
        }

        /// Returns whether `descriptor` still refers to this file.
        pub(crate) fn is_behind(self, descriptor: c_int) -> bool {
            Identity::of(descriptor) == Some(self)
        }
    }

    /// Moves a descriptor to a high number and returns that number; returns `descriptor` itself if the system refuses.
    pub(crate) fn move_up(descriptor: c_int) -> c_int {
        // SAFETY: a zeroed limit is valid, and valid for writes; the descriptor is the caller's to close.
        unsafe {
            let mut limit: libc::rlimit = std::mem::zeroed();
            libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
            let lowest = LOWEST.min(limit.rlim_cur / 2) as c_int;
            let higher = libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, lowest);
            if higher < 0 {
                return descriptor;
            }
            libc::close(descriptor);
            higher
        }
    }
}

/// The portable twin, which holds no descriptors outside of std.
#[cfg(not(all(target_os = "linux", not(heapledger_portable))))]
mod os {
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct Identity;

    impl Identity {
        pub(crate) fn of(_descriptor: i32) -> Option<Identity> {
            Some(Identity)
        }

        pub(crate) fn is_behind(self, _descriptor: i32) -> bool {
            true
        }
    }

    pub(crate) fn move_up(descriptor: i32) -> i32 {
        descriptor
    }
}

#[cfg(all(test, target_os = "linux", not(heapledger_portable)))]
mod tests {
    use std::fs::File;
    use std::os::fd::{AsRawFd, IntoRawFd};

    use super::*;

    #[test]
    fn another_file_under_the_same_number_is_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let open = |name: &str| File::create(directory.path().join(name)).unwrap();
        let first = move_up(open("first").into_raw_fd());
        let identity = Identity::of(first).unwrap();
        assert!(identity.is_behind(first) && first >= 200);
        let second = open("second");
        // SAFETY: both descriptors are this test's own.
        unsafe { libc::dup2(second.as_raw_fd(), first) };
        assert!(!identity.is_behind(first));
        // SAFETY: as above.
        unsafe { libc::close(first) };
        assert!(!identity.is_behind(first));
    }
}
