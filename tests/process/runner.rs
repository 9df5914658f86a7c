//! A test runner that speaks as much of libtest's command line as `cargo test` and nextest use.

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use super::case::Case;

/// What the command line asks for.
#[derive(Debug, Default)]
struct Asked {
    list: bool,
    exact: bool,
    /// Only the ignored ones.
    ignored: bool,
    include_ignored: bool,
    threads: Option<usize>,
    filters: Vec<String>,
    skip: Vec<String>,
}

impl Asked {
    fn read(mut arguments: impl Iterator<Item = String>) -> Asked {
        let mut asked = Asked::default();
        while let Some(argument) = arguments.next() {
            let (flag, value) = match argument.split_once('=') {
                Some((flag, value)) => (flag, Some(value.to_owned())),
                None => (argument.as_str(), None),
            };
            match flag {
                "--list" => asked.list = true,
                "--exact" => asked.exact = true,
                "--ignored" => asked.ignored = true,
                "--include-ignored" => asked.include_ignored = true,
                "--test-threads" => {
                    asked.threads = value.or_else(|| arguments.next()).and_then(|n| n.parse().ok());
                }
                "--skip" => asked.skip.extend(value.or_else(|| arguments.next())),
                "--format" | "--color" | "-Z" | "--logfile" | "--report-time" if value.is_none() => {
                    arguments.next();
                }
                other if other.starts_with('-') => {}
                _ => asked.filters.push(argument),
            }
        }
        asked
    }

    fn wants(&self, case: &Case) -> bool {
        let fits = |filter: &String| {
            if self.exact { case.name == filter.as_str() } else { case.name.contains(filter.as_str()) }
        };
        (self.filters.is_empty() || self.filters.iter().any(fits)) && !self.skip.iter().any(fits)
    }

    fn runs(&self, case: &Case) -> bool {
        self.include_ignored || self.ignored == case.ignored.is_some()
    }
}

/// Lists or runs the cases that the command line asks for.
pub fn run(cases: &'static [&'static [Case]]) -> ExitCode {
    let asked = Asked::read(std::env::args().skip(1));
    let wanted: Vec<&'static Case> =
        cases.iter().copied().flatten().filter(|case| asked.wants(case)).collect();
    if asked.list {
        for case in wanted.iter().filter(|case| !asked.ignored || case.ignored.is_some()) {
            println!("{}: test", case.name);
        }
        return ExitCode::SUCCESS;
    }
    let (due, left_out): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|case| asked.runs(case));
    println!("\nrunning {} tests", due.len() + left_out.len());
    for case in &left_out {
        println!("test {} ... ignored, {}", case.name, case.ignored.unwrap_or("not asked for"));
    }
    let failed = run_all(&due, asked.threads.unwrap_or_else(processors));
    for name in &failed {
        println!("failed: {name}");
    }
    let word = if failed.is_empty() { "ok" } else { "FAILED" };
    let passed = due.len() - failed.len();
    println!(
        "\ntest result: {word}. {passed} passed; {} failed; {} ignored; 0 measured; 0 filtered out\n",
        failed.len(),
        left_out.len()
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(101) }
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Runs the cases in a few threads and returns the names of those that failed.
fn run_all(due: &[&'static Case], threads: usize) -> Vec<&'static str> {
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..threads.clamp(1, due.len().max(1)) {
            scope.spawn(|| {
                while let Some(case) = due.get(next.fetch_add(1, SeqCst)) {
                    let word = match catch_unwind(|| case.run()) {
                        Ok(()) => "ok",
                        Err(_) => {
                            failed.lock().unwrap().push(case.name);
                            "FAILED"
                        }
                    };
                    println!("test {} ... {word}", case.name);
                }
            });
        }
    });
    failed.into_inner().unwrap()
}
