//! Outcomes as exit codes, and failures as the lines that explain them.
//!
//! A failure says on standard error what went wrong (`error: …`) and, where there is something to do, what
//! (`hint: …`). A reader that closed its end of a pipe has seen enough: that is no failure.

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// What messages call standard output.
pub const STDOUT: &str = "standard output";

/// How a command ended that did what it was asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Exit {
    /// Nothing to remark.
    Fine,
    /// What a flag asked to be told about was found.
    Finding,
    /// The code of the program that was run.
    Child(u8),
    /// The code of a report's own judgement.
    #[cfg(feature = "validation")]
    Judged(u8),
    /// The code of what this process did for its parent.
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

/// Why a command could not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The arguments make no sense together. (Those that make none alone are refused by the parser, with the same
    /// code.)
    Usage,
    /// The input cannot be read.
    Unreadable,
    /// The output cannot be written.
    Unwritable,
    /// Nothing could be measured.
    #[cfg(feature = "validation")]
    Unmeasured,
    /// The program to run cannot be started.
    NotStarted,
    /// The program to run was not found.
    NotFound,
}

/// A failure with its explanation.
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

    pub fn code(&self) -> ExitCode {
        ExitCode::from(match self.cause {
            FailureKind::Usage => 2,
            FailureKind::Unreadable => 3,
            FailureKind::Unwritable => 4,
            #[cfg(feature = "validation")]
            FailureKind::Unmeasured => 3,
            FailureKind::NotStarted => 126,
            FailureKind::NotFound => 127,
        })
    }

    /// Prints the lines to standard error.
    pub fn print(&self) {
        anstream::eprintln!("error: {}", self.error);
        if let Some(hint) = &self.hint {
            anstream::eprintln!("hint: {hint}");
        }
    }
}

/// The outcome of writing: a closed pipe ends it quietly, any other error is a failure.
pub fn written(result: io::Result<()>, place: impl Display) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(FailureKind::Unwritable, format_args!("cannot write to {place}: {error}")))
        }
        _ => Ok(()),
    }
}

/// Whether both paths lead to one file that exists.
pub fn is_same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
