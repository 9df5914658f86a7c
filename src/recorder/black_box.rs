//! The black box: the ledger's region in a file, so that it outlives the process however that ends.
//!
//! The file is made when the ledger is opened, at its full length, and is taken away when the process has ended in good
//! order and left its dump. What remains under its name is what a process left that was killed. Everything here runs
//! before the ledger is there, in the first event of the process, so nothing may allocate.
//!
//! A forked child must not write into its parent's file. It goes on with a private copy of the parent's region, and
//! opens a box of its own if the path has `%p` in it; otherwise its ledger is in memory.

use std::ffi::CStr;
use std::fmt;
use std::ptr::NonNull;

use super::diagnostic::{Shown, complain};
use super::fixed_path::{FixedPath, PATH_BYTES};
use super::options::Options;
use super::process::PROCESS;
use super::region_abi::{LAYOUT, VERSION};
use super::state;
use crate::ledger::Ledger;
use crate::sys::box_file::{BoxError, BoxFile};
use crate::sys::sync::Ordering;
use crate::sys::{path_pattern, platform};

// SAFETY: C3, the cells are written by the one thread that is opening, or by a forked child that has one thread, while
// `is_open` is 0; and read only after it was seen to be 1.

/// Opens the ledger in a file, if that was asked for and is possible; otherwise says why not.
pub(super) fn open(options: &Options) -> Option<&'static Ledger> {
    let pattern = options.black_box_pattern()?;
    if crate::sys::platform::is_set_user_id() {
        return None;
    }
    let is_child = state::is_opened_again();
    if is_child && !path_pattern::has_process_id(pattern) {
        return None;
    }
    // SAFETY: C3, this is the thread that is opening.
    let path = unsafe { &mut *PROCESS.black_box.path.get() };
    let mut part = FixedPath::empty();
    let (Some(name), Some(part)) = (path.expand(pattern, b""), part.expand(pattern, b".part")) else {
        complain(format_args!("no black box: its path is longer than {PATH_BYTES} bytes"));
        return None;
    };
    let bytes = usize::try_from(options.black_box_bytes).unwrap_or(usize::MAX) / BOX_STEP * BOX_STEP;
    let file = match platform::with_failing_writes(|| BoxFile::create(name, part, bytes.max(BOX_STEP))) {
        Ok(file) => file,
        Err(why) => {
            complain(format_args!("no black box at {}: {}", Shown(name.to_bytes()), Why(why)));
            return None;
        }
    };
    let Some(ledger) = Ledger::open_in_file(&file, LAYOUT, VERSION, options.clock) else {
        file.remove(name);
        complain(format_args!("no black box: {bytes} bytes are too few, or cannot be mapped"));
        return None;
    };
    // SAFETY: C3.
    unsafe { *PROCESS.black_box.file.get() = Some(file) };
    // Release: pairs with the acquire in `current`.
    PROCESS.black_box.is_open.store(1, Ordering::Release);
    Some(ledger)
}

/// The length of a box is a multiple of this, in bytes.
const BOX_STEP: usize = 1 << 20;

fn current() -> Option<(&'static BoxFile, &'static CStr)> {
    // Acquire: pairs with the release in `open`.
    if PROCESS.black_box.is_open.load(Ordering::Acquire) == 0 {
        return None;
    }
    // SAFETY: C3.
    let (file, path) = unsafe { (&*PROCESS.black_box.file.get(), &*PROCESS.black_box.path.get()) };
    Some((file.as_ref()?, path.get()?))
}

/// Has the label written, once the process has its first lane. Allocates, as heapledger's own.
pub(super) fn label_once() {
    // relaxed: one thread does it.
    if current().is_some() && PROCESS.black_box.has_metadata.swap(1, Ordering::Relaxed) == 0 {
        label_again();
    }
}

/// The label has to be written once more: what it says of stacks was not known until now.
pub(super) fn is_to_be_labelled() {
    // relaxed: the thread that comes here is the next to ask.
    PROCESS.black_box.has_metadata.store(0, Ordering::Relaxed);
}

/// Has the label written anew: something in it has changed. Allocates, as heapledger's own.
pub(crate) fn label_again() {
    if current().is_some()
        && let Some(hooks) = state::hooks()
    {
        (hooks.label)();
    }
}

/// The process ends in good order, and what it recorded is in a dump: takes the file's name away.
pub(crate) fn end() {
    if let Some((file, path)) = current() {
        // relaxed: the process ends.
        PROCESS.black_box.is_open.store(0, Ordering::Relaxed);
        file.remove(path);
    }
}

/// In a forked child: leaves the parent's file to the parent.
pub(super) fn leave_to_parent(ledger: &'static Ledger) {
    let Some((file, _)) = current() else { return };
    // If it cannot be, the child must at least not be seen to write: its thread has one interrupted record at most.
    file.leave_to_others(NonNull::from(ledger).cast());
    file.close();
}

/// Why there is no file, as a sentence that says what to do.
struct Why(BoxError);

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            BoxError::Occupied => f.write_str("there is a file that is no black box; choose another name"),
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
