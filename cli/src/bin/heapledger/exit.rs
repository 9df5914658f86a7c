//! Exit codes and error messages.
//!
//! A failure prints what is wrong (`error: …`) to standard error, followed by advice (`hint: …`) if there is any. A
//! closed pipe does not count as a failure.

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// Name of standard output in messages.
pub const STDOUT: &str = "standard output";

/// Result of a successful command, which determines the exit code.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Exit {
    /// The exit code is 0: no flag asks for another one.
    Fine,
    /// The exit code is 1: there is a finding that a flag such as `--fail-on` names, or a broken conservation law.
    Finding,
    /// Exit code of the program that `heapledger run` started.
    Child(u8),
    /// Exit code of a validation report.
    #[cfg(feature = "validation")]
    Judged(u8),
    /// Exit code of a child process of `validate`.
    #[cfg(feature = "validation")]
    Of(ExitCode),
}

impl Exit {
    pub fn code(self) -> ExitCode {
        match self {
            Exit::Fine => ExitCode::SUCCESS,
            Exit::Finding => ExitCode::from(1),
            Exit::Child(code) => ExitCode::from(code),
            #[cfg(feature = "validation")]
            Exit::Judged(code) => ExitCode::from(code),
            #[cfg(feature = "validation")]
            Exit::Of(code) => code,
        }
    }
}

/// Kind of a failure, which determines the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The arguments are invalid together. (An argument that is invalid alone is rejected by the parser, with the same
    /// exit code.)
    Usage,
    /// The input cannot be read.
    Unreadable,
    /// The output cannot be written.
    Unwritable,
    /// The validation produced no measurement.
    #[cfg(feature = "validation")]
    Unmeasured,
    /// The program to run could not be started.
    NotStarted,
    /// The program to run was not found.
    NotFound,
    /// Cargo failed with this exit code.
    Child(u8),
}

/// Failure of a command: its kind, the error message, and advice.
#[derive(Debug)]
pub struct Failure {
    cause: FailureKind,
    error: String,
    hint: Option<String>,
}

impl Failure {
    pub fn new(cause: FailureKind, error: impl Display) -> Self {
        Failure { cause, error: error.to_string(), hint: None }
    }

    pub fn hint(mut self, hint: impl Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// Whether the failure is [`FailureKind::Unreadable`].
    #[cfg(any(feature = "parquet", feature = "push"))]
    pub fn is_unreadable(&self) -> bool {
        self.cause == FailureKind::Unreadable
    }

    pub fn code(&self) -> ExitCode {
        ExitCode::from(match self.cause {
            FailureKind::Usage => 2,
            FailureKind::Unreadable => 3,
            FailureKind::Unwritable => 4,
            #[cfg(feature = "validation")]
            FailureKind::Unmeasured => 3,
            FailureKind::NotStarted => 126,
            FailureKind::NotFound => 127,
            FailureKind::Child(code) => code,
        })
    }

    /// Prints the error message and the advice to standard error.
    pub fn print(&self) {
        anstream::eprintln!("error: {}", self.error);
        if let Some(hint) = &self.hint {
            anstream::eprintln!("hint: {hint}");
        }
    }
}

/// Converts the result of writing to `place`. A closed pipe counts as success, any other error is a failure.
pub fn written(result: io::Result<()>, place: impl Display) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(FailureKind::Unwritable, format_args!("cannot write to {place}: {error}")))
        }
        _ => Ok(()),
    }
}

/// Whether both paths refer to the same existing file.
pub fn is_same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
