//! Instructions that recording adds, counted by callgrind. Unlike times, the counts do not depend on other load on the
//! machine, so a small regression is visible.
//!
//! `cargo bench --bench instructions` runs this program again under `valgrind --tool=callgrind`, for each kind of work
//! once bare and once recorded. The difference is compared with the checked figures in `benches/instructions.txt`. A
//! figure more than 5 % above its checked figure fails the run. For a figure more than 5 % below, the bench asks for a
//! lower checked figure. `cargo bench --bench instructions -- --write` writes the current figures as the checked
//! figures. With the name of a work after `--write`, only the figures of this work are written.
//!
//! Only instructions of the measured thread inside the measured function count: recording and booking by that thread
//! are included, the background thread is not. Calls of the allocator are not inlined, as in a program. The clock still
//! has an effect: under callgrind a millisecond has fewer events, so windows (runs of events behind one time stamp) end
//! more often than at full speed. The lowest of three runs counts (`--quick`: of two).
#![allow(unsafe_code, reason = "calls allocators directly; the name of the measured function must be plain")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;

use common::effort::Effort;
use common::figures::Random;
use common::raw::{Called, Population, deep_pairs, growing, handfuls, tight_pairs};
use common::texts::{json_document, parse_and_print};
use heapledger::{DumpTarget, HeapLedger};

// The background thread runs from the start. Without it, the length of windows would depend on the machine's speed.
static HEAP: HeapLedger =
    HeapLedger::system().stacks(heapledger::Stacks::Off).dump(DumpTarget::Off).background(true);

/// The task of the global allocator: one of the following values. All blocks come from System.
static GLOBAL_DOES: AtomicU32 = AtomicU32::new(FORWARDS);
const FORWARDS: u32 = 0;
const RECORDS: u32 = 1;
const COUNTS: u32 = 2;
/// Number of events that the global allocator has counted.
static EVENTS: AtomicU64 = AtomicU64::new(0);

/// The global allocator, for work that needs one.
struct Switch;

#[global_allocator]
static GLOBAL: Switch = Switch;

impl Switch {
    /// Whether heapledger is to record an event. Counts the event if events are counted.
    #[inline]
    fn records(&self) -> bool {
        // relaxed, both: the values change before and after the work of one thread, or before the threads start.
        match GLOBAL_DOES.load(Ordering::Relaxed) {
            FORWARDS => false,
            RECORDS => true,
            _ => EVENTS.fetch_add(1, Ordering::Relaxed) == u64::MAX,
        }
    }
}

// SAFETY: every method hands its arguments to an allocator that keeps the contract, and both forward to System.
unsafe impl GlobalAlloc for Switch {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        unsafe { if self.records() { HEAP.alloc(layout) } else { System.alloc(layout) } }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { if self.records() { HEAP.dealloc(block, layout) } else { System.dealloc(block, layout) } }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        unsafe {
            if self.records() {
                HEAP.realloc(block, layout, new_size)
            } else {
                System.realloc(block, layout, new_size)
            }
        }
    }
}

/// Path of the file with the checked figures.
const CHECKS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../instructions.txt");
/// Share by which a figure may exceed its checked figure.
const TOLERANCE: f64 = 0.05;
/// Number of runs of each kind of work. The lowest count is used.
const RUNS: usize = 3;
/// Number of runs with `--quick`.
const RUNS_QUICK: usize = 2;
/// Number of pairs of an allocation and a free, or of reallocs, in one run.
const PAIRS: u64 = 48_000;
/// Depth of calls at which the pairs with stacks are made.
const CALLS: u32 = 24;
/// Name of the work for which the instructions of all threads are counted, including the background thread.
const ALL_THREADS: &str = "hand-over";
/// The argument that marks a child of this program.
const CHILD: &str = "--measured";
/// Documents in one run of JSON, of [`JSON_RECORDS`] records each.
const DOCUMENTS: usize = 12;
const JSON_RECORDS: usize = 300;
/// Blocks that one thread hands to another at a time.
const LOAD: u64 = 64;
/// Kinds of work, each with the environment of its recorded run.
const WORK: [(&str, &[(&str, &str)]); 17] = [
    ("pair", &[]),
    ("pair, auto", &[("HEAPLEDGER_STACKS", "auto")]),
    ("handful", &[]),
    ("grow", &[]),
    ("replace-1000", &[]),
    ("replace-100000", &[]),
    ("pair, sampled", &[("HEAPLEDGER_MODE", "throughput")]),
    ("pair, off", &[("HEAPLEDGER", "off")]),
    ("deep, dwarf", &[("HEAPLEDGER_STACKS", "dwarf")]),
    // A scope that is entered and left, and allocations inside a scope.
    ("scope", &[]),
    ("pair in a scope", &[]),
    // A span of `tracing` that is entered and exited. The first work compares a span under a layer that does nothing
    // with no span. The second work compares a layer of scopes with the layer that does nothing.
    ("span", &[]),
    ("span as a scope", &[]),
    ("json", &[]),
    ("json, auto", &[("HEAPLEDGER_STACKS", "auto")]),
    ("hand-over", &[]),
    ("hand-over, auto", &[("HEAPLEDGER_STACKS", "auto")]),
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
    // Arguments that are no options are parts of names: only work whose name has such a part is measured.
    let asked: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let is_asked = |name: &str| match &asked[..] {
        [] => is_checked(name),
        _ => asked.iter().any(|part| name.contains(part.as_str())),
    };
    let work = WORK.iter().filter(|(name, _)| is_asked(name));
    let figures: BTreeMap<&str, f64> =
        work.map(|(name, environment)| (*name, added_per_pair(name, environment, runs))).collect();
    let writes = arguments.iter().any(|argument| argument == "--write");
    if writes { write_checks(&figures) } else { compare(&figures) }
}

/// Whether a kind of work is measured without being named, and compared with the checked file. Two kinds are not: the
/// cost of spans depends on the features of `tracing` that other packages enable, and the cost of a hand-over depends on
/// the scheduling of its threads.
fn is_checked(name: &str) -> bool {
    !name.starts_with("span") && !name.starts_with(ALL_THREADS)
}

/// Returns the number of instructions per pair: recorded minus bare.
fn added_per_pair(name: &str, environment: &[(&str, &str)], runs: usize) -> f64 {
    let work = name.split(',').next().unwrap_or(name);
    let least =
        |work: &str, kind| (0..runs).map(|_| count(work, environment, kind)).min().unwrap_or(0) as f64;
    if work == ALL_THREADS {
        // The cost of start and end is in both sizes, so the difference is without it.
        let of = |kind| least("hand-over-3", kind) - least("hand-over-1", kind);
        return (of("recorded") - of("bare")) / (2 * PAIRS) as f64;
    }
    let pairs = if work == "json" { json_pairs() } else { PAIRS as f64 };
    (least(work, "recorded") - least(work, "bare")) / pairs
}

/// Runs one child under callgrind and returns its number of instructions.
fn count(work: &str, environment: &[(&str, &str)], kind: &str) -> u64 {
    let program = std::env::current_exe().expect("a program knows its path");
    let collected: &[&str] = if work.starts_with(ALL_THREADS) {
        &["--fair-sched=yes"]
    } else {
        &["--collect-atstart=no", "--toggle-collect=heapledger_measured_work"]
    };
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .args(collected)
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
    // The first events open the ledger and start the background thread. The cost of this belongs to no pair.
    tight_pairs(&HEAP, 2_000);
    std::thread::sleep(std::time::Duration::from_millis(200));
    // relaxed, both: see `Switch::records`.
    GLOBAL_DOES.store(if recorded && needs_global(work) { RECORDS } else { FORWARDS }, Ordering::Relaxed);
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
    GLOBAL_DOES.store(FORWARDS, Ordering::Relaxed);
}

/// Whether work allocates from the global allocator.
fn needs_global(work: &str) -> bool {
    work == "json" || work.starts_with(ALL_THREADS)
}

fn measure_scope(enters: bool) {
    let scopes = [heapledger::Scope::named("measured")];
    // The loops differ only in the scope that is entered and left.
    if enters {
        heapledger_measured_work(&mut || {
            for _ in 0..PAIRS {
                let scopes = black_box(&scopes);
                drop(scopes[0].enter());
                black_box(scopes);
            }
        });
    } else {
        heapledger_measured_work(&mut || {
            for _ in 0..PAIRS {
                black_box(black_box(&scopes));
            }
        });
    }
}

/// Returns half the number of events of [`parse_and_print_all`].
fn json_pairs() -> f64 {
    let document = json_document(JSON_RECORDS);
    // relaxed, all: see `Switch::records`.
    let before = EVENTS.load(Ordering::Relaxed);
    GLOBAL_DOES.store(COUNTS, Ordering::Relaxed);
    parse_and_print_all(&document);
    GLOBAL_DOES.store(FORWARDS, Ordering::Relaxed);
    (EVENTS.load(Ordering::Relaxed) - before) as f64 / 2.0
}

fn parse_and_print_all(document: &str) {
    for _ in 0..DOCUMENTS {
        black_box(parse_and_print(black_box(document)));
    }
}

/// Runs a thread that allocates blocks and another thread that frees them. The number of blocks on the way is bounded.
fn hand_over(pairs: u64) {
    let (sender, receiver) = sync_channel::<Vec<Vec<u8>>>(16);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut random = Random(Random::SEED);
            for _ in 0..pairs / LOAD {
                let load = (0..LOAD).map(|_| Vec::with_capacity(16 + random.below(512) as usize));
                sender.send(load.collect()).expect("the other thread takes all");
            }
        });
        scope.spawn(move || receiver.into_iter().for_each(|load| drop(black_box(load))));
    });
}

/// Spans of `tracing`, entered and exited [`PAIRS`] times.
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
                for n in 0..super::PAIRS {
                    black_box(n);
                }
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

fn measure<A: GlobalAlloc>(allocator: &A, work: &str) {
    match work {
        "json" => {
            let document = json_document(JSON_RECORDS);
            heapledger_measured_work(&mut || parse_and_print_all(&document));
        }
        "hand-over-1" => hand_over(PAIRS),
        "hand-over-3" => hand_over(3 * PAIRS),
        "pair" => heapledger_measured_work(&mut || tight_pairs(allocator, PAIRS)),
        "deep" => heapledger_measured_work(&mut || deep_pairs(allocator, PAIRS, CALLS)),
        "handful" => heapledger_measured_work(&mut || handfuls(allocator, PAIRS / 16)),
        // The count is per realloc.
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
            if !is_checked(work) {
                println!("{work:<15} {:>10} {counted:>10.1}", "none");
                continue;
            }
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
