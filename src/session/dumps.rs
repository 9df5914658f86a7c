//! Dumps into files, and the metadata of a black box.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::access::{internally, whole_snapshot, with_ledger};
use crate::aggregator::naming::{self, expand};
use crate::aggregator::{diagnostic, snapshot};
use crate::dump::{self, WriteError, Written};
use crate::profile::DumpTarget;
use crate::recorder::state;
use crate::sys::platform;

/// Maximum number of times that the metadata is written, because objects may be loaded or unloaded during the writing.
const METADATA_TRIES: usize = 8;

/// Writes a dump of the current state. A relative `path` starts from the working directory at the call.
///
/// An earlier dump of this process at `path` is replaced. If `path` holds the dump of another process, the new dump
/// gets a name with a number, such as `app-2.hl`: see [`Written::path`].
///
/// # Errors
///
/// Returns [`DumpError::NotInstalled`] if there is no ledger, and [`DumpError::Write`] if the file could not be
/// written. If writing failed, no new file remains at the path.
pub fn dump(path: impl AsRef<Path>) -> Result<Written, DumpError> {
    write_dump(path.as_ref(), "request")
}

pub(super) fn write_dump(path: &Path, reason: &str) -> Result<Written, DumpError> {
    with_ledger(|ledger, scope| {
        let snapshot = whole_snapshot(ledger, scope, reason);
        let write = || dump::write_beside_others(path, &snapshot.profile, &snapshot);
        platform::with_failing_writes(write).map_err(DumpError::Write)
    })
    .unwrap_or(Err(DumpError::NotInstalled))
}

/// Reason why no dump was written.
#[derive(Debug)]
#[non_exhaustive]
pub enum DumpError {
    /// No `HeapLedger` is the global allocator of this process, or its recording is disabled.
    NotInstalled,
    /// The file could not be written.
    Write(dump::WriteError),
}

impl fmt::Display for DumpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DumpError::NotInstalled => {
                write!(
                    f,
                    "nothing was recorded: make a HeapLedger the global allocator, and do not set HEAPLEDGER=off"
                )
            }
            DumpError::Write(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for DumpError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            DumpError::NotInstalled => None,
            DumpError::Write(error) => Some(error),
        }
    }
}

/// Prints the path of a dump if it differs from the path in the settings.
pub(super) fn tell_other_name(path: &Path, written: &Written) {
    if written.path != path {
        let (asked, actual) = (path.display(), written.path.display());
        diagnostic::print(format_args!("{asked} is the dump of another process, this one is {actual}"));
    }
}

/// Returns the message for a dump that could not be written to a path of the settings.
pub(super) fn explain(error: &DumpError) -> String {
    let gone = match error {
        DumpError::Write(WriteError::Io { path, source, .. }) if source.kind() == ErrorKind::NotFound => {
            naming::lost_directory(path)
        }
        _ => None,
    };
    gone.map_or_else(|| error.to_string(), |gone| format!("no dump: {gone}"))
}

/// Writes the metadata of the black box: a dump with the data that the ledger does not hold, namely the process, its
/// settings and its loaded objects.
pub(super) fn write_metadata() {
    internally(|ledger, _| {
        for _ in 0..METADATA_TRIES {
            let metadata = snapshot::metadata(ledger);
            let mut bytes = Vec::new();
            if dump::write_to(&mut bytes, &metadata).is_ok() {
                ledger.set_metadata(&bytes);
            }
            // Two threads may write at the same time, and the thread with the older list of objects may write last.
            if !snapshot::is_metadata_old(&metadata) {
                return;
            }
        }
    });
}

/// Returns the path of the dump at exit, or `None` if there will be no dump at exit.
pub(super) fn exit_path() -> Option<PathBuf> {
    let options = state::options();
    match (options.dump_override.get(), options.dump) {
        (Some(b"off"), _) | (None, DumpTarget::Off) => None,
        _ => dump_pattern().map(expand),
    }
}

/// Returns the path, with its placeholders, of the dumps that heapledger writes without a call of the program. Returns
/// `None` if no dump is allowed: a set-user-id program must not write to a path that its caller chooses.
pub(super) fn dump_pattern() -> Option<&'static [u8]> {
    let options = state::options();
    let pattern = match (options.dump_override.get(), options.dump) {
        (Some(path), _) if path != b"off" => path,
        (_, DumpTarget::Path(path)) => path.as_bytes(),
        _ => b"heapledger.%e.%p.hl",
    };
    if platform::is_set_user_id() && !pattern.starts_with(b"/") {
        diagnostic::print(
            "no dump: a set-user-id program has one only under an absolute path of its builder's",
        );
        return None;
    }
    Some(pattern)
}
