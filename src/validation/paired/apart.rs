//! A child that does not hear the terminal's interrupts: its parent tells it what to do.

use std::process::{Command, Stdio};

use super::child::VARIABLE;

/// This program again, as a child for [`run_paired`](super::run_paired), with the same arguments. It shares standard
/// error with its parent, and is in a process group of its own.
///
/// # Errors
/// When the system does not say which file this program is.
pub fn child_command() -> std::io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1)).env(VARIABLE, "serve");
    // What the child is asked to measure is the load, not how long its dump takes.
    command.env("HEAPLEDGER_DUMP", "off");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    separate(&mut command);
    Ok(command)
}

#[cfg(unix)]
fn separate(command: &mut Command) {
    std::os::unix::process::CommandExt::process_group(command, 0);
}

#[cfg(windows)]
fn separate(command: &mut Command) {
    const CREATE_NEW_PROCESS_GROUP: u32 = 0x200;
    std::os::windows::process::CommandExt::creation_flags(command, CREATE_NEW_PROCESS_GROUP);
}

#[cfg(not(any(unix, windows)))]
fn separate(_: &mut Command) {}
