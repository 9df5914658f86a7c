//! The name of the program, for its dump and for `%e` in paths.
//!
//! The name is the complete file name of the running executable: `tool-1.2.3` has no extension. The name by which the
//! program was called is used in two cases: the executable is a dynamic loader that received the program as an
//! argument, or the executable is unknown because there is no `/proc`. Nothing here allocates, because paths are
//! expanded inside the allocator.

#[cfg(all(target_os = "linux", not(heapledger_portable)))]
mod os {
    use std::ffi::{CStr, c_char};
    use std::mem::MaybeUninit;

    use super::{file_name, is_loader};

    /// Suffix that the kernel appends to the path of a file that was removed or replaced.
    const DELETED: &[u8] = b" (deleted)";
    /// Links to the running executable. The link in `self` is empty once the main thread has ended, but old kernels
    /// have only this link.
    const EXECUTABLES: [&CStr; 2] = [c"/proc/thread-self/exe", c"/proc/self/exe"];

    unsafe extern "C" {
        /// First word of the command line. The C library sets it before any code of the program runs. A loader that is
        /// called by name has removed its name from the command line.
        static program_invocation_name: *const c_char;
    }

    /// Calls `then` with the name of the program, which is empty if it is unknown.
    pub(crate) fn with_program_name<T>(then: impl FnOnce(&[u8]) -> T) -> T {
        let mut path = [0u8; libc::PATH_MAX as usize + 1];
        // The last byte stays zero, so that the path is terminated.
        let room = path.len() - 1;
        // SAFETY: the name is terminated, and the buffer is valid for `room` bytes.
        let mut read = |link: &CStr| unsafe { libc::readlink(link.as_ptr(), path.as_mut_ptr().cast(), room) };
        let length = EXECUTABLES.into_iter().find_map(|link| usize::try_from(read(link)).ok()).unwrap_or(0);
        let executable = CStr::from_bytes_until_nul(&path).unwrap_or_default();
        let is_marked = executable.to_bytes().ends_with(DELETED) && !is_executable(executable);
        let end = if is_marked { length.saturating_sub(DELETED.len()) } else { length };
        let name = file_name(path.get(..end).unwrap_or(&[]));
        then(if name.is_empty() || is_loader(name) { file_name(called()) } else { name })
    }

    /// Returns whether the file at `path` is the running executable.
    fn is_executable(path: &CStr) -> bool {
        let identity = |path: &CStr| {
            let mut found = MaybeUninit::<libc::stat>::uninit();
            // SAFETY: the path is terminated, and `found` is valid for writes.
            let is_found = unsafe { libc::stat(path.as_ptr(), found.as_mut_ptr()) } == 0;
            // SAFETY: the successful call has filled in `found`.
            is_found.then(|| unsafe { found.assume_init() }).map(|found| (found.st_dev, found.st_ino))
        };
        let here = identity(path);
        here.is_some() && EXECUTABLES.iter().any(|link| here == identity(link))
    }

    fn called() -> &'static [u8] {
        // SAFETY: the C library changes the pointer only before any code of the program runs.
        let name = unsafe { program_invocation_name };
        if name.is_null() {
            return &[];
        }
        // SAFETY: the text is terminated, and lives as long as the process.
        unsafe { CStr::from_ptr(name) }.to_bytes()
    }
}

#[cfg(any(not(target_os = "linux"), heapledger_portable))]
mod os {
    pub(crate) fn with_program_name<T>(then: impl FnOnce(&[u8]) -> T) -> T {
        let path = std::env::current_exe().ok();
        let name =
            path.as_ref().and_then(|path| path.file_name()).map_or(&[][..], |name| name.as_encoded_bytes());
        then(name.strip_suffix(std::env::consts::EXE_SUFFIX.as_bytes()).unwrap_or(name))
    }
}

pub(crate) use os::with_program_name;

/// Returns the last part of a path.
#[cfg(any(test, all(target_os = "linux", not(heapledger_portable))))]
fn file_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(&[])
}

/// Returns whether this is the name of a dynamic loader: `ld-linux-x86-64.so.2`, `ld-2.31.so`, `ld-musl-x86_64.so.1`,
/// `ld64.so.2`, or musl's `libc.so`.
#[cfg(any(test, all(target_os = "linux", not(heapledger_portable))))]
fn is_loader(name: &[u8]) -> bool {
    let has_so = name.windows(3).any(|part| part == b".so");
    has_so && [&b"ld-"[..], b"ld.so", b"ld64.so"].iter().any(|start| name.starts_with(start))
        || name == b"libc.so"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loader_is_told_from_a_program_by_its_name() {
        for loader in
            ["ld-linux-x86-64.so.2", "ld-2.31.so", "ld-musl-x86_64.so.1", "ld64.so.2", "ld.so", "libc.so"]
        {
            assert!(is_loader(loader.as_bytes()), "{loader}");
        }
        for program in ["ld", "ldd", "ld-tool", "app", "libc.so.6", "old-2.so", ""] {
            assert!(!is_loader(program.as_bytes()), "{program}");
        }
    }

    #[test]
    fn the_name_is_the_last_part_of_the_path_whole() {
        for (path, name) in [("/a/tool-1.2.3", "tool-1.2.3"), ("app", "app"), ("/", ""), ("", "")] {
            assert_eq!(file_name(path.as_bytes()), name.as_bytes());
        }
        let own = std::env::current_exe().unwrap();
        let own = own.file_name().unwrap().as_encoded_bytes();
        with_program_name(|name| assert_eq!(name, own));
    }
}
