//! The shell commands of the README have the documented results. Its Rust code runs as doctests.
//!
//! The commands run in a temporary directory, in the order of the README. A command that would build the workspace
//! again uses the programs of the current build instead. Each of these commands is listed here; all others run
//! unchanged.

#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const README: &str = include_str!("../../README.md");
const CARGO: &str = include_str!("../../.cargo/config.toml");

/// Commands that this test does not run, each with the test that covers it.
const RUN_ELSEWHERE: [(&str, &str); 5] = [
    ("cargo heapledger run --release", "`cli/tests/cargo_command.rs`"),
    ("cargo heapledger run --release --html heap.html --open", "`cli/tests/cargo_command.rs`"),
    ("cargo heapledger test", "`cli/tests/cargo_command.rs`"),
    ("cargo install --path ../heapledger/cli", "the command has been built for this test"),
    ("cargo test --all-features", "it runs this test; `.ci/run` calls it"),
];

/// The arguments after `cargo demo`, up to the program.
const DEMO: &str = "run --profile demo --package heapledger-cli --no-default-features -- run -- cargo run --profile demo \
                    --package ";
/// The clone that contains this package.
const CLONE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn commands() -> Vec<&'static str> {
    let blocks = README.split("```sh\n").skip(1);
    let lines = blocks.flat_map(|block| block.split("```").next().unwrap_or_default().lines());
    lines.filter(|line| !line.is_empty()).collect()
}

fn run(command: &mut Command) -> (String, String) {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().expect("it starts");
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {status}\n{stdout}{stderr}");
    (stdout.into_owned(), stderr.into_owned())
}

/// Returns the path of a program of the workspace, built like this test.
fn program(package: &str, kind: &str, name: &str) -> PathBuf {
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--package", package, kind, name]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    run(command.current_dir(CLONE));
    let test = std::env::current_exe().expect("a path");
    let folder = test.parent().and_then(Path::parent).expect("target/profile/deps");
    folder.join(if kind == "--example" { "examples" } else { "." }).join(name)
}

/// Returns the program that `cargo demo` runs.
fn index_tree() -> PathBuf {
    program("index-tree", "--bin", "index-tree")
}

fn heapledger(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heapledger"));
    command.current_dir(directory).env("LC_ALL", "C.UTF-8");
    command
}

#[test]
fn every_command_runs() {
    let directory = tempfile::tempdir().expect("a directory");
    let commands = commands();
    assert!(commands.len() >= 7, "{commands:?}");
    for line in commands {
        if RUN_ELSEWHERE.iter().any(|(command, _)| *command == line) {
            continue;
        }
        match line {
            "cargo demo" => drop(demo()),
            // The program of the reader: here the one that consists of the line and little else.
            "cargo run --release" => {
                drop(run(Command::new(program("heapledger", "--example", "minimal")).current_dir(&directory)))
            }
            "cargo add --path ../heapledger heapledger" => add(directory.path()),
            _ => {
                assert!(line.starts_with("heapledger "), "this test does not know how to run: {line}");
                let binary = Path::new(env!("CARGO_BIN_EXE_heapledger"));
                let folder = binary.parent().expect("a folder").display();
                let script = format!("PATH=\"{folder}:$PATH\"; {line}");
                run(Command::new("sh").args(["-euc", &script]).current_dir(&directory));
            }
        }
    }
    let json = fs::read(directory.path().join("heap.json")).expect("exported");
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(json["quality"]["completeness"], 1.0);
}

/// Does `cargo add` in a new package.
fn add(directory: &Path) {
    fs::create_dir_all(directory.join("app/src")).expect("created");
    fs::write(directory.join("app/src/main.rs"), "fn main() {}\n").expect("written");
    let manifest = "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n";
    fs::write(directory.join("app/Cargo.toml"), manifest).expect("written");
    std::os::unix::fs::symlink(CLONE, directory.join("heapledger")).expect("linked");
    let mut command = Command::new(env!("CARGO"));
    command.args(["add", "--offline", "--path", "../heapledger", "heapledger"]);
    run(command.current_dir(directory.join("app")));
    let manifest = fs::read_to_string(directory.join("app/Cargo.toml")).expect("there");
    assert!(manifest.contains("heapledger = {"), "{manifest}");
}

/// Runs the commands of `cargo demo` with the programs that this test built. Returns the report.
fn demo() -> String {
    let alias = CARGO.lines().find_map(|line| line.strip_prefix("demo = ")).expect("the alias");
    assert_eq!(alias.trim_matches('"').strip_prefix(DEMO), Some("index-tree"), "this test imitates it");
    let directory = tempfile::tempdir().expect("a directory");
    run(heapledger(directory.path()).args(["run", "--"]).arg(index_tree())).1
}

#[test]
fn every_line_of_the_report_shown_is_in_a_real_report() {
    let report = demo();
    assert!(report.contains("complete          100.000 %"), "{report}");
    let shown = README.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a report");
    assert!(shown.starts_with("Findings\n") && shown.lines().count() >= 6, "{shown}");
    // The figures differ from run to run; the first words do not. The build decides how much is known of modules.
    let first_word = |line: &str| {
        let word = line.split_whitespace().next()?;
        Some(word.rsplit("::").next().unwrap_or(word).to_owned())
    };
    let given: Vec<Option<String>> = report.lines().map(first_word).collect();
    for line in shown.lines() {
        assert!(given.contains(&first_word(line)), "not in the report: {line}\n{report}");
    }
}

#[test]
fn the_answer_of_the_example_is_the_same_with_and_without_a_ledger() {
    let directory = tempfile::tempdir().expect("a directory");
    let answer = |switch: &str| {
        let mut command = Command::new(index_tree());
        command.current_dir(&directory).env("HEAPLEDGER", switch);
        let (output, _) = run(command.env("HEAPLEDGER_DUMP", "off"));
        output.split("\n\n").next().unwrap_or_default().to_owned()
    };
    let recorded = answer("on");
    assert!(recorded.lines().count() > 1, "{recorded}");
    assert_eq!(recorded, answer("on"));
    assert_eq!(recorded, answer("off"));
}
