//! The action `.github/actions/heap-diff`: its script on two revisions of a repository, each with a program that leaves
//! a dump; and the commands of its two steps, as GitHub's runner starts them.

#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use heapledger::dumps;
use heapledger::profile::Profile;

const ACTION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.github/actions/heap-diff");
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

/// Makes a repository with a dump, which has grown since the commit.
fn grow(path: &Path) {
    git(path, &["init", "-q"]);
    write_dump(&path.join("dump"), 1_000);
    git(path, &["add", "-A"]);
    git(path, &["commit", "-q", "-m", "base"]);
    write_dump(&path.join("dump"), 5_000);
}

fn compare(directory: &Path, command: &str, flags: &str) -> (Option<i32>, String) {
    let out = directory.join("out.md");
    let mut script = Command::new("bash");
    script.arg(format!("{ACTION}/heap-diff.sh")).args(["HEAD", command]).arg(&out).current_dir(directory);
    script.env("HEAP_DIFF_COMMAND", env!("CARGO_BIN_EXE_heapledger")).env("HEAP_DIFF_FLAGS", flags);
    // What a program with `on_request()` needs is no name of a command.
    script.env("HEAPLEDGER", "always");
    let output = script.output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), fs::read_to_string(out).unwrap_or_default() + &said)
}

#[test]
fn two_revisions_are_compared_and_growth_fails_where_asked_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    grow(path);
    let (code, text) = compare(path, COMMAND, "");
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("### Heap: ") && text.contains("+3.9 KiB"), "{text}");
    assert_eq!(compare(path, COMMAND, "--fail-on-growth 100").0, Some(1));
    let (code, text) = compare(path, "true", "");
    assert!(code == Some(3) && text.contains("left no dump behind"), "{text}");
}

/// In place of GitHub's command: writes down how it is called, and lists the comments that `GH_IDS` names.
const GH: &str =
    "#!/bin/sh\nprintf '%s\\n' \"$*\" >>gh.log\ncase \"$*\" in *--paginate*) printf \"$GH_IDS\";; esac\n";

/// Runs the commands of a step of the action; returns its exit code, what `gh` was asked, and the job's summary.
fn step(directory: &Path, name: &str, variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let action = fs::read_to_string(format!("{ACTION}/action.yml")).expect("the action");
    let step = action.split("    - name: ").find(|step| step.starts_with(name)).expect("the step");
    let lines = step.split_once("      run: |\n").expect("its commands").1.lines();
    let commands: Vec<&str> = lines.map_while(|line| line.strip_prefix("        ")).collect();
    for old in ["gh.log", "summary"] {
        let _ = fs::remove_file(directory.join(old));
    }
    let path = format!("{}:{}", directory.display(), std::env::var("PATH").expect("a path"));
    let mut bash = Command::new("bash");
    bash.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", &commands.join("\n")]);
    bash.current_dir(directory).env("PATH", path).env("HEAP_DIFF_COMMAND", env!("CARGO_BIN_EXE_heapledger"));
    bash.env("GITHUB_ACTION_PATH", ACTION).env("RUNNER_TEMP", directory).env("GITHUB_REPOSITORY", "o/r");
    bash.env("GITHUB_STEP_SUMMARY", directory.join("summary")).envs(variables.iter().copied());
    let code = bash.status().expect("it starts").code();
    let text = |name: &str| fs::read_to_string(directory.join(name)).unwrap_or_default();
    (code, text("gh.log"), text("summary"))
}

#[test]
fn the_steps_of_the_action_write_a_summary_and_one_comment() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    grow(path);
    fs::write(path.join("gh"), GH).expect("written");
    fs::set_permissions(path.join("gh"), fs::Permissions::from_mode(0o755)).expect("set");

    // Without a dump there is neither a summary nor a comment, and the exit code is that of the script.
    let compare = |command| step(path, "Compare", &[("BASE", "HEAD"), ("COMMAND", command)]);
    let comment = |ids| step(path, "Comment", &[("NUMBER", "7"), ("GH_IDS", ids)]);
    assert_eq!(compare("true"), (Some(3), String::new(), String::new()));
    assert_eq!(comment(""), (Some(0), String::new(), String::new()));

    let (code, _, summary) = compare(COMMAND);
    assert!(code == Some(0) && summary.starts_with("### Heap: "), "{summary}");
    let (code, asked, _) = comment("");
    assert!(code == Some(0) && asked.contains("\npr comment 7 --body-file "), "{asked}");
    let (code, asked, _) = comment("11\n12\n");
    let replaced = "\napi --method PATCH repos/o/r/issues/comments/12 --field body=@";
    assert!(code == Some(0) && asked.contains(replaced) && !asked.contains("pr comment"), "{asked}");
    // The comment to replace is found by the first words of the difference.
    assert!(asked.contains("startswith(\"### Heap: \")"), "{asked}");
}
