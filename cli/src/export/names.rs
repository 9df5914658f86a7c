//! Names shared by several formats.

use heapledger::profile::ProcessInfo;

/// The name of a missing stack.
pub(super) const NO_STACK: &str = "(no stack)";

/// The command line as one text.
pub(super) fn command(process: &ProcessInfo) -> String {
    if process.command_line.is_empty() { process.program.clone() } else { process.command_line.join(" ") }
}
