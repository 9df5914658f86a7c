//! Tests that compare replays with a simple model of the heap, which consists of a map of live blocks and a list of all
//! events.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::Cursor;

use proptest::prelude::*;

use super::frame::{Counts, FileHead};
use super::window::Window;
use super::writer::Writer;
use super::{Replay, Span, Trace, block_lives, in_order, laws};
use crate::profile::{self, HeapStats};
use crate::ring::event::{self, Traits};

/// A step of the program. A thread allocates, reallocates or frees the block of one place.
#[derive(Debug, Clone, Copy)]
struct Step {
    row: u32,
    place: usize,
    size: u64,
    stack: u32,
    /// Whether the step reallocates a used place instead of freeing it.
    reallocates: bool,
    refused: bool,
}

fn step() -> impl Strategy<Value = Step> {
    (0u32..3, 0usize..12, 1u64..5_000, 0u32..4, any::<bool>(), prop::bool::weighted(0.1)).prop_map(
        |(row, place, size, stack, reallocates, refused)| Step {
            row,
            place,
            size,
            stack,
            reallocates,
            refused,
        },
    )
}

/// A live block of the simple model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lives {
    size: u64,
    stack: u32,
    from_ns: u64,
}

/// An event of the program: the start or the end of a block, with its time.
#[derive(Debug, Clone, Copy)]
struct Happened {
    at_ns: u64,
    begins: bool,
    address: u64,
    block: Lives,
}

/// Runs a program. Returns the bytes of its trace, and a list of its events.
fn run(steps: &[Step], per_frame: usize) -> (Vec<u8>, Vec<Happened>) {
    let mut out = Vec::new();
    let mut writer = Writer::begin(&mut out, FileHead::default()).unwrap();
    let mut heap: BTreeMap<usize, (u64, Lives)> = BTreeMap::new();
    let (mut log, mut free): (Vec<Happened>, Vec<u64>) =
        (Vec::new(), (0..40).rev().map(|n| 4096 + 48 * n).collect());
    let traits = Traits::new(8, false, false);
    let mut at_ns = 0;
    for (number, step) in steps.iter().enumerate() {
        at_ns += 10;
        let mut window =
            |at_ns, words: &[u64]| writer.window(Window { row: step.row, first_ns: at_ns, step: 0 }, words);
        let block = Lives { size: step.size, stack: step.stack, from_ns: at_ns };
        match heap.remove(&step.place) {
            None => {
                let address = free.pop().unwrap();
                window(at_ns, &event::alloc_words(address, step.size, traits, step.stack));
                log.push(Happened { at_ns, begins: true, address, block });
                heap.insert(step.place, (address, block));
            }
            Some((address, old)) if !step.reallocates => {
                window(at_ns, &[event::free_word(address, old.size)]);
                log.push(Happened { at_ns, begins: false, address, block: old });
                free.push(address);
            }
            Some((address, old)) => {
                window(at_ns, &[event::begin_word(address, old.size)]);
                at_ns += 3;
                if step.refused {
                    window(at_ns, &[event::refused_word(address)]);
                    heap.insert(step.place, (address, old));
                } else {
                    let moves = step.size % 2 == 0;
                    let new = if moves { free.pop().unwrap() } else { address };
                    window(at_ns, &event::moved_words(address, new, step.size, traits, step.stack));
                    log.push(Happened { at_ns, begins: false, address, block: old });
                    let block = Lives { from_ns: at_ns, ..block };
                    log.push(Happened { at_ns, begins: true, address: new, block });
                    heap.insert(step.place, (new, block));
                    if moves {
                        free.push(address);
                    }
                }
            }
        }
        if number % per_frame == per_frame - 1 {
            writer.passed(at_ns);
            writer.end_frame(0).unwrap();
        }
    }
    writer.passed(u64::MAX);
    writer.finish(b"", Counts::default()).unwrap();
    (out, log)
}

/// Computes the figures of a span from the list of events: totals with the peak, time of the peak, and live blocks.
fn naive(log: &[Happened], span: Span) -> (HeapStats, u64, Vec<(u64, u64, u32)>) {
    let mut totals = HeapStats::default();
    let mut peak_ns = 0;
    let mut live: BTreeMap<u64, (Lives, bool)> = BTreeMap::new();
    for happened in log.iter().filter(|happened| happened.at_ns < span.to_ns) {
        let counts = happened.at_ns >= span.from_ns;
        if happened.begins {
            live.insert(happened.address, (happened.block, counts));
            if counts {
                totals.total_blocks += 1;
                totals.total_bytes += happened.block.size;
            }
        } else if live.remove(&happened.address).is_some_and(|(_, counted)| counted) {
            totals.freed_blocks += 1;
            totals.freed_bytes += happened.block.size;
        }
        totals.live_blocks = totals.total_blocks - totals.freed_blocks;
        totals.live_bytes = totals.total_bytes - totals.freed_bytes;
        if totals.live_bytes > totals.peak_bytes {
            (totals.peak_bytes, totals.peak_blocks, peak_ns) =
                (totals.live_bytes, totals.live_blocks, happened.at_ns);
        }
    }
    let counted = live.into_iter().filter(|(_, (_, counted))| *counted);
    (totals, peak_ns, counted.map(|(address, (block, _))| (address, block.size, block.stack)).collect())
}

fn replay(bytes: &[u8], span: Span) -> profile::Profile {
    let mut trace = Trace::open(Cursor::new(bytes)).unwrap();
    let replay = Replay::of(&mut trace, span, |_| ()).unwrap();
    assert_eq!((trace.damage().len(), replay.figures().unmatched_frees), (0, 0));
    replay.into_profile(None).profile
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_replay_of_any_span_has_the_figures_of_a_naive_heap(
        steps in prop::collection::vec(step(), 1..120),
        per_frame in 1usize..50,
        from in 0u64..1_300,
        length in 1u64..1_300,
    ) {
        let (bytes, log) = run(&steps, per_frame);
        for span in [Span::WHOLE, Span { from_ns: 0, to_ns: from }, Span { from_ns: from, to_ns: from + length }] {
            let profile = replay(&bytes, span);
            prop_assert_eq!(profile::check(&profile), vec![]);
            let (totals, peak_ns, live) = naive(&log, span);
            let figures = HeapStats { reallocs: 0, ..profile.totals };
            prop_assert_eq!(figures, totals);
            prop_assert_eq!(profile.peak.at_ns, peak_ns);
            let mut blocks: Vec<_> =
                profile.live.iter().map(|block| (block.address, block.size, block.stack)).collect();
            blocks.sort_unstable();
            prop_assert_eq!(blocks, live);
            let at_peak: u64 = profile.sites.iter().map(|site| site.at_peak_bytes).sum();
            prop_assert_eq!(at_peak, totals.peak_bytes);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_blocks_of_a_trace_start_and_end_as_the_program_said(
        steps in prop::collection::vec(step(), 1..120),
        per_frame in 1usize..50,
    ) {
        let (bytes, log) = run(&steps, per_frame);
        let mut open: BTreeMap<u64, Lives> = BTreeMap::new();
        let mut expected = Vec::new();
        for Happened { at_ns, begins, address, block } in log {
            if begins {
                open.insert(address, block);
            } else {
                expected.push((address, open.remove(&address).unwrap(), Some(at_ns)));
            }
        }
        expected.extend(open.into_iter().map(|(address, block)| (address, block, None)));
        let mut blocks = Vec::new();
        let mut trace = Trace::open(Cursor::new(&bytes)).unwrap();
        block_lives(&mut trace, |_| (), |life| {
            let block = Lives { size: life.size, stack: life.stack, from_ns: life.started_ns };
            blocks.push((life.address, block, life.end.map(|end| end.at_ns)));
            assert!(life.born_ns <= life.started_ns);
        }).unwrap();
        let ended = blocks.iter().position(|(_, _, end)| end.is_none()).unwrap_or(blocks.len());
        blocks[ended..].sort_by_key(|(address, ..)| *address);
        prop_assert_eq!(blocks, expected);
    }
}

#[test]
fn a_dump_that_says_something_else_breaks_a_law() {
    let steps: Vec<Step> = (0..60)
        .map(|n| Step {
            row: n % 3,
            place: n as usize * 7 % 12,
            size: 8 + u64::from(n),
            stack: n % 2,
            reallocates: n % 5 == 0,
            refused: false,
        })
        .collect();
    let (bytes, _) = run(&steps, 20);
    let mut trace = Trace::open(Cursor::new(&bytes)).unwrap();
    let counts = trace.counts().unwrap();
    let whole = Replay::of(&mut trace, Span::WHOLE, |_| ()).unwrap().into_profile(None).profile;
    let mut broken = |fault: &dyn Fn(&mut profile::Profile)| {
        let mut dump = whole.clone();
        fault(&mut dump);
        let mut replay = Replay::of(&mut trace, Span::WHOLE, |_| ()).unwrap();
        let laws = laws(&mut replay, counts, &dump);
        laws.iter().filter(|law| law.applies && law.left != law.right).count()
    };
    assert_eq!(broken(&|_| ()), 0);
    assert_eq!(broken(&|dump| dump.quality.recorded += 1), 1);
    assert_eq!(broken(&|dump| dump.totals.total_bytes += 1), 1);
    assert_eq!(broken(&|dump| dump.totals.freed_blocks -= 1), 1);
    assert_eq!(broken(&|dump| dump.live[0].size += 1), 1);
    assert_eq!(broken(&|dump| dump.live.truncate(1)), 1);
    assert_eq!(broken(&|dump| dump.sites[0].freed_bytes += 1), 1);
}

#[test]
fn times_that_lie_a_little_apart_from_the_truth_change_no_sum() {
    // Thread 1 has a free that is dated before the allocation by thread 0. The next allocation at the address is dated
    // before that free.
    let traits = Traits::new(8, false, false);
    let mut out = Vec::new();
    let mut writer = Writer::begin(&mut out, FileHead::default()).unwrap();
    let mut window = |row, first_ns, words: &[u64]| writer.window(Window { row, first_ns, step: 0 }, words);
    window(1, 80, &event::alloc_words(4096, 64, traits, 1));
    window(1, 90, &[event::free_word(4096, 40)]);
    window(0, 100, &event::alloc_words(4096, 40, traits, 0));
    window(1, 120, &[event::begin_word(4096, 64)]);
    window(1, 130, &event::moved_words(4096, 8192, 100, traits, 2));
    writer.passed(u64::MAX);
    writer.finish(b"", Counts::default()).unwrap();
    let mut trace = Trace::open(Cursor::new(&out)).unwrap();
    let replay = Replay::of(&mut trace, Span::WHOLE, |_| ()).unwrap();
    let figures = replay.figures();
    assert_eq!(
        (figures.unmatched_frees, figures.overlapping_blocks, figures.early_frees),
        (0, 0, 1),
        "{figures:?}"
    );
    let profile = replay.into_profile(None).profile;
    assert_eq!(profile::check(&profile), []);
    assert_eq!((profile.live.len(), profile.live[0].size, profile.live[0].born_ns), (1, 100, 80));
}

/// Returns the maximum number of records that are decoded but held back while a trace is ordered.
fn held_at_most(bytes: &[u8]) -> u64 {
    let mut trace = Trace::open(Cursor::new(bytes)).unwrap();
    // Maps the offset of each frame to the number of records before the frame.
    let mut before = BTreeMap::new();
    let mut decoded = 0u64;
    for frame in trace.frames() {
        before.insert(frame.offset, decoded);
        decoded += u64::from(frame.head.records);
    }
    let (handed, held) = (Cell::new(0u64), Cell::new(0u64));
    let passed = |offset| held.set(held.get().max(before[&offset] - handed.get()));
    in_order(&mut trace, u64::MAX, passed, |_| handed.set(handed.get() + 1)).unwrap();
    assert_eq!((handed.get(), before.len() > 100), (decoded, true));
    held.get()
}

/// Returns a program that allocates, frees, and allocates again, in three threads.
fn long_program(steps: u64) -> Vec<Step> {
    let step = |number: u64| Step {
        row: (number % 3) as u32,
        place: (number * 7 % 12) as usize,
        size: 1 + number * 7_919 % 3_000,
        stack: (number % 4) as u32,
        reallocates: number.is_multiple_of(5),
        refused: false,
    };
    (0..steps).map(step).collect()
}

#[test]
fn what_a_reader_holds_is_bounded_by_its_frames_and_the_live_blocks_however_long_the_trace_is() {
    for steps in [20_000, 80_000] {
        let (bytes, log) = run(&long_program(steps), 100);
        assert!(log.len() as u64 > steps);
        // A frame has up to two records for each of its hundred steps. The last records of a frame are held until the
        // next frame is read.
        let held = held_at_most(&bytes);
        assert!(held <= 2 * 100, "{held} of {} records are held", log.len());
        let mut trace = Trace::open(Cursor::new(&bytes)).unwrap();
        let replay = Replay::of(&mut trace, Span::WHOLE, |_| ()).unwrap();
        assert!(replay.heap.blocks.iter().count() <= 12, "no more places than that are ever taken");
    }
}

#[test]
fn a_trace_whose_frames_never_say_how_far_they_go_is_held_whole() {
    // No frame has a time bound, so the reader must hold all records. The test shows that `held_at_most` detects a
    // reader that holds too many records.
    let mut out = Vec::new();
    let mut writer = Writer::begin(&mut out, FileHead::default()).unwrap();
    for number in 0..200u64 {
        for at in 0..10 {
            let words = event::alloc_words(4096 + 48 * at, 40, Traits::new(8, false, false), 0);
            writer.window(Window { row: 0, first_ns: number * 100 + at, step: 0 }, &words);
        }
        writer.end_frame(0).unwrap();
    }
    writer.finish(b"", Counts::default()).unwrap();
    assert_eq!(held_at_most(&out), 1_990);
}
