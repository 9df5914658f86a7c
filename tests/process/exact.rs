//! A scripted program whose figures are computed by hand, and the same program under dhat.

use std::alloc::{Layout, alloc_zeroed, realloc};
use std::collections::{BTreeMap, HashMap};

use heapledger::HeapStats;

use super::case::{Case, Ended};
use super::heap::Heap;
use super::inner;
use super::laws::complete;
use super::tools::{block, free, lossless_point};

pub const CASES: &[Case] = &[
    Case::new("a_scripted_program_is_known_to_the_byte", script_here, script_by_hand),
    Case::new("dhat_says_the_same_of_the_scripted_program", script_under_dhat, |ended| {
        assert_eq!(figures(ended), SCRIPT);
    })
    .heap(Heap::Dhat),
    Case::new("collections_add_up_to_what_the_inner_allocator_was_asked", collections_here, |ended| {
        complete(&ended.quietly().dump()).unwrap();
    })
    .heap(Heap::Alone),
    Case::new("dhat_says_the_same_of_collections", collections_under_dhat, same_as_recorded).heap(Heap::Dhat),
    RECORDED,
];

/// Total blocks and bytes, live blocks and bytes at the end, blocks and bytes at the peak.
type Figures = [u64; 6];

/// The sums of the comments in [`script`].
const SCRIPT: Figures = [114, 94_000, 6, 800, 7, 51_200];

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 8).unwrap()
}

fn script() {
    //                                                        in total          live
    // Ten blocks of 100:                                     10, 1,000         10, 1,000
    let small: [*mut u8; 10] = std::array::from_fn(|_| block(100));
    // One of 2,000:                                          11, 3,000         11, 3,000
    let large = block(2000);
    // It grows to 50,000:                                    12, 53,000        11, 51,000
    // SAFETY: the block is ours and has this layout.
    let large = unsafe { realloc(large, layout(2000), 50_000) };
    // Five small ones go:                                                      6, 50,500
    small[..5].iter().for_each(|block| free(*block, 100));
    // One of 700, zeroed, and that is the peak:              13, 53,700        7, 51,200
    // SAFETY: the size is not zero.
    let zeroed = unsafe { alloc_zeroed(layout(700)) };
    // The large one shrinks to 300:                          14, 54,000        7, 1,500
    // SAFETY: the block is ours and has this layout.
    let large = unsafe { realloc(large, layout(50_000), 300) };
    // The zeroed one goes:                                                     6, 800
    free(zeroed, 700);
    // A hundred of 400 come and go at once:                  114, 94,000       6, 800
    (0..100).for_each(|_| free(block(400), 400));
    std::hint::black_box((small, large));
}

fn print(figures: Figures) {
    let names = ["total_blocks", "total_bytes", "live_blocks", "live_bytes", "peak_blocks", "peak_bytes"];
    for (name, figure) in names.into_iter().zip(figures) {
        println!("{name}={figure}");
    }
}

fn figures(ended: &Ended) -> Figures {
    ended.quietly();
    ["total_blocks", "total_bytes", "live_blocks", "live_bytes", "peak_blocks", "peak_bytes"]
        .map(|name| ended.said(name))
}

/// Returns the figures of `work`, by heapledger.
fn recorded(work: fn()) -> (Figures, HeapStats, HeapStats) {
    let before = lossless_point();
    work();
    let after = lossless_point();
    let figures = [
        after.total_blocks - before.total_blocks,
        after.total_bytes - before.total_bytes,
        after.live_blocks - before.live_blocks,
        after.live_bytes - before.live_bytes,
        after.peak_blocks - before.live_blocks,
        after.peak_bytes - before.live_bytes,
    ];
    (figures, before, after)
}

/// Returns the figures of `work`, by dhat.
fn seen_by_dhat(work: fn()) -> Figures {
    let _profiler = dhat::Profiler::builder().testing().build();
    work();
    let stats = dhat::HeapStats::get();
    [
        stats.total_blocks,
        stats.total_bytes,
        stats.curr_blocks as u64,
        stats.curr_bytes as u64,
        stats.max_blocks as u64,
        stats.max_bytes as u64,
    ]
}

fn script_here() {
    let (figures, before, after) = recorded(script);
    assert_eq!(figures, SCRIPT);
    assert_eq!(after.reallocs - before.reallocs, 2);
    assert_eq!(after.freed_blocks - before.freed_blocks, 108);
    assert_eq!(after.freed_bytes - before.freed_bytes, 93_200);
    assert_eq!(after.failed, 0);
}

fn script_by_hand(ended: &Ended) {
    let profile = ended.quietly().dump();
    complete(&profile).unwrap();
    assert_eq!(profile.peak.uncertainty_bytes, 0);
    assert_eq!(profile.quality.anomalies.total(), 0);
    let live = |size| profile.live.iter().filter(|block| block.size == size).count();
    assert!(live(100) >= 5 && live(300) >= 1 && live(700) == 0 && live(50_000) == 0);
    let once = profile.live.iter().find(|block| block.size == 300 && block.reallocs == 2);
    assert!(once.is_some(), "the large block was reallocated twice: {:?}", profile.live);
    let reallocs = &profile.sites[0].reallocs;
    assert!(reallocs.count >= 2 && profile.sites[0].temporary_blocks >= 100);
}

fn script_under_dhat() {
    print(seen_by_dhat(script));
}

/// Work of typical programs: words, maps, sorting, joining.
fn collections() {
    let words: Vec<String> = (0..3000).map(|number| format!("word {}", number * 7919 % 3001)).collect();
    let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
    let mut by_length: HashMap<usize, Vec<&str>> = HashMap::with_capacity(16);
    for word in &words {
        *counted.entry(&word[..word.len() - 1]).or_default() += 1;
        by_length.entry(word.len()).or_default().push(word);
    }
    let mut sorted: Vec<(&str, usize)> = counted.into_iter().collect();
    sorted.sort_by_key(|(word, count)| (*count, std::cmp::Reverse(*word)));
    let text = sorted.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
    std::hint::black_box((text.into_boxed_str(), by_length));
}

/// Asserts that heapledger's figures equal the inner allocator's. No code outside the program allocates in this child.
fn collections_here() {
    heapledger::flush();
    let (asked_before, returned_before, _) = inner::bytes();
    let before = heapledger::stats();
    collections();
    heapledger::flush();
    let after = heapledger::stats();
    let (asked, returned, _) = inner::bytes();
    assert_eq!(after.total_bytes - before.total_bytes, asked - asked_before);
    assert_eq!(after.freed_bytes - before.freed_bytes, returned - returned_before);
    lossless_point();
}

fn collections_under_dhat() {
    print(seen_by_dhat(collections));
}

/// Runs the same program in a child with a ledger, and compares the figures with dhat's.
fn same_as_recorded(dhat: &Ended) {
    let recorded = RECORDED.play();
    complete(&recorded.quietly().dump()).unwrap();
    assert_eq!(figures(&recorded), figures(dhat));
}

/// The child of [`same_as_recorded`], which is also a test.
const RECORDED: Case = Case::new("collections_leave_a_complete_dump", collections_recorded, |ended| {
    complete(&ended.quietly().dump()).unwrap();
});

fn collections_recorded() {
    print(recorded(collections).0);
}
