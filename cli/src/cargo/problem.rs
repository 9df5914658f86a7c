//! Failures of `cargo heapledger`, with hints.

use std::fmt::{Display, Formatter};
use std::io;
use std::path::PathBuf;

/// Reason why a package cannot be built with heapledger in it.
#[derive(Debug)]
pub enum Problem {
    /// Cargo cannot be started.
    NoCargo {
        /// The system's error.
        error: io::Error,
    },
    /// Cargo failed, and has printed the reason.
    Cargo {
        /// Its exit code.
        code: Option<i32>,
    },
    /// The output of `cargo metadata` cannot be read.
    Metadata {
        /// Reason why it cannot be read.
        error: String,
    },
    /// The library cannot be built. Cargo has printed the reason.
    Library {
        /// Its exit code.
        code: Option<i32>,
    },
    /// A file cannot be written.
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// A file cannot be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The package does not allow the change.
    Package {
        /// Reason against the change.
        error: String,
        /// Advice.
        hint: String,
    },
}

impl Problem {
    /// Returns advice, if there is any.
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
