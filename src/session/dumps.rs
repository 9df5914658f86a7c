//! Dumps into files, and the metadata of a black box.

use std::fmt;
use std::path::{Path, PathBuf};

use super::access::{whole_profile, with_ledger};
use crate::aggregator::naming::expand;
use crate::aggregator::{diagnostic, snapshot};
use crate::dump::{self, Written};
use crate::profile::DumpTarget;
use crate::recorder::state;
use crate::sys::platform;

/// How often the metadata is written again because objects were loaded or unloaded meanwhile, at most.
const METADATA_TRIES: usize = 8;

/// Writes a dump now.
///
/// # Errors
///
/// [`DumpError::NotInstalled`] when there is nothing to write, [`DumpError::Write`] when the file could not be written;
/// then nothing is left under its name.
pub fn dump(path: impl AsRef<Path>) -> Result<Written, DumpError> {
    write_dump(path.as_ref(), "request")
}

pub(super) fn write_dump(path: &Path, reason: &str) -> Result<Written, DumpError> {
    with_ledger(|ledger, scope| {
        let profile = whole_profile(ledger, scope, reason);
        platform::with_failing_writes(|| dump::write(path, &profile)).map_err(DumpError::Write)
    })
    .unwrap_or(Err(DumpError::NotInstalled))
}

/// The reason that there is no dump.
#[derive(Debug)]
#[non_exhaustive]
pub enum DumpError {
    /// No `HeapLedger` is the global allocator of this process, or it is switched off.
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

/// Writes the metadata of the black box, which its reader cannot find in the ledger: a dump with nothing in it but the process,
/// its settings and its loaded objects.
pub(super) fn write_metadata() {
    with_ledger(|ledger, _| {
        for _ in 0..METADATA_TRIES {
            let metadata = snapshot::metadata(ledger);
            let mut bytes = Vec::new();
            if dump::write_to(&mut bytes, &metadata).is_ok() {
                ledger.set_metadata(&bytes);
            }
            // Two threads may write at the same time, and the one with the older list of objects may be the last.
            if !snapshot::is_metadata_old(&metadata) {
                return;
            }
        }
    });
}

/// The path of the dump at exit, or `None` when there is to be none.
pub(super) fn exit_path() -> Option<PathBuf> {
    let options = state::options();
    match (options.dump_override.get(), options.dump) {
        (Some(b"off"), _) | (None, DumpTarget::Off) => None,
        _ => dump_pattern().map(expand),
    }
}

/// The path of dumps without a name of their own, with its placeholders. `None` where a dump is not allowed: a set-user-id
/// program writes none where its caller chooses.
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
