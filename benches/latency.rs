//! Times of single allocations and frees: `cargo bench --bench latency`.
//!
//! A mean hides the rare allocation that books a ring. So each call is timed alone and goes into a histogram
//! (HdrHistogram, two significant digits), and the table shows the high percentiles. Bare System and heapledger in its
//! modes do the same work, each in a separate process, interleaved over several rounds. A row of the table combines all
//! rounds.
//!
//! * Each workload runs twice in a process: alone, and beside as many busy threads as there are processors, which also
//!   allocate. In the second case the scheduler decides the high percentiles; the row of bare System shows its share.
//! * Every figure **includes** the time of reading the clock. The workload "nothing" makes two readings with nothing
//!   between them. Its rows show the cost of a reading, and how often the machine stops a thread for reasons other than
//!   an allocator.
//! * A measured thread allocates only for its work: the histograms are made before, and the process fails if the
//!   bench's global allocator is called during the measurement.
//! * Each row states its completeness, because a mode that loses events is fast without doing the work.
//!
//! `--quick` takes one round of fewer calls, without the largest population; `--svg FILE` draws the percentiles; a word
//! filters the workloads.
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

/// The outcome of one workload: a cell for each contestant.
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

/// Runs all workloads under all contestants, interleaved, and prints the results.
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
