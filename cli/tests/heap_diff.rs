//! The script of `.github/actions/heap-diff`: two revisions of a repository, each with a program that leaves a dump.

#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::process::Command;

use heapledger::dumps;
use heapledger::profile::Profile;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.github/actions/heap-diff/heap-diff.sh");
/// In place of a build and a run: the dump of the revision.
const COMMAND: &str = "cp dump \"${HEAPLEDGER_DUMP//%[ep]/x}\"";

fn write_dump(path: &Path, bytes: u64) {
    let mut profile = Profile::default();
    profile.quality.installed = true;
    profile.quality.current_completeness = 1.0;
    profile.process.program = "demo".into();
    profile.totals.total_blocks = 1;
    profile.totals.total_bytes = bytes;
    profile.totals.freed_blocks = 1;
    profile.totals.freed_bytes = bytes;
    profile.totals.peak_bytes = bytes;
    profile.peak.bytes = bytes;
    dumps::write(path, &profile).expect("a dump");
}

fn git(directory: &Path, arguments: &[&str]) {
    let identity = ["-c", "user.name=a", "-c", "user.email=a@b"];
    let status = Command::new("git").args(identity).args(arguments).current_dir(directory).status();
    assert!(status.expect("git starts").success(), "{arguments:?}");
}

fn compare(directory: &Path, command: &str, flags: &str) -> (Option<i32>, String) {
    let out = directory.join("out.md");
    let mut script = Command::new("bash");
    script.arg(SCRIPT).args(["HEAD", command]).arg(&out).current_dir(directory);
    script.env("HEAPLEDGER", env!("CARGO_BIN_EXE_heapledger")).env("HEAP_DIFF_FLAGS", flags);
    let output = script.output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), fs::read_to_string(out).unwrap_or_default() + &said)
}

#[test]
fn two_revisions_are_compared_and_growth_fails_where_asked_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    git(path, &["init", "-q"]);
    write_dump(&path.join("dump"), 1_000);
    git(path, &["add", "-A"]);
    git(path, &["commit", "-q", "-m", "base"]);
    write_dump(&path.join("dump"), 5_000);
    let (code, text) = compare(path, COMMAND, "");
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("### Heap: ") && text.contains("+3.9 KiB"), "{text}");
    assert_eq!(compare(path, COMMAND, "--fail-on-growth 100").0, Some(1));
    let (code, text) = compare(path, "true", "");
    assert!(code == Some(3) && text.contains("left no dump behind"), "{text}");
}
