//! Names that several formats use.

use heapledger::profile::ProcessInfo;

/// Name of the frame for blocks without a stack.
pub(super) const NO_STACK: &str = "(no stack)";

/// Returns the command line as one text; without a command line, the name of the program.
pub(super) fn command(process: &ProcessInfo) -> String {
    if process.command_line.is_empty() { process.program.clone() } else { process.command_line.join(" ") }
}
