//! `cargo heapledger`: starts `heapledger cargo`, which does the work. Cargo calls this program as `cargo-heapledger
//! heapledger …`.
//!
//! This program and `heapledger` are installed together, into the same directory.

#![forbid(unsafe_code)]

use std::env;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let mut arguments: Vec<_> = env::args_os().skip(1).collect();
    if arguments.first().is_some_and(|word| word == "heapledger") {
        arguments.remove(0);
    }
    let name = format!("heapledger{}", env::consts::EXE_SUFFIX);
    let beside = env::current_exe().ok().map(|path| path.with_file_name(&name)).filter(|path| path.exists());
    let program = beside.unwrap_or_else(|| PathBuf::from(name));
    let mut command = Command::new(&program);
    command.arg("cargo").args(arguments);
    let error = match start(&mut command) {
        Ok(code) => return code,
        Err(error) => error,
    };
    eprintln!("error: cannot start {}: {error}", program.display());
    eprintln!("hint: `cargo install heapledger-cli` installs it beside cargo-heapledger");
    ExitCode::from(127)
}

/// Replaces this process by `heapledger`, so that signals reach `heapledger`, which has child processes.
#[cfg(unix)]
fn start(command: &mut Command) -> std::io::Result<ExitCode> {
    Err(std::os::unix::process::CommandExt::exec(command))
}

#[cfg(not(unix))]
fn start(command: &mut Command) -> std::io::Result<ExitCode> {
    let code = command.status()?.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}
