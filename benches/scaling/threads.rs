//! What an event costs with 1, 2, 4 and 8 threads here: processor time of the whole process, by event.
//!
//! The same number of events is shared out among the threads, so a figure that stays level means that threads do not
//! get in each other's way. Bare System does the same work by turns: what rises there as well is the machine's (two
//! threads on one core share its caches) or the allocator's. So the difference, what recording adds, has a column of its own:
//! it rises where heapledger's threads get in each other's way, and where only the program's do, it does not. Threads start, grow
//! their populations and end outside of what is measured; each time of heapledger ends with a flush, and its own thread's time is taken off bare System's.

use std::alloc::{GlobalAlloc, System};
use std::sync::Barrier;

use heapledger::{DumpTarget, HeapLedger, Stacks};

use crate::common::clock::process_cpu_ns;
use crate::common::figures::Spread;
use crate::common::raw::{Population, handfuls, tight_pairs};

const THREADS: [usize; 4] = [1, 2, 4, 8];
/// By how much processor time per event may rise with threads.
const RISE: f64 = 1.10;
static HEAP: HeapLedger = HeapLedger::system().stacks(Stacks::Off).dump(DumpTarget::Off);

#[derive(Clone, Copy)]
enum Kind {
    Pairs,
    Handfuls,
    /// Among so many live blocks of each thread.
    Replace(usize),
}

/// A kind of work, and how many pairs of an allocation and a free one turn of it is, in all threads together.
const WORKS: [(&str, Kind, u64); 4] = [
    ("pairs of 64 bytes", Kind::Pairs, 2_400_000),
    ("handfuls of 16 blocks", Kind::Handfuls, 1_200_000),
    // As many blocks as all threads' caches have room for, at eight threads too: 200 KB each.
    ("replace among 100 each", Kind::Replace(100), 400_000),
    // Some 2 MB each, which two processors' caches hold for two threads and not for eight.
    ("replace among 1,000 each", Kind::Replace(1_000), 400_000),
];

/// Processor time of one turn, by round.
type Rounds = Vec<f64>;

/// Measures and prints; of each turn only a part of the pairs, `1 / less`.
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
        // Rounded down: never up to a hundred.
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

/// By how much each round of `more` took longer than that of `less`.
fn less_by(more: &Rounds, less: &Rounds) -> Rounds {
    more.iter().zip(less).map(|(more, less)| more - less).collect()
}

/// Both allocators with each number of threads, by turns.
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

/// One turn in so many threads, each with so many pairs. Returns the processor time of the work alone.
fn turn<A: GlobalAlloc + Sync>(allocator: &A, kind: Kind, threads: usize, each: u64) -> u64 {
    let meeting = Barrier::new(threads + 1);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                // Its first event makes a thread known.
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
