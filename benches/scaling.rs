//! What the shared side does with many threads, simulated: `cargo bench --bench scaling`.
//!
//! A machine with 1,024 processors is not at hand, so this does three things:
//!
//! 1. It **measures** what one visit to a latch costs here, alone and handed from processor to processor.
//! 2. It **simulates** threads that compute for a while and then visit latches, in their order, each held for a while,
//!    and **checks** the simulation against two real threads on two real processors.
//! 3. It lets the simulation run with the visits that a fold makes, for 1 to 1,024 threads, each with a processor of
//!    its own. `docs/SCALING.md` tells what follows.

use std::collections::BinaryHeap;
use std::hint::spin_loop;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

/// Rounds of a measurement. The shortest counts: what else the machine does can only make one longer.
const ROUNDS: usize = 60;
/// Cycles of each thread in one simulation.
const CYCLES: u32 = 2_000;
/// What it costs to get a cache line that another processor wrote last, in nanoseconds, where the simulation cannot
/// measure it: between two sockets.
const FAR_NS: f64 = 250.0;
/// Events of one fold: a segment of 1,024 words.
const EVENTS_OF_FOLD: f64 = 680.0;

/// A latch as heapledger has it, and the line that it guards.
#[repr(align(128))]
#[derive(Default)]
struct Guarded {
    latch: AtomicU32,
    value: AtomicU64,
}

impl Guarded {
    fn visit(&self) {
        while self.latch.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            spin_loop();
        }
        // relaxed: the latch orders it.
        self.value.store(self.value.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.latch.store(0, Ordering::Release);
    }
}

/// Rounds of a loop that takes about so many nanoseconds.
fn think(rounds: u64) {
    let mut value = rounds;
    for _ in 0..rounds {
        value = std::hint::black_box(value.wrapping_mul(0x9e37_79b9).rotate_left(7));
    }
}

/// Nanoseconds from one cycle to the next of threads that think and visit one latch.
fn measured(threads: usize, rounds: u64, visits: u32) -> f64 {
    let once = || {
        let (guarded, start) = (Guarded::default(), Barrier::new(threads));
        let took: Vec<f64> = std::thread::scope(|scope| {
            let run = || {
                start.wait();
                let began = Instant::now();
                for _ in 0..visits {
                    think(rounds);
                    guarded.visit();
                }
                began.elapsed().as_nanos() as f64 / f64::from(visits)
            };
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
            running.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
        });
        took.iter().sum::<f64>() / threads as f64
    };
    (0..ROUNDS).map(|_| once()).fold(f64::INFINITY, f64::min)
}

/// One kind of latch: how many there are, how often a cycle visits one, how long it is held.
#[derive(Debug, Clone, Copy)]
struct Station {
    name: &'static str,
    latches: usize,
    visits: f64,
    hold_ns: f64,
}

/// What a simulation came to.
struct Outcome {
    cycle_ns: f64,
    /// The share of time that the busiest latch of each kind was held.
    busy: Vec<f64>,
}

/// A thread's next arrival, earliest first.
#[derive(PartialEq, PartialOrd)]
struct Arrival(f64, usize);

impl Eq for Arrival {}

impl Ord for Arrival {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.0.total_cmp(&self.0).then(other.1.cmp(&self.1))
    }
}

/// A small generator: the same figures at every run.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Lets `threads` threads think for `think_ns` and then make the visits of all stations, over and over, each on a
/// processor of its own. Getting a latch from another processor costs `transfer_ns` while it is held.
fn simulated(threads: usize, think_ns: f64, stations: &[Station], transfer_ns: f64) -> Outcome {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut free_at: Vec<Vec<(f64, usize)>> =
        stations.iter().map(|station| vec![(0.0, usize::MAX); station.latches]).collect();
    let mut held: Vec<Vec<f64>> = stations.iter().map(|station| vec![0.0; station.latches]).collect();
    let mut queue: BinaryHeap<Arrival> =
        (0..threads).map(|thread| Arrival(random.unit() * think_ns, thread)).collect();
    // Where each thread is in its cycle: the visits that are still to be made.
    let mut plan: Vec<Vec<usize>> = vec![Vec::new(); threads];
    let mut cycles = vec![0u32; threads];
    let (mut now, mut done) = (0.0, 0u64);
    while let Some(Arrival(at, thread)) = queue.pop() {
        now = at;
        let Some(kind) = plan[thread].pop() else {
            cycles[thread] += 1;
            if cycles[thread] > CYCLES / threads.min(64) as u32 + 20 {
                // One thread is through: the rest would run with less company.
                break;
            }
            done += 1;
            for (kind, station) in stations.iter().enumerate() {
                let visits = station.visits.floor() + f64::from(random.unit() < station.visits.fract());
                plan[thread].extend(std::iter::repeat_n(kind, visits as usize));
            }
            queue.push(Arrival(at + think_ns * (0.5 + random.unit()), thread));
            continue;
        };
        let station = &stations[kind];
        let number = (random.unit() * station.latches as f64) as usize;
        let (free, last) = free_at[kind][number];
        let moves = if last == thread || last == usize::MAX { 0.0 } else { transfer_ns };
        let (begin, hold) = (at.max(free), station.hold_ns + moves);
        free_at[kind][number] = (begin + hold, thread);
        held[kind][number] += hold;
        queue.push(Arrival(begin + hold, thread));
    }
    let busy = held.iter().map(|latches| latches.iter().copied().fold(0.0, f64::max) / now).collect();
    Outcome { cycle_ns: now * threads as f64 / done as f64, busy }
}

/// The visits of one fold, for programs of three kinds. `hold_ns` is what a visit takes here.
fn folds(hold_ns: f64) -> [(&'static str, f64, Vec<Station>); 3] {
    let station =
        |name, latches, visits, factor: f64| Station { name, latches, visits, hold_ns: hold_ns * factor };
    let common = |shards: f64, sites: f64| {
        vec![
            station("timeline", 1, 3.0, 2.0),
            station("booked", 1, 2.0, 1.0),
            station("sites", 64, sites, 8.0),
            station("shards", 64, shards, 3.0),
        ]
    };
    [
        // Nothing outlives the nursery; 10 ns an event, recorded and booked.
        ("pairs and nothing else", 10.0, common(0.0, 1.0)),
        // A tenth of the blocks outlives it; 60 ns an event with the program's own work.
        ("JSON, indexing, services", 60.0, common(EVENTS_OF_FOLD / 10.0, 4.0)),
        // Every block goes through the shared table, and is a cache miss there.
        ("every block lives long", 150.0, common(EVENTS_OF_FOLD, 4.0)),
    ]
}

fn main() {
    // `cargo test --benches` only wants to know that it starts.
    let visits = if std::env::args().any(|argument| argument == "--bench") { 10_000 } else { 100 };
    let alone = measured(1, 0, visits);
    let thinking = measured(1, 100, visits) - alone;
    let contended = measured(2, 0, visits) / 2.0;
    let transfer_ns = (contended - alone).max(0.0);
    println!("a visit alone {alone:.1} ns; handed over between two threads {contended:.1} ns\n");
    println!("two threads, one latch: nanoseconds from one cycle to the next");
    println!("| thinks for | measured | simulated |\n| --- | --- | --- |");
    for rounds in [0u64, 10, 30, 100, 300] {
        let think_ns = thinking * rounds as f64 / 100.0;
        let station = [Station { name: "latch", latches: 1, visits: 1.0, hold_ns: alone }];
        let simulated = simulated(2, think_ns, &station, transfer_ns).cycle_ns;
        println!("| {think_ns:.0} ns | {:.0} | {simulated:.0} |", measured(2, rounds, visits));
    }
    for (where_, line_ns) in [("one socket", transfer_ns), ("two sockets", FAR_NS)] {
        println!(
            "\n{where_}: a line moves in {line_ns:.0} ns. Throughput against as many threads that share nothing"
        );
        println!("| program | threads | throughput | busiest latch |\n| --- | --- | --- | --- |");
        for (program, event_ns, stations) in folds(alone) {
            let think_ns = event_ns * EVENTS_OF_FOLD;
            let lone = simulated(1, think_ns, &stations, line_ns).cycle_ns;
            for threads in [2usize, 8, 16, 64, 256, 1_024] {
                let outcome = simulated(threads, think_ns, &stations, line_ns);
                let (busiest, share) = (stations.iter().zip(&outcome.busy))
                    .max_by(|a, b| a.1.total_cmp(b.1))
                    .map_or(("none", 0.0), |(station, busy)| (station.name, *busy));
                let throughput = 100.0 * lone / outcome.cycle_ns;
                println!("| {program} | {threads} | {throughput:.0} % | {busiest}, {:.0} % |", 100.0 * share);
            }
        }
    }
}
