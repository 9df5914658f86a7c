//! A test runner for programs that are their own harness. It supports the options of libtest's command line that `cargo
//! test`, nextest and `.ci/run` use: several filters, `--exact`, `--skip`, `--ignored`, `--list`, `--test-threads`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

/// One test, which fails by a panic.
pub struct Test<'a> {
    pub name: &'a str,
    /// Reason why the test runs only on request.
    pub ignored: Option<&'a str>,
    pub run: Box<dyn Fn() + Sync + 'a>,
}

/// The requests of the command line.
#[derive(Debug, Default)]
struct Asked {
    list: bool,
    exact: bool,
    /// Whether only ignored tests run.
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

    fn wants(&self, test: &Test<'_>) -> bool {
        let fits = |filter: &String| {
            if self.exact { test.name == filter.as_str() } else { test.name.contains(filter.as_str()) }
        };
        (self.filters.is_empty() || self.filters.iter().any(fits)) && !self.skip.iter().any(fits)
    }

    fn runs(&self, test: &Test<'_>) -> bool {
        self.include_ignored || self.ignored == test.ignored.is_some()
    }
}

/// Lists or runs the requested tests.
pub fn run(tests: &[Test<'_>]) -> ExitCode {
    let asked = Asked::read(std::env::args().skip(1));
    let wanted: Vec<&Test<'_>> = tests.iter().filter(|test| asked.wants(test)).collect();
    if asked.list {
        for test in wanted.iter().filter(|test| !asked.ignored || test.ignored.is_some()) {
            println!("{}: test", test.name);
        }
        return ExitCode::SUCCESS;
    }
    let (due, left_out): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|test| asked.runs(test));
    println!("\nrunning {} tests", due.len() + left_out.len());
    for test in &left_out {
        println!("test {} ... ignored, {}", test.name, test.ignored.unwrap_or("not asked for"));
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

/// Runs the tests in a few threads and returns the names of the failed tests.
fn run_all<'a>(due: &[&Test<'a>], threads: usize) -> Vec<&'a str> {
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..threads.clamp(1, due.len().max(1)) {
            scope.spawn(|| {
                while let Some(test) = due.get(next.fetch_add(1, SeqCst)) {
                    let word = match catch_unwind(AssertUnwindSafe(&test.run)) {
                        Ok(()) => "ok",
                        Err(_) => {
                            failed.lock().unwrap().push(test.name);
                            "FAILED"
                        }
                    };
                    println!("test {} ... {word}", test.name);
                }
            });
        }
    });
    failed.into_inner().unwrap()
}
