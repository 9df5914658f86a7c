//! The table: each row is one kind of work, done by the three allocators one after the other.

use std::alloc::{GlobalAlloc, System};
use std::hint::black_box;

use heapledger::HeapLedger;
use stats_alloc::StatsAlloc;

use crate::common::clock::process_cpu_ns;
use crate::common::effort::Effort;
use crate::common::figures::Spread;
use crate::common::memory::available_bytes;
use crate::common::raw::{Called, Population, tight_pairs_in_threads};
use crate::common::texts::{build_strings, json_document, parse_and_print};
use crate::switch::{Chosen, SWITCH, while_global};

/// Free memory, in bytes, below which the largest population is omitted: 2 GB for each of three allocators, and a
/// reserve.
const MEMORY_FOR_A_MILLION: u64 = 9 << 30;

/// The three allocators, whose calls are not inlined, as in a program.
static BARE: Called<'_, System> = Called(&System);
static STATS_ALLOC: Called<'_, StatsAlloc<System>> = Called(&SWITCH.stats_alloc);
static HEAPLEDGER: Called<'_, HeapLedger> = Called(&SWITCH.heapledger);

/// Returns the number of rounds of each row. The row shows the median of the rounds.
fn rounds(effort: Effort) -> usize {
    effort.pick(1, 5, 25)
}

/// One row: its name, its budget, and the work of one round under an allocator.
struct Row<'a> {
    name: &'static str,
    budget: Option<f64>,
    operations: u64,
    turn: Box<dyn FnMut(Chosen) + 'a>,
}

/// Prints the rows whose names contain the filter.
pub fn print(effort: Effort, filter: &str) {
    println!("\nprocess CPU, median of the ratios of {} rounds (quartiles in brackets)", rounds(effort));
    println!(
        "{:<32} {:>9}  {:>12}  {:<19} {:>8}  {:<6} {:>11} {:>11} {:>5}",
        "work", "bare ns", "stats_alloc", "heapledger", "budget", "", "attempted", "recorded", "lost"
    );
    pairs(effort, filter);
    for (live, name, budget) in [
        (1_000, "replace among 1,000", Some(1.3)),
        (100_000, "replace among 100,000", None),
        (1_000_000, "replace among 1,000,000", None),
    ] {
        if name.contains(filter) {
            replacement(effort, name, live, budget);
        }
    }
    texts(effort, filter);
}

fn pairs(effort: Effort, filter: &str) {
    for (threads, name) in [(1, "pair of 64 bytes, 1 thread"), (2, "pair of 64 bytes, 2 threads")] {
        let each = effort.scaled(1_500_000);
        let turn = |chosen: Chosen| match chosen {
            Chosen::Bare => tight_pairs_in_threads(&BARE, threads, each),
            Chosen::StatsAlloc => tight_pairs_in_threads(&STATS_ALLOC, threads, each),
            Chosen::Heapledger => tight_pairs_in_threads(&HEAPLEDGER, threads, each),
        };
        let operations = each * threads as u64;
        run(effort, filter, Row { name, budget: Some(2.0), operations, turn: Box::new(turn) });
    }
}

fn replacement(effort: Effort, name: &'static str, live: usize, budget: Option<f64>) {
    if live >= 1_000_000 && (effort == Effort::Smoke || available_bytes() < MEMORY_FOR_A_MILLION) {
        println!("{name:<32} left out: it takes 9 GiB of memory");
        return;
    }
    let operations = effort.scaled(400_000);
    let mut bare = mixed(&BARE, live, operations);
    let mut stats = mixed(&STATS_ALLOC, live, operations);
    let mut ours = mixed(&HEAPLEDGER, live, operations);
    let turn = |chosen| match chosen {
        Chosen::Bare => bare.replace(operations),
        Chosen::StatsAlloc => stats.replace(operations),
        Chosen::Heapledger => ours.replace(operations),
    };
    run(effort, "", Row { name, budget, operations, turn: Box::new(turn) });
}

/// Returns a population in which blocks were replaced for a while, so that its addresses are mixed as in the
/// measurement.
fn mixed<A: GlobalAlloc>(allocator: &A, live: usize, operations: u64) -> Population<'_, A> {
    let mut population = Population::new(allocator, live);
    population.replace(operations.max(live as u64));
    population
}

fn texts(effort: Effort, filter: &str) {
    for (name, records, times) in
        [("JSON of 15 kB, parse and print", 100, 80), ("JSON of 300 kB, parse and print", 2_000, 4)]
    {
        let document = json_document(records);
        let operations = effort.scaled(times);
        let turn = |chosen| {
            while_global(chosen, || {
                for _ in 0..operations {
                    black_box(parse_and_print(black_box(&document)));
                }
            });
        };
        run(effort, filter, Row { name, budget: Some(1.2), operations, turn: Box::new(turn) });
    }
    let lines = effort.scaled(10_000) as usize;
    let turn = |chosen| {
        while_global(chosen, || black_box(build_strings(lines)));
    };
    run(
        effort,
        filter,
        Row { name: "string building", budget: None, operations: lines as u64, turn: Box::new(turn) },
    );
}

/// Does the work of a row under the three allocators, round by round, and prints the results.
fn run(effort: Effort, filter: &str, mut row: Row<'_>) {
    if !row.name.contains(filter) {
        return;
    }
    for chosen in Chosen::ALL {
        (row.turn)(chosen);
    }
    heapledger::flush();
    let before = heapledger::quality();
    let mut cpu_ns = [const { Vec::<f64>::new() }; Chosen::ALL.len()];
    for round in 0..rounds(effort) {
        for place in 0..Chosen::ALL.len() {
            let chosen = Chosen::ALL[(round + place) % Chosen::ALL.len()];
            cpu_ns[chosen as usize].push(timed(chosen, &mut row.turn));
        }
    }
    let after = heapledger::quality();
    let [bare, stats_alloc, ours] = &cpu_ns;
    let ratio = Spread::of_ratios(ours, bare);
    let (budget, verdict) = match row.budget {
        Some(budget) if ratio.median <= budget => (format!("≤ {budget:.2} ×"), "met"),
        Some(budget) => (format!("≤ {budget:.2} ×"), "missed"),
        None => (String::new(), ""),
    };
    println!(
        "{:<32} {:>9.1}  {:>10.2} ×  {:>5.2} × ({:.2}–{:.2}) {:>9}  {:<6} {:>11} {:>11} {:>5}",
        row.name,
        Spread::of(bare).median / row.operations as f64,
        Spread::of_ratios(stats_alloc, bare).median,
        ratio.median,
        ratio.low,
        ratio.high,
        budget,
        verdict,
        after.attempted - before.attempted,
        after.recorded - before.recorded,
        after.lost.total() - before.lost.total(),
    );
}

/// Returns the processor time of the work of one round, in nanoseconds.
fn timed(chosen: Chosen, turn: &mut dyn FnMut(Chosen)) -> f64 {
    let own_before = heapledger::quality().own_cpu_ns;
    let start = process_cpu_ns();
    turn(chosen);
    if chosen == Chosen::Heapledger {
        heapledger::flush();
        return (process_cpu_ns() - start) as f64;
    }
    let all = process_cpu_ns() - start;
    all.saturating_sub(heapledger::quality().own_cpu_ns - own_before) as f64
}
