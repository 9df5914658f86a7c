//! Instructions that recording adds, counted by callgrind. Unlike times they do not depend on other load on the
//! machine, so a small regression is visible.
//!
//! `cargo bench --bench instructions` runs this program again under `valgrind --tool=callgrind`, for each kind of work
//! once bare and once recorded, and compares the difference with the checked figures in `benches/instructions.txt`. A
//! figure more than 5 % above its check fails the run; a figure more than 5 % below asks for a lower check. `cargo
//! bench --bench instructions -- --write` writes the current figures as the checks, and with a name behind it only those of
//! that work.
//!
//! Only instructions of the measured thread inside the measured function count: recording and booking by that thread
//! are included, the background thread is not. Calls of the allocator are not inlined, as in a program. The clock
//! remains a disturbance: under callgrind a millisecond has fewer events, so windows end more often than at full speed.
//! The lowest of three runs counts (`--quick`: of two).
#![allow(unsafe_code, reason = "calls allocators directly; the name of the measured function must be plain")]

mod common;

use std::alloc::{GlobalAlloc, System};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::{Command, ExitCode, Stdio};

use common::effort::Effort;
use common::raw::{Called, Population, deep_pairs, growing, handfuls, tight_pairs};
use heapledger::{DumpTarget, HeapLedger};

// With its own thread from the start: without ticks, how long windows are depends on how fast the machine is.
static HEAP: HeapLedger =
    HeapLedger::system().stacks(heapledger::Stacks::Off).dump(DumpTarget::Off).background(true);

/// The checked figures.
const CHECKS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.txt");
/// Share by which a figure may exceed its check.
const TOLERANCE: f64 = 0.05;
/// Number of runs, of which the lowest counts.
const RUNS: usize = 3;
/// Number of runs with `--quick`.
const RUNS_QUICK: usize = 2;
/// Number of pairs of an allocation and a free, or of reallocs, in one run.
const PAIRS: u64 = 48_000;
/// Depth of calls at which the pairs with stacks are made.
const CALLS: u32 = 24;
/// The argument that marks a child of this program.
const CHILD: &str = "--measured";
/// Kinds of work, each with the environment of its recorded run.
const WORK: [(&str, &[(&str, &str)]); 12] = [
    ("pair", &[]),
    ("handful", &[]),
    ("grow", &[]),
    ("replace-1000", &[]),
    ("replace-100000", &[]),
    ("pair, sampled", &[("HEAPLEDGER_MODE", "throughput")]),
    ("pair, off", &[("HEAPLEDGER", "off")]),
    ("deep, dwarf", &[("HEAPLEDGER_STACKS", "dwarf")]),
    // A scope entered and left, and allocations in one.
    ("scope", &[]),
    ("pair in a scope", &[]),
    // A span of `tracing` entered and exited: under a layer that does nothing against no span, and under a layer of
    // scopes against one that does nothing.
    ("span", &[]),
    ("span as a scope", &[]),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [child, work, recorded] = &arguments[..]
        && child == CHILD
    {
        prepare_and_measure(work, recorded == "recorded");
        return ExitCode::SUCCESS;
    }
    let runs = Effort::of_arguments().pick(0, RUNS_QUICK, RUNS);
    if runs == 0 {
        return ExitCode::SUCCESS;
    }
    if Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("instructions are not counted: valgrind is not installed");
        return ExitCode::SUCCESS;
    }
    // Arguments that are no options are parts of names: only this work is measured.
    let asked: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let is_asked = |name: &str| asked.is_empty() || asked.iter().any(|part| name.contains(part.as_str()));
    let work = WORK.iter().filter(|(name, _)| is_asked(name));
    let figures: BTreeMap<&str, f64> =
        work.map(|(name, environment)| (*name, added_per_pair(name, environment, runs))).collect();
    let writes = arguments.iter().any(|argument| argument == "--write");
    if writes { write_checks(&figures) } else { compare(&figures) }
}

/// Returns the instructions per pair: recorded minus bare.
fn added_per_pair(name: &str, environment: &[(&str, &str)], runs: usize) -> f64 {
    let work = name.split(',').next().unwrap_or(name);
    let least = |kind| (0..runs).map(|_| count(work, environment, kind)).min().unwrap_or(0) as f64;
    (least("recorded") - least("bare")) / PAIRS as f64
}

/// Runs one child under callgrind and returns its number of instructions.
fn count(work: &str, environment: &[(&str, &str)], kind: &str) -> u64 {
    let program = std::env::current_exe().expect("a program knows its path");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"])
        .arg("--toggle-collect=heapledger_measured_work")
        .arg(program)
        .args([CHILD, work, kind])
        .envs(environment.iter().copied())
        .stdout(Stdio::null())
        .output()
        .expect("valgrind runs");
    let text = String::from_utf8_lossy(&output.stderr);
    let counted = text.lines().find_map(|line| line.split_once("Collected :")).map(|(_, count)| count.trim());
    let counted = counted.and_then(|count| count.parse().ok()).filter(|count| *count > 0);
    counted.unwrap_or_else(|| panic!("callgrind counted nothing:\n{text}"))
}

fn prepare_and_measure(work: &str, recorded: bool) {
    // The first events open the ledger and start its thread; neither belongs to a pair.
    tight_pairs(&HEAP, 2_000);
    std::thread::sleep(std::time::Duration::from_millis(200));
    match work {
        "scope" => measure_scope(recorded),
        "span" => spans::measure(recorded.then(spans::with_nothing)),
        "span as a scope" if recorded => spans::measure(Some(spans::with_scopes())),
        "span as a scope" => spans::measure(Some(spans::with_nothing())),
        "pair in a scope" if recorded => {
            let scope = heapledger::Scope::named("measured");
            scope.run(|| measure(&Called(&HEAP), "pair"));
        }
        "pair in a scope" => measure(&Called(&System), "pair"),
        _ if recorded => measure(&Called(&HEAP), work),
        _ => measure(&Called(&System), work),
    }
}

fn measure_scope(enters: bool) {
    let scopes = [heapledger::Scope::named("measured")];
    if enters {
        heapledger_measured_work(&mut || (0..PAIRS).for_each(|_| drop(black_box(&scopes)[0].enter())));
    } else {
        heapledger_measured_work(&mut || (0..PAIRS).for_each(|_| drop(black_box(&scopes)[0])));
    }
}

/// Spans of `tracing`, entered and exited [`PAIRS`] times.
#[cfg(feature = "tracing")]
mod spans {
    use std::hint::black_box;

    use tracing::Dispatch;
    use tracing_subscriber::layer::{Layer, SubscriberExt};
    use tracing_subscriber::registry;

    struct Nothing;

    impl<S: tracing::Subscriber> Layer<S> for Nothing {}

    pub fn with_nothing() -> Dispatch {
        Dispatch::new(registry().with(Nothing))
    }

    pub fn with_scopes() -> Dispatch {
        Dispatch::new(registry().with(heapledger::scope::ScopeLayer::new()))
    }

    pub fn measure(dispatch: Option<Dispatch>) {
        let Some(dispatch) = dispatch else {
            return super::heapledger_measured_work(&mut || {
                (0..super::PAIRS).for_each(|n| drop(black_box(n)))
            });
        };
        tracing::dispatcher::with_default(&dispatch, || {
            let span = tracing::info_span!("measured");
            assert!(!span.is_disabled());
            super::heapledger_measured_work(&mut || {
                (0..super::PAIRS).for_each(|_| drop(black_box(&span).enter()));
            });
        });
    }
}

/// Without the feature there is nothing to measure.
#[cfg(not(feature = "tracing"))]
mod spans {
    pub fn with_nothing() {}

    pub fn with_scopes() {}

    pub fn measure(_dispatch: Option<()>) {
        panic!("spans are measured with the feature `tracing`: --all-features");
    }
}

fn measure<A: GlobalAlloc>(allocator: &A, work: &str) {
    match work {
        "pair" => heapledger_measured_work(&mut || tight_pairs(allocator, PAIRS)),
        "deep" => heapledger_measured_work(&mut || deep_pairs(allocator, PAIRS, CALLS)),
        "handful" => heapledger_measured_work(&mut || handfuls(allocator, PAIRS / 16)),
        // Counted per realloc.
        "grow" => heapledger_measured_work(&mut || growing(allocator, PAIRS / 8)),
        _ => {
            let blocks = work
                .rsplit_once('-')
                .and_then(|(_, blocks)| blocks.parse().ok())
                .expect("a number of blocks");
            let mut population = Population::new(allocator, blocks);
            population.replace(20_000);
            heapledger_measured_work(&mut || population.replace(PAIRS));
        }
    }
}

/// The function that callgrind measures, with everything that it calls.
#[unsafe(no_mangle)]
#[inline(never)]
fn heapledger_measured_work(work: &mut dyn FnMut()) {
    black_box(work)();
}

fn compare(figures: &BTreeMap<&str, f64>) -> ExitCode {
    let checks = read_checks();
    let mut exit = ExitCode::SUCCESS;
    println!("{:<15} {:>10} {:>10} {:>8}", "work", "checked", "counted", "change");
    for (work, counted) in figures {
        let Some(check) = checks.get(*work) else {
            println!("{work:<15} {:>10} {counted:>10.1}   has no check: write one with --write", "none");
            exit = ExitCode::FAILURE;
            continue;
        };
        let change = counted / check - 1.0;
        let remark = if change > TOLERANCE {
            exit = ExitCode::FAILURE;
            "  TOO MANY: find out why, or write new checks with --write and say why"
        } else if change < -TOLERANCE {
            "  fewer: lower the check with --write"
        } else {
            ""
        };
        println!("{work:<15} {check:>10.1} {counted:>10.1} {:>7.1}%{remark}", change * 100.0);
    }
    exit
}

fn read_checks() -> BTreeMap<String, f64> {
    let text = std::fs::read_to_string(CHECKS).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let (work, figure) = line.rsplit_once(' ')?;
            Some((work.to_owned(), figure.trim().parse().ok()?))
        })
        .collect()
}

fn write_checks(figures: &BTreeMap<&str, f64>) -> ExitCode {
    let mut text = String::from(
        "# Instructions that heapledger adds to an allocation and its free (or to a realloc), on x86-64 Linux, by callgrind.\n\
         # Checked and written by `cargo bench --bench instructions`; see benches/instructions.rs.\n",
    );
    let mut checks = read_checks();
    for (work, figure) in figures {
        println!("{work:<15} {figure:>10.1}");
        checks.insert((*work).to_owned(), *figure);
    }
    for (work, figure) in checks {
        text.push_str(&format!("{work} {figure:.1}\n"));
    }
    match std::fs::write(CHECKS, text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{CHECKS}: {error}");
            ExitCode::FAILURE
        }
    }
}
