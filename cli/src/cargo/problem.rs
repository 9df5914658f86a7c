//! Failures of `cargo heapledger`, with hints.

use std::fmt::{Display, Formatter};
use std::io;
use std::path::PathBuf;

/// Reason why a package cannot be built with heapledger in it.
#[derive(Debug)]
pub enum Problem {
    /// Cargo could not be started.
    NoCargo {
        /// Error of the system.
        error: io::Error,
    },
    /// Cargo failed, and has printed the reason.
    Cargo {
        /// Exit code of cargo; `None` if a signal ended cargo.
        code: Option<i32>,
    },
    /// The output of `cargo metadata` could not be read.
    Metadata {
        /// Reason why the output could not be read.
        error: String,
    },
    /// The library could not be built. Cargo has printed the reason.
    Library {
        /// Exit code of cargo; `None` if a signal ended cargo.
        code: Option<i32>,
    },
    /// A file could not be written.
    Unwritable {
        /// Path of the file.
        path: PathBuf,
        /// Error of the system.
        error: io::Error,
    },
    /// A file could not be read.
    Unreadable {
        /// Path of the file.
        path: PathBuf,
        /// Error of the system.
        error: io::Error,
    },
    /// The package does not allow the requested change.
    Package {
        /// Reason why the change is not possible.
        error: String,
        /// Advice to the user.
        hint: String,
    },
}

impl Problem {
    /// Returns advice to the user, or `None` if there is no advice for the problem.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Problem::NoCargo { .. } => "cargo must be in PATH, or CARGO must name it".to_owned(),
            Problem::Library { .. } => {
                "its dependencies come from crates.io, or from the source that your cargo configuration names; it \
                 needs the Rust version that cargo names above"
                    .to_owned()
            }
            Problem::Package { hint, .. } => hint.clone(),
            _ => return None,
        })
    }
}

impl Display for Problem {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Problem::NoCargo { error } => write!(f, "cannot start cargo: {error}"),
            Problem::Cargo { .. } => write!(f, "cargo failed"),
            Problem::Metadata { error } => write!(f, "cannot read what cargo printed: {error}"),
            Problem::Library { .. } => write!(f, "heapledger cannot be built for this package"),
            Problem::Unwritable { path, error } => write!(f, "cannot write {}: {error}", path.display()),
            Problem::Unreadable { path, error } => write!(f, "cannot read {}: {error}", path.display()),
            Problem::Package { error, .. } => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Problem {}
