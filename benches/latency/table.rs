//! The results as a table.

use std::io;

use hdrhistogram::Histogram;

use crate::Outcome;
use crate::child::{Account, LOADS, Line, busy_threads};
use crate::common::effort::Effort;
use crate::ticks::Clock;
use crate::timed::histogram;

/// The percentiles of the table; 100 is the maximum.
pub const PERCENTILES: [f64; 6] = [50.0, 90.0, 99.0, 99.9, 99.99, 100.0];

/// The result of one contestant on one workload, over all rounds.
#[derive(Default)]
pub struct Cell {
    /// The results in the order of [`LOADS`].
    pub loads: Vec<Load>,
}

/// The result under one load.
pub struct Load {
    pub account: Account,
    pub allocs: Histogram<u64>,
    pub frees: Histogram<u64>,
}

impl Cell {
    /// Adds a round.
    ///
    /// # Errors
    /// Returns an error if a histogram has values that do not fit.
    pub fn add(&mut self, lines: &[Line]) -> io::Result<()> {
        if self.loads.is_empty() {
            let empty = || Load { account: Account::default(), allocs: histogram(), frees: histogram() };
            self.loads = LOADS.iter().map(|_| empty()).collect();
        }
        for (load, line) in self.loads.iter_mut().zip(lines) {
            load.account.add(&line.account);
            load.allocs.add(&line.allocs).map_err(io::Error::other)?;
            load.frees.add(&line.frees).map_err(io::Error::other)?;
        }
        Ok(())
    }
}

/// Prints the whole table.
pub fn print(outcomes: &[Outcome], clock: &Clock, effort: Effort) {
    println!("nanoseconds of a single call; the clock's own time is in every figure");
    println!("clock: {}, {:.3} ns a tick", clock.name(), clock.ns_per_tick);
    for (workload, cells) in outcomes {
        let rounds = workload.rounds(effort);
        if rounds == 0 {
            println!("\n{}: left out, for want of time or memory", workload.name);
            continue;
        }
        for (number, has_load) in LOADS.into_iter().enumerate() {
            let busy = if has_load { busy_threads() } else { 0 };
            println!("\n{}, {busy} busy threads beside it; {rounds} round(s) together", workload.name);
            print!("{:<16} {:<6} {:>9}", "", "", "calls");
            for percentile in PERCENTILES {
                let name = if percentile == 100.0 { "max".to_owned() } else { format!("p{percentile}") };
                print!(" {name:>10}");
            }
            println!("  of all events recorded");
            for (contestant, cell) in cells {
                let Some(load) = cell.loads.get(number) else { continue };
                let name = if workload.is_nothing() { "clock alone" } else { contestant.name };
                row(name, "alloc", &load.allocs, clock, &completeness(&load.account));
                row("", "free", &load.frees, clock, "");
            }
        }
    }
}

fn row(name: &str, operation: &str, histogram: &Histogram<u64>, clock: &Clock, completeness: &str) {
    print!("{name:<16} {operation:<6} {:>9}", histogram.len());
    for percentile in PERCENTILES {
        print!(" {:>10.0}", clock.ns(histogram.value_at_percentile(percentile)));
    }
    println!("  {completeness}");
}

/// Returns the completeness in percent, rounded down.
fn completeness(account: &Account) -> String {
    let Account { attempted, recorded, lost, sampled_out, in_flight } = *account;
    if attempted + sampled_out == 0 {
        return "-".to_owned();
    }
    let thousandths = recorded.saturating_mul(100_000) / attempted.max(1);
    let mut text = format!("{}.{:03} % of {attempted}", thousandths / 1_000, thousandths % 1_000);
    if lost > 0 {
        text.push_str(&format!(", {lost} lost"));
    }
    if in_flight > 0 {
        text.push_str(&format!(", {in_flight} not booked yet"));
    }
    if sampled_out > 0 {
        text.push_str(&format!("; {sampled_out} more left out by sampling"));
    }
    text
}
