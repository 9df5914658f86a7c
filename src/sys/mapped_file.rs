//! A file, or a part of a file, mapped as memory. Only the parts that are read are loaded.
//!
//! If another process truncates the file while it is mapped, a read beyond its new end ends this process by `SIGBUS`.

pub(crate) use os::MappedFile;

#[cfg(all(target_os = "linux", not(heapledger_portable)))]
mod os {
    use std::fs::File;
    use std::io;
    use std::os::fd::AsRawFd;
    use std::ptr::{NonNull, null_mut};

    /// A mapping, which ends when the value is dropped.
    #[derive(Debug)]
    pub(crate) struct MappedFile {
        start: NonNull<u8>,
        bytes: usize,
    }

    // SAFETY: only this value accesses the mapping, and only atomics in it are written.
    unsafe impl Send for MappedFile {}

    impl MappedFile {
        /// Maps `bytes` bytes from `offset` on. `offset` must be a multiple of the system's page size. Returns an error
        /// if the file ends earlier.
        pub(crate) fn open(file: &File, offset: u64, bytes: usize) -> io::Result<MappedFile> {
            MappedFile::with_access(file, offset, bytes, libc::PROT_READ)
        }

        /// Maps a file like [`MappedFile::open`], but atomics in the mapping may be written. The file must be open for
        /// writing.
        #[cfg(any(test, feature = "read"))]
        pub(crate) fn open_writable(file: &File, offset: u64, bytes: usize) -> io::Result<MappedFile> {
            MappedFile::with_access(file, offset, bytes, libc::PROT_READ | libc::PROT_WRITE)
        }

        fn with_access(
            file: &File,
            offset: u64,
            bytes: usize,
            access: libc::c_int,
        ) -> io::Result<MappedFile> {
            let end = offset.checked_add(bytes as u64);
            if bytes == 0 || end.is_none_or(|end| file.metadata().is_ok_and(|about| about.len() < end)) {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let offset = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
            // SAFETY: a fresh mapping overlaps no other memory.
            let start =
                unsafe { libc::mmap(null_mut(), bytes, access, libc::MAP_SHARED, file.as_raw_fd(), offset) };
            match NonNull::new(start.cast()).filter(|_| start != libc::MAP_FAILED) {
                Some(start) => Ok(MappedFile { start, bytes }),
                None => Err(io::Error::last_os_error()),
            }
        }

        /// Returns the address of the first byte.
        pub(crate) fn start(&self) -> NonNull<u8> {
            self.start
        }

        /// Returns all bytes. No process may write to the file at the same time.
        pub(crate) fn as_slice(&self) -> &[u8] {
            // SAFETY: the range is mapped as long as the value lives. The callers have checked the file's lock, and do
            // not trust the bytes.
            unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
        }
    }

    impl Drop for MappedFile {
        fn drop(&mut self) {
            // SAFETY: the range is this value's mapping.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
        }
    }
}

/// The implementation for systems on which the crate maps no files: it reads the file into memory.
#[cfg(not(all(target_os = "linux", not(heapledger_portable))))]
mod os {
    use std::fs::File;
    use std::io::{self, Read, Seek, SeekFrom};
    use std::ptr::NonNull;

    #[derive(Debug)]
    pub(crate) struct MappedFile {
        /// The content as words, so that it is aligned.
        words: Vec<u64>,
        bytes: usize,
    }

    impl MappedFile {
        pub(crate) fn open(mut file: &File, offset: u64, bytes: usize) -> io::Result<MappedFile> {
            file.seek(SeekFrom::Start(offset))?;
            let mut words = vec![0; bytes.div_ceil(8)];
            let mut read = vec![0; words.len() * 8];
            file.read_exact(&mut read[..bytes])?;
            for (word, eight) in words.iter_mut().zip(read.chunks_exact(8)) {
                *word = u64::from_ne_bytes(eight.try_into().unwrap_or_default());
            }
            Ok(MappedFile { words, bytes })
        }

        /// Returns an error, because writes to the copy in memory would not reach the file.
        #[cfg(any(test, feature = "read"))]
        pub(crate) fn open_writable(_file: &File, _offset: u64, _bytes: usize) -> io::Result<MappedFile> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(crate) fn start(&self) -> NonNull<u8> {
            NonNull::from(self.words.as_slice()).cast()
        }

        pub(crate) fn as_slice(&self) -> &[u8] {
            // SAFETY: the words have at least `bytes` bytes.
            unsafe { std::slice::from_raw_parts(self.words.as_ptr().cast(), self.bytes) }
        }
    }
}
