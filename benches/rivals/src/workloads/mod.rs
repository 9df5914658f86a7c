//! The kinds of work. Each kind makes the same allocations under every allocator, except for races between threads.

mod deep;
mod index;
mod service;
mod threads;

use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::common::clock::thread_cpu_ns;
use crate::common::figures::Random;
use crate::common::raw::{Population, tight_pairs};
use crate::common::texts;

/// A kind of work.
pub struct Workload {
    pub name: &'static str,
    pub title: &'static str,
    /// Number of pairs of an allocation and its free, for work that consists of such pairs only.
    pub pairs: Option<u64>,
    pub run: fn(&AppCpu),
    /// Whether only contestants that keep samples or nothing do this work.
    pub sampled: bool,
}

pub const ALL: [Workload; 13] = [
    of_pairs("pair-1", "pairs of 64 bytes, 1 thread", PAIRS, |app| pairs(app, 1)),
    of_pairs("pair-2", "pairs of 64 bytes, 2 threads", 2 * PAIRS, |app| pairs(app, 2)),
    of_pairs("deep", "pairs of 64 bytes, 24 to 28 calls deep", deep::PAIRS, deep::pairs),
    other("replace-1k", "replacing among 1,000", |app| replace(app, 1_000)),
    other("replace-100k", "replacing among 100,000", |app| replace(app, 100_000)),
    other("replace-1m", "replacing among 1,000,000", |app| replace(app, 1_000_000)),
    other("json", "JSON parse and print", |app| json(app, DOCUMENTS)),
    // The start and the end of a process take some milliseconds, a part of the first time and almost nothing of the
    // second.
    Workload {
        sampled: true,
        ..other("json-long", "JSON parse and print, five times as long", |app| json(app, 5 * DOCUMENTS))
    },
    other("regex", "regex and string building", regex),
    other("hand-over", "hand-over between two threads", threads::hand_over),
    other("churn", "1,000 short-lived threads", threads::churn),
    other("tokio", "a tokio service", service::serve),
    other("index", "an inverted index, 4 readers and a merger", index::build),
];

/// Number of pairs of one thread.
const PAIRS: u64 = 1_500_000;
/// Number of documents that are parsed and printed.
const DOCUMENTS: u32 = 300;

const fn of_pairs(name: &'static str, title: &'static str, pairs: u64, run: fn(&AppCpu)) -> Workload {
    Workload { name, title, pairs: Some(pairs), run, sampled: false }
}

const fn other(name: &'static str, title: &'static str, run: fn(&AppCpu)) -> Workload {
    Workload { name, title, pairs: None, run, sampled: false }
}

/// Total processor time of the threads that do the work.
#[derive(Debug, Default)]
pub struct AppCpu(AtomicU64);

impl AppCpu {
    /// Does a thread's work and adds its processor time.
    pub fn count<T>(&self, work: impl FnOnce() -> T) -> T {
        let start = thread_cpu_ns();
        let outcome = work();
        self.add(thread_cpu_ns() - start);
        outcome
    }

    pub fn add(&self, ns: u64) {
        // relaxed: a sum, read after the threads were joined.
        self.0.fetch_add(ns, Ordering::Relaxed);
    }

    pub fn total_ns(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The global allocator of the program, as a value.
struct Global;

// SAFETY: the functions of `std::alloc` keep the contract of `GlobalAlloc`.
unsafe impl GlobalAlloc for Global {
    #[inline(always)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        unsafe { std::alloc::alloc(layout) }
    }

    #[inline(always)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { std::alloc::dealloc(block, layout) }
    }
}

fn pairs(app: &AppCpu, threads: usize) {
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| app.count(|| tight_pairs(&Global, PAIRS)));
        }
    });
}

/// Replaces blocks at random. The population is made outside the counted time of the threads, but inside the counted
/// time of the process.
fn replace(app: &AppCpu, live: usize) {
    let mut population = Population::new(&Global, live);
    app.count(|| population.replace(600_000));
}

fn json(app: &AppCpu, documents: u32) {
    let document = texts::json_document(300);
    app.count(|| {
        for _ in 0..documents {
            black_box(texts::parse_and_print(black_box(&document)));
        }
    });
}

fn regex(app: &AppCpu) {
    app.count(|| {
        let pattern = regex::Regex::new(r"(?<name>[a-z]+)-(?<number>\d+)").expect("the pattern is sound");
        let mut random = Random(Random::SEED);
        for _ in 0..200 {
            let words: Vec<String> =
                (0..200).map(|_| format!("word-{} and", random.below(100_000))).collect();
            let text = words.join(" ");
            let found: Vec<String> = pattern
                .captures_iter(&text)
                .map(|captures| format!("{}={}", &captures["name"], &captures["number"]))
                .collect();
            black_box(pattern.replace_all(&text, "$number-$name").len() + found.len());
        }
        black_box(texts::build_strings(4_000));
    });
}
