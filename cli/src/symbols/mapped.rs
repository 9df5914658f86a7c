//! Maps object files into memory, so that only the used pages are read. Also returns freed memory to the system.

use std::fs::File;

use memmap2::Mmap;

/// Maps a regular file. Returns `None` if the file is empty, is longer than `bytes_max`, or cannot be mapped.
pub(super) fn map(file: &File, bytes_max: u64) -> Option<Mmap> {
    if file.metadata().ok()?.len() > bytes_max {
        return None;
    }
    // SAFETY: the mapping is private and only read, and every byte is treated as untrusted. If the file is cut
    // meanwhile, a signal ends the command, as it does any program that reads a mapping.
    unsafe { Mmap::map(file) }.ok()
}

/// Returns freed memory to the system. For a short time, a lookup of names takes some tens of megabytes, which the
/// allocator of the C library would keep. Also drops the pages of this program's code, most of which does not run
/// again.
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
    // SAFETY: the first call touches no memory in use. The second call drops the pages of this code, which nobody
    // writes; the system reads them from the file again when they are executed.
    unsafe {
        libc::malloc_trim(0);
        if let Some((start, bytes)) = code {
            libc::madvise(std::ptr::without_provenance_mut(start), bytes, libc::MADV_DONTNEED);
        }
    }
}

/// Does nothing on this platform. Only glibc's allocator is known to keep freed memory.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn return_freed_memory() {}
