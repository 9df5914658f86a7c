//! Every mode under a forced overload, and a thousand changes of mode: events that are not recorded are counted.
//!
//! The overload does not depend on the speed of the machine: a snapshot holds the latches while a thread fills its
//! ring.

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use heapledger::{DataQualityMode, Degradation, LossReason, QualityIndicator};

use super::case::{Case, Ended};
use super::heap::Heap;
use super::inner;
use super::laws;
use super::tools::{block, free, threads};

pub const CASES: &[Case] = &[
    Case::new("overloaded_the_perfect_mode_loses_nothing", overload_without_loss, |ended| {
        laws::complete(&ended.quietly().dump()).unwrap();
    })
    .heap(Heap::Strict)
    .variables(&[("HEAPLEDGER_MODE", "perfect")]),
    Case::new(
        "overloaded_the_high_mode_keeps_frees_and_shows_no_false_leak",
        overload_keeping_frees,
        |ended| {
            advised(ended, "DataQualityMode::PerfectAccuracy");
            // What lives at the end is what lives, though events were lost.
            let profile = ended.dump();
            let kept = profile.live.iter().filter(|block| block.size == KEPT_BYTES as u64).count();
            assert_eq!(kept as u64, ended.said("recorded"));
            assert!(profile.live.iter().all(|block| block.size != BLOCK_BYTES as u64), "a false leak");
        },
    )
    .heap(Heap::Strict)
    .variables(&[("HEAPLEDGER_MODE", "high")]),
    Case::new("overloaded_the_sampling_mode_accounts_for_all", overload_sampled, |ended| {
        let profile = ended.quietly().dump();
        let estimates = profile.estimates.expect("they are in the dump");
        assert!(estimates.sampled_blocks > 0 && estimates.total_bytes.standard_error > 0.0, "{estimates:?}");
    })
    .heap(Heap::Strict)
    .variables(&[("HEAPLEDGER_MODE", "throughput")]),
    Case::new("overloaded_best_effort_sheds_and_its_advice_names_the_mode", overload_shedding, |ended| {
        advised(ended, "DataQualityMode::PerfectAccuracy");
    })
    .heap(Heap::Strict)
    .variables(&[("HEAPLEDGER_MODE", "best-effort")]),
    Case::new("the_second_rung_of_the_ladder_takes_no_stacks", give_up_stacks, |ended| {
        let profile = ended.quietly().dump();
        laws::complete(&profile).unwrap();
        let stacks_of = |size: usize| {
            let blocks = profile.live.iter().filter(move |block| block.size == size as u64);
            blocks.map(|block| block.stack).collect::<Vec<u32>>()
        };
        // The first event after a change is the one at which the thread takes it up.
        assert_eq!(stacks_of(KEPT_BYTES + 1)[1..], [0; 9], "none were taken");
        for size in [KEPT_BYTES, KEPT_BYTES + 2] {
            let stacks = stacks_of(size);
            assert!(stacks.len() == 10 && !stacks[1..].contains(&0), "{size}: {stacks:?}");
        }
        let changes: Vec<&str> = profile.changes.iter().map(|change| change.what.as_str()).collect();
        assert_eq!(changes, ["level: full -> no stacks", "level: no stacks -> full"]);
    })
    .variables(&[("HEAPLEDGER_STACKS", "fp")]),
    Case::new("the_history_is_counted_as_it_is_listed", count_history, |ended| {
        laws::complete(&ended.quietly().dump()).unwrap();
    }),
    Case::new("a_thousand_changes_of_mode_under_load_are_accounted_for", change_modes, |ended| {
        let profile = ended.quietly().dump();
        // The list holds the newest 256, and says how many came before.
        let listed = profile.changes.iter().filter(|change| change.what.starts_with("mode: ")).count();
        assert_eq!((listed, profile.changes.len()), (256, 257), "{:?}", profile.changes.first());
    })
    .heap(Heap::Counted),
];

const BLOCK_BYTES: usize = 48;
const KEPT_BYTES: usize = 4242;
/// Number of blocks that are never freed.
const KEPT: u64 = 100;

static STOP: AtomicBool = AtomicBool::new(false);

/// Allocates and frees blocks until told to stop: first many allocations, then many frees. Where frees wait and
/// allocations do not, alternating calls would end each run of losses at the next free.
extern "C" fn load(_number: *mut c_void) -> *mut c_void {
    let mut held = [null_mut::<u8>(); 2_000];
    while !STOP.load(SeqCst) {
        held.iter_mut().for_each(|slot| *slot = block(BLOCK_BYTES));
        held.iter().for_each(|slot| free(*slot, BLOCK_BYTES));
    }
    null_mut()
}

/// Runs `beside` in this thread while four other threads allocate and free.
fn under_load(beside: impl FnOnce()) {
    // A raw thread takes no closure, and the threads of std would allocate: the load comes from one thread more.
    let loading = std::thread::spawn(|| threads::<4>(load));
    beside();
    STOP.store(true, SeqCst);
    loading.join().expect("the load ends");
}

/// Returns the quality at a quiet point. Asserts that every call that the inner allocator served was attempted or
/// sampled out.
fn accounted() -> QualityIndicator {
    for _ in 0..10_000 {
        heapledger::flush();
        let served = inner::served();
        let quality = heapledger::quality();
        laws::counted(&quality).unwrap();
        if quality.in_flight == 0 && quality.attempted + quality.sampled_out == served {
            return quality;
        }
        std::thread::yield_now();
    }
    heapledger::flush();
    panic!("{} served, {:?}", inner::served(), heapledger::quality());
}

/// Holds the latches repeatedly until `enough` returns true.
fn hold_books_until(enough: impl Fn(&QualityIndicator) -> bool) {
    under_load(|| {
        while !enough(&heapledger::quality()) {
            heapledger::snapshot().expect("it is installed");
        }
    });
}

fn lost(quality: &QualityIndicator) -> u64 {
    quality.lost.get(LossReason::RingFull)
}

fn overload_without_loss() {
    hold_books_until(|quality| quality.waits >= 20);
    let quality = accounted();
    assert_eq!((quality.lost.total(), quality.sampled_out), (0, 0), "{quality:?}");
    assert_eq!(quality.anomalies.unmatched_frees + quality.anomalies.double_allocations, 0, "{quality:?}");
    assert!(quality.waits >= 20 && quality.spare_segments == 0, "{quality:?}");
}

fn overload_keeping_frees() {
    let kept: Vec<*mut u8> = (0..KEPT).map(|_| block(KEPT_BYTES)).collect();
    accounted();
    let before = heapledger::stats();
    hold_books_until(|quality| lost(quality) >= 1_000);
    let quality = accounted();
    assert_eq!(quality.lost.total(), lost(&quality), "{quality:?}");
    // Each allocation that was shed has one free, which was kept and finds no block; no free was shed.
    assert_eq!(quality.anomalies.unmatched_frees, lost(&quality), "{quality:?}");
    let after = heapledger::stats();
    assert_eq!(after.live_blocks, before.live_blocks, "a false leak");
    println!("recorded={KEPT}");
    println!("{}", heapledger::quality());
    std::mem::forget(kept);
}

fn overload_sampled() {
    let rounds = std::cell::Cell::new(0);
    hold_books_until(|quality| {
        rounds.set(rounds.get() + 1);
        rounds.get() > 50 && quality.sampled_out > 100_000
    });
    let quality = accounted();
    assert_eq!(quality.mode, DataQualityMode::HighThroughput);
    assert!(quality.sampled_out > 100_000 && quality.recorded > 100, "{quality:?}");
    // What was left out by choice is no loss, and is in no completeness.
    assert_eq!(quality.lost.total(), lost(&quality), "{quality:?}");
}

fn overload_shedding() {
    hold_books_until(|quality| lost(quality) >= 10_000);
    let quality = accounted();
    let (stats, estimates) = (heapledger::stats(), heapledger::estimates());
    for (coverage, text) in [(stats.coverage, stats.to_string()), (estimates.coverage, estimates.to_string())]
    {
        assert!(coverage.lost_events >= 10_000 && !coverage.is_complete(), "{coverage:?}");
        assert!(text.contains("at least") && text.contains("lower bounds"), "{text}");
    }
    assert_eq!(quality.lost.total(), lost(&quality), "{quality:?}");
    println!("{}", heapledger::quality());
}

/// Asserts that the process and its dump give the same advice, and that it names `knob`.
fn advised(ended: &Ended, knob: &str) {
    ended.quietly();
    let line = ended.stdout.lines().find(|line| line.contains("Recommendation: ")).expect("an advice");
    assert!(line.contains("ring_full lost ") && line.contains(knob), "{line}");
    let dumped = ended.dump().quality.recommendation;
    assert!(dumped.contains("ring_full lost ") && dumped.contains(knob), "{dumped}");
}

fn give_up_stacks() {
    (0..10).for_each(|_| drop_none(block(KEPT_BYTES)));
    heapledger::set_degradation(Degradation::NoStacks);
    (0..10).for_each(|_| drop_none(block(KEPT_BYTES + 1)));
    heapledger::set_degradation(Degradation::Full);
    (0..10).for_each(|_| drop_none(block(KEPT_BYTES + 2)));
}

/// Frees nothing: the block stays live.
fn drop_none(_block: *mut u8) {}

fn count_history() {
    // Neither lists what heapledger does for the other.
    let same = || {
        heapledger::flush();
        assert_eq!(heapledger::quality().retained, heapledger::history().len() as u64);
    };
    same();
    (0..100).for_each(|_| free(block(64), 64));
    same();
    assert!(heapledger::quality().retained >= 200);
    // Two threads, each with more than the history holds.
    threads::<2>(pairs);
    same();
    assert_eq!(heapledger::quality().retained, heapledger::HistoryLimits::DEFAULT.events);
}

extern "C" fn pairs(_number: *mut c_void) -> *mut c_void {
    (0..10_000).for_each(|_| free(block(64), 64));
    null_mut()
}

fn change_modes() {
    heapledger::set_sampling_bytes(1 << 10);
    let heap = heapledger::stats();
    under_load(|| {
        for change in 1..=1_000 {
            heapledger::set_mode(DataQualityMode::ALL[change % 4]);
            let made = inner::served();
            // Each mode sees some events.
            while inner::served() < made + 500 {
                std::thread::yield_now();
            }
        }
    });
    let quality = accounted();
    assert_eq!(quality.lost.total(), lost(&quality), "{quality:?}");
    assert!(quality.recorded > 1_000 && quality.sampled_out > 1_000, "{quality:?}");
    assert_eq!(quality.mode, DataQualityMode::PerfectAccuracy);
    let after = heapledger::stats();
    assert_eq!(after.live_blocks, after.total_blocks - after.freed_blocks);
    assert!(after.total_blocks > heap.total_blocks + 1_000);
}
