//! Scopes: exact figures of a part of the work, whatever other threads do.

use std::alloc::{Layout, realloc};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use heapledger::profile::{Scope as Row, ScopeCounts};
use heapledger::scope::{Inconclusive, Measurement, ScopeToken};
use heapledger::{Profile, Scope, assert_heap, assert_no_alloc, measure};

use super::case::{Case, Ended};
use super::inner;
use super::laws::complete;
use super::tools::{block, free};

pub const CASES: &[Case] = &[
    Case::series("a_measure_counts_what_the_allocator_inside_counts", many_measures, in_every_way),
    Case::series("nested_scopes_add_up_and_their_peaks_are_exact", nest, |case| {
        for stacks in ["off", "auto"] {
            nested(&case.play_with(&[("HEAPLEDGER_STACKS", stacks)]));
        }
    }),
    Case::new("a_block_belongs_to_the_scope_it_was_born_in", hand_over, |ended| {
        complete(&ended.quietly().dump()).unwrap();
    }),
    Case::new("a_token_leads_into_its_scope_and_not_into_a_later_one", send_tokens, |ended| {
        let counts = ScopeCounts { late_tokens: 1, ..ScopeCounts::default() };
        assert_eq!(ended.quietly().dump().scope_counts, counts);
    }),
    Case::new("guards_dropped_in_any_order_leave_the_thread_outside_scopes", drop_in_any_order, |ended| {
        let counts = ScopeCounts { out_of_order: 3, ..ScopeCounts::default() };
        assert_eq!(ended.quietly().dump().scope_counts, counts);
    }),
    Case::new("a_guard_held_across_an_await_is_counted", hold_across_an_await, |ended| {
        assert!(ended.quietly().dump().scope_counts.out_of_order > 0);
    }),
    Case::new("a_forked_child_stays_in_its_scope", fork_in_a_scope, |ended| {
        assert_eq!(row(&ended.quietly().dump(), "request").total_bytes, 100);
    }),
    Case::new("a_killed_process_leaves_its_scopes_in_the_black_box", kill_in_a_scope, |ended| {
        let profile = ended.with_signal(libc::SIGKILL).dump_named("box.hl");
        let request = row(&profile, "request");
        assert_eq!((request.total_bytes, request.live_bytes(), request.reallocs), (350, 250, 1));
    })
    .variables(&[("HEAPLEDGER_BLACKBOX", "box.hl")]),
    Case::new("every_measure_counts_while_all_events_are_recorded_again", measure_after_sampling, |ended| {
        ended.quietly();
    }),
    Case::new("a_measure_that_cannot_be_exact_says_why", be_inconclusive, |ended| {
        ended.quietly();
    }),
    Case::new("an_assertion_fails_for_each_figure_that_is_too_high", assert_heaps, |ended| {
        ended.quietly();
    }),
    Case::new("more_scopes_than_cells_are_counted_together", overflow, |ended| {
        let profile = ended.quietly().dump();
        assert_eq!(profile.scopes.len(), 4095);
        assert_eq!(row(&profile, "(others)").total_bytes, 7 * (5000 - 4094));
        assert_eq!(profile.scope_counts.without_room, 5000 - 4094);
    }),
    Case::new("a_measure_in_a_loop_takes_one_cell", measure_often, |ended| {
        let profile = ended.quietly().dump();
        assert_eq!(profile.scopes.len(), 2, "{:?}", profile.scopes);
        assert_eq!(profile.scopes[1].total_bytes, 64 * 10_000);
    }),
];

fn row<'a>(profile: &'a Profile, name: &str) -> &'a Row {
    profile.scopes.iter().find(|scope| scope.name == name).unwrap_or_else(|| panic!("{:?}", profile.scopes))
}

fn in_every_way(case: &Case) {
    for stacks in ["off", "auto", "dwarf"] {
        for clock in ["batched", "per-event"] {
            let ended = case.play_with(&[("HEAPLEDGER_STACKS", stacks), ("HEAPLEDGER_CLOCK", clock)]);
            complete(&ended.quietly().dump()).unwrap();
        }
    }
}

/// Allocates, reallocates and frees in an order that depends on the seed; returns the most bytes that were out at a
/// time, and what is left.
pub fn work(seed: u64, live: &mut Vec<(*mut u8, usize)>) -> u64 {
    let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = move |below: u64| {
        random = random.wrapping_mul(0xD134_2543_DE82_EF95).wrapping_add(1);
        (random >> 33) % below
    };
    let (mut bytes, mut peak) = (0u64, 0u64);
    for _ in 0..200 {
        match next(4) {
            0 | 1 if live.len() < live.capacity() => {
                let size = 1 + next(2000) as usize;
                live.push((block(size), size));
                bytes += size as u64;
            }
            2 if !live.is_empty() => {
                let (old, size) = live.swap_remove(next(live.len() as u64) as usize);
                bytes -= size as u64;
                free(old, size);
            }
            _ => {
                if let Some((old, size)) = live.last_mut() {
                    let new_size = 1 + next(3000) as usize;
                    bytes = bytes - *size as u64 + new_size as u64;
                    // SAFETY: the block is ours and has this layout.
                    *old = unsafe { realloc(*old, Layout::from_size_align_unchecked(*size, 8), new_size) };
                    *size = new_size;
                }
            }
        }
        peak = peak.max(bytes);
    }
    peak
}

fn many_measures() {
    const THREADS: u64 = 32;
    const ROUNDS: u64 = 40;
    let stops = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let neighbour = threads.spawn(|| {
            while !stops.load(SeqCst) {
                drop(black_box(vec![0u8; 100]));
            }
        });
        let workers: Vec<_> = (0..THREADS)
            .map(|thread| {
                threads.spawn(move || {
                    for round in 0..ROUNDS {
                        check_one_measure(thread * ROUNDS + round);
                    }
                })
            })
            .collect();
        let ended: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        stops.store(true, SeqCst);
        // The end of the scope does not wait for what a thread frees at its very end; a join does.
        neighbour.join().unwrap();
        ended.into_iter().for_each(|ended| ended.unwrap());
    });
}

fn check_one_measure(seed: u64) {
    let mut live = Vec::with_capacity(64);
    let measurement = Measurement::begin();
    let before = inner::of_this_thread();
    let peak = work(seed, &mut live);
    let after = inner::of_this_thread();
    let (usage, inconclusive) = measurement.end();
    assert_eq!(inconclusive, None);
    assert_eq!(usage.allocations, after[0] - before[0]);
    assert_eq!(usage.reallocations, after[1] - before[1]);
    assert_eq!(usage.bytes, after[2] - before[2]);
    assert_eq!(usage.retained_blocks, live.len() as u64);
    assert_eq!(usage.retained_bytes, live.iter().map(|(_, size)| *size as u64).sum::<u64>());
    assert_eq!((usage.peak_bytes, usage.peak_uncertainty_bytes, usage.threads), (peak, 0, 1));
    assert_eq!(usage.lost, 0);
    for (block, size) in live {
        free(block, size);
    }
}

fn nest() {
    let outer = Scope::named("outer");
    let entered = outer.enter();
    let a = block(1000);
    let inner = Scope::named("inner");
    {
        let _entered = inner.enter();
        let b = block(500);
        free(a, 1000);
        let c = block(600);
        // Entered inside itself, and in a scope around it: nothing changes.
        inner.run(|| outer.run(|| free(block(50), 50)));
        free(b, 500);
        free(c, 600);
    }
    let d = block(10);
    drop(entered);
    // The same name outside is another row.
    inner.run(|| free(block(30), 30));
    let usage = outer.usage();
    assert_eq!((usage.allocations, usage.bytes, usage.retained_bytes), (5, 2160, 10));
    assert_eq!((usage.peak_bytes, usage.peak_uncertainty_bytes, usage.threads), (1500, 0, 1));
    let usage = inner.usage();
    assert_eq!((usage.allocations, usage.bytes, usage.retained_blocks), (4, 1180, 0));
    let sites = outer.sites();
    assert_eq!(sites.iter().map(|site| site.bytes).sum::<u64>(), 2160);
    assert!(sites.iter().all(|site| site.allocations > 0), "{sites:?}");
    free(d, 10);
}

fn nested(ended: &Ended) {
    let profile = ended.quietly().dump();
    complete(&profile).unwrap();
    let names: Vec<_> = profile.scopes.iter().map(|scope| (scope.name.as_str(), scope.parent)).collect();
    assert_eq!(names, [("(others)", 0), ("outer", 0), ("inner", 2), ("inner", 0)]);
    let bytes: Vec<_> = profile.scopes.iter().map(|scope| (scope.total_bytes, scope.peak_bytes)).collect();
    assert_eq!(bytes, [(0, 0), (2160, 1500), (1150, 1150), (30, 30)]);
    for (number, bytes) in [(2, 1010), (3, 1150), (4, 30)] {
        let of_scope = profile.sites.iter().filter(|site| profile.scope_of_stack(site.stack) == number);
        assert_eq!(of_scope.map(|site| site.total_bytes).sum::<u64>(), bytes, "{number}");
    }
}

fn hand_over() {
    let (sender, receiver) = mpsc::sync_channel::<(usize, usize)>(64);
    let other = std::thread::spawn(move || {
        let scope = Scope::named("other");
        let _entered = scope.enter();
        for (block, size) in receiver {
            free(std::ptr::with_exposed_provenance_mut(block), size);
        }
        scope.usage().bytes
    });
    let mut blocks = Vec::with_capacity(64);
    let line = line!() + 1;
    let (_, usage) = measure(|| {
        // Blocks that the other thread frees within the measure, and some that outlive it.
        assert!(work(7, &mut blocks) > 0 && blocks.len() > 4);
        for (block, size) in &blocks[2..] {
            sender.send((block.expose_provenance(), *size)).unwrap();
        }
    });
    drop(sender);
    // It has waited at the channel, which takes a block, and has freed blocks of another scope.
    assert!(other.join().unwrap() < 1000);
    assert!(usage.retained_blocks >= 2 && usage.threads <= 2, "{usage:?}");
    let scope = Scope::named(&format!("{}:{line}", file!()));
    let after = scope.usage();
    assert_eq!(after.retained_blocks, 2, "{after:?}");
    for (block, size) in &blocks[..2] {
        free(*block, *size);
    }
    assert_eq!(scope.usage().retained_blocks, 0);
}

fn send_tokens() {
    let mut kept = None;
    let mut measured = || {
        measure(|| {
            let token = ScopeToken::current();
            std::thread::scope(|threads| {
                for _ in 0..4 {
                    let allocate = move || {
                        let _entered = token.enter();
                        free(block(1000), 1000);
                    };
                    threads.spawn(allocate);
                }
            });
            kept.get_or_insert(token);
        })
        .1
    };
    let usage = measured();
    assert!(usage.bytes >= 4000 && usage.threads == 5, "{usage:?}");
    let late = kept.unwrap();
    let (_, usage) = measure(|| {
        let _entered = late.enter();
        free(block(77), 77);
    });
    assert_eq!(usage.bytes, 77, "a late token changes nothing");
    let named = Scope::named("named");
    let token = named.token();
    std::thread::scope(|threads| {
        threads.spawn(move || {
            let _entered = token.enter();
            free(block(50), 50);
        });
    });
    assert_eq!((named.usage().bytes, named.usage().threads), (50, 1));
}

fn drop_in_any_order() {
    let [a, b, c] = ["a", "b", "c"].map(Scope::named);
    let (first, second, third) = (a.enter(), b.enter(), c.enter());
    drop(second);
    // In c inside a.
    free(block(10), 10);
    drop(first);
    // In c.
    free(block(100), 100);
    drop(third);
    free(block(1000), 1000);
    assert_eq!([a, b, c].map(|scope| scope.usage().bytes), [10, 0, 110]);
    let (_, usage) = measure(|| free(block(5), 5));
    assert_eq!(usage.bytes, 5);
}

/// The guard stays with the thread while other tasks run. After it is dropped the thread is outside scopes again.
fn hold_across_an_await() {
    let (task, held) = (Scope::named("task"), Scope::named("held"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let holds = tokio::task::spawn_local(task.wrap(async move {
            let _entered = held.enter();
            tokio::task::yield_now().await;
            free(block(10), 10);
        }));
        holds.await.unwrap();
    });
    assert!(held.usage().bytes >= 10 && task.usage().bytes >= 10);
    let before = [task, held].map(|scope| scope.usage().bytes);
    free(block(1000), 1000);
    assert_eq!([task, held].map(|scope| scope.usage().bytes), before);
}

fn fork_in_a_scope() {
    let scope = Scope::named("request");
    let entered = scope.enter();
    free(block(100), 100);
    // SAFETY: the child runs on alone.
    let child = unsafe { libc::fork() };
    if child == 0 {
        free(block(30), 30);
        drop(entered);
        free(block(1), 1);
        Scope::named("new").run(|| free(block(2), 2));
        let bytes = [scope, Scope::named("request"), Scope::named("new")].map(|scope| scope.usage().bytes);
        assert_eq!(bytes, [30, 30, 2]);
        assert_eq!(row(&heapledger::snapshot().unwrap(), "request").total_bytes, 30);
        std::process::exit(0);
    }
    let mut status = 0;
    // SAFETY: `status` is valid for writes.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0);
}

fn kill_in_a_scope() {
    let scope = Scope::named("request");
    let _entered = scope.enter();
    let kept = block(100);
    let layout = Layout::from_size_align(100, 8).unwrap();
    // SAFETY: the block is ours and has this layout.
    black_box(unsafe { realloc(kept, layout, 250) });
    // SAFETY: a process may end itself.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
}

fn be_inconclusive() {
    let measured = |work: fn()| {
        let measurement = Measurement::begin();
        work();
        measurement.end().1
    };
    assert_eq!(measured(|| free(block(5), 5)), None);
    let sample = || heapledger::set_degradation(heapledger::profile::Degradation::CountersOnly);
    assert_eq!(measured(sample), Some(Inconclusive::Sampled));
    assert_eq!(measured(|| ()), Some(Inconclusive::Sampled));
    heapledger::set_degradation(heapledger::profile::Degradation::Full);
    free(block(5), 5);
    assert_eq!(measured(|| free(block(5), 5)), None);
    // Sixty-four measures of one place that leave blocks behind, and one more.
    let mut left = Vec::with_capacity(65);
    for n in 0..65 {
        let measurement = Measurement::begin();
        left.push(block(9));
        let (_, inconclusive) = measurement.end();
        assert_eq!(inconclusive, (n == 64).then_some(Inconclusive::NoScope), "{n}");
    }
    left.into_iter().for_each(|block| free(block, 9));
}

/// Some event is the first that is recorded in full again; it belongs to its scope, too.
fn measure_after_sampling() {
    let began = Instant::now();
    let mut measures = 0;
    while began.elapsed() < Duration::from_millis(1_500) {
        heapledger::set_degradation(heapledger::profile::Degradation::CountersOnly);
        free(block(5), 5);
        heapledger::set_degradation(heapledger::profile::Degradation::Full);
        for _ in 0..300 {
            let measurement = Measurement::begin();
            free(block(9), 9);
            let (usage, inconclusive) = measurement.end();
            measures += u64::from(inconclusive.is_none());
            assert!(inconclusive.is_some() || usage.allocations == 1, "{usage:?} after {measures} measures");
            std::thread::sleep(Duration::from_micros(100));
        }
    }
    assert!(measures > 0);
}

fn grow() {
    let layout = Layout::from_size_align(100, 8).unwrap();
    // SAFETY: the block is ours and has this layout.
    free(black_box(unsafe { realloc(block(100), layout, 300) }), 300);
}

fn assert_heaps() {
    std::panic::set_hook(Box::new(|_| ()));
    let said = |work: fn()| {
        let panic = std::panic::catch_unwind(work).expect_err("the assertion is wrong");
        panic.downcast_ref::<String>().expect("a message").clone()
    };
    let kept = assert_heap!(allocations == 1, bytes == 100, peak <= 100, retained == 1; block(100));
    assert_heap!(allocations == 1, reallocations == 1, bytes == 400, retained == 0; grow());
    assert_eq!(assert_no_alloc!({ black_box(7) }), 7);
    let mut first = true;
    assert_heap!(warmup = 1, allocations == 0; if std::mem::take(&mut first) { free(block(5), 5) });
    let broken: [(fn(), &str); 7] = [
        (|| assert_heap!(allocations < 1; free(block(1), 1)), "allocations"),
        (|| assert_heap!(reallocations == 0; grow()), "reallocations"),
        (|| assert_heap!(bytes <= 399; grow()), "bytes"),
        (|| assert_heap!(peak < 300; grow()), "peak"),
        (|| drop(assert_heap!(retained == 0; black_box(Box::new(1u8)))), "retained"),
        (|| drop(assert_heap!(retained_bytes < 1; black_box(Box::new(1u8)))), "retained_bytes"),
        (|| assert_no_alloc!(grow()), "allocations"),
    ];
    for (work, figure) in broken {
        let said = said(work);
        assert!(said.starts_with("heap budget broken: tests/process/scopes.rs:"), "{said}");
        assert!(said.lines().nth(1).unwrap().trim().starts_with(figure), "{said}");
    }
    heapledger::set_degradation(heapledger::profile::Degradation::CountersOnly);
    let said = said(|| assert_no_alloc!(()));
    assert!(said.starts_with("heap budget inconclusive: ") && said.contains("sampled out"), "{said}");
    free(kept, 100);
}

fn overflow() {
    for n in 0..5000 {
        Scope::named(&format!("request {n}")).run(|| free(block(7), 7));
    }
}

fn measure_often() {
    let ended = std::time::Instant::now();
    for _ in 0..10_000 {
        let (_, usage) = measure(|| free(block(64), 64));
        assert_eq!((usage.allocations, usage.retained_blocks, usage.peak_bytes), (1, 0, 64));
    }
    println!("ns_per_measure={}", ended.elapsed().as_nanos() / 10_000);
}
