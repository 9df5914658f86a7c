//! Cost of an event with more threads, measured, and contention for the latches of the shared tables with many threads,
//! simulated: `cargo bench --bench scaling`.
//!
//! First the bench **measures** the cost of an event with 1, 2, 4 and 8 threads on this machine (`scaling/threads.rs`).
//! No machine with 1,024 processors is available, so it then does three things:
//!
//! 1. It **measures** the cost of one visit to a latch, by one processor and with handovers between processors.
//! 2. It **simulates** threads that alternate between computing and visits to latches, each held for a while, and
//!    **checks** the simulation against two real threads on two real processors.
//! 3. It simulates the visits of a fold, for 1 to 1,024 threads, each with a separate processor. `docs/SCALING.md` has
//!    the conclusions.
#![allow(unsafe_code, reason = "calls allocators directly")]

mod common;
#[path = "scaling/threads.rs"]
mod threads;

use std::collections::BinaryHeap;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use common::effort::Effort;

/// Number of rounds of a measurement. One of the shorter rounds counts, because other load on the machine makes a round
/// longer.
const ROUNDS: u64 = 200;
/// Number of cycles (computing, then visiting latches) of each thread in one simulation of full length.
const CYCLES: u32 = 2_000;
/// Cost of getting a cache line that another processor wrote last, in nanoseconds, between two sockets. The bench
/// cannot measure this cost.
const FAR_NS: f64 = 250.0;
/// The same cost on one socket, in nanoseconds. It is used if two threads never run at the same time to measure the
/// cost.
const NEAR_NS: f64 = 60.0;
/// Number of events of one fold, which books a segment of 1,024 words.
const EVENTS_OF_FOLD: f64 = 680.0;

/// A latch like heapledger's, with the cache line that it guards.
#[repr(align(128))]
#[derive(Default)]
struct Guarded {
    latch: AtomicU32,
    value: AtomicU64,
}

impl Guarded {
    /// Visits the latch as a thread, and returns the number of the thread that visited it before.
    fn visit(&self, thread: u64) -> u64 {
        while self.latch.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            spin_loop();
        }
        // relaxed: the latch orders the accesses.
        let before = self.value.swap(thread, Ordering::Relaxed);
        self.latch.store(0, Ordering::Release);
        before
    }
}

/// Spins for the given number of iterations.
fn think(rounds: u64) {
    let mut value = rounds;
    for _ in 0..rounds {
        value = std::hint::black_box(value.wrapping_mul(0x9e37_79b9).rotate_left(7));
    }
}

/// Results of the measurement with real threads.
#[derive(Clone, Copy)]
struct Measured {
    /// Nanoseconds from one cycle of a thread to its next cycle.
    cycle_ns: f64,
    /// Share of the visits before which another thread had visited the latch.
    by_turns: f64,
}

/// Measures threads that compute and visit one latch, and run at the same time for at least nine tenths of the round.
/// On a busy machine many rounds fail this condition, so there are many short rounds. Returns `None` if every round
/// fails it.
fn measured(threads: u64, rounds: u64, visits: u32) -> Option<Measured> {
    let (guarded, arrived, origin) = (Guarded::default(), AtomicU64::new(0), Instant::now());
    let run = |number: u64| {
        let mut took = Vec::with_capacity(ROUNDS as usize);
        for round in 1..=ROUNDS {
            arrived.fetch_add(1, Ordering::AcqRel);
            while arrived.load(Ordering::Acquire) < round * threads {
                spin_loop();
            }
            let began = origin.elapsed();
            let mut moved = 0;
            for _ in 0..visits {
                think(rounds);
                moved += u32::from(guarded.visit(number) != number);
            }
            took.push((began.as_nanos() as f64, origin.elapsed().as_nanos() as f64, f64::from(moved)));
        }
        took
    };
    let took: Vec<Vec<(f64, f64, f64)>> = std::thread::scope(|scope| {
        let run = &run;
        let running: Vec<_> = (0..threads).map(|number| scope.spawn(move || run(number))).collect();
        running.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
    });
    let whole = (0..ROUNDS as usize).filter_map(|round| {
        let (mut first, mut last, mut inner_first, mut inner_last) =
            (f64::INFINITY, 0.0f64, 0.0f64, f64::INFINITY);
        let mut moved = 0.0;
        for (began, ended, by_others) in took.iter().map(|thread| thread[round]) {
            (first, last) = (first.min(began), last.max(ended));
            (inner_first, inner_last) = (inner_first.max(began), inner_last.min(ended));
            moved += by_others / (f64::from(visits) * threads as f64);
        }
        let is_whole = inner_last - inner_first >= 0.9 * (last - first);
        is_whole.then_some(Measured { cycle_ns: (last - first) / f64::from(visits), by_turns: moved })
    });
    let mut whole: Vec<Measured> = whole.collect();
    whole.sort_by(|a, b| a.cycle_ns.total_cmp(&b.cycle_ns));
    // Not the shortest round: in that round the cache line may have moved unusually seldom.
    whole.get(whole.len() / 10).copied()
}

/// Returns the nanoseconds that a cache line takes from one processor to another: two threads write to it alternately.
fn handed_over(turns: u32) -> Option<f64> {
    let (line, origin) = (Guarded::default(), Instant::now());
    let turns = u64::from(turns);
    let run = |mine: u64| {
        let mut took = Vec::with_capacity(ROUNDS as usize);
        for round in 0..ROUNDS {
            let began = origin.elapsed();
            for turn in round * turns..(round + 1) * turns {
                while line.value.load(Ordering::Acquire) != 2 * turn + mine {
                    spin_loop();
                }
                line.value.store(2 * turn + mine + 1, Ordering::Release);
            }
            took.push((origin.elapsed() - began).as_nanos() as f64 / (2 * turns) as f64);
        }
        took
    };
    let mut took = std::thread::scope(|scope| {
        let other = scope.spawn(|| run(1));
        let took = run(0);
        other.join().expect("it does not panic");
        took
    });
    took.sort_by(f64::total_cmp);
    took.get(took.len() / 10).copied()
}

/// One kind of latch: the number of latches, the visits of a cycle, and the time of a visit.
#[derive(Debug, Clone, Copy)]
struct Station {
    name: &'static str,
    latches: usize,
    visits: f64,
    hold_ns: f64,
}

/// Results of a simulation.
struct Outcome {
    cycle_ns: f64,
    /// Share of the time for which the busiest latch of each kind was held.
    busy: Vec<f64>,
}

/// The next arrival of a thread; the earliest has the highest rank.
struct Arrival(f64, usize);

impl PartialEq for Arrival {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Arrival {}

impl PartialOrd for Arrival {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Arrival {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.0.total_cmp(&self.0).then(other.1.cmp(&self.1))
    }
}

/// A small generator of random numbers, with the same results in every run.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Simulates `threads` threads, each on a separate processor, that compute for `think_ns` and then visit all stations,
/// repeatedly. The transfer of a latch from another processor takes `transfer_ns`, and the latch is held meanwhile.
fn simulated(threads: usize, think_ns: f64, stations: &[Station], transfer_ns: f64, full: u32) -> Outcome {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut free_at: Vec<Vec<(f64, usize)>> =
        stations.iter().map(|station| vec![(0.0, usize::MAX); station.latches]).collect();
    let mut held: Vec<Vec<f64>> = stations.iter().map(|station| vec![0.0; station.latches]).collect();
    let mut queue: BinaryHeap<Arrival> =
        (0..threads).map(|thread| Arrival(random.unit() * think_ns, thread)).collect();
    // The rest of each thread's cycle: the visits that are still to be made.
    let mut plan: Vec<Vec<usize>> = vec![Vec::new(); threads];
    let mut cycles = vec![0u32; threads];
    let (mut now, mut done) = (0.0, 0u64);
    while let Some(Arrival(at, thread)) = queue.pop() {
        now = at;
        let Some(kind) = plan[thread].pop() else {
            cycles[thread] += 1;
            if cycles[thread] > full / threads.min(64) as u32 + 20 {
                // The first thread has finished. The other threads would now meet less contention than measured.
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
    let busy =
        held.iter().map(|latches| latches.iter().copied().fold(0.0, f64::max).min(now) / now).collect();
    Outcome { cycle_ns: now * threads as f64 / done as f64, busy }
}

/// Returns the visits of one fold to latches, for programs of three kinds. `hold_ns` is the time of a visit on this
/// machine. `next` selects the design that `docs/SCALING.md` proposes: more shards, and a timeline that each thread
/// visits once a millisecond.
fn folds(hold_ns: f64, next: bool) -> [(&'static str, f64, Vec<Station>); 3] {
    let station =
        |name, latches, visits, factor: f64| Station { name, latches, visits, hold_ns: hold_ns * factor };
    let latches = if next { 1_024 } else { 64 };
    let program = |name, event_ns: f64, shards: f64, sites: f64| {
        let (timeline, booked) = if next { (event_ns * EVENTS_OF_FOLD / 1e6, 0.25) } else { (1.0, 2.0) };
        let visits = vec![
            station("timeline", 1, timeline, 2.0),
            station("booked", 1, booked, 1.0),
            station("sites", latches, sites, 8.0),
            station("shards", latches, shards, 3.0),
        ];
        (name, event_ns, visits)
    };
    [
        // No block outlives the nursery (the young blocks of one thread). Recording and booking take 10 ns per event.
        program("pairs and nothing else", 10.0, 0.0, 1.0),
        // A tenth of the blocks outlives the nursery. With the program's work, an event takes 60 ns.
        program("JSON, indexing, services", 60.0, EVENTS_OF_FOLD / 10.0, 4.0),
        // Every block goes through the shared table, and causes a cache miss there.
        program("every block lives long", 150.0, EVENTS_OF_FOLD, 4.0),
    ]
}

fn main() {
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    let (visits, rounds, less, cycles) =
        Effort::of_arguments().pick((5, 1, 1_000, 1), (100, 3, 4, CYCLES / 10), (500, 9, 1, CYCLES));
    threads::print(rounds, less);
    println!();
    let one = |rounds| measured(1, rounds, visits).map_or(0.0, |measured| measured.cycle_ns);
    let alone = one(0);
    let thinking = (one(300) - alone) / 300.0;
    let transfer_ns = handed_over(visits).unwrap_or_else(|| {
        println!("two threads never ran at the same time: a line is taken to move in {NEAR_NS} ns");
        NEAR_NS
    });
    println!(
        "a visit alone takes {alone:.1} ns; getting the latch from another processor {transfer_ns:.0} ns more\n"
    );
    println!("two threads, one latch: nanoseconds from one cycle of a thread to its next");
    println!("| thinks for | measured | simulated | visits by turns |\n| --- | --- | --- | --- |");
    for rounds in [0u64, 10, 30, 100, 300, 1_000] {
        let think_ns = thinking * rounds as f64;
        let station = [Station { name: "latch", latches: 1, visits: 1.0, hold_ns: alone }];
        let simulated = simulated(2, think_ns, &station, transfer_ns, CYCLES).cycle_ns;
        let (cycle, by_turns) = measured(2, rounds, visits)
            .map_or(("–".to_owned(), 0.0), |two| (format!("{:.0}", two.cycle_ns), 100.0 * two.by_turns));
        println!("| {think_ns:.0} ns | {cycle} | {simulated:.0} | {by_turns:.0} % |");
    }
    for (where_, line_ns, next) in [
        ("one socket", transfer_ns, false),
        ("two sockets", FAR_NS, false),
        ("one socket, as proposed", transfer_ns, true),
        ("two sockets, as proposed", FAR_NS, true),
    ] {
        println!(
            "\n{where_}: a line moves in {line_ns:.0} ns. Throughput against as many threads that share nothing"
        );
        println!("| program | threads | throughput | busiest latch |\n| --- | --- | --- | --- |");
        for (program, event_ns, stations) in folds(alone, next) {
            let think_ns = event_ns * EVENTS_OF_FOLD;
            let lone = simulated(1, think_ns, &stations, line_ns, cycles).cycle_ns;
            for threads in [2usize, 8, 16, 64, 256, 1_024] {
                let outcome = simulated(threads, think_ns, &stations, line_ns, cycles);
                let (busiest, share) = (stations.iter().zip(&outcome.busy))
                    .max_by(|a, b| a.1.total_cmp(b.1))
                    .map_or(("none", 0.0), |(station, busy)| (station.name, *busy));
                let throughput = 100.0 * lone / outcome.cycle_ns;
                println!("| {program} | {threads} | {throughput:.0} % | {busiest}, {:.0} % |", 100.0 * share);
            }
        }
    }
}
