//! What figures are worth while events are left out by choice: a program that is known by hand, in every way of leaving
//! something out. Without heapledger's own thread nobody else holds the books, so that nothing is lost beside it.

use std::alloc::{Layout, realloc};

use heapledger::profile::{Estimate, Profile};
use heapledger::{Degradation, HeapStats, dumps};
use heapledger_cli::analysis::{FigureGroup, Origin, certainty::Grade, verify};
use heapledger_cli::report::{Layout as Lines, write_report};

use super::case::{Case, Ended};
use super::heap::Heap;
use super::inner::{self, Method};
use super::laws;
use super::pointers;
use super::tools::{block, free, settled_accounts};

pub const CASES: &[Case] = &[
    Case::new(
        "totals_are_exact_in_the_sampling_mode",
        || script(sample_often),
        |ended| {
            let profile = left_out(&ended.quietly().dump(), 16_000);
            let (estimates, totals) = (profile.estimates.expect("they are in the dump"), profile.totals);
            near(estimates.total_bytes, totals.total_bytes);
            near(estimates.live_bytes, totals.live_bytes);
            pointers::json(&profile, |value| {
                let said = &value["estimates"]["total_bytes"];
                for (name, figure) in [
                    ("value", estimates.total_bytes.value),
                    ("standard_error", estimates.total_bytes.standard_error),
                ] {
                    // Read back from decimals.
                    assert!((said[name].as_f64().unwrap() / figure - 1.0).abs() < 1e-9, "{said}");
                }
            });
        },
    )
    .heap(Heap::Alone)
    .variables(&[("HEAPLEDGER_MODE", "throughput")]),
    Case::new(
        "totals_are_exact_while_events_are_only_counted",
        || script(only_count),
        |ended| {
            left_out(&ended.quietly().dump(), 21_000);
        },
    )
    .heap(Heap::Alone),
    Case::new("a_black_box_has_the_same_totals_and_bounds_of_the_peak", killed_while_sampling, in_the_box)
        .heap(Heap::Alone)
        .variables(&[("HEAPLEDGER_MODE", "throughput"), ("HEAPLEDGER_BLACKBOX", "black.box")]),
    Case::new(
        "with_stacks_of_a_sample_every_figure_is_of_all_blocks",
        || script(|| ()),
        |ended| {
            let profile = ended.quietly().dump();
            laws::complete(&profile).unwrap();
            for figure in
                [FigureGroup::Totals, FigureGroup::Breakdown, FigureGroup::LiveBytes, FigureGroup::Reallocs]
            {
                said(&profile, figure, Grade::Exact);
            }
            assert_eq!(profile.quality.sampled_out, 0);
            assert!(profile.totals.reallocs >= 500);
        },
    )
    .heap(Heap::Alone)
    .variables(&[("HEAPLEDGER_STACKS", "sampled:4096")]),
];

/// Blocks of the script that live on, and their sizes before and after half of them are reallocated.
const KEPT: usize = 1_000;
const KEPT_BYTES: usize = 4_242;
const GROWN_BYTES: usize = 8_000;
/// Reallocs of those of the other half that are refused.
const REFUSED: usize = 100;

fn sample_often() {
    heapledger::set_sampling_bytes(1 << 10);
}

fn only_count() {
    heapledger::set_degradation(Degradation::CountersOnly);
}

fn killed_while_sampling() {
    script(sample_often);
    // SAFETY: a signal to this process.
    unsafe { libc::raise(libc::SIGKILL) };
}

fn grow(block: *mut u8, size: usize) -> *mut u8 {
    let layout = Layout::from_size_align(KEPT_BYTES, 8).unwrap();
    // SAFETY: the block is one of those that are kept, which have this layout.
    unsafe { realloc(block, layout, size) }
}

fn script(begin: fn()) {
    let earlier: [*mut u8; 50] = std::array::from_fn(|_| block(1_000));
    begin();
    // What is printed goes through a buffer that is made at the first line.
    println!("begun=1");
    // The first event after a change is the one at which the thread takes it up.
    free(block(8), 8);
    settled_accounts();
    let before = heapledger::stats();
    //                                                                       in total            freed
    // Blocks that come and go:                                              20,000 of 48        20,000
    (0..20_000).for_each(|_| free(block(48), 48));
    // Blocks that stay:                                                     1,000 of 4,242
    let kept: [*mut u8; KEPT] = std::array::from_fn(|_| block(KEPT_BYTES));
    // Half of them grow:                                                    500 of 8,000        500 of 4,242
    kept.iter().skip(KEPT / 2).for_each(|one| assert!(!grow(*one, GROWN_BYTES).is_null()));
    // Some of the others would, and are not let:                            none                none
    inner::refuse(Method::Realloc, REFUSED as u64);
    kept.iter().take(REFUSED).for_each(|one| assert!(grow(*one, GROWN_BYTES).is_null()));
    // Blocks from before it all go:                                                             50 of 1,000
    earlier.iter().for_each(|one| free(*one, 1_000));
    let (quality, _) = settled_accounts();
    let after = heapledger::stats();
    let grew = |figure: fn(&HeapStats) -> u64| figure(&after) - figure(&before);
    assert_eq!(quality.lost.total(), 0, "{quality:?}");
    assert_eq!((grew(|heap| heap.total_blocks), grew(|heap| heap.freed_blocks)), (21_500, 20_550));
    let (kept_bytes, grown_bytes) = ((KEPT * KEPT_BYTES) as u64, (KEPT / 2 * GROWN_BYTES) as u64);
    assert_eq!(grew(|heap| heap.total_bytes), 20_000 * 48 + kept_bytes + grown_bytes);
    assert_eq!(grew(|heap| heap.freed_bytes), 20_000 * 48 + kept_bytes / 2 + 50 * 1_000);
    assert_eq!(grew(|heap| heap.failed), REFUSED as u64);
    println!("blocks={}\nbytes={}", after.live_blocks, after.live_bytes);
}

/// Asserts that at least `events` events of the script were sampled out of the profile, that the totals nevertheless
/// count every event, and that each table says that it does not.
fn left_out(profile: &Profile, events: u64) -> Profile {
    laws::obeyed(profile).unwrap();
    assert!(profile.quality.sampled_out >= events, "{:?}", profile.quality);
    assert_eq!(verify(profile, &Origin::default()).broken(), 0);
    said(profile, FigureGroup::Totals, Grade::Exact);
    said(profile, FigureGroup::LiveBlocks, Grade::Exact);
    said(profile, FigureGroup::Breakdown, Grade::AtLeast);
    said(profile, FigureGroup::Reallocs, Grade::AtLeast);
    said(profile, FigureGroup::Peak, Grade::Uncertain);
    let totals = &profile.totals;
    let by_site: u64 = profile.sites.iter().map(|site| site.total_bytes).sum();
    let by_thread: u64 = profile.threads.iter().map(|row| row.total_bytes).sum();
    assert!(
        by_site < totals.total_bytes / 10 && by_thread < totals.total_bytes / 10,
        "{by_site} {by_thread}"
    );
    // The peak does not have them, and does not claim that it could not have been higher.
    assert!(profile.peak.bytes + profile.peak.uncertainty_bytes >= totals.live_bytes, "{:?}", profile.peak);
    profile.clone()
}

/// Every face gives the figure that grade.
fn said(profile: &Profile, figure: FigureGroup, grade: Grade) {
    let origin = Origin::default();
    let verdict = verify(profile, &origin);
    assert_eq!(verdict.certainty(figure).grade, grade, "{figure:?}");
    let mut report = Vec::new();
    write_report(profile, &origin, &Lines::default(), &mut report).unwrap();
    let report = String::from_utf8(report).unwrap();
    let heading = match figure {
        FigureGroup::Totals => "Totals",
        FigureGroup::Breakdown => "Threads",
        FigureGroup::Reallocs => "Reallocs",
        _ => "",
    };
    if !heading.is_empty() {
        let section = report.lines().skip_while(|line| *line != heading);
        let certainty = section.map(str::trim_start).find(|line| line.starts_with("certainty")).unwrap();
        let word = if grade == Grade::Exact { "exact" } else { "a lower bound" };
        assert!(certainty.contains(word), "{heading}: {certainty}");
    }
    if figure == FigureGroup::Totals {
        let mut page = Vec::new();
        heapledger_cli::report::html::write_page(profile, &origin, &mut page).unwrap();
        let words = format!("\"figure\":\"totals\",\"grade\":\"{}\"", grade.name());
        assert!(String::from_utf8(page).unwrap().contains(&words), "no {words} in the page");
    }
    pointers::json(profile, |value| {
        assert_eq!(value["verdict"]["conclusions"][figure.name()]["grade"], grade.name(), "{figure:?}");
    });
}

/// An estimate is one: within some standard errors of the truth, and not the truth itself.
fn near(estimate: Estimate, truth: u64) {
    let off = (estimate.value - truth as f64).abs();
    assert!(estimate.standard_error > 0.0 && off < 8.0 * estimate.standard_error, "{estimate:?} {truth}");
    assert!(estimate.standard_error < truth as f64 / 4.0, "{estimate:?} {truth}");
}

fn in_the_box(ended: &Ended) {
    let dump = dumps::read(ended.with_signal(libc::SIGKILL).path("black.box")).expect("a box");
    let profile = left_out(&dump.profile, 16_000);
    let totals = profile.totals;
    assert_eq!((totals.live_blocks, totals.live_bytes), (ended.said("blocks"), ended.said("bytes")));
}
