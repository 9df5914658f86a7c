//! Lines on standard error, from threads that may allocate.

use std::fmt::Display;

use crate::sys::platform;

/// Writes one line to standard error in one call. A failure is ignored.
pub(crate) fn print(line: impl Display) {
    platform::write_stderr(format!("heapledger: {line}\n").as_bytes());
}
