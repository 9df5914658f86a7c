//! Starts one child and measures it from outside.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::child::Told;
use crate::contestants::{Contestant, FILE};

/// The result of one run of one child.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    pub told: Told,
    /// Processor time of the whole process from start to end, including the writing of its file.
    pub process_cpu_ns: f64,
    /// Peak resident memory, in bytes. The value is at least the peak of the bench, because the system counts from
    /// before the program is loaded.
    pub peak_rss_bytes: f64,
    /// Size of the files that the child wrote, in bytes.
    pub file_bytes: f64,
}

/// Runs a program on some work, in a new directory.
///
/// # Errors
/// Returns an error if the program cannot be started, fails, or reports no figures.
pub fn run(program: &Path, contestant: &Contestant, workload: &str) -> io::Result<Outcome> {
    let room = tempfile::tempdir()?;
    let file = room.path().join("profile");
    let in_file = |text: &str| text.replace(FILE, &file.to_string_lossy());
    let mut command = match contestant.runner {
        [] => Command::new(program),
        [runner, arguments @ ..] => {
            let mut command = Command::new(runner);
            command.args(arguments.iter().map(|argument| in_file(argument))).arg(program);
            command
        }
    };
    command.arg(workload).current_dir(room.path()).env("RIVALS_FILE", &file);
    for (name, value) in contestant.environment {
        command.env(name, in_file(value));
    }
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut output = String::new();
    let mut pipe = child.stdout.take().ok_or_else(|| io::Error::other("the child has no output"))?;
    pipe.read_to_string(&mut output)?;
    let usage = wait(child.id())?;
    let told = Told::parse(&output).ok_or_else(|| io::Error::other("the child said nothing of itself"))?;
    Ok(Outcome { told, file_bytes: bytes_below(room.path())?, ..usage })
}

/// Waits for a child, and returns its use of resources.
fn wait(id: u32) -> io::Result<Outcome> {
    let mut status = 0;
    // SAFETY: all zero bytes are a valid value of this plain structure.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both places are valid for writes; the child is ours and nobody else waits for it.
    let waited = unsafe { libc::wait4(id as libc::pid_t, &raw mut status, 0, &raw mut usage) };
    if waited < 0 {
        return Err(io::Error::last_os_error());
    }
    if !libc::WIFEXITED(status) || libc::WEXITSTATUS(status) != 0 {
        return Err(io::Error::other(format!("the child ended with status {status:#x}")));
    }
    let ns = |time: libc::timeval| time.tv_sec as f64 * 1e9 + time.tv_usec as f64 * 1e3;
    Ok(Outcome {
        told: Told::default(),
        process_cpu_ns: ns(usage.ru_utime) + ns(usage.ru_stime),
        peak_rss_bytes: usage.ru_maxrss as f64 * 1024.0,
        file_bytes: 0.0,
    })
}

fn bytes_below(directory: &Path) -> io::Result<f64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes as f64)
}

/// Whether a command of this name can be started.
pub fn is_installed(name: &str) -> bool {
    let quiet = || Stdio::null();
    Command::new(name).arg("--version").stdin(quiet()).stdout(quiet()).stderr(quiet()).status().is_ok()
}

/// Returns the path of a program built next to the bench, if it exists.
pub fn program(name: &str, beside: &str) -> Option<PathBuf> {
    let path = Path::new(beside).parent()?.join(name);
    path.exists().then_some(path)
}
