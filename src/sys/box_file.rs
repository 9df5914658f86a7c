//! The file under a region: made at its full length, mapped shared, so that what is written to memory is in the file
//! when the process is gone. Nothing here allocates.
//!
//! All blocks of the file are allocated before it is mapped: a disk that is full is an error here, and no signal later.

#[cfg(all(target_os = "linux", not(heapledger_portable)))]
pub(crate) use real::BoxFile;
#[cfg(not(all(target_os = "linux", not(heapledger_portable))))]
pub(crate) use twin::BoxFile;

/// Bytes that say at the start of a file that it is a black box.
pub(crate) const MAGIC: [u8; 8] = *b"HLBOX\r\n\x1a";

/// Why there is no file to map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "the twin has but one of them, and what is real all the others")]
pub(crate) enum BoxError {
    /// There is something of that name which is not a black box.
    Occupied,
    /// There is a black box of that name in which a living process writes.
    InUse,
    /// It cannot be made; the system's error number.
    Create(i32),
    /// The disk has no room for it; the system's error number.
    NoSpace(i32),
    /// There are no files here that can be memory.
    Unsupported,
}

#[cfg(all(target_os = "linux", not(heapledger_portable)))]
mod real {
    use std::ffi::CStr;
    use std::ptr::{NonNull, null_mut};

    use super::super::descriptors::{Identity, move_up};
    use super::{BoxError, MAGIC};

    /// A file of its full length, not mapped yet, or the mapping's file.
    #[derive(Debug)]
    pub(crate) struct BoxFile {
        descriptor: libc::c_int,
        /// The file that was opened; the program may have put another under the descriptor since.
        identity: Option<Identity>,
        pub(crate) bytes: usize,
    }

    fn error_number() -> i32 {
        std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
    }

    impl BoxFile {
        /// Makes the file, under the name `part` first: what has the name `path` is whole. An older black box of that
        /// name in which nobody writes is replaced; anything else there is left alone.
        pub(crate) fn create(path: &CStr, part: &CStr, bytes: usize) -> Result<BoxFile, BoxError> {
            // What a process left that was killed at this very point.
            remove_older(part)?;
            may_be_replaced(path)?;
            let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_CLOEXEC | libc::O_NOFOLLOW;
            // SAFETY: the path ends with a zero byte.
            let descriptor = unsafe { libc::open(part.as_ptr(), flags, 0o600) };
            if descriptor < 0 {
                return Err(BoxError::Create(error_number()));
            }
            let descriptor = move_up(descriptor);
            let file = BoxFile { descriptor, identity: Identity::of(descriptor), bytes };
            // SAFETY: the descriptor is open. The lock says that somebody writes here, as long as the process lives.
            unsafe { libc::flock(descriptor, libc::LOCK_EX | libc::LOCK_NB) };
            match file.fill(path, part) {
                Ok(()) => Ok(file),
                Err(why) => {
                    file.remove(part);
                    Err(why)
                }
            }
        }

        /// Gives the file its first bytes, its length and its name.
        fn fill(&self, path: &CStr, part: &CStr) -> Result<(), BoxError> {
            let length = libc::off_t::try_from(self.bytes).map_err(|_| BoxError::NoSpace(libc::EFBIG))?;
            // SAFETY: the descriptor is open, the bytes are as many as are said, the paths end with zero bytes.
            unsafe {
                let written = libc::pwrite(self.descriptor, MAGIC.as_ptr().cast(), MAGIC.len(), 0);
                if written != MAGIC.len() as isize {
                    return Err(BoxError::NoSpace(error_number()));
                }
                let refused = libc::posix_fallocate(self.descriptor, 0, length);
                if refused != 0 {
                    return Err(BoxError::NoSpace(refused));
                }
                if libc::rename(part.as_ptr(), path.as_ptr()) != 0 {
                    return Err(BoxError::Create(error_number()));
                }
            }
            Ok(())
        }

        /// Maps all of it, zeroed and writable.
        pub(crate) fn map(&self) -> Option<NonNull<u8>> {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            // SAFETY: a fresh mapping touches no memory of anyone.
            let start = unsafe {
                libc::mmap(null_mut(), self.bytes, protection, libc::MAP_SHARED, self.descriptor, 0)
            };
            if start == libc::MAP_FAILED { None } else { NonNull::new(start.cast()) }
        }

        /// Lets this process go on with a copy of the mapped region that is its own: in a forked child, which must
        /// not write into its parent's file. False if that cannot be: then nothing has changed.
        pub(crate) fn leave_to_others(&self, start: NonNull<u8>) -> bool {
            if !self.is_still_ours() {
                return false;
            }
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let flags = libc::MAP_PRIVATE | libc::MAP_FIXED;
            // SAFETY: the range is the mapping of this file; the pages that take its place have the same content.
            let again = unsafe {
                libc::mmap(start.as_ptr().cast(), self.bytes, protection, flags, self.descriptor, 0)
            };
            again != libc::MAP_FAILED
        }

        fn is_still_ours(&self) -> bool {
            self.identity.is_some_and(|identity| identity.is_behind(self.descriptor))
        }

        /// Closes the file, unless the program did and has another file there. What is mapped stays mapped.
        pub(crate) fn close(&self) {
            if self.is_still_ours() {
                // SAFETY: the descriptor is ours, and the caller uses it no more.
                unsafe { libc::close(self.descriptor) };
            }
        }

        /// Closes the file and takes its name away. What is mapped stays mapped.
        pub(crate) fn remove(&self, path: &CStr) {
            self.close();
            // SAFETY: the path ends with a zero byte.
            unsafe { libc::unlink(path.as_ptr()) };
        }
    }

    /// An error unless nothing lies at the path, or a black box of ours in which nobody writes.
    fn may_be_replaced(path: &CStr) -> Result<(), BoxError> {
        let flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK;
        // SAFETY: the path ends with a zero byte; a zeroed `stat` is valid; the buffer has as many bytes as are asked
        // for; the descriptor is closed once.
        unsafe {
            let descriptor = libc::open(path.as_ptr(), flags);
            if descriptor < 0 {
                return match error_number() {
                    libc::ENOENT => Ok(()),
                    libc::ELOOP => Err(BoxError::Occupied),
                    other => Err(BoxError::Create(other)),
                };
            }
            let (mut about, mut start): (libc::stat, [u8; 8]) = std::mem::zeroed();
            let is_file = libc::fstat(descriptor, &mut about) == 0
                && about.st_mode & libc::S_IFMT == libc::S_IFREG
                && about.st_uid == libc::geteuid();
            let is_ours = is_file
                && libc::read(descriptor, start.as_mut_ptr().cast(), start.len()) == start.len() as isize
                && start == MAGIC;
            let is_left = is_ours && libc::flock(descriptor, libc::LOCK_EX | libc::LOCK_NB) == 0;
            libc::close(descriptor);
            match (is_ours, is_left) {
                (true, true) => Ok(()),
                (true, false) => Err(BoxError::InUse),
                (false, _) => Err(BoxError::Occupied),
            }
        }
    }

    /// Removes what was left under the name that a file has while it is made: a box, or an empty file.
    fn remove_older(part: &CStr) -> Result<(), BoxError> {
        // SAFETY: a zeroed `stat` is valid, and the path ends with a zero byte.
        let is_empty = unsafe {
            let mut about: libc::stat = std::mem::zeroed();
            libc::lstat(part.as_ptr(), &mut about) == 0
                && about.st_mode & libc::S_IFMT == libc::S_IFREG
                && about.st_size == 0
        };
        if !is_empty {
            may_be_replaced(part)?;
        }
        // SAFETY: as above.
        unsafe { libc::unlink(part.as_ptr()) };
        Ok(())
    }
}

/// Without files as memory.
#[cfg(not(all(target_os = "linux", not(heapledger_portable))))]
mod twin {
    use std::ffi::CStr;
    use std::ptr::NonNull;

    use super::BoxError;

    #[derive(Debug)]
    pub(crate) struct BoxFile {
        pub(crate) bytes: usize,
    }

    impl BoxFile {
        pub(crate) fn create(_path: &CStr, _part: &CStr, _bytes: usize) -> Result<BoxFile, BoxError> {
            Err(BoxError::Unsupported)
        }

        pub(crate) fn map(&self) -> Option<NonNull<u8>> {
            None
        }

        pub(crate) fn leave_to_others(&self, _start: NonNull<u8>) -> bool {
            false
        }

        pub(crate) fn close(&self) {}

        pub(crate) fn remove(&self, _path: &CStr) {}
    }
}
