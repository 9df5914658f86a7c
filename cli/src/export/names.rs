//! Names shared by several formats.

use heapledger::profile::ProcessInfo;

/// Name of a missing stack.
pub(super) const NO_STACK: &str = "(no stack)";

/// Returns the command line as one text, or the name of the program if the command line is empty.
pub(super) fn command(process: &ProcessInfo) -> String {
    if process.command_line.is_empty() { process.program.clone() } else { process.command_line.join(" ") }
}
