//! `cargo heapledger` as its users run it, on a package with a build script, a procedural macro, fat LTO, panics that
//! abort, a test without harness, and a wrapper of the compiler; then on a program with a global allocator of its own.
//!
//! The library is compiled with few optimisations, because compiling it takes most of the time.

#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const MANIFEST: &str = "\
[workspace]
members = [\"macros\"]
[package]
name = \"everything\"
version = \"0.1.0\"
edition = \"2024\"
[dependencies]
macros = { path = \"macros\" }
[profile.release]
lto = \"fat\"
panic = \"abort\"
opt-level = 1
codegen-units = 1
strip = true
[[test]]
name = \"plain\"
harness = false
[[bench]]
name = \"quick\"
harness = false
";

const MAIN: &str = "\
//! The program.
#![deny(warnings)]
macros::answer!();
fn words() -> Vec<String> {
    (0..1000).map(|n| format!(\"word {n} {}\", env!(\"BUILT\"))).collect()
}
fn main() {
    println!(\"{} {}\", words().len(), answer());
}
#[cfg(test)]
mod tests {
    #[test]
    fn this_test_has_a_name_that_is_longer_than_forty_seven_bytes() {
        assert_eq!((super::words().len(), super::answer()), (1000, 42));
    }
    #[test]
    fn starts_a() {
        std::thread::spawn(|| drop(vec![1u8; 50_000])).join().unwrap();
    }
    #[test]
    fn this_test_retains() {
        std::mem::forget(vec![1u8; 5000]);
    }
}
";

const FILES: &[(&str, &str)] = &[
    ("Cargo.toml", MANIFEST),
    ("src/main.rs", MAIN),
    ("build.rs", "fn main() { println!(\"cargo::rustc-env=BUILT={}\", vec![1; 7].len()); }\n"),
    ("tests/plain.rs", "fn main() { println!(\"no harness {}\", vec![1; 100].len()); }\n"),
    ("tests/none.rs", ""),
    ("benches/quick.rs", "fn main() { println!(\"quick {}\", vec![1; 100].len()); }\n"),
    (
        "macros/Cargo.toml",
        "[package]\nname = \"macros\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[lib]\nproc-macro = true\n",
    ),
    (
        "macros/src/lib.rs",
        "#[proc_macro]\npub fn answer(_: proc_macro::TokenStream) -> proc_macro::TokenStream {\n    \
         \"fn answer() -> u32 { 42 }\".parse().unwrap()\n}\n",
    ),
    (".gitignore", "/target\n/elsewhere\n"),
    (".cargo/config.toml", "[build]\nbuild-dir = \"elsewhere\"\n"),
    ("wrapper", "#!/bin/sh\necho called >>\"$WRAPPER_LOG\"\nexec \"$@\"\n"),
    ("browser", "#!/bin/sh\nmv \"$1\" target/opened.html\n"),
];

const OWN: &str = "\
use std::alloc::System;

#[global_allocator]
static GLOBAL: System = System;
fn main() {}
";

/// Runs a command in a directory; returns its exit code, and its output and messages.
fn run(directory: &Path, program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String) {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory).stdin(Stdio::null()).env("LC_ALL", "C.UTF-8");
    for name in ["CARGO_TARGET_DIR", "RUSTC_WORKSPACE_WRAPPER", "RUSTC_WRAPPER", "RUSTFLAGS", "HEAPLEDGER"] {
        command.env_remove(name);
    }
    command.env("CARGO", env!("CARGO")).env("CARGO_PROFILE_HEAPLEDGER_OPT_LEVEL", "0");
    let Output { status, stdout, stderr } =
        command.envs(variables.iter().copied()).output().expect("it starts");
    let text = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (status.code().expect("a code"), text)
}

fn heapledger(directory: &Path, line: &str, variables: &[(&str, &str)]) -> (i32, String) {
    let words: Vec<&str> = std::iter::once("heapledger").chain(line.split_whitespace()).collect();
    run(directory, env!("CARGO_BIN_EXE_cargo-heapledger"), &words, variables)
}

/// Returns what git sees as changed or new.
fn changes(directory: &Path) -> String {
    run(directory, "git", &["status", "--porcelain"], &[]).1
}

fn package(directory: &Path) {
    for (name, text) in FILES {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("created");
        fs::write(path, text).expect("written");
    }
    for name in ["wrapper", "browser"] {
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(directory.join(name), executable).expect("set");
    }
    let git = |arguments: &[&str]| assert_eq!(run(directory, "git", arguments, &[]).0, 0);
    assert_eq!(run(directory, env!("CARGO"), &["generate-lockfile", "--offline"], &[]).0, 0);
    git(&["init", "-q"]);
    git(&["add", "-A"]);
    git(&["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "all"]);
}

#[test]
fn a_package_is_recorded_without_an_edit() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    package(path);
    let log = path.join("target/wrapper.log");
    fs::create_dir_all(path.join("target")).expect("created");
    let wrapper = path.join("wrapper");
    let chained =
        [("RUSTC_WRAPPER", wrapper.to_str().expect("text")), ("WRAPPER_LOG", log.to_str().expect("text"))];

    let (code, text) = heapledger(path, "run --offline --release --top 2 -- x", &chained);
    assert_eq!(code, 0, "{text}");
    assert!(text.starts_with("1000 42\n") && text.contains("complete          100.000 %"), "{text}");
    assert!(text.contains("words (") && text.contains("src/main.rs:5)"), "{text}");
    let calls = fs::read_to_string(&log).expect("the wrapper was called").lines().count();
    assert!(calls > 20, "{calls}");

    let browser = path.join("browser");
    let opened = [&chained[..], &[("BROWSER", browser.to_str().expect("text"))]].concat();
    let (code, text) = heapledger(path, "run --offline --release --html target/page.html --open", &opened);
    assert!(code == 0 && !text.contains("Compiling"), "{text}");
    let started = Instant::now();
    while !path.join("target/opened.html").is_file() {
        assert!(started.elapsed() < Duration::from_secs(60), "{text}");
        std::thread::sleep(Duration::from_millis(20));
    }

    let (code, text) = heapledger(path, "test --offline --width 160", &[]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("no harness 100") && text.contains("The 3 dumps are in"), "{text}");
    let whole = "tests::this_test_has_a_name_that_is_longer_than_forty_seven_bytes  everything\n";
    assert!(text.contains("heapledger: 3 tests in 1 program") && text.contains(whole), "{text}");
    let retaining = text.split("Tests that retain").nth(1).expect("the table");
    assert!(retaining.contains("this_test_retains") && !retaining.contains("forty_seven"), "{text}");

    // Where no test has a row, the report is that of a program that does something.
    let (code, text) = heapledger(path, "test --offline --test none --test plain", &[]);
    assert!(code == 0 && text.contains("heapledger: plain-"), "{text}");
    let (code, text) = heapledger(path, "bench --offline --profile dev --bins --bench quick", &[]);
    assert!(code == 0 && text.contains("heapledger: quick-"), "{text}");
    assert_eq!(changes(path), "");
    refuses_another_allocator(path);
    initialises(path);
}

/// The refusal names the place and the lines to write.
fn refuses_another_allocator(path: &Path) {
    fs::write(path.join("src/main.rs"), OWN).expect("written");
    let (code, text) = heapledger(path, "run --offline", &[]);
    assert_eq!(code, 101, "{text}");
    assert!(text.contains("everything has a global allocator of its own (src/main.rs:4)"), "{text}");
    let line = "static GLOBAL: heapledger::HeapLedger<System> = heapledger::HeapLedger::new(System);";
    assert!(text.contains(&format!("    #[global_allocator]\n    {line}\n")), "{text}");
    let (code, text) = heapledger(path, "init --yes", &[]);
    assert!(code == 2 && text.contains(line), "{text}");
    fs::write(path.join("src/main.rs"), MAIN).expect("written");
    assert_eq!(changes(path), "");
}

/// Checks that cargo accepts what `init` writes, and that `init --undo` restores every file, the lock file among them.
fn initialises(path: &Path) {
    let offline = [("CARGO_NET_OFFLINE", "true")];
    let (code, text) = heapledger(path, "init", &offline);
    assert!(code == 2 && text.contains("\n+#[global_allocator]\n"), "{text}");
    assert_eq!(changes(path), "", "without a terminal nothing is written");
    let (code, text) = heapledger(path, "init --yes", &offline);
    assert_eq!(code, 0, "{text}");
    let (code, text) = run(path, env!("CARGO"), &["metadata", "--locked", "-q"], &offline);
    assert!(code == 0 && text.contains("\"heapledger\":[\"dep:heapledger\"]"), "{text}");
    let (code, text) = heapledger(path, "init --undo --yes", &offline);
    assert_eq!((code, changes(path).as_str()), (0, ""), "{text}");
}

#[test]
fn words_that_are_no_command_are_errors_of_usage() {
    let directory = tempfile::tempdir().expect("a directory");
    let (code, text) = heapledger(directory.path(), "walk", &[]);
    assert!(code == 2 && text.contains("cargo heapledger"), "{text}");
    let (code, text) = heapledger(directory.path(), "run --help", &[]);
    assert!(code == 0 && text.contains("--html <OUT>"), "{text}");
    let (code, text) = heapledger(directory.path(), "run", &[]);
    assert!(code == 101 && text.contains("Cargo.toml"), "{text}");
}
