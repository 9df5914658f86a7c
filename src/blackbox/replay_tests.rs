//! Tests that a black box and a trace of the same events give the same figures.

use std::io::Cursor;

use super::image::Image;
use super::lanes::{self, LaneImage};
use super::read_bytes;
use super::tests::blank;
use super::unbooked::{Figures, Unbooked};
use crate::aggregator::oracle_tests::producer::Producer;
use crate::ledger::Ledger;
use crate::profile::{ClockMode, HeapStats, LiveBlock, Profile};
use crate::ring::event::{self, TAG_MARK, TAG_SKIP, Tag, Traits, record_words};
use crate::ring::lane::SEGMENT_WORDS;
use crate::sys::pages::PAGE_BYTES;
use crate::trace::writer::Writer;
use crate::trace::{Counts, FileHead, Replay, Span, Trace, Window};

const STEPS: u64 = 400;

/// Returns the black box of a process in which three threads allocated, reallocated and freed each other's blocks. A
/// free records twelve bits of the size of its block; the sizes here differ in these bits.
fn black_box(is_half_booked: bool) -> Vec<u8> {
    let ledger = Ledger::open(16 << 20, ClockMode::Batched).unwrap();
    ledger.clock.set_by_hand(1);
    let mut threads: Vec<Producer> = (0..3).map(|_| Producer::new(ledger, 8)).collect();
    let traits = Traits::default();
    let mut free: Vec<u64> = (0..40).map(|number| 0x1000 + number * 64).collect();
    let mut live: Vec<(u64, u64)> = Vec::new();
    for step in 0..STEPS {
        ledger.clock.set_by_hand(10 + step * 100);
        let (thread, size, stack) = (&mut threads[(step * 7 % 3) as usize], 1 + step, (step % 4) as u32);
        match step % 5 {
            0 | 1 | 3 => {
                let address = free.remove(0);
                thread.alloc(address, size, traits, stack);
                live.push((address, size));
            }
            2 => {
                let (address, size) = live.remove((step * 11) as usize % live.len());
                // Every other free carries its whole size, and a sampling period, which the readers ignore.
                match step % 2 {
                    0 => thread.free_unlisted(address, size, 3),
                    _ => thread.free(address, size),
                }
                free.push(address);
            }
            _ if step % 3 == 0 => {
                let (address, size) = live[0];
                thread.realloc_begins(address, size);
                thread.realloc_refused(address);
            }
            _ => {
                let (old, old_size) = live.remove((step * 13) as usize % live.len());
                let new = if step % 2 == 0 { old } else { free.remove(0) };
                thread.realloc_begins(old, old_size);
                thread.realloc_ends(old, new, size, traits, stack);
                live.push((new, size));
                if new != old {
                    free.push(old);
                }
            }
        }
        // Keeps the number of live blocks below the number of addresses, which is forty.
        if live.len() > 30 {
            let (address, size) = live.remove(0);
            threads[(step % 3) as usize].free(address, size);
            free.push(address);
        }
        if is_half_booked && step == STEPS / 2 {
            threads.iter().for_each(|thread| ledger.fold(thread.lane));
        }
    }
    let mut file = blank(ledger.pages.taken() as usize * PAGE_BYTES);
    // SAFETY: P1, as much of the region was taken, so it is committed, and nobody writes there now.
    let region = unsafe { std::slice::from_raw_parts(ledger.pages.at(0), file.len()) };
    file[32..].copy_from_slice(&region[32..]);
    file
}

/// Converts the words of a lane to the windows of a trace.
fn windows(lane: &LaneImage) -> Vec<(Window, Vec<u64>)> {
    let (mut windows, mut at, mut now_ns) = (Vec::new(), 0usize, 0);
    while let Some(word) = lane.words.get(at).copied() {
        let length = record_words(word) as usize;
        match Tag::raw(word) {
            TAG_SKIP => {
                at += (SEGMENT_WORDS - (lane.first + at as u64) % SEGMENT_WORDS) as usize;
                continue;
            }
            TAG_MARK => {
                now_ns = event::mark_time(word, now_ns);
                let row = lane.copy.state.row;
                windows.push((Window { row, first_ns: now_ns, step: 0 }, Vec::new()));
            }
            _ => windows.last_mut().unwrap().1.extend_from_slice(&lane.words[at..at + length]),
        }
        at += length;
    }
    windows
}

/// Writes the words of all lanes as a trace, and returns the profile that a replay of the trace gives.
fn traced(lanes: &[LaneImage]) -> Profile {
    let mut bytes = Vec::new();
    let mut writer = Writer::begin(&mut bytes, FileHead::default()).unwrap();
    for (window, words) in lanes.iter().flat_map(windows) {
        writer.window(window, &words);
    }
    writer.passed(u64::MAX);
    writer.finish(b"", Counts::default()).unwrap();
    let mut trace = Trace::open(Cursor::new(&bytes)).unwrap();
    let replay = Replay::of(&mut trace, Span::WHOLE, |_| ()).unwrap();
    let figures = replay.figures();
    assert_eq!((figures.unmatched_frees, figures.overlapping_blocks, figures.size_mismatches), (0, 0, 0));
    assert!(figures.early_frees > 0 && figures.reallocs > 0 && figures.refused > 0, "{figures:?}");
    replay.into_profile(None).profile
}

fn sums(totals: HeapStats) -> [u64; 7] {
    let HeapStats { total_blocks, total_bytes, freed_blocks, freed_bytes, live_blocks, .. } = totals;
    [total_blocks, total_bytes, freed_blocks, freed_bytes, live_blocks, totals.live_bytes, totals.reallocs]
}

fn live(profile: &Profile) -> Vec<(u64, u64, u32)> {
    let block = |block: &LiveBlock| (block.address, block.size, block.thread);
    let mut live: Vec<_> = profile.live.iter().map(block).collect();
    live.sort_unstable();
    live
}

#[test]
fn a_black_box_and_a_trace_of_the_same_events_have_the_same_totals_and_live_blocks() {
    for is_half_booked in [false, true] {
        let file = black_box(is_half_booked);
        let image = Image::new(&file);
        let ledger: Box<Ledger> = image.copy_boxed(0).unwrap();
        let traced = traced(&lanes::lanes(image, &ledger).0);
        let dump = read_bytes(&file).unwrap();
        assert!(dump.broken_laws.is_empty(), "{:?}", dump.broken_laws);
        assert_eq!(sums(dump.profile.totals), sums(traced.totals), "half booked: {is_half_booked}");
        assert_eq!(live(&dump.profile), live(&traced), "half booked: {is_half_booked}");
        assert_eq!(dump.profile.quality.anomalies.layout_mismatches, 0, "half booked: {is_half_booked}");
        assert!(traced.totals.total_blocks > 200 && traced.live.len() > 10);
    }
}

#[test]
fn a_black_box_and_a_trace_of_the_same_events_have_the_same_sites() {
    let file = black_box(false);
    let image = Image::new(&file);
    let ledger: Box<Ledger> = image.copy_boxed(0).unwrap();
    let (lanes, _) = lanes::lanes(image, &ledger);
    let figures = Figures::new(Default::default(), &ledger.timeline, u32::MAX);
    let mut unbooked = Unbooked::new(image, &ledger, &lanes, figures);
    for lane in &lanes {
        unbooked.replay(lane);
    }
    unbooked.finish();
    let sites = unbooked.heap.sums.sites.iter().map(|(stack, figures)| figures.to_site(*stack, 0));
    let sums = |site: &crate::profile::Site| {
        let (count, sizes) = (site.reallocs.count, site.sizes.clone());
        (site.stack, site.total_blocks, site.total_bytes, site.freed_blocks, site.freed_bytes, count, sizes)
    };
    let sites: Vec<_> = sites.map(|site| sums(&site)).collect();
    assert_eq!(sites, traced(&lanes).sites.iter().map(sums).collect::<Vec<_>>());
    assert_eq!(sites.len(), 4);
}
