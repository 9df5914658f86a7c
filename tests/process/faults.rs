//! P5: whatever call the system refuses, the program runs as it would without heapledger, and missing events are
//! counted.
//!
//! Each fault is injected in each mode, in a separate process: the n-th call is refused, for every n, or all calls from
//! the n-th on. The child does the same work every time and prints the sum of what it read back. Sum, exit code and
//! output must not depend on the fault. `unaccounted` is the number of events that the inner allocator served and no
//! counter of heapledger includes; it is 0 in every cell. The test prints the matrix, and `docs/SURVIVAL.md` shows it.

use std::fmt::Write as _;
use std::fs;

use heapledger::{DataQualityMode, LossReason};

use super::case::{Case, Ended};
use super::refusals::{self, Refused};
use super::surroundings::{READ_ONLY, Surroundings, may_mount};
use super::tools::{block, free, settled_accounts, threads};

pub const CASES: &[Case] =
    &[Case::series("every_fault_in_every_mode_harms_nobody_and_is_accounted_for", work_under_fault, matrix)
        .prepare(prepare)];

fn prepare(directory: &std::path::Path) {
    fs::create_dir(directory.join(READ_ONLY)).unwrap();
    let pipe = std::ffi::CString::new(directory.join("pipe").into_os_string().into_encoded_bytes()).unwrap();
    // SAFETY: the path is terminated.
    assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
}

/// Environment variable with the child's plan beyond its work.
const PLAN: &str = "PROCESS_TEST_PLAN";
/// Number of blocks that exceed a ledger of an eighth of [`TIGHT_BYTES`], by some margin, but not the program's memory.
const FILLED: usize = 400_000;
const TIGHT_BYTES: u64 = 112 << 20;
/// Exit code of every child.
const CODE: i32 = 3;

extern "C" fn work(number: *mut std::ffi::c_void) -> *mut std::ffi::c_void {
    let mut sum = number.addr() as u64;
    let mut held: [(*mut u8, usize); 300] = [(std::ptr::null_mut(), 0); 300];
    for round in 0..30 {
        for (place, slot) in held.iter_mut().enumerate() {
            let size = 16 + (place * 7 + round) % 500;
            let block = block(size);
            // SAFETY: the block is ours, and has this size.
            unsafe { block.write_bytes(place as u8, size) };
            *slot = (block, size);
        }
        for (block, size) in held {
            // SAFETY: it was written above, to its end.
            sum = sum.wrapping_mul(31) + u64::from(unsafe { block.add(size - 1).read() });
            free(block, size);
        }
    }
    SUM.fetch_add(sum, std::sync::atomic::Ordering::SeqCst);
    std::ptr::null_mut()
}

static SUM: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

fn work_under_fault() {
    let plan = std::env::var(PLAN).unwrap_or_default();
    work(std::ptr::null_mut());
    threads::<3>(work);
    for number in 0..20_000 {
        block(16 + number % 50);
    }
    match plan.as_str() {
        "dumps" => refuse_dumps(),
        // More than a small ledger has room for.
        "fill" => {
            for _ in 0..FILLED {
                block(16);
            }
        }
        "no files" => limit_files(),
        "vanished" => {
            fs::create_dir("gone").unwrap();
            fs::remove_dir("gone").unwrap();
        }
        _ => {}
    }
    println!("sum={}", SUM.load(std::sync::atomic::Ordering::SeqCst));
    say_accounts();
    std::process::exit(CODE);
}

/// Writes dumps of which each call fails in turn. A failed dump returns an error and leaves no file; the next one
/// succeeds.
fn refuse_dumps() {
    for call in [Refused::Open, Refused::Write, Refused::ShortWrite, Refused::Fsync, Refused::Rename] {
        refusals::refuse(call, 0, 0);
        heapledger::dump("whole.hl").expect("nothing is refused");
        let calls = refusals::seen(call);
        assert!(calls > 0, "{}", call.name());
        for first in 1..=calls {
            // An own earlier dump is replaced by a rename; without one, the new dump is linked.
            let is_replaced = call == Refused::Rename;
            if !is_replaced {
                fs::remove_file("whole.hl").expect("the last dump");
            }
            refusals::refuse(call, first, 1);
            let written = heapledger::dump("whole.hl");
            refusals::relent(call);
            // What is opened, and synced, last is the directory: not every file system can, and the dump is whole.
            // Opened first are tables of the system, without which a dump has no names of modules.
            if written.is_err() {
                let is_there = fs::exists("whole.hl").expect("the directory");
                assert_eq!(is_there, is_replaced, "{} {first}", call.name());
                heapledger::dump("whole.hl").expect("nothing is refused any more");
            }
            assert!(written.is_err() || call != Refused::Write && call != Refused::Rename);
            let left = fs::read_dir(".")
                .unwrap()
                .flatten()
                .filter(|entry| entry.file_name().to_string_lossy().contains("tmp"));
            assert_eq!(left.count(), 0, "{} {first}: a temporary file is left", call.name());
            heapledger::dumps::read("whole.hl").expect("it can be read").damage.is_empty();
        }
    }
    fs::remove_file("whole.hl").expect("the last dump");
}

fn limit_files() {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the bound is valid for reads.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &none) }, 0);
}

/// Prints the counts of the events, once all are booked.
fn say_accounts() {
    let (quality, unaccounted) = settled_accounts();
    super::laws::counted(&quality).unwrap();
    println!("injected={}\nattempted={}", refusals::struck(), quality.attempted + quality.sampled_out);
    println!("recorded={}\nunaccounted={unaccounted}", quality.recorded);
    println!("sampled={}", quality.sampled_out);
    for (reason, events) in quality.lost.iter() {
        println!("{}={events}", reason.name());
    }
    println!("mmap={}\nmprotect={}", refusals::seen(Refused::Mmap), refusals::seen(Refused::Mprotect));
    println!("madvise={}", refusals::seen(Refused::Madvise));
}

/// One row of the matrix: the refused calls.
struct Row {
    fault: &'static str,
    /// Values of the variable of refusals, each for a separate run.
    refused: Vec<String>,
    plan: &'static str,
    dump: &'static str,
    /// Path of the black box; empty if there is none.
    black_box: &'static str,
    is_read_only: bool,
    /// Whether there is a dump at exit: certain, impossible, or (`None`) unless the child prints a line.
    dumped: Option<bool>,
    /// Subject of the line on standard error of a run with a dump; empty if there is no line.
    says: &'static str,
}

impl Row {
    fn new(fault: &'static str, refused: Vec<String>) -> Row {
        let (plan, dump, black_box, says) = ("", "%p.hl", "", "");
        Row { fault, refused, plan, dump, black_box, is_read_only: false, dumped: Some(true), says }
    }

    /// Returns the surroundings of one run of the row.
    fn surroundings(&self, refused: &str) -> Surroundings<'static> {
        let address_space = refused.strip_prefix(ADDRESS_SPACE).map(|bytes| bytes.parse().unwrap());
        Surroundings { address_space, is_read_only: self.is_read_only, ..Surroundings::default() }
    }
}

/// Sums over the runs of one cell.
#[derive(Default)]
struct Cell {
    injected: u64,
    runs: u64,
    attempted: u64,
    recorded: u64,
    sampled: u64,
    lost: Vec<(LossReason, u64)>,
    unaccounted: u64,
}

impl Cell {
    fn add(&mut self, ended: &Ended) {
        self.runs += 1;
        self.injected += ended.said("injected");
        self.attempted += ended.said("attempted");
        self.recorded += ended.said("recorded");
        self.sampled += ended.said("sampled");
        self.unaccounted += ended.said("unaccounted");
        for reason in LossReason::ALL {
            let events = ended.said(reason.name());
            match self.lost.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, sum)) => *sum += events,
                None => self.lost.push((reason, events)),
            }
        }
    }

    fn lost(&self, reason: LossReason) -> u64 {
        self.lost.iter().filter(|(known, _)| *known == reason).map(|(_, events)| events).sum()
    }

    fn told(&self, fault: &str, mode: &str) -> String {
        let mut lost = String::new();
        for (reason, events) in self.lost.iter().filter(|(_, events)| *events > 0) {
            let _ = write!(lost, "{}{} {events}", if lost.is_empty() { "" } else { ", " }, reason.name());
        }
        let lost = if lost.is_empty() { "–" } else { &lost };
        let Cell { injected, runs, attempted, recorded, sampled, unaccounted, .. } = self;
        format!(
            "| {fault} | {mode} | {injected} | {runs} of {runs} | {attempted} | {recorded} | {sampled} | {lost} | {unaccounted} |"
        )
    }
}

fn rows(unhindered: &Ended) -> Vec<Row> {
    let each = |call: &str| {
        let calls = unhindered.said(call);
        assert!(calls > 0, "{call} is never called");
        (1..=calls).map(|first| format!("{call}:{first}:1")).collect::<Vec<_>>()
    };
    let from_each =
        |call: &str| (1..=unhindered.said(call)).map(|first| format!("{call}:{first}:0")).collect::<Vec<_>>();
    let none = || vec!["nothing".to_owned()];
    let limits = [1 << 30, TIGHT_BYTES].map(|bytes| format!("{ADDRESS_SPACE}{bytes}"));
    let mut rows = vec![
        Row::new("none", none()),
        Row { dumped: None, ..Row::new("memory refused once, at each call", each("mmap")) },
        Row { dumped: None, ..Row::new("memory refused from each call on", from_each("mmap")) },
        Row { plan: "fill", ..Row::new("the address space is limited", limits.to_vec()) },
        Row::new("advice on memory refused", from_each("madvise").into_iter().take(2).collect()),
        Row::new("own threads refused", vec!["thread:1:0".into()]),
        Row::new("the clock goes back", vec!["clock:20:0".into(), "clock:5000:0".into()]),
        Row { dumped: Some(false), ..Row::new("no file can be opened", vec!["open:1:0".into()]) },
        Row { plan: "dumps", ..Row::new("each call of a dump fails", none()) },
        Row { dumped: Some(false), ..Row::new("the disk is full", vec!["write:1:0".into()]) },
        Row { plan: "no files", dumped: Some(false), ..Row::new("no descriptors", none()) },
        Row {
            plan: "vanished",
            dump: "gone/%p.hl",
            dumped: Some(false),
            ..Row::new("the directory vanished", none())
        },
        Row { dump: "pipe", dumped: Some(false), ..Row::new("the dump's name is a pipe", none()) },
    ];
    rows.extend(rows_of_mounts());
    rows
}

/// Returns the rows for a read-only file system.
fn rows_of_mounts() -> Vec<Row> {
    if !may_mount() {
        println!("read-only file systems are left out: no right to mount");
        return Vec::new();
    }
    let row = |fault| Row { is_read_only: true, ..Row::new(fault, vec!["nothing".to_owned()]) };
    vec![
        Row { dump: "read-only/%p.hl", dumped: Some(false), ..row("the dump's file system is read-only") },
        Row {
            black_box: "read-only/black.box",
            says: "/read-only/black.box: ",
            ..row("the black box's file system is read-only")
        },
    ]
}

/// Prefix of a number of bytes of address space, as a fault.
const ADDRESS_SPACE: &str = "address-space:";

const HEAD: &str = "| fault | mode | faults injected | survived | events | recorded | left out by sampling | lost | unaccounted |\n\
                    | --- | --- | --- | --- | --- | --- | --- | --- | --- |";

fn matrix(case: &Case) {
    // Nothing is refused, and calls are counted.
    let unhindered = case.play_with(&[(refusals::VARIABLE, "nothing")]);
    unhindered.with_code(CODE).dump();
    let documented = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/SURVIVAL.md")).unwrap();
    let program = std::env::current_exe().unwrap();
    println!("{HEAD}");
    for row in rows(&unhindered) {
        assert!(documented.contains(&format!("| {} | ", row.fault)), "{} is not documented", row.fault);
        for mode in DataQualityMode::ALL {
            let mut cell = Cell::default();
            for refused in &row.refused {
                let variables = [
                    ("HEAPLEDGER_MODE", mode.name()),
                    ("HEAPLEDGER_CLOCK", if refused.starts_with("clock") { "monotonic" } else { "batched" }),
                    ("HEAPLEDGER_DUMP", row.dump),
                    ("HEAPLEDGER_BLACKBOX", row.black_box),
                    (refusals::VARIABLE, refused),
                    (PLAN, row.plan),
                    // glibc would set 64 MiB of addresses aside for a thread, which are more than some rows have.
                    ("MALLOC_ARENA_MAX", "1"),
                ];
                let ended = case.play_in(&program, &variables, &row.surroundings(refused));
                unharmed(&ended, &unhindered, &row, refused);
                cell.add(&ended);
            }
            println!("{}", cell.told(row.fault, mode.name()));
            assert_eq!(cell.unaccounted, 0, "{} in mode {}", row.fault, mode.name());
            // What is refused at exit comes after the child has said its figures, and what the kernel refuses is not
            // counted; there, the line tells, or what was lost, or the mode leaves out too much to lose any.
            let told = row.dumped == Some(false) || !row.says.is_empty();
            let sheds = mode == DataQualityMode::BestEffort && cell.lost(LossReason::RingFull) > 0;
            let full =
                row.plan == "fill" && (cell.lost(LossReason::TableFull) > 0 || cell.sampled > 0 || sheds);
            let struck = told || full || cell.injected > 0;
            assert_eq!(struck, row.fault != "none", "{} never struck", row.fault);
        }
    }
}

/// Asserts that the program did the same as without a fault, and that heapledger printed at most one line.
fn unharmed(ended: &Ended, unhindered: &Ended, row: &Row, refused: &str) {
    let what = || format!("{} ({refused})\n{}\n{}", row.fault, ended.stdout, ended.stderr);
    ended.with_code(CODE);
    assert_eq!(ended.said("sum"), unhindered.said("sum"), "{}", what());
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert!(lines.len() <= 1 && lines.iter().all(|line| line.starts_with("heapledger: ")), "{}", what());
    let is_dumped = row.dumped.unwrap_or(lines.is_empty());
    if row.says.is_empty() {
        assert_eq!(lines.is_empty(), is_dumped, "{}", what());
    } else {
        assert!(ended.stderr.contains(row.says), "{}", what());
    }
    if is_dumped {
        ended.dump();
    }
}
