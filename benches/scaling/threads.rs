//! Cost of an event with 1, 2, 4 and 8 threads: processor time of the whole process per event.
//!
//! The same number of events is divided among the threads, so a constant figure means that threads do not slow each
//! other down. Bare System does the same work, interleaved. A rise of System's figure comes from the machine (two
//! threads on one core share its caches) or from the allocator. So the cost of recording, which is the difference, has
//! a separate column. This column rises only if heapledger's work slows threads down. Threads start, grow their
//! populations and end outside the measured time. Each measured time of heapledger ends with a flush, and the processor
//! time of the background thread is subtracted from bare System's.

use std::alloc::{GlobalAlloc, System};
use std::sync::Barrier;

use heapledger::{DumpTarget, HeapLedger, Stacks};

use crate::common::clock::process_cpu_ns;
use crate::common::figures::Spread;
use crate::common::raw::{Population, handfuls, tight_pairs};

const THREADS: [usize; 4] = [1, 2, 4, 8];
/// Limit of the rise of processor time per event, as a ratio to one thread.
const RISE: f64 = 1.10;
static HEAP: HeapLedger = HeapLedger::system().stacks(Stacks::Off).dump(DumpTarget::Off);

#[derive(Clone, Copy)]
enum Kind {
    Pairs,
    Handfuls,
    /// Replaces blocks at random among this number of live blocks in each thread.
    Replace(usize),
}

/// Kinds of work, each with its number of pairs of an allocation and a free, over all threads of a round.
const WORKS: [(&str, Kind, u64); 4] = [
    ("pairs of 64 bytes", Kind::Pairs, 2_400_000),
    ("handfuls of 16 blocks", Kind::Handfuls, 1_200_000),
    // Some 200 KB per thread, which the caches can hold even for eight threads.
    ("replace among 100 each", Kind::Replace(100), 400_000),
    // Some 2 MB per thread, which the caches of two processors can hold for two threads but not for eight.
    ("replace among 1,000 each", Kind::Replace(1_000), 400_000),
];

/// Processor times of the work, by round.
type Rounds = Vec<f64>;

/// Measures all kinds of work and prints the table. Each round makes `1 / less` of the pairs.
pub fn print(rounds: usize, less: u64) {
    println!(
        "processor time of the whole process, ns an event; median of {rounds} rounds (quartiles in brackets)"
    );
    println!(
        "| work | threads | bare System | heapledger | against 1 thread: bare | heapledger | ≤ {RISE:.2} × | what recording adds | of all events recorded |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for (name, kind, pairs) in WORKS {
        let pairs = (pairs / less).max(256);
        heapledger::flush();
        let before = heapledger::quality();
        let (bare, ours) = turns(kind, pairs, rounds);
        let added: Vec<Rounds> = bare.iter().zip(&ours).map(|(bare, ours)| less_by(ours, bare)).collect();
        heapledger::flush();
        let after = heapledger::quality();
        let (attempted, recorded) = (after.attempted - before.attempted, after.recorded - before.recorded);
        // Rounded down, so that a loss never reads as 100 %.
        let share = recorded * 100_000 / attempted.max(1);
        for (number, threads) in THREADS.into_iter().enumerate() {
            let a_event = |rounds: &Rounds| Spread::of(rounds).median / (2 * pairs) as f64;
            let rise = Spread::of_ratios(&ours[number], &ours[0]);
            let of_added = Spread::of_ratios(&added[number], &added[0]);
            println!(
                "| {name} | {threads} | {:.1} | {:.1} | {:.2} × | {:.2} × ({:.2}–{:.2}) | {} | {:.2} × ({:.2}–{:.2}) | {}.{:03} % of {attempted} |",
                a_event(&bare[number]),
                a_event(&ours[number]),
                Spread::of_ratios(&bare[number], &bare[0]).median,
                rise.median,
                rise.low,
                rise.high,
                if rise.median <= RISE { "met" } else { "missed" },
                of_added.median,
                of_added.low,
                of_added.high,
                share / 1_000,
                share % 1_000,
            );
        }
    }
}

/// Returns the difference of `more` and `less`, round by round.
fn less_by(more: &Rounds, less: &Rounds) -> Rounds {
    more.iter().zip(less).map(|(more, less)| more - less).collect()
}

/// Measures both allocators with each number of threads, interleaved.
fn turns(kind: Kind, pairs: u64, rounds: usize) -> (Vec<Rounds>, Vec<Rounds>) {
    let (mut bare, mut ours) = (vec![Rounds::new(); THREADS.len()], vec![Rounds::new(); THREADS.len()]);
    for round in 0..=rounds {
        for place in 0..THREADS.len() {
            let number = (round + place) % THREADS.len();
            let each = pairs / THREADS[number] as u64;
            let own_before = heapledger::quality().own_cpu_ns;
            let bare_ns = turn(&System, kind, THREADS[number], each);
            let own_ns = heapledger::quality().own_cpu_ns - own_before;
            let our_ns = turn(&HEAP, kind, THREADS[number], each);
            // The first round only warms up.
            if round > 0 {
                bare[number].push(bare_ns.saturating_sub(own_ns) as f64);
                ours[number].push(our_ns as f64);
            }
        }
    }
    (bare, ours)
}

/// Does the work of one round in `threads` threads with `each` pairs each. Returns the processor time of the work
/// alone.
fn turn<A: GlobalAlloc + Sync>(allocator: &A, kind: Kind, threads: usize, each: u64) -> u64 {
    let meeting = Barrier::new(threads + 1);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                // The first event of a thread registers the thread; the measured time is without this.
                tight_pairs(allocator, 1);
                let live = if let Kind::Replace(live) = kind { live } else { 0 };
                let mut population = Population::new(allocator, live);
                meeting.wait();
                meeting.wait();
                match kind {
                    Kind::Pairs => tight_pairs(allocator, each),
                    Kind::Handfuls => handfuls(allocator, each / 16),
                    Kind::Replace(_) => population.replace(each),
                }
                meeting.wait();
                meeting.wait();
            });
        }
        meeting.wait();
        heapledger::flush();
        let before = process_cpu_ns();
        meeting.wait();
        meeting.wait();
        heapledger::flush();
        let took = process_cpu_ns() - before;
        meeting.wait();
        took
    })
}
