//! Every collection strategy and heapledger itself on the same workloads: completeness and cost.
//!
//! Each step is a real allocation and free of 64 bytes, and one event about it. Rows are strategies; columns are
//! workloads: threads, tasks of a runtime, and both together. The cost is processor time of the whole process,
//! background threads included, because it depends less on other load than elapsed time does. The first row makes the
//! same steps and records nothing.
//!
//! A row that loses events is cheap because it does not do the work. So compare costs only between rows of about the
//! same completeness.
//!
//! `HeapLedger` is used as an allocator value, and records two events per step: the allocation and the free.
//!
//! A second table varies rate and capacity. It shows up to which rate each strategy reaches its expected completeness.
//!
//! The bench asserts conservation and order for each strategy, and 100.000 % for the rows of the default strategy and
//! of `HeapLedger`. Percentages are rounded down. `--quick` shortens the bench.

#![allow(unsafe_code, reason = "calls allocators directly")]

mod common;
#[path = "strategies/sweep.rs"]
mod sweep;

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::Barrier;

use common::clock::process_cpu_ns;
use common::effort::Effort;
use heapledger::strategies::{self, Collector, Event, Limits};
use heapledger::{DumpTarget, HeapLedger};

static LEDGER: HeapLedger = HeapLedger::system().stacks(heapledger::Stacks::Off).dump(DumpTarget::Off);

const BLOCK: Layout = Layout::new::<[u64; 8]>();
/// Number of steps after which a task yields.
const STEPS_A_SLICE: u64 = 64;
const WORKERS: usize = 2;

/// The threads or tasks that make the steps.
#[derive(Debug, Clone, Copy)]
struct Workload {
    name: &'static str,
    threads: usize,
    tasks: usize,
}

const WORKLOADS: [Workload; 6] = [
    Workload { name: "single", threads: 1, tasks: 0 },
    Workload { name: "2 threads", threads: 2, tasks: 0 },
    Workload { name: "4 threads", threads: 4, tasks: 0 },
    Workload { name: "8 threads", threads: 8, tasks: 0 },
    Workload { name: "async", threads: 0, tasks: 16 },
    Workload { name: "hybrid", threads: 2, tasks: 8 },
];

impl Workload {
    fn producers(self) -> u64 {
        (self.threads + self.tasks) as u64
    }
}

/// The result of one row on one workload.
#[derive(Debug, Clone, Copy)]
struct Cell {
    /// Completeness in thousandths of a percent, rounded down.
    completeness: u64,
    cpu_ns: u64,
    steps: u64,
}

impl Cell {
    fn cpu_ns_a_step(self) -> f64 {
        self.cpu_ns as f64 / self.steps as f64
    }

    /// Returns the lower completeness and the lower cost of two runs.
    fn with(self, other: Cell) -> Cell {
        let cpu_ns = self.cpu_ns.min(other.cpu_ns);
        Cell { completeness: self.completeness.min(other.completeness), cpu_ns, ..self }
    }
}

/// The interface by which a producer makes its steps.
trait Row: Sync {
    type Producer: Send;

    fn producer(&self) -> Self::Producer;

    fn step(&self, producer: &mut Self::Producer);

    /// Books the remaining events, within the measured time.
    fn finish(&self);
}

fn pair(allocator: &impl GlobalAlloc) -> u64 {
    // SAFETY: the layout is not empty, and what is freed was just allocated with it.
    unsafe {
        let block = black_box(allocator.alloc(BLOCK));
        let address = block.addr() as u64;
        allocator.dealloc(block, BLOCK);
        address
    }
}

struct Untracked;

impl Row for Untracked {
    type Producer = ();

    fn producer(&self) {}

    fn step(&self, _producer: &mut ()) {
        pair(&System);
    }

    fn finish(&self) {}
}

struct Strategy<'a>(&'a dyn Collector);

impl Row for Strategy<'_> {
    type Producer = strategies::Handle;

    fn producer(&self) -> strategies::Handle {
        self.0.register().expect("the limits leave room for every producer")
    }

    fn step(&self, producer: &mut strategies::Handle) {
        let address = pair(&System);
        black_box(self.0.record(producer, Event::alloc(address, BLOCK.size() as u64)));
    }

    fn finish(&self) {
        self.0.finish();
    }
}

struct TheRealThing;

impl Row for TheRealThing {
    type Producer = ();

    fn producer(&self) {}

    fn step(&self, _producer: &mut ()) {
        pair(&LEDGER);
    }

    fn finish(&self) {
        heapledger::flush();
    }
}

fn steps<R: Row>(row: &R, start: &Barrier, count: u64) {
    let mut producer = row.producer();
    start.wait();
    for _ in 0..count {
        row.step(&mut producer);
    }
}

async fn sliced_steps<R: Row>(row: &R, count: u64) {
    let mut producer = row.producer();
    for slice in 0..count.div_ceil(STEPS_A_SLICE) {
        for _ in 0..STEPS_A_SLICE.min(count - slice * STEPS_A_SLICE) {
            row.step(&mut producer);
        }
        tokio::task::yield_now().await;
    }
}

/// Runs the workload and returns its processor time, in nanoseconds.
fn run<R: Row + Send + 'static>(row: &'static R, workload: Workload, steps_each: u64) -> u64 {
    let runtime = (workload.tasks > 0).then(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).build().expect("a runtime")
    });
    // The barrier keeps the first thread from finishing before the last thread starts.
    let start = Barrier::new(workload.threads);
    let before = process_cpu_ns();
    std::thread::scope(|scope| {
        for _ in 0..workload.threads {
            scope.spawn(|| steps(row, &start, steps_each));
        }
        if let Some(runtime) = &runtime {
            let tasks: Vec<_> =
                (0..workload.tasks).map(|_| runtime.spawn(sliced_steps(row, steps_each))).collect();
            for task in tasks {
                runtime.block_on(task).expect("a task");
            }
        }
    });
    row.finish();
    process_cpu_ns() - before
}

/// Measures heapledger on one workload. Asserts conservation, and exactly two events per step.
fn measure_ledger(workload: Workload, steps_each: u64) -> Cell {
    let before = heapledger::quality();
    let cpu_ns = run(&TheRealThing, workload, steps_each);
    let after = heapledger::quality();
    let steps = steps_each * workload.producers();
    let (attempted, recorded) = (after.attempted - before.attempted, after.recorded - before.recorded);
    assert!(after.is_conserved(), "{after:?}");
    assert_eq!(attempted, 2 * steps, "every call is an event");
    Cell { completeness: recorded * 100_000 / attempted, cpu_ns, steps }
}

/// Measures a new collector of a strategy, and asserts its conservation laws.
fn measure_strategy(number: usize, workload: Workload, steps_each: u64) -> Cell {
    let limits = Limits { producers: workload.producers() as usize, ..Limits::default() };
    // The collector is leaked, so that tasks can keep a reference to it. A leak costs a few megabytes per row.
    let collector: &'static dyn Collector = Box::leak(strategies::all(&limits).swap_remove(number));
    let row = Box::leak(Box::new(Strategy(collector)));
    let cpu_ns = run(row, workload, steps_each);
    let account = collector.account();
    if let Err(broken) = account.check() {
        panic!("{} under {}: {broken}: {account:?}", collector.name(), workload.name);
    }
    let steps = steps_each * workload.producers();
    assert_eq!((account.attempted, account.in_flight), (steps, 0), "every step is an event");
    Cell { completeness: account.completeness_floor(), cpu_ns, steps }
}

/// Measures one row on every workload.
fn row(runs: u32, steps: u64, measure: impl Fn(Workload, u64) -> Cell) -> Vec<Cell> {
    let cell = |workload: &Workload| {
        // Every column has the same number of steps.
        let steps_each = (steps / workload.producers()).max(1);
        let first = measure(*workload, steps_each);
        (1..runs).fold(first, |best, _| best.with(measure(*workload, steps_each)))
    };
    WORKLOADS.iter().map(cell).collect()
}

fn print_row(name: &str, cells: &[Cell], shows_completeness: bool) {
    print!("{name:<36}");
    for cell in cells {
        let percent = format!("{}.{:03} %", cell.completeness / 1000, cell.completeness % 1000);
        let percent = if shows_completeness { percent.as_str() } else { "-" };
        print!(" {percent:>10} {:>6.1}", cell.cpu_ns_a_step());
    }
    println!();
}

fn main() {
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    let (runs, steps) = Effort::of_arguments().pick((1, 2_400), (1, 400_000), (3, 2_400_000));

    println!("completeness (rounded down, worst of {runs}) and processor ns a step (best of {runs});");
    println!("a step: one 64-byte allocation and free, one event; {steps} steps a cell\n");
    print!("{:<36}", "");
    WORKLOADS.iter().for_each(|workload| print!(" {:>17}", workload.name));
    println!();

    let untracked = |workload: Workload, steps_each| {
        let cpu_ns = run(&Untracked, workload, steps_each);
        Cell { completeness: 100_000, cpu_ns, steps: steps_each * workload.producers() }
    };
    print_row("no tracking", &row(runs, steps, untracked), false);
    let names: Vec<&str> = strategies::all(&Limits::default()).iter().map(|one| one.name()).collect();
    for (number, name) in names.iter().enumerate() {
        let cells = row(runs, steps, |workload, each| measure_strategy(number, workload, each));
        print_row(name, &cells, true);
        let is_default = number + 1 == names.len();
        assert!(!is_default || cells.iter().all(|cell| cell.completeness == 100_000), "{cells:?}");
    }
    let cells = row(runs, steps, measure_ledger);
    print_row("HeapLedger<System>, 2 events a step", &cells, true);
    assert!(cells.iter().all(|cell| cell.completeness == 100_000), "{cells:?}");
    println!("\nconservation and order hold in every cell; the last two rows lost nothing");
    sweep::print(Effort::of_arguments());
}
