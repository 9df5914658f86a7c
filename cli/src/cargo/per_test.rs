//! Figures of each test, from the dumps of test programs.
//!
//! The harness of `cargo test` runs each test in a thread with the test's name. In a dump, long names of threads are
//! cut. The whole names come from the test program, which can list its tests.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use heapledger::Profile;

/// Text that identifies a program with the standard test harness.
const HARNESS: &[u8] = b"The FILTER string is tested against the name of all tests";
/// Length to which heapledger cuts a thread's name, in bytes. Only a name of this length can be the beginning of a
/// test's name; a shorter name must equal the whole name. An unnamed thread that a test starts inherits the beginning
/// of the test's name, but the system cuts that name to fewer bytes. So such a thread is not taken for the test.
const CUT_NAME_BYTES: usize = 47;

/// Figures of one test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestRow {
    /// Whole name of the test. If the names of several tests begin with the name of the thread, the name of the thread
    /// followed by `..`.
    pub name: String,
    /// Name of the program with the test, without the hash that cargo adds.
    pub program: String,
    /// Number of blocks that the test's thread allocated.
    pub blocks: u64,
    /// Number of bytes that the test's thread allocated.
    pub bytes: u64,
    /// Number of bytes in `bytes` that were not freed when the program ended.
    pub retained_bytes: u64,
    /// Number of lost events of the test's thread.
    pub lost: u64,
}

/// Returns the figures of each test of a test program. `names` are the whole names of its tests. Threads that run no
/// test are left out: heapledger's threads, the main thread, and the threads that tests start.
pub fn rows(profile: &Profile, names: &[String]) -> Vec<TestRow> {
    let mut freed_elsewhere: HashMap<u32, i128> = HashMap::new();
    for crossing in &profile.crossings {
        *freed_elsewhere.entry(crossing.allocated_by).or_default() += i128::from(crossing.bytes);
        *freed_elsewhere.entry(crossing.freed_by).or_default() -= i128::from(crossing.bytes);
    }
    let (mut rows, mut seen) = (Vec::new(), HashSet::new());
    for (row, thread) in (0..).zip(&profile.threads) {
        if thread.own || thread.threads != 1 {
            continue;
        }
        let Some(name) = whole_name(&thread.name, names) else { continue };
        // The test's thread has its first event before any thread that inherits the name, so only the first row counts.
        if name == thread.name && !seen.insert(&thread.name) {
            continue;
        }
        let elsewhere = freed_elsewhere.get(&row).copied().unwrap_or_default();
        let kept = i128::from(thread.total_bytes) - i128::from(thread.freed_bytes) - elsewhere;
        rows.push(TestRow {
            name,
            program: without_hash(&profile.process.program).to_owned(),
            blocks: thread.total_blocks,
            bytes: thread.total_bytes,
            retained_bytes: u64::try_from(kept).unwrap_or(0),
            lost: thread.lost.total(),
        });
    }
    rows
}

/// Returns the name of a program without the hash of 16 hexadecimal digits that cargo adds to file names.
fn without_hash(program: &str) -> &str {
    let is_hash = |text: &str| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    program.rsplit_once('-').filter(|(_, end)| is_hash(end)).map_or(program, |(name, _)| name)
}

/// Returns the name of the test that a thread with this name runs; `None` if the thread runs no test.
fn whole_name(thread: &str, names: &[String]) -> Option<String> {
    if names.iter().any(|name| name == thread) {
        return Some(thread.to_owned());
    }
    if thread.len() < CUT_NAME_BYTES {
        return None;
    }
    let mut longer = names.iter().filter(|name| name.starts_with(thread));
    match (longer.next(), longer.next()) {
        (Some(only), None) => Some(only.clone()),
        (Some(_), Some(_)) => Some(format!("{thread}..")),
        _ => None,
    }
}

/// Returns the path of the process's executable if it is a test program that cargo built below `target`.
pub fn test_program(profile: &Profile, target: &Path) -> Option<PathBuf> {
    let first = profile.process.command_line.first()?;
    let path = Path::new(&profile.process.directory).join(first);
    let has_harness = || std::fs::read(&path).is_ok_and(|bytes| contains(&bytes, HARNESS));
    (path.starts_with(target) && has_harness()).then_some(path)
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == text[0]) {
        if rest[at..].starts_with(text) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

/// Runs a test program to list the names of its tests.
pub fn names(program: &Path) -> Vec<String> {
    let mut command = Command::new(program);
    command.args(["--list", "--format", "terse"]).env("HEAPLEDGER", "off");
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.strip_suffix(": test").or_else(|| line.strip_suffix(": benchmark")))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use heapledger::profile::{RemoteFrees, ThreadRow};

    #[test]
    fn a_test_has_its_whole_name_and_what_nobody_freed_and_no_thread_that_it_starts() {
        let mut profile = Profile::default();
        let row = |name: &str, total_bytes, freed_bytes| ThreadRow {
            name: name.into(),
            threads: 1,
            total_blocks: 3,
            total_bytes,
            freed_bytes,
            ..ThreadRow::default()
        };
        let long = format!("parser::tests::{}", "long_name_".repeat(4));
        profile.threads = vec![
            row("main", 1_000, 500),
            row(&long[..47], 700, 100),
            row(&long[..15], 9_000, 0),
            row("lexer::a", 50, 50),
            row("lexer::a", 9_000, 0),
            row("worker", 10, 0),
        ];
        // The main thread freed 400 bytes of the test.
        profile.crossings = vec![RemoteFrees { allocated_by: 1, freed_by: 0, blocks: 1, bytes: 400 }];
        let mut names = vec![long.clone(), "lexer::a".to_owned()];
        let shown = |rows: Vec<TestRow>| -> Vec<_> {
            rows.into_iter().map(|row| (row.name, row.bytes, row.retained_bytes)).collect()
        };
        let short = ("lexer::a".to_owned(), 50, 0);
        assert_eq!(shown(rows(&profile, &names)), [(long.clone(), 700, 200), short.clone()]);
        names.push(format!("{long}more"));
        assert_eq!(shown(rows(&profile, &names)), [(format!("{}..", &long[..47]), 700, 200), short]);
    }

    #[test]
    fn a_program_is_shown_without_cargos_hash() {
        assert_eq!(without_hash("my-app-0123456789abcdef"), "my-app");
        for name in ["app", "my-app", "app-0123456789abcde", "app-0123456789abcdeg", ""] {
            assert_eq!(without_hash(name), name);
        }
    }

    #[test]
    fn a_text_is_found_wherever_it_stands() {
        assert!(contains(b"ababac", b"abac") && !contains(b"ababa", b"abac"));
    }
}
