//! The number of events that one core can book (add to the ledger) per second.
//!
//! Booking is measured alone, through the public interface. In `BestEffort` mode a thread does not book its ring
//! itself. So the bench fills a part of the ring with events, untimed, and then books them with a timed
//! [`heapledger::flush`]. A filling takes less than the millisecond after which the background thread books the ring.
//! If the background thread nevertheless booked a part of a filling, the filling does not count. The time is the
//! processor time of the flushing thread. The words of the ring come from the second-level cache; when a thread books
//! its ring itself, they come from the first-level cache.
#![allow(unsafe_code, reason = "calls the allocator directly")]

mod common;

use std::hint::black_box;

use common::clock::thread_cpu_ns;
use common::effort::Effort;
use common::figures::Spread;
use common::raw::{Population, handfuls, tight_pairs};
use heapledger::{DataQualityMode, DumpTarget, HeapLedger, HistoryLimits};

/// Number of events of one filling with short-lived blocks. The ring has 48 segments of 1,024 words; an event takes one
/// or two words.
const YOUNG_EVENTS: u64 = 16_000;
/// Number of blocks that are added to a population between two bookings.
const GROWTH_BLOCKS: usize = 10_000;

static HEAP: HeapLedger = HeapLedger::system()
    .stacks(heapledger::Stacks::Off)
    .mode(DataQualityMode::BestEffort)
    .history(HistoryLimits { events: 1 << 20, bytes: 64 << 20, age_ns: None })
    .dump(DumpTarget::Off);

fn main() {
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    let effort = Effort::of_arguments();
    let fillings = effort.pick(10, 500, 2_000);
    wake_the_aggregator();
    println!("booking alone, median of {fillings} fillings (quartiles in brackets)");
    println!("{:<40} {:>24}  {:>10}  {:<6} {:>6}", "work", "million events/s a core", "budget", "", "lost");
    let young = |name, budget, fill: &mut dyn FnMut()| {
        show(&Row { name, budget, events: YOUNG_EVENTS, fillings }, fill);
    };
    young("pairs: freed right behind", Some(150.0), &mut || tight_pairs(&HEAP, YOUNG_EVENTS / 2));
    young("handfuls of 16: freed a little later", Some(150.0), &mut || handfuls(&HEAP, YOUNG_EVENTS / 32));
    for (live, events, name, budget) in [
        (1_000, 3_200, "replacing at random among 1,000", None),
        (100_000, 800, "replacing at random among 100,000", None),
        (1_000_000, 800, "replacing at random among 1,000,000", Some(10.0)),
    ] {
        let live = if effort == Effort::Smoke { live / 1_000 } else { live };
        let mut population = populate(live);
        show(&Row { name, budget, events, fillings }, &mut || population.replace(events / 2));
    }
}

/// One row of the output: the kind of events that are booked, their number in one filling, and the number of fillings.
struct Row {
    name: &'static str,
    budget: Option<f64>,
    events: u64,
    fillings: usize,
}

/// Records events and waits for the first round of the background thread. Before that round, windows (runs of events
/// behind one time stamp) are shorter than usual.
fn wake_the_aggregator() {
    tight_pairs(&HEAP, 1_000);
    std::thread::sleep(std::time::Duration::from_millis(50));
    heapledger::flush();
}

/// Creates a population. The bench books between the steps, because a large population does not fit into the ring.
fn populate(live: usize) -> Population<'static, HeapLedger> {
    let mut population = Population::new(&HEAP, 1);
    while population.len() < live {
        population.grow(GROWTH_BLOCKS.min(live - population.len()));
        heapledger::flush();
    }
    for _ in 0..live / GROWTH_BLOCKS {
        population.replace(GROWTH_BLOCKS as u64);
        heapledger::flush();
    }
    population
}

/// Fills and books the ring alternately, and prints the rate of booking.
fn show(row: &Row, fill: &mut dyn FnMut()) {
    let lost_before = heapledger::quality().lost.total();
    let mut rates = Vec::with_capacity(row.fillings);
    for _ in 0..row.fillings {
        let before = booked();
        fill();
        let untouched = booked() == before;
        let start = thread_cpu_ns();
        heapledger::flush();
        let cpu_ns = thread_cpu_ns() - start;
        if untouched && booked() - before == row.events {
            rates.push(row.events as f64 * 1e3 / cpu_ns as f64);
        }
    }
    let (name, lost) = (row.name, heapledger::quality().lost.total() - lost_before);
    if rates.is_empty() {
        println!("{name:<40} heapledger's own thread was faster every time");
        return;
    }
    let rate = Spread::of(black_box(&rates));
    let (budget, verdict) = match row.budget {
        Some(budget) => (format!("≥ {budget} M/s"), if rate.median >= budget { "met" } else { "missed" }),
        None => (String::new(), ""),
    };
    let figure = format!("{:.1} ({:.1}–{:.1})", rate.median, rate.low, rate.high);
    println!("{name:<40} {figure:>24}  {budget:>10}  {verdict:<6} {lost:>6}");
}

/// Returns the number of events booked so far.
fn booked() -> u64 {
    let stats = heapledger::stats();
    stats.total_blocks + stats.freed_blocks
}
