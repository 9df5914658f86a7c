//! The black box: a file that holds the ledger's memory, so that the memory survives even if the process is killed.
//!
//! The file is created at its full length when the ledger is opened. It is removed only if the process ends normally
//! and its dump was written; in all other cases it stays. Opening runs in the first event of the process and must not
//! allocate.
//!
//! A file that an earlier process left under the same name gets the ending `.older`, and replaces an earlier file with
//! this name. So a program that is started again after each crash leaves at most two files.
//!
//! A forked child must not write into its parent's file, so the child gets a private copy of the parent's region. The
//! child opens a new black box if the path contains `%p`; otherwise its ledger is in memory.

use std::ffi::CStr;
use std::fmt;
use std::ptr::NonNull;

use super::diagnostic::{Printable, warn};
use super::fixed_path::PATH_BYTES;
use super::options::Options;
use super::process::PROCESS;
use super::region_abi::{LAYOUT, VERSION};
use super::state;
use crate::ledger::Ledger;
use crate::sys::box_file::{BoxError, BoxFile, MAGIC};
use crate::sys::sync::Ordering;
use crate::sys::{path_pattern, platform};

/// Granularity of the length of a black box, in bytes.
const BOX_STEP: usize = 1 << 20;

/// Opens the ledger in a file if the options ask for a black box. If the file cannot be opened, prints the reason and
/// returns `None`.
pub(super) fn open(options: &Options) -> Option<&'static Ledger> {
    let pattern = options.black_box_pattern()?;
    if crate::sys::platform::is_set_user_id() {
        return None;
    }
    let is_child = state::is_forked_child();
    if is_child && !path_pattern::has_process_id(pattern) {
        return None;
    }
    let directory = state::start_directory();
    let [name, part, older] = {
        let cells = &PROCESS.black_box;
        [(&cells.path, &b""[..]), (&cells.part, b".part"), (&cells.older, b".older")]
    }
    // SAFETY: C3, this thread is opening the ledger, so no other thread accesses the cells.
    .map(|(path, ending)| unsafe { &mut *path.get() }.expand(directory, pattern, ending));
    let (Some(name), Some(part), Some(older)) = (name, part, older) else {
        warn(format_args!("no black box: its path is longer than {PATH_BYTES} bytes"));
        return None;
    };
    let bytes = usize::try_from(options.black_box_bytes).unwrap_or(usize::MAX) / BOX_STEP * BOX_STEP;
    let create = || BoxFile::create(name, part, older, bytes.max(BOX_STEP), &MAGIC);
    let (file, kept) = match platform::with_failing_writes(create) {
        Ok(created) => created,
        Err(error) => {
            warn(format_args!("no black box at {}: {}", Printable(name.to_bytes()), Reason(error)));
            return None;
        }
    };
    let Some(ledger) = Ledger::open_in_file(&file, LAYOUT, VERSION, options.clock) else {
        file.remove(name);
        warn(format_args!("no black box: {bytes} bytes are too few, or cannot be mapped"));
        return None;
    };
    if kept {
        let older = Printable(older.to_bytes());
        warn(format_args!("the black box of an earlier process was left; it is now {older}"));
    }
    // SAFETY: C3, this thread is opening the ledger, so no other thread accesses the cells.
    unsafe { *PROCESS.black_box.file.get() = Some(file) };
    // Release: pairs with the acquire in `current`.
    PROCESS.black_box.is_open.store(1, Ordering::Release);
    Some(ledger)
}

/// Returns the file of the black box and its path, if the black box is open.
fn current() -> Option<(&'static BoxFile, &'static CStr)> {
    // Acquire: pairs with the release in `open`.
    if PROCESS.black_box.is_open.load(Ordering::Acquire) == 0 {
        return None;
    }
    // SAFETY: C3, `is_open` is 1, so no thread writes the cells.
    let (file, path) = unsafe { (&*PROCESS.black_box.file.get(), &*PROCESS.black_box.path.get()) };
    Some((file.as_ref()?, path.get()?))
}

/// Writes the metadata once, after the process has its first lane. Allocates, inside an internal scope.
pub(super) fn write_metadata_once() {
    // relaxed: the exchange lets one thread write.
    if current().is_some() && PROCESS.black_box.has_metadata.swap(1, Ordering::Relaxed) == 0 {
        write_metadata();
    }
}

/// Requests another write of the metadata, because the method of walking stacks is known only now.
pub(super) fn request_metadata() {
    // relaxed: the calling thread itself is the next reader.
    PROCESS.black_box.has_metadata.store(0, Ordering::Relaxed);
}

/// Writes the metadata again after a change. Allocates, inside an internal scope.
pub(crate) fn write_metadata() {
    if current().is_some()
        && let Some(hooks) = state::hooks()
    {
        (hooks.write_metadata)();
    }
}

/// Removes the file when the process ends normally and its dump is written.
pub(crate) fn remove() {
    if let Some((file, path)) = current() {
        // relaxed: the process ends.
        PROCESS.black_box.is_open.store(0, Ordering::Relaxed);
        file.remove(path);
    }
}

/// Detaches a forked child from its parent's file.
pub(super) fn leave_to_parent(ledger: &'static Ledger) {
    let Some((file, _)) = current() else { return };
    // If the private copy fails, the child still writes at most one record into the parent's file: the record during
    // which the process was forked.
    file.leave_to_others(NonNull::from(ledger).cast());
    file.close();
}

/// The reason for a missing black box, with a remedy.
struct Reason(BoxError);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            BoxError::Occupied => f.write_str(
                "there is a file that is no black box, or at the same name with .older; choose another name",
            ),
            BoxError::InUse => f.write_str("a living process writes there; put %p into the name"),
            BoxError::Create(number) => write!(f, "the file cannot be made (error {number})"),
            BoxError::NoSpace(number) => {
                write!(
                    f,
                    "the disk has no room for it (error {number}); HEAPLEDGER_BLACKBOX_BYTES makes it smaller"
                )
            }
            BoxError::Unsupported => f.write_str("this platform has none"),
        }
    }
}
