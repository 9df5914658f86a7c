//! The compared allocators (the contestants), and the start of a child.

use std::io;
use std::process::{Command, Stdio};

use crate::child::{BARE, LOADS, Line, WORD};
use crate::common::effort::Effort;
use crate::workloads::Workload;

/// One allocator with its settings.
pub struct Contestant {
    pub name: &'static str,
    /// Argument of the child.
    allocator: &'static str,
    environment: &'static [(&'static str, &'static str)],
    /// Colour of the line in the plot.
    pub color: &'static str,
}

/// Placeholder for the path of the child's black box.
const FILE: &str = "{file}";

const fn heapledger(
    name: &'static str,
    environment: &'static [(&'static str, &'static str)],
    color: &'static str,
) -> Contestant {
    Contestant { name, allocator: "heapledger", environment, color }
}

/// All contestants. The first is the baseline of the others. Only the last records stacks.
pub const ALL: [Contestant; 6] = [
    Contestant { name: "bare System", allocator: BARE, environment: &[], color: "#888888" },
    heapledger("PerfectAccuracy", &[], "#0b6e4f"),
    heapledger("HighAccuracy", &[("HEAPLEDGER_MODE", "high")], "#2e6da4"),
    heapledger("HighThroughput", &[("HEAPLEDGER_MODE", "throughput")], "#b9770e"),
    heapledger("black box", &[("HEAPLEDGER_BLACKBOX", FILE)], "#c0392b"),
    heapledger("with stacks", &[("HEAPLEDGER_STACKS", "auto")], "#7d3c98"),
];

/// Runs one child, and returns one line for each load.
///
/// # Errors
/// Returns an error if the child cannot be started, fails, or prints anything else.
pub fn run(contestant: &Contestant, workload: &Workload, effort: Effort) -> io::Result<Vec<Line>> {
    let room = tempfile::tempdir()?;
    let file = room.path().join("blackbox.hl");
    let mut command = Command::new(std::env::current_exe()?);
    command.args([WORD, contestant.allocator, workload.name, effort.name()]).current_dir(room.path());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HEAPLEDGER") {
            command.env_remove(name);
        }
    }
    for (name, value) in contestant.environment {
        command.env(name, value.replace(FILE, &file.to_string_lossy()));
    }
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    let failed = |what: String| io::Error::other(format!("{} on {}: {what}", contestant.name, workload.name));
    if !output.status.success() {
        return Err(failed(format!("the child ended with {}", output.status)));
    }
    if contestant.environment.iter().any(|(_, value)| *value == FILE) && !file.exists() {
        return Err(failed("there is no black box".to_owned()));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Result<Vec<Line>, &str> = text.lines().map(str::parse).collect();
    match lines {
        Ok(lines) if lines.len() == LOADS.len() => Ok(lines),
        Ok(_) => Err(failed("it said too little".to_owned())),
        Err(what) => Err(failed(what.to_owned())),
    }
}
