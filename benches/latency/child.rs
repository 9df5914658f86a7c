//! The child process: it runs one workload under one allocator, first alone, then beside busy threads.
//!
//! The process prints one line for each of the two loads, which [`Line`] parses.

use std::alloc::{GlobalAlloc, System};
use std::cell::RefCell;
use std::str::FromStr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use hdrhistogram::Histogram;
use heapledger::{DumpTarget, HeapLedger, Stacks};

use crate::common::effort::Effort;
use crate::common::raw::Population;
use crate::counted;
use crate::timed::{Meter, Nothing, Timed, histogram};
use crate::workloads::{self, Circle, Hands, Workload};

/// The argument that marks a child of this program.
pub const WORD: &str = "--measured";
/// The argument that names bare System.
pub const BARE: &str = "bare";
/// Number of live blocks of a busy thread, which replaces them at random.
const BUSY_BLOCKS: usize = 1_000;
/// Number of blocks that a busy thread replaces between two checks whether it should stop.
const BUSY_STRIDE: u64 = 1_000;

static HEAP: HeapLedger = HeapLedger::system().stacks(Stacks::Off).dump(DumpTarget::Off);

/// The loads, in the order of the output lines: whether busy threads run beside the work.
pub const LOADS: [bool; 2] = [false, true];

/// Returns the number of busy threads.
pub fn busy_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Runs the workload that the arguments name, and prints the results.
///
/// # Panics
/// Panics if the arguments name no workload, or if a measured thread allocated outside the workload.
pub fn main(allocator: &str, workload: &str, effort: &str) {
    let workload = workloads::ALL.iter().find(|known| known.name == workload).expect("a workload");
    let effort = Effort::of_name(effort).expect("an effort");
    if workload.is_nothing() {
        both_loads(&Nothing, workload, effort);
    } else if allocator == BARE {
        both_loads(&System, workload, effort);
    } else {
        both_loads(&HEAP, workload, effort);
    }
}

fn both_loads<A: GlobalAlloc + Sync>(allocator: &A, workload: &Workload, effort: Effort) {
    let circle = Circle::new();
    // At this barrier the measured threads and the main thread wait for each other, before and after each load.
    let meeting = Barrier::new(workload.threads() + 1);
    let totals: Vec<RefCell<Meter>> = LOADS.iter().map(|_| RefCell::new(Meter::new())).collect();
    std::thread::scope(|scope| {
        let (circle, meeting) = (&circle, &meeting);
        let measured: Vec<_> = (0..workload.threads())
            .map(|number| {
                scope.spawn(move || measured_thread(allocator, workload, effort, circle, number, meeting))
            })
            .collect();
        let mut accounts = Vec::new();
        for has_load in LOADS {
            let stop = AtomicBool::new(false);
            meeting.wait();
            let before = account();
            std::thread::scope(|busy| {
                for _ in 0..if has_load { busy_threads() } else { 0 } {
                    busy.spawn(|| keep_busy(workload, &stop));
                }
                meeting.wait();
                meeting.wait();
                // relaxed: the flag publishes no other data.
                stop.store(true, Ordering::Relaxed);
            });
            accounts.push(account().since(&before));
        }
        for thread in measured {
            let meters = thread.join().expect("a measured thread is well");
            for (total, meter) in totals.iter().zip(&meters) {
                total.borrow_mut().add(meter);
            }
        }
        for (total, account) in totals.iter().zip(accounts) {
            let total = total.borrow();
            println!("{}", Line { account, allocs: total.allocs.clone(), frees: total.frees.clone() });
        }
    });
}

/// Runs one measured thread, with a meter for each load.
fn measured_thread<A: GlobalAlloc>(
    allocator: &A,
    workload: &Workload,
    effort: Effort,
    circle: &Circle,
    number: usize,
    meeting: &Barrier,
) -> Vec<Meter> {
    let meter = RefCell::new(Meter::new());
    let timed = Timed::new(allocator, &meter);
    let mut hands = Hands::new(workload, &timed, workload.live(effort), circle, number);
    let touches = !workload.is_nothing();
    let calls = workload.calls(effort);
    // After this, all work that is done only once is finished, such as the creation of segments of the ring and of the
    // allocator's arena.
    hands.work(calls / 10 + 1, touches);
    let mut meters = Vec::with_capacity(LOADS.len());
    for _ in LOADS {
        meter.replace(Meter::new());
        // Between these two waits no measured thread works, and the main thread reads the counters.
        meeting.wait();
        meeting.wait();
        let calls_before = counted::calls();
        meter.borrow_mut().is_on = true;
        hands.work(calls, touches);
        meter.borrow_mut().is_on = false;
        assert_eq!(counted::calls(), calls_before, "measuring allocated something");
        meeting.wait();
        meters.push(meter.replace(Meter::new()));
    }
    // The blocks are not freed. To free a million blocks one by one would take longer than the whole measurement.
    std::mem::forget(hands);
    meters
}

/// Replaces blocks of the same allocator beside the work, until told to stop.
fn keep_busy(workload: &Workload, stop: &AtomicBool) {
    let replace = |replace: &mut dyn FnMut()| {
        while !stop.load(Ordering::Relaxed) {
            replace();
        }
    };
    if workload.is_nothing() || std::env::args().any(|argument| argument == BARE) {
        let mut population = Population::new(&System, BUSY_BLOCKS);
        replace(&mut || population.replace(BUSY_STRIDE));
    } else {
        let mut population = Population::new(&HEAP, BUSY_BLOCKS);
        replace(&mut || population.replace(BUSY_STRIDE));
    }
}

/// Numbers of events of one load from heapledger's counters, including the events of the busy threads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Account {
    pub attempted: u64,
    pub recorded: u64,
    pub lost: u64,
    /// Number of events that were sampled out, which is no loss.
    pub sampled_out: u64,
    /// Number of events that were neither recorded nor lost when the counters were read.
    pub in_flight: u64,
}

impl Account {
    fn since(&self, before: &Account) -> Account {
        Account {
            attempted: self.attempted - before.attempted,
            recorded: self.recorded - before.recorded,
            lost: self.lost - before.lost,
            sampled_out: self.sampled_out - before.sampled_out,
            in_flight: self.in_flight,
        }
    }

    pub fn add(&mut self, other: &Account) {
        self.attempted += other.attempted;
        self.recorded += other.recorded;
        self.lost += other.lost;
        self.sampled_out += other.sampled_out;
        self.in_flight += other.in_flight;
    }
}

/// Books all events attempted so far, and returns the counters.
fn account() -> Account {
    heapledger::flush();
    let quality = heapledger::quality();
    Account {
        attempted: quality.attempted,
        recorded: quality.recorded,
        lost: quality.lost.total(),
        sampled_out: quality.sampled_out,
        in_flight: quality.in_flight,
    }
}

/// The output of one process on one load: its account, then two histograms as pairs of ticks and counts.
pub struct Line {
    pub account: Account,
    pub allocs: Histogram<u64>,
    pub frees: Histogram<u64>,
}

impl std::fmt::Display for Line {
    fn fmt(&self, into: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Account { attempted, recorded, lost, sampled_out, in_flight } = self.account;
        write!(into, "told {attempted} {recorded} {lost} {sampled_out} {in_flight}")?;
        for histogram in [&self.allocs, &self.frees] {
            write!(into, " |")?;
            for step in histogram.iter_recorded() {
                write!(into, " {}:{}", step.value_iterated_to(), step.count_at_value())?;
            }
        }
        Ok(())
    }
}

impl FromStr for Line {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Line, &'static str> {
        let mut parts = text.strip_prefix("told ").ok_or("not a line of figures")?.split(" |");
        let mut figures = parts.next().unwrap_or("").split(' ').map_while(|word| word.parse::<u64>().ok());
        let mut figure = || figures.next().ok_or("a figure of the account is missing");
        let account = Account {
            attempted: figure()?,
            recorded: figure()?,
            lost: figure()?,
            sampled_out: figure()?,
            in_flight: figure()?,
        };
        let mut read = || {
            let mut read = histogram();
            for word in parts.next().ok_or("a histogram is missing")?.split_whitespace() {
                let (ticks, count) = word.split_once(':').ok_or("a step has no count")?;
                let (Ok(ticks), Ok(count)) = (ticks.parse(), count.parse()) else {
                    return Err("a step is no number");
                };
                read.saturating_record_n(ticks, count);
            }
            Ok(read)
        };
        Ok(Line { account, allocs: read()?, frees: read()? })
    }
}
