//! How long single allocations and frees take: `cargo bench --bench latency`.
//!
//! A mean hides what a user of a program feels: the one allocation in ten thousand that books a ring. So each call is
//! timed alone and goes into a histogram (HdrHistogram, two significant digits), and the table shows its tail. Bare
//! System and heapledger in its modes do the same work, each in a process of its own, by turns, for several rounds; a
//! row is all rounds together.
//!
//! * Each workload runs twice in a process: with nothing beside it, and with as many busy threads beside it as there are
//!   processors, which allocate as well. Then the tail is the scheduler's: bare System shows how much of it.
//! * The clock's own time is **in** every figure. The rows of the work "nothing", two readings with nothing between
//!   them, say what it is, and how often the machine stops a thread for reasons that are no allocator's.
//! * Nothing is allocated by a measured thread but by the work: the histograms are made before, and the process fails
//!   if it sees its own allocator called meanwhile.
//! * Completeness stands beside each row: a mode that sheds is quick because it does not do the work.
//!
//! `--quick` takes one round of less, without the largest population; `--svg FILE` draws the percentiles; a word filters the workloads.
#![allow(unsafe_code, reason = "calls allocators directly, and reads the processor's counter")]

#[path = "latency/child.rs"]
mod child;
mod common;
#[path = "latency/contestants.rs"]
mod contestants;
#[path = "latency/counted.rs"]
mod counted;
#[path = "latency/plot.rs"]
mod plot;
#[path = "latency/table.rs"]
mod table;
#[path = "latency/ticks.rs"]
mod ticks;
#[path = "latency/timed.rs"]
mod timed;
#[path = "latency/workloads.rs"]
mod workloads;

use std::process::ExitCode;

use common::effort::Effort;
use contestants::Contestant;
use table::Cell;
use workloads::Workload;

/// What one workload came to: a cell for each contestant.
type Outcome = (&'static Workload, Vec<(&'static Contestant, Cell)>);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, allocator, workload, effort] = &arguments[..]
        && word == child::WORD
    {
        child::main(allocator, workload, effort);
        return ExitCode::SUCCESS;
    }
    if arguments.iter().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let svg = arguments.iter().position(|argument| argument == "--svg").map(|at| at + 1);
    let words = arguments.iter().enumerate().filter(|(at, word)| !word.starts_with('-') && svg != Some(*at));
    let filter = words.map(|(_, word)| word.as_str()).next().unwrap_or("");
    match compare(Effort::of_arguments(), filter, svg.and_then(|at| arguments.get(at))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("latency: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Lets all contestants do all workloads by turns, and prints what came out.
fn compare(effort: Effort, filter: &str, svg: Option<&String>) -> std::io::Result<()> {
    let clock = ticks::Clock::calibrated();
    let mut outcomes: Vec<Outcome> = Vec::new();
    for workload in
        workloads::ALL.iter().filter(|workload| workload.name.contains(filter) || workload.is_nothing())
    {
        let contestants: Vec<&'static Contestant> =
            contestants::ALL.iter().take(if workload.is_nothing() { 1 } else { usize::MAX }).collect();
        let mut cells: Vec<_> = contestants.iter().map(|contestant| (*contestant, Cell::default())).collect();
        for round in 0..workload.rounds(effort) {
            for place in 0..cells.len() {
                let index = (place + round) % cells.len();
                let (contestant, cell) = &mut cells[index];
                cell.add(&contestants::run(contestant, workload, effort)?)?;
            }
        }
        outcomes.push((workload, cells));
    }
    table::print(&outcomes, &clock, effort);
    if let Some(path) = svg {
        std::fs::write(path, plot::svg(&outcomes, &clock))?;
    }
    Ok(())
}
