//! Completeness of each strategy over the rate of events and the capacity of its buffers.
//!
//! At full speed a strategy that drains at an interval loses nearly everything, and its row looks broken. Here two
//! producers record at a fixed rate, in a burst each millisecond, so that the background thread has time to run. A cell
//! shows the completeness. Beside the rows is the completeness that the project's first plan expected of the strategy.
//! Below the rows is the highest rate at which each capacity reached this completeness.

use std::time::{Duration, Instant};

use super::common::effort::Effort;
use heapledger::strategies::{self, Collector, Event, Limits};

/// Events per second of each producer; `None` is full speed.
const RATES: [Option<u64>; 6] =
    [Some(10_000), Some(40_000), Some(100_000), Some(1_000_000), Some(4_000_000), None];
/// Capacities of a queue and of the overflow buffer, in events.
const CAPACITIES: [usize; 3] = [1_024, 4_096, 65_536];
const PRODUCERS: usize = 2;
/// Length of a burst.
const TICK: Duration = Duration::from_millis(1);

/// The expectations of the plan: the number of the strategy, the text of the column, and the lowest expected
/// completeness in percent.
const EXPECTED: [(usize, &str, f64); 6] = [
    (0, "24-45 %", 24.0),
    (1, "85-95 %", 85.0),
    (2, "95-98 %", 95.0),
    (3, "99 %+", 99.0),
    (4, "99 %+", 99.0),
    (5, "100 %", 100.0),
];

fn produce(collector: &dyn Collector, rate: Option<u64>, length: Duration) {
    let mut producer = collector.register().expect("the limits leave room for every producer");
    let (began, mut made) = (Instant::now(), 0u64);
    loop {
        let elapsed = began.elapsed();
        if elapsed >= length {
            return;
        }
        let due = match rate {
            Some(rate) => (elapsed.as_nanos() as u64 / 1_000).saturating_mul(rate) / 1_000_000 + 1,
            None => made + 1_024,
        };
        while made < due {
            let kind = if made.is_multiple_of(8) { Event::pointer_cloned } else { |at| Event::alloc(at, 64) };
            std::hint::black_box(collector.record(&mut producer, kind(made << 6)));
            made += 1;
        }
        if rate.is_some() {
            std::thread::sleep(TICK);
        }
    }
}

/// Returns the completeness of one cell, in thousandths of a percent, rounded down.
fn cell(strategy: usize, rate: Option<u64>, capacity: usize, length: Duration) -> u64 {
    let limits = Limits {
        producers: PRODUCERS,
        queue_events: capacity,
        overflow_events: capacity,
        ..Limits::default()
    };
    let collector = strategies::all(&limits).swap_remove(strategy);
    std::thread::scope(|scope| {
        for _ in 0..PRODUCERS {
            scope.spawn(|| produce(&*collector, rate, length));
        }
    });
    collector.finish();
    let account = collector.account();
    account.check().unwrap_or_else(|broken| panic!("{}: {broken}: {account:?}", collector.name()));
    account.completeness_floor()
}

fn rate_in_words(rate: Option<u64>) -> String {
    rate.map_or("full speed".to_owned(), |rate| format!("{} k/s", rate / 1_000))
}

/// Prints the table. Asserts that the default strategy loses no event in any cell.
pub fn print(effort: Effort) {
    let length = Duration::from_millis(effort.pick(5, 250, 1_000));
    println!(
        "\ncompleteness over rate and capacity, in percent (rounded down); {PRODUCERS} producers, {length:?} a cell;"
    );
    println!("interval of the aggregator: 100 ms; capacity: events in a queue, or in the overflow buffer\n");
    print!("{:<32} {:>8}", "", "capacity");
    RATES.iter().for_each(|rate| print!(" {:>10}", rate_in_words(*rate)));
    println!("  expected");
    for (strategy, expected, least) in EXPECTED {
        let name = strategies::all(&Limits::default())[strategy].name();
        let mut reaches = Vec::new();
        for capacity in CAPACITIES {
            print!("{name:<32} {capacity:>8}");
            let cells = RATES.map(|rate| cell(strategy, rate, capacity, length));
            cells.iter().for_each(|cell| print!(" {:>6}.{:03}", cell / 1_000, cell % 1_000));
            println!("  {expected:>8}");
            let ends = cells.iter().position(|cell| (*cell as f64) < least * 1_000.0);
            reaches.push(match ends {
                None => format!("at every rate with {capacity}"),
                Some(0) => format!("at none with {capacity}"),
                Some(n) => format!("up to {} with {capacity}", rate_in_words(RATES[n - 1])),
            });
            let is_default = strategy + 1 == EXPECTED.len();
            assert!(!is_default || cells.iter().all(|cell| *cell == 100_000), "{cells:?}");
        }
        println!("  reaches {expected}: {}", reaches.join("; "));
    }
}
