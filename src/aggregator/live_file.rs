//! The file of a live page. It contains the page, followed by the metadata, with which a reader names the program and
//! finds its object files. The file is in memory if its path is in `/dev/shm`.

use std::ffi::CString;
use std::path::Path;

use super::diagnostic;
use super::naming::expand;
use crate::live::page::{LIVE_PAGE_BYTES, LivePage, MAGIC};
use crate::recorder::state;
use crate::sys::box_file::{BoxError, BoxFile};
use crate::sys::{path_pattern, platform};

/// Maximum number of bytes of the metadata. If the metadata is longer, the file has no metadata, and readers find no
/// names for addresses.
const METADATA_BYTES_MAX: usize = 128 << 10;
/// Number of places for the metadata. They are used alternately, so that a reader can still read metadata that has just
/// been replaced.
const PLACES: usize = 2;
/// Path of the file if `HEAPLEDGER_LIVE` is 1.
const DEFAULT_PATH: &[u8] = b"/dev/shm/heapledger.%p.live";

/// The file of the live page of this process.
pub(super) struct LiveFile {
    file: BoxFile,
    path: CString,
    start: *mut u8,
    place: usize,
}

// SAFETY: the mapping belongs to the process until its end, and the holder of the value is the only writer.
unsafe impl Send for LiveFile {}

impl LiveFile {
    /// Makes the file that the settings ask for; if that fails, prints the reason. A forked child gets a file only if
    /// its path differs from the parent's path.
    pub(super) fn open(is_child: bool) -> Option<LiveFile> {
        let pattern = state::options().live_pattern()?;
        let pattern = if pattern == b"1" { DEFAULT_PATH } else { pattern };
        if platform::is_set_user_id() || is_child && !path_pattern::has_process_id(pattern) {
            return None;
        }
        let path = expand(pattern);
        let bytes = LIVE_PAGE_BYTES + PLACES * METADATA_BYTES_MAX;
        let made = platform::with_failing_writes(|| make(&path, bytes));
        match made {
            Ok(file) => {
                file.page().begin();
                Some(file)
            }
            Err(reason) => {
                diagnostic::print(format_args!("no live page at {}: {reason}", path.display()));
                None
            }
        }
    }

    pub(super) fn page(&self) -> &'static LivePage {
        // SAFETY: the mapping is as long as a page, which consists of atomics, and is never unmapped.
        unsafe { &*self.start.cast::<LivePage>() }
    }

    /// Writes the metadata; returns its place in the file and its length. The length is 0 if there is no room.
    pub(super) fn set_metadata(&mut self, metadata: &[u8]) -> (u64, u64) {
        if metadata.len() > METADATA_BYTES_MAX {
            return (0, 0);
        }
        self.place = (self.place + 1) % PLACES;
        let start = LIVE_PAGE_BYTES + self.place * METADATA_BYTES_MAX;
        // SAFETY: the place is within the mapping, and no reader of this process looks at it.
        unsafe { self.start.add(start).copy_from_nonoverlapping(metadata.as_ptr(), metadata.len()) };
        (start as u64, metadata.len() as u64)
    }

    /// Notes the end of the recording, and removes the file.
    pub(super) fn remove(&self) {
        self.page().end();
        self.file.remove(&self.path);
    }
}

fn make(path: &Path, bytes: usize) -> Result<LiveFile, String> {
    let name = |ending: &str| {
        let mut name = path.as_os_str().as_encoded_bytes().to_vec();
        name.extend_from_slice(ending.as_bytes());
        CString::new(name).map_err(|_| "the path has a zero byte".to_owned())
    };
    let (path, part, older) = (name("")?, name(".part")?, name(".older")?);
    let (file, kept) = BoxFile::create(&path, &part, &older, bytes, &MAGIC).map_err(said)?;
    if kept {
        // A live page is useless after its process has ended.
        let _ = std::fs::remove_file(older.to_string_lossy().as_ref());
    }
    let Some(start) = file.map() else {
        file.remove(&path);
        return Err("it cannot be mapped".to_owned());
    };
    Ok(LiveFile { file, path, start: start.as_ptr(), place: 0 })
}

fn said(error: BoxError) -> String {
    match error {
        BoxError::Occupied => "there is a file that is no live page; choose another name".to_owned(),
        BoxError::InUse => "a living process writes there; put %p into the name".to_owned(),
        BoxError::Create(number) => std::io::Error::from_raw_os_error(number).to_string(),
        BoxError::NoSpace(number) => {
            format!("there is no room for it ({})", std::io::Error::from_raw_os_error(number))
        }
        BoxError::Unsupported => "this platform has none".to_owned(),
    }
}
