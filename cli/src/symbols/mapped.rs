//! Mapping of object files into memory, so that only what is looked at is read.

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
