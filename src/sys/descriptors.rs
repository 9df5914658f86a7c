//! File descriptors that outlive a call. A program may close any descriptor, including those of heapledger, and the
//! next file that it opens then gets the same number. So the owner of a descriptor compares device and inode before
//! each use. It uses or closes the descriptor only if they match the file that it opened.

#[cfg(all(target_os = "linux", not(heapledger_portable)))]
pub(crate) use os::Identity;
pub(crate) use os::OwnFile;
#[cfg(all(feature = "serve", target_os = "linux", not(heapledger_portable)))]
pub(crate) use os::raised;

#[cfg(all(target_os = "linux", not(heapledger_portable)))]
mod os {
    use std::ffi::c_int;
    use std::fs::File;
    use std::mem::ManuallyDrop;
    use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd};

    /// Lowest number of a descriptor of heapledger. Programs expect to receive lower numbers, and a daemon closes the
    /// lower numbers one by one.
    const LOWEST: u64 = 512;

    /// Identity of the file behind a descriptor.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct Identity {
        pub(crate) device: u64,
        pub(crate) inode: u64,
    }

    impl Identity {
        /// Returns the identity of the file behind `descriptor`, or `None` if the descriptor is closed.
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

    /// An open file of heapledger. It is used and closed only while the program has not taken over its descriptor.
    #[derive(Debug)]
    pub(crate) struct OwnFile {
        file: ManuallyDrop<File>,
        /// Identity of the file when it was opened. The program may have reused the descriptor for another file since
        /// then.
        identity: Option<Identity>,
    }

    impl OwnFile {
        /// Takes over an open file, and moves its descriptor to a number that programs do not use.
        pub(crate) fn new(file: File) -> OwnFile {
            let descriptor = move_up(file.into_raw_fd());
            // SAFETY: the descriptor was taken from its owner, and no other code has it.
            let file = unsafe { File::from_raw_fd(descriptor) };
            OwnFile { file: ManuallyDrop::new(file), identity: Identity::of(descriptor) }
        }

        /// Returns the file, or `None` if the program has closed the descriptor or reused it for another file.
        pub(crate) fn get(&self) -> Option<&File> {
            self.identity.filter(|identity| identity.is_behind(self.file.as_raw_fd())).map(|_| &*self.file)
        }

        /// Closes the descriptor if it still refers to the file. The file cannot be used afterwards.
        pub(crate) fn close(&self) {
            if let Some(file) = self.get() {
                // SAFETY: the descriptor is heapledger's, and `get` returns `None` from now on.
                unsafe { libc::close(file.as_raw_fd()) };
            }
        }
    }

    impl Drop for OwnFile {
        fn drop(&mut self) {
            self.close();
        }
    }

    /// Moves a descriptor to a number that programs do not use.
    #[cfg(feature = "serve")]
    pub(crate) fn raised(descriptor: std::os::fd::OwnedFd) -> std::os::fd::OwnedFd {
        // SAFETY: the descriptor was taken from its owner, and no other code has it.
        unsafe { std::os::fd::OwnedFd::from_raw_fd(move_up(descriptor.into_raw_fd())) }
    }

    /// Moves a descriptor to a high number and returns this number. Returns `descriptor` itself if the system refuses.
    fn move_up(descriptor: c_int) -> c_int {
        // SAFETY: a zeroed limit is valid, and valid for writes; the caller owns the descriptor.
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

/// The portable implementation, which does not compare files.
#[cfg(not(all(target_os = "linux", not(heapledger_portable))))]
mod os {
    use std::fs::File;

    #[derive(Debug)]
    pub(crate) struct OwnFile(File);

    impl OwnFile {
        pub(crate) fn new(file: File) -> OwnFile {
            OwnFile(file)
        }

        pub(crate) fn get(&self) -> Option<&File> {
            Some(&self.0)
        }
    }
}

#[cfg(all(test, target_os = "linux", not(heapledger_portable)))]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_file_is_neither_used_nor_closed_under_a_number_that_the_program_has_taken_over() {
        let directory = tempfile::tempdir().unwrap();
        let open = |name: &str| File::create(directory.path().join(name)).unwrap();
        let own = OwnFile::new(open("first"));
        let number = own.get().unwrap().as_raw_fd();
        assert!(number >= 200);
        let other = open("second");
        // SAFETY: this test owns both descriptors.
        unsafe { libc::dup2(other.as_raw_fd(), number) };
        assert!(own.get().is_none());
        drop(own);
        assert_eq!(Identity::of(number), Identity::of(other.as_raw_fd()), "the program's file is still open");
        // SAFETY: this test owns the descriptor.
        unsafe { libc::close(number) };
    }

    #[test]
    fn a_file_that_is_heapledgers_is_closed_once() {
        let own = OwnFile::new(tempfile::tempfile().unwrap());
        let number = own.get().unwrap().as_raw_fd();
        own.close();
        assert!(own.get().is_none() && Identity::of(number).is_none());
    }
}
