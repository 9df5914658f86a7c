//! The file of a black box. It is made at its full length and mapped shared, so that everything written to the region
//! is in the file after the process ends. This module does not allocate.
//!
//! All blocks of the file are allocated before the file is mapped. So a full disk is an error at creation, and raises
//! no signal later.

#[cfg(all(target_os = "linux", not(heapledger_portable)))]
pub(crate) use real::BoxFile;
#[cfg(not(all(target_os = "linux", not(heapledger_portable))))]
pub(crate) use twin::BoxFile;

/// First bytes of a black-box file, by which a reader recognises the file. The file of a live page begins with other
/// bytes.
pub(crate) const MAGIC: [u8; 8] = *b"HLBOX\r\n\x1a";

/// Returns whether the process that writes the file is alive, so that it holds the file's lock.
#[cfg(any(test, feature = "read"))]
pub(crate) fn is_locked(file: &std::fs::File) -> bool {
    #[cfg(all(target_os = "linux", not(heapledger_portable)))]
    {
        use std::os::fd::AsRawFd;
        // SAFETY: no memory is involved. The lock is released at once; a process that makes a black box at this path at
        // the same moment chooses another name.
        unsafe {
            let is_free = libc::flock(file.as_raw_fd(), libc::LOCK_SH | libc::LOCK_NB) == 0;
            if is_free {
                libc::flock(file.as_raw_fd(), libc::LOCK_UN);
            }
            !is_free
        }
    }
    #[cfg(not(all(target_os = "linux", not(heapledger_portable))))]
    {
        let _ = file;
        false
    }
}

/// The reason why the file cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "the twin has but one of them, and what is real all the others")]
pub(crate) enum BoxError {
    /// There is a file at the path that is not a black box.
    Occupied,
    /// There is a black box at the path that a living process writes.
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
    use std::fs::File;
    use std::os::fd::{AsRawFd, FromRawFd};
    use std::ptr::{NonNull, null_mut};

    use super::super::descriptors::OwnFile;
    use super::BoxError;

    /// The file of a black box. Its full length is allocated when it is created, before it is mapped.
    #[derive(Debug)]
    pub(crate) struct BoxFile {
        file: OwnFile,
        pub(crate) bytes: usize,
    }

    fn error_number() -> i32 {
        std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
    }

    fn failure() -> BoxError {
        BoxError::Create(error_number())
    }

    impl BoxFile {
        /// Makes a file that begins with `magic`. The file has the name `part` until it is complete, and then `path`. A
        /// black box at `path` that no process writes is first renamed to `older`, where it may replace an earlier
        /// black box. Returns the file, and whether there was such a black box. Any other file at one of the three
        /// paths is an error.
        pub(crate) fn create(
            path: &CStr,
            part: &CStr,
            older: &CStr,
            bytes: usize,
            magic: &[u8; 8],
        ) -> Result<(BoxFile, bool), BoxError> {
            // Removes the file of a process that was killed before the file was complete.
            remove_older(part, magic)?;
            let is_there = is_left_box(path, magic)?;
            is_left_box(older, magic)?;
            let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_CLOEXEC | libc::O_NOFOLLOW;
            // SAFETY: the path ends with a zero byte.
            let descriptor = unsafe { libc::open(part.as_ptr(), flags, 0o600) };
            if descriptor < 0 {
                return Err(BoxError::Create(error_number()));
            }
            // SAFETY: the descriptor was just opened, and no other code has it.
            let file = BoxFile { file: OwnFile::new(unsafe { File::from_raw_fd(descriptor) }), bytes };
            // SAFETY: no memory is involved. The lock shows, as long as the process lives, that it writes the file.
            unsafe { libc::flock(file.descriptor(), libc::LOCK_EX | libc::LOCK_NB) };
            // SAFETY: both paths end with zero bytes.
            let keep = || !is_there || unsafe { libc::rename(path.as_ptr(), older.as_ptr()) } == 0;
            match file
                .fill(magic)
                .and_then(|()| if keep() { file.rename(part, path) } else { Err(failure()) })
            {
                Ok(()) => Ok((file, is_there)),
                Err(why) => {
                    file.remove(part);
                    Err(why)
                }
            }
        }

        /// Returns the number of the descriptor, or -1 if the program has closed it or reused it for another file.
        fn descriptor(&self) -> libc::c_int {
            self.file.get().map_or(-1, AsRawFd::as_raw_fd)
        }

        /// Writes the first bytes of the file and allocates its length.
        fn fill(&self, magic: &[u8; 8]) -> Result<(), BoxError> {
            let length = libc::off_t::try_from(self.bytes).map_err(|_| BoxError::NoSpace(libc::EFBIG))?;
            let descriptor = self.descriptor();
            // SAFETY: the length passed is the length of the slice.
            unsafe {
                let written = libc::pwrite(descriptor, magic.as_ptr().cast(), magic.len(), 0);
                if written != magic.len() as isize {
                    return Err(BoxError::NoSpace(error_number()));
                }
                match libc::posix_fallocate(descriptor, 0, length) {
                    0 => Ok(()),
                    refused => Err(BoxError::NoSpace(refused)),
                }
            }
        }

        fn rename(&self, part: &CStr, path: &CStr) -> Result<(), BoxError> {
            // SAFETY: both paths end with zero bytes.
            if unsafe { libc::rename(part.as_ptr(), path.as_ptr()) } == 0 { Ok(()) } else { Err(failure()) }
        }

        /// Maps the whole file, zeroed and writable.
        pub(crate) fn map(&self) -> Option<NonNull<u8>> {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            // SAFETY: a fresh mapping overlaps no other memory.
            let start = unsafe {
                libc::mmap(null_mut(), self.bytes, protection, libc::MAP_SHARED, self.descriptor(), 0)
            };
            if start == libc::MAP_FAILED { None } else { NonNull::new(start.cast()) }
        }

        /// Replaces the mapped region by a private copy in a forked child, because the child must not write into its
        /// parent's file. If this fails, returns false and changes nothing.
        pub(crate) fn leave_to_others(&self, start: NonNull<u8>) -> bool {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let flags = libc::MAP_PRIVATE | libc::MAP_FIXED;
            // SAFETY: the range is the mapping of this file, and the new pages have the same content. The system
            // refuses the descriptor -1, and then changes nothing.
            let again = unsafe {
                libc::mmap(start.as_ptr().cast(), self.bytes, protection, flags, self.descriptor(), 0)
            };
            again != libc::MAP_FAILED
        }

        /// Closes the file, unless the program has reused the descriptor for another file. The mapping stays.
        pub(crate) fn close(&self) {
            self.file.close();
        }

        /// Closes the file and removes its name. The mapping stays.
        pub(crate) fn remove(&self, path: &CStr) {
            self.close();
            // SAFETY: the path ends with a zero byte.
            unsafe { libc::unlink(path.as_ptr()) };
        }
    }

    /// Returns `true` if there is a black box of this user at the path that no process writes, and `false` if there is
    /// no file. Anything else is an error.
    fn is_left_box(path: &CStr, magic: &[u8; 8]) -> Result<bool, BoxError> {
        let flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK;
        // SAFETY: the path ends with a zero byte; a zeroed `stat` is valid; the buffer has as many bytes as are asked
        // for; the descriptor is closed once.
        unsafe {
            let descriptor = libc::open(path.as_ptr(), flags);
            if descriptor < 0 {
                return match error_number() {
                    libc::ENOENT => Ok(false),
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
                && start == *magic;
            let is_left = is_ours && libc::flock(descriptor, libc::LOCK_EX | libc::LOCK_NB) == 0;
            libc::close(descriptor);
            match (is_ours, is_left) {
                (true, true) => Ok(true),
                (true, false) => Err(BoxError::InUse),
                (false, _) => Err(BoxError::Occupied),
            }
        }
    }

    /// Removes the file `part` that an earlier process left: an empty file, or a black box that no process writes.
    fn remove_older(part: &CStr, magic: &[u8; 8]) -> Result<(), BoxError> {
        // SAFETY: a zeroed `stat` is valid, and the path ends with a zero byte.
        let is_empty = unsafe {
            let mut about: libc::stat = std::mem::zeroed();
            libc::lstat(part.as_ptr(), &mut about) == 0
                && about.st_mode & libc::S_IFMT == libc::S_IFREG
                && about.st_size == 0
        };
        if !is_empty {
            is_left_box(part, magic)?;
        }
        // SAFETY: the path ends with a zero byte.
        unsafe { libc::unlink(part.as_ptr()) };
        Ok(())
    }
}

/// The implementation for systems on which the crate maps no files.
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
        pub(crate) fn create(
            _path: &CStr,
            _part: &CStr,
            _older: &CStr,
            _bytes: usize,
            _magic: &[u8; 8],
        ) -> Result<(BoxFile, bool), BoxError> {
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
