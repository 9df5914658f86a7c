//! Memory for object files: mappings, of which only the used pages are read, and the return of freed memory.

use std::fs::File;

use memmap2::Mmap;

/// Maps a regular file of at most `bytes_max` bytes; `None` if it is longer, empty, or cannot be mapped.
pub(super) fn map(file: &File, bytes_max: u64) -> Option<Mmap> {
    if file.metadata().ok()?.len() > bytes_max {
        return None;
    }
    // SAFETY: the mapping is private and only read, and every byte is taken for hostile; a file that is cut meanwhile
    // ends the command by a signal, as it does any reader of mappings.
    unsafe { Mmap::map(file) }.ok()
}

/// Returns freed memory to the system, and also the pages of this program's code. A lookup of names takes some tens of
/// megabytes for a moment, which the allocator of the C library would keep, and runs code that is not used again.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn return_freed_memory() {
    let here = return_freed_memory as fn() as usize;
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let code = maps.lines().filter(|line| line.contains(" r-xp ")).find_map(|line| {
        let (start, rest) = line.split_once('-')?;
        let end = usize::from_str_radix(rest.split(' ').next()?, 16).ok()?;
        let start = usize::from_str_radix(start, 16).ok()?;
        (start..end).contains(&here).then_some((start, end - start))
    });
    // SAFETY: the first call touches no memory in use. The second one is about the mapping of this code, which nobody
    // writes: its pages are read from the file again when they are run.
    unsafe {
        libc::malloc_trim(0);
        if let Some((start, bytes)) = code {
            libc::madvise(std::ptr::without_provenance_mut(start), bytes, libc::MADV_DONTNEED);
        }
    }
}

/// Does nothing: only glibc's allocator is known to keep freed memory.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn return_freed_memory() {}
