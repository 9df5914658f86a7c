//! Heap budgets under the conditions of real tests: many of them in parallel, noisy neighbours, pools and channels; and
//! every reason for which a budget is inconclusive.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, mpsc};

use heapledger::scope::{Inconclusive, Measurement, ScopeToken, Usage};
use heapledger::{Scope, assert_heap, assert_no_alloc, measure};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::case::{Case, Ended};
use super::heap::Heap;
use super::inner;
use super::laws::complete;
use super::scopes::work;
use super::tools::{block, free};

pub const CASES: &[Case] = &[
    Case::series(
        "two_hundred_tests_in_parallel_count_what_the_allocator_inside_counts",
        test_in_parallel,
        |case| {
            for clock in ["batched", "per-event"] {
                let ended = case.play_with(&[("HEAPLEDGER_CLOCK", clock)]);
                println!("  {} budgets kept, {clock}", ended.quietly().said("budgets"));
                complete(&ended.dump()).unwrap();
            }
        },
    ),
    Case::series("work_by_tokens_is_exact_under_rayon_scoped_threads_and_channels", work_by_tokens, |case| {
        for (stacks, clock) in [("off", "batched"), ("auto", "batched"), ("off", "per-event")] {
            // Threads of a pool may still be ending.
            let settings = [("HEAPLEDGER_STACKS", stacks), ("HEAPLEDGER_CLOCK", clock)];
            case.play_with(&settings).quietly().dump();
        }
    }),
    Case::new("a_broken_budget_names_the_places_of_its_blocks", break_a_budget, |ended| {
        if cfg!(feature = "names") {
            names_places(&ended.quietly().stdout);
        } else {
            assert!(ended.quietly().stdout.contains("switch on the feature `names`"), "{}", ended.stdout);
        }
    })
    .variables(&[("HEAPLEDGER_STACKS", "auto")]),
    Case::new("a_budget_of_all_threads_counts_what_no_scope_has", count_all_threads, |ended| {
        ended.quietly();
    }),
    Case::new("a_budget_is_inconclusive_without_a_ledger", is_not_recorded, passed).heap(Heap::Bare),
    Case::new("a_budget_is_inconclusive_where_recording_is_off", is_not_recorded, passed)
        .variables(&[("HEAPLEDGER", "off")]),
    Case::new("a_budget_is_inconclusive_while_events_are_sampled_out", is_sampled, passed)
        .variables(&[("HEAPLEDGER_MODE", "throughput")]),
    Case::new("a_budget_is_inconclusive_after_lost_events", lose_events, passed).heap(Heap::Shedding),
    Case::new("a_budget_is_inconclusive_where_a_free_may_mean_another_block", free_once_too_often, passed)
        .heap(Heap::Alone),
    Case::new("a_budget_is_inconclusive_beyond_the_deepest_and_the_last_scope", use_up_scopes, passed),
    Case::new("a_budget_inside_the_error_of_a_peak_is_inconclusive", doubt_the_peak, passed),
    Case::new("a_block_is_not_ended_by_the_free_of_the_block_before_it", || pass_a_place_on(true), passed)
        .heap(Heap::Alone),
    Case::new("a_block_is_ended_before_the_next_one_at_its_address", || pass_a_place_on(false), passed)
        .heap(Heap::Alone),
];

fn passed(ended: &Ended) {
    ended.quietly();
}

/// Environment variable with the number of rounds of the parallel tests.
const ROUNDS_VARIABLE: &str = "PROCESS_TEST_BUDGET_ROUNDS";
const ROUNDS: u64 = 20;
const TESTS: u64 = 200;
const THREADS: usize = 32;

/// The message of an assertion that fails.
pub fn failure_of(work: impl FnOnce() + std::panic::UnwindSafe) -> String {
    std::panic::set_hook(Box::new(|_| ()));
    let panic = std::panic::catch_unwind(work).expect_err("the assertion is wrong");
    panic.downcast_ref::<String>().expect("a message").clone()
}

/// Runs `work` while another thread allocates, frees and reallocates all the time, as libtest and background threads
/// of a program under test do.
fn beside_a_neighbour<R>(work: impl FnOnce() -> R) -> R {
    let stops = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let neighbour = threads.spawn(|| {
            while !stops.load(SeqCst) {
                let mut lines = Vec::new();
                (0..10).for_each(|n| lines.push(format!("neighbour {n}")));
                drop(black_box(lines));
            }
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        stops.store(true, SeqCst);
        // The end of the scope does not wait for what a thread frees at its very end; a join does.
        neighbour.join().unwrap();
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn test_in_parallel() {
    let rounds = std::env::var(ROUNDS_VARIABLE).ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    let budgets = AtomicU64::new(0);
    beside_a_neighbour(|| {
        for round in 0..rounds {
            let next = AtomicU64::new(0);
            std::thread::scope(|threads| {
                let test = || {
                    loop {
                        let test = next.fetch_add(1, SeqCst);
                        if test >= TESTS {
                            return;
                        }
                        one_test(test, round * TESTS + test);
                        budgets.fetch_add(1, SeqCst);
                    }
                };
                let workers: Vec<_> = (0..THREADS).map(|_| threads.spawn(test)).collect();
                workers.into_iter().for_each(|worker| worker.join().unwrap());
            });
        }
    });
    assert_eq!(budgets.load(SeqCst), rounds * TESTS);
    println!("budgets={}", rounds * TESTS);
}

/// One of the tests. The counting allocator says what it allocates when it runs outside a scope; as a budget, these
/// figures must be kept to the block and the byte, and one less of each must be broken.
fn one_test(test: u64, seed: u64) {
    let mut live = Vec::with_capacity(64);
    let before = inner::of_this_thread();
    let peak = work(seed, &mut live);
    let after = inner::of_this_thread();
    let [allocs, reallocs, bytes] = [0, 1, 2].map(|figure| after[figure] - before[figure]);
    let (blocks, live_bytes) = (live.len() as u64, live.iter().map(|(_, size)| *size as u64).sum::<u64>());
    live.drain(..).for_each(|(block, size)| free(block, size));

    let mut again = || work(seed, &mut live);
    if test.is_multiple_of(2) {
        assert_heap!(
            allocations == allocs,
            reallocations == reallocs,
            bytes == bytes,
            peak == peak,
            retained == blocks,
            retained_bytes == live_bytes;
            again()
        );
    } else {
        let (_, usage) = measure(&mut again);
        let counted = [usage.allocations, usage.reallocations, usage.bytes, usage.peak_bytes];
        assert_eq!(counted, [allocs, reallocs, bytes, peak]);
        assert_eq!([usage.retained_blocks, usage.retained_bytes], [blocks, live_bytes]);
        assert_eq!((usage.peak_uncertainty_bytes, usage.threads, usage.lost), (0, 1, 0));
    }
    live.drain(..).for_each(|(block, size)| free(block, size));
    assert_no_alloc!(black_box(seed));
}

/// What tasks allocated by the count of the allocator inside: allocations, reallocs, bytes.
#[derive(Default)]
struct Counted([AtomicU64; 3]);

impl Counted {
    /// Adds what `work` allocates on the calling thread.
    fn add<R>(&self, work: impl FnOnce() -> R) -> R {
        let before = inner::of_this_thread();
        let result = work();
        let after = inner::of_this_thread();
        for (sum, (after, before)) in self.0.iter().zip(after.into_iter().zip(before)) {
            sum.fetch_add(after - before, SeqCst);
        }
        result
    }

    fn is(&self, usage: &Usage) {
        let counted = self.0.each_ref().map(|sum| sum.load(SeqCst));
        assert_eq!([usage.allocations, usage.reallocations, usage.bytes], counted, "{usage:?}");
        assert_eq!(usage.lost, 0);
    }
}

/// Measures `work`, which receives a token and the count to which every task adds.
fn measured_by_token(work: impl FnOnce(ScopeToken, &Counted)) -> Usage {
    let counted = Counted::default();
    let measurement = Measurement::begin();
    let token = ScopeToken::current();
    counted.add(|| work(token, &counted));
    let (usage, inconclusive) = measurement.end();
    // Which block a free means can be open only where not every event has a stamp. What was allocated is exact.
    let is_stamped = std::env::var("HEAPLEDGER_CLOCK").is_ok_and(|clock| clock == "per-event");
    let is_exact = matches!(inconclusive, None | Some(Inconclusive::Ambiguous { .. }));
    assert!(inconclusive.is_none() || (is_exact && !is_stamped), "{inconclusive:?}");
    counted.is(&usage);
    usage
}

fn task(token: ScopeToken, counted: &Counted, seed: u64) -> Vec<(*mut u8, usize)> {
    let mut live = Vec::with_capacity(64);
    let _entered = token.enter();
    counted.add(|| work(seed, &mut live));
    live
}

fn free_all(live: Vec<(*mut u8, usize)>) {
    live.into_iter().for_each(|(block, size)| free(block, size));
}

fn work_by_tokens() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    beside_a_neighbour(|| {
        for round in 0..20 {
            let usage = measured_by_token(|token, counted| {
                // The thread that measures is no thread of the pool, and only waits.
                pool.install(|| {
                    (0..40u64).into_par_iter().for_each(|n| free_all(task(token, counted, round * 40 + n)))
                });
            });
            assert_eq!((usage.retained_blocks, usage.retained_bytes), (0, 0), "{usage:?}");
            measured_by_token(|token, counted| {
                std::thread::scope(|threads| {
                    let started: Vec<_> = (0..4)
                        .map(|n| threads.spawn(move || free_all(task(token, counted, round * 4 + n))))
                        .collect();
                    started.into_iter().for_each(|thread| thread.join().unwrap());
                });
            });
            through_channels(round);
        }
    });
    drop(pool);
}

/// Blocks of the work are freed by a thread outside it, and blocks from outside it are freed in it.
fn through_channels(round: u64) {
    type Sent = (usize, usize);
    let (to_other, from_work) = mpsc::sync_channel::<Sent>(16);
    let (to_work, from_other) = mpsc::sync_channel::<Sent>(16);
    let handed: usize = std::thread::scope(|threads| {
        let freeing = threads.spawn(move || {
            let freed = from_work
                .iter()
                .map(|(block, size)| free(std::ptr::with_exposed_provenance_mut(block), size));
            freed.count()
        });
        threads.spawn(move || {
            for size in 1..=40 {
                to_work.send((block(size).expose_provenance(), size)).unwrap();
            }
        });
        let usage = measured_by_token(|_, _| {
            let mut live = Vec::with_capacity(64);
            work(round, &mut live);
            live.iter().for_each(|(block, size)| to_other.send((block.expose_provenance(), *size)).unwrap());
            from_other
                .iter()
                .for_each(|(block, size)| free(std::ptr::with_exposed_provenance_mut(block), size));
        });
        drop(to_other);
        assert!(usage.allocations > 40, "{usage:?}");
        freeing.join().unwrap()
    });
    assert!(handed > 0);
}

#[inline(never)]
fn parse_words(bytes: usize) {
    drop(black_box(vec![1u8; bytes])); // words
}

#[inline(never)]
fn parse_document() -> Vec<u8> {
    (0..8).for_each(|_| parse_words(100)); // document
    black_box(vec![1u8; 5_000]) // kept
}

fn break_a_budget() {
    let said = failure_of(|| {
        black_box(assert_heap!(allocations <= 2, retained == 1, peak <= 5_100; parse_document())); // budget
    });
    println!("{said}");
    let said = failure_of(|| {
        black_box(assert_heap!(retained == 0; parse_document()));
    });
    println!("{said}");
}

fn names_places(said: &str) {
    let lines = |mark: &str| {
        let text = include_str!("budgets.rs");
        text.lines().position(|line| line.ends_with(mark)).expect("a mark") + 1
    };
    let [words, document, kept, budget] = ["// words", "// document", "// kept", "// budget"].map(lines);
    // Symbols name closures in either of two ways.
    let said =
        said.replace(concat!(env!("CARGO_MANIFEST_DIR"), "/"), "").replace("{{closure}}", "{closure#0}");
    let file = "tests/process/budgets.rs";
    let expected = format!(
        "heap budget broken: {file}:{budget}\n  \
         allocations                9   allowed <= 2   (+7)\n  \
         retained                   1   allowed == 1\n  \
         peak                 4.9 KiB   allowed <= 5.0 KiB\n      \
         blocks       bytes   where it came from\n           \
         8       800 B   process::all::budgets::parse_words ({file}:{words}) <- \
         process::all::budgets::parse_document::{{closure#0}} ({file}:{document})\n           \
         1     4.9 KiB   process::all::budgets::parse_document ({file}:{kept}) <- "
    );
    // The line tables of a release build give an inlined function without its path.
    let shown = |text: &str| match cfg!(debug_assertions) {
        true => text.to_owned(),
        false => text.replace("process::all::budgets::", "").replace("parse_document::{closure", "{closure"),
    };
    let (said, expected) = (shown(&said), shown(&expected));
    assert!(said.starts_with(&expected), "{said}\nnot\n{expected}");
    let retained = "retained       bytes   where it came from\n           1     4.9 KiB   process::all::budgets::parse_document";
    assert!(said.contains(&shown(retained)), "{said}");
}

fn count_all_threads() {
    let ((), usage) = measure(|| std::thread::spawn(|| free(block(5_000), 5_000)).join().unwrap());
    assert!(usage.bytes < 5_000, "the other thread is not in the scope: {usage:?}");
    let kept = assert_heap!(all_threads, allocations >= 2, bytes >= 5_007, retained == 1; {
        std::thread::spawn(|| free(block(5_000), 5_000)).join().unwrap();
        block(7)
    });
    let said = failure_of(|| {
        assert_heap!(all_threads, bytes < 5_000; {
            std::thread::spawn(|| free(block(5_000), 5_000)).join().unwrap();
        })
    });
    assert!(said.starts_with("heap budget broken: ") && said.contains("all threads"), "{said}");
    let rounds = AtomicUsize::new(0);
    assert_heap!(warmup = 3, all_threads, retained == 0; rounds.fetch_add(1, SeqCst));
    assert_eq!(rounds.load(SeqCst), 4);
    free(kept, 7);
    heapledger::set_degradation(heapledger::Degradation::CountersOnly);
    let said = failure_of(|| assert_heap!(all_threads, allocations >= 0; ()));
    assert!(said.starts_with("heap budget inconclusive: ") && said.contains("sampled out"), "{said}");
}

/// Asserts that neither assertion can pass, and that both say why.
pub fn is_inconclusive(why: &str, work: fn()) {
    for is_no_alloc in [false, true] {
        let said = failure_of(move || {
            if is_no_alloc {
                assert_no_alloc!(work());
            } else {
                assert_heap!(allocations >= 0; work());
            }
        });
        assert!(said.starts_with("heap budget inconclusive: tests/process/") && said.contains(why), "{said}");
    }
}

fn is_not_recorded() {
    is_inconclusive("nothing is recorded", || free(block(5), 5));
    let measurement = Measurement::begin();
    assert_eq!(measurement.end(), (Usage::default(), Some(Inconclusive::NotRecording)));
}

fn is_sampled() {
    is_inconclusive("sampled out", || free(block(5), 5));
    heapledger::set_mode(heapledger::DataQualityMode::PerfectAccuracy);
    free(block(5), 5);
    assert_heap!(allocations == 1; free(block(5), 5));
}

/// More events than a ring holds, in a process in which nobody books them.
fn lose_events() {
    is_inconclusive("events were lost", || (0..200_000).for_each(|_| free(block(64), 64)));
    // Events that were lost before, or by other threads, are no reason.
    assert_heap!(allocations == 1; free(block(5), 5));
    std::thread::spawn(|| (0..200_000).for_each(|_| free(block(64), 64))).join().unwrap();
    assert_heap!(allocations == 1; free(block(5), 5));
    let lost = heapledger::quality().lost.total();
    assert!(lost > 100_000, "{lost}");
}

/// A second free of a block has no block of its own, and the next block at the address has its size.
fn free_once_too_often() {
    inner::place_all_of(PASSED_BYTES);
    is_inconclusive("1 free could mean other blocks", || {
        let place = block(PASSED_BYTES);
        free(place, PASSED_BYTES);
        free(place, PASSED_BYTES);
        block(PASSED_BYTES);
    });
}

fn use_up_scopes() {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"].map(Scope::named);
    let around: Vec<_> = names.iter().map(Scope::enter).collect();
    is_inconclusive("no scope left", || free(block(5), 5));
    around.into_iter().rev().for_each(drop);
    assert_heap!(allocations == 1; free(block(5), 5));
    for n in 0..4_200 {
        Scope::named(&format!("request {n}"));
    }
    is_inconclusive("no scope left", || free(block(5), 5));
    let entered = Scope::named("one more").enter();
    is_inconclusive("no scope left", || free(block(5), 5));
    drop(entered);
}

/// Two threads hold blocks, in turn or at the same time: only the events' times could tell.
fn doubt_the_peak() {
    let work = || {
        let token = ScopeToken::current();
        std::thread::scope(|threads| {
            let work = move || {
                let _entered = token.enter();
                free(block(50_000), 50_000);
            };
            [threads.spawn(work), threads.spawn(work)].into_iter().for_each(|thread| thread.join().unwrap());
        });
    };
    let (_, usage) = measure(work);
    assert!(usage.peak_bytes >= 50_000 && usage.peak_uncertainty_bytes > 0, "{usage:?}");
    assert_heap!(peak <= 1_000_000; work());
    let limit = usage.peak_bytes + usage.peak_uncertainty_bytes / 2;
    let said = failure_of(|| assert_heap!(peak <= limit; work()));
    assert!(said.starts_with("heap budget inconclusive: ") && said.contains("may be higher by"), "{said}");
    let said = failure_of(|| assert_heap!(peak <= 10_000; work()));
    assert!(said.starts_with("heap budget broken: "), "{said}");
}

const PASSED_BYTES: usize = 1_248;
const PASSES: u64 = 100;

/// Passes one address on, in far less than the time between two time marks: a thread allocates a block there, another
/// thread frees the block, a third thread allocates the next one, which lives on. The first or the second block is
/// measured. The threads' lanes are booked in the order in which the free comes first, and its block last.
fn pass_a_place_on(is_next_measured: bool) {
    inner::place_all_of(PASSED_BYTES);
    let place = AtomicPtr::new(std::ptr::null_mut());
    let step = AtomicU64::new(0);
    // Asserted at the end, because the threads wait for each other.
    let wrong = Mutex::new(Vec::new());
    let wait = |for_step| {
        while step.load(SeqCst) != for_step {
            std::thread::yield_now();
        }
    };
    // An event that is alone in its window would have a time of its own in any case.
    let beside_others = |event: &dyn Fn()| {
        free(block(24), 24);
        event();
        free(block(24), 24);
    };
    let allocate = |first_step, is_measured: bool| {
        for first in (first_step..).step_by(4).take(PASSES as usize) {
            wait(first);
            let measurement = is_measured.then(Measurement::begin);
            beside_others(&|| place.store(block(PASSED_BYTES), SeqCst));
            step.store(first + 1, SeqCst);
            if let Some(measurement) = measurement {
                // The block that is not measured follows in any case.
                while step.load(SeqCst) % 4 != 3 {
                    std::thread::yield_now();
                }
                let (usage, reason) = measurement.end();
                let expected = (3, u64::from(is_next_measured), None);
                if (usage.allocations, usage.retained_blocks, reason) != expected {
                    wrong.lock().unwrap().push((usage, reason));
                }
                heapledger::flush();
                free(place.load(SeqCst), PASSED_BYTES);
                step.store(first / 4 * 4 + 4, SeqCst);
            }
        }
    };
    let free_first = || {
        for first in (1..).step_by(4).take(PASSES as usize) {
            wait(first);
            beside_others(&|| free(place.load(SeqCst), PASSED_BYTES));
            step.store(first + 1, SeqCst);
        }
    };
    // Each has its lane before the next thread starts.
    let works: [&(dyn Fn() + Sync); 3] =
        [&free_first, &|| allocate(2, is_next_measured), &|| allocate(0, !is_next_measured)];
    let started = AtomicUsize::new(0);
    std::thread::scope(|threads| {
        for (number, work) in works.into_iter().enumerate() {
            let started = &started;
            threads.spawn(move || {
                free(block(8), 8);
                started.store(number + 1, SeqCst);
                work();
            });
            while started.load(SeqCst) <= number {
                std::thread::yield_now();
            }
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} of {PASSES}: {:?}", wrong.len(), wrong[0]);
}
