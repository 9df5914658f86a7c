//! The file under a region, made at its full length and mapped shared: all that is written to the region is in the file
//! after the process ends. This module does not allocate.
//!
//! All blocks of the file are allocated before the file is mapped, so a full disk is an error at creation and raises no
//! signal later.

#[cfg(all(target_os = "linux", not(heapledger_portable)))]
pub(crate) use real::BoxFile;
#[cfg(not(all(target_os = "linux", not(heapledger_portable))))]
pub(crate) use twin::BoxFile;

/// First bytes of a black-box file, by which a reader recognises it.
pub(crate) const MAGIC: [u8; 8] = *b"HLBOX\r\n\x1a";

/// Reason why there is no file to map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "the twin has but one of them, and what is real all the others")]
pub(crate) enum BoxError {
    /// The path leads to something that is not a black box.
    Occupied,
    /// The path leads to a black box that a living process writes.
    InUse,
    /// The file cannot be made; holds the system's error number.
    Create(i32),
    /// The disk has no room for the file; holds the system's error number.
    NoSpace(i32),
    /// The platform cannot map files.
    Unsupported,
}

#[cfg(all(target_os = "linux", not(heapledger_portable)))]
mod real {
    use std::ffi::CStr;
    use std::ptr::{NonNull, null_mut};

    use super::super::descriptors::{Identity, move_up};
    use super::{BoxError, MAGIC};

    /// A file of its full length, before and after it is mapped.
    #[derive(Debug)]
    pub(crate) struct BoxFile {
        descriptor: libc::c_int,
        /// The file that was opened. The program may since have put another file under the descriptor.
        identity: Option<Identity>,
        pub(crate) bytes: usize,
    }

    fn error_number() -> i32 {
        std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
    }

    impl BoxFile {
        /// Makes the file under the name `part` and renames it to `path` when it is complete. An older black box at
        /// `path` is replaced if no process writes it; any other file there stays.
        pub(crate) fn create(path: &CStr, part: &CStr, bytes: usize) -> Result<BoxFile, BoxError> {
            // Removes the rest of a process that was killed while it made its file.
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

        /// Writes the first bytes of the file, allocates its length and renames it.
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

        /// Maps the whole file, zeroed and writable.
        pub(crate) fn map(&self) -> Option<NonNull<u8>> {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            // SAFETY: a fresh mapping touches no memory of anyone.
            let start = unsafe {
                libc::mmap(null_mut(), self.bytes, protection, libc::MAP_SHARED, self.descriptor, 0)
            };
            if start == libc::MAP_FAILED { None } else { NonNull::new(start.cast()) }
        }

        /// Replaces the mapped region by a private copy, in a forked child, which must not write into its parent's
        /// file. Returns false, and changes nothing, if that fails.
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

        /// Closes the file, unless the program has put another file under the descriptor. The mapping stays.
        pub(crate) fn close(&self) {
            if self.is_still_ours() {
                // SAFETY: the descriptor is ours, and the caller uses it no more.
                unsafe { libc::close(self.descriptor) };
            }
        }

        /// Closes the file and removes its name. The mapping stays.
        pub(crate) fn remove(&self, path: &CStr) {
            self.close();
            // SAFETY: the path ends with a zero byte.
            unsafe { libc::unlink(path.as_ptr()) };
        }
    }

    /// Returns an error unless the path is free, or leads to a black box of this user that no process writes.
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

    /// Removes the file at the name `part`: a black box or an empty file of an earlier process.
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

/// Twin for systems that cannot map files.
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
