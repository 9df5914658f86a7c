//! The command that starts a child. A child ignores the terminal's interrupts, because the parent controls it.

use std::process::{Command, Stdio};

use super::protocol::VARIABLE;

/// Returns the command that starts this program again as a child of [`run_paired`](super::run_paired), with the same
/// arguments. The child shares standard error with its parent, and has a separate process group.
///
/// # Errors
/// Returns an error if the system does not report the path of this program.
pub fn child_command() -> std::io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1)).env(VARIABLE, "serve");
    // A dump at the end would be part of the measurement.
    command.env("HEAPLEDGER_DUMP", "off");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    #[cfg(windows)]
    {
        const CREATE_NEW_PROCESS_GROUP: u32 = 0x200;
        std::os::windows::process::CommandExt::creation_flags(&mut command, CREATE_NEW_PROCESS_GROUP);
    }
    Ok(command)
}
