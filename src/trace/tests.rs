//! Tests of round trips, cut files and corrupt files.

use std::io::Cursor;

use proptest::prelude::*;

use super::frame::{Counts, FileHead};
use super::window::Window;
use super::writer::Writer;
use super::{Dated, Record, Trace};
use crate::ring::event::{self, Tag, Traits};

type Written = (Window, Vec<u64>);

/// Returns the records of windows, read directly from their words.
fn naive(windows: &[Written]) -> Vec<Dated> {
    let mut records = Vec::new();
    for (window, words) in windows {
        let mut index = 0;
        while index < words.len() {
            let (record, length) = Record::read(&words[index..]).unwrap();
            let at_ns = window.first_ns + ((window.step * index as u64) >> 16);
            records.push(Dated { at_ns, row: window.row, record });
            index += length as usize;
        }
    }
    records
}

/// Returns the bytes of a trace with these windows. A frame ends after every `per_frame` windows.
fn written(windows: &[Written], per_frame: usize, dump: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::begin(&mut out, FileHead { process_id: 7, started_unix_ns: 9 }).unwrap();
    for chunk in windows.chunks(per_frame.max(1)) {
        for (window, words) in chunk {
            writer.window(*window, words);
        }
        writer.passed(chunk.last().map_or(0, |(window, _)| window.first_ns));
        writer.end_frame(0).unwrap();
    }
    writer.finish(dump, Counts { lost: 3, waits: 2, waited_ns: 1, events: 0 }).unwrap();
    out
}

fn read(bytes: &[u8]) -> Option<(Vec<Dated>, Vec<String>)> {
    let mut trace = Trace::open(Cursor::new(bytes)).ok()?;
    let mut records = Vec::new();
    for frame in trace.frames().collect::<Vec<_>>() {
        trace.records(&frame, &mut records).unwrap();
    }
    let _ = trace.dump().unwrap();
    Some((records, trace.damage()))
}

/// Returns the words of one record of any kind. Addresses come from a small heap, so that they occur repeatedly.
fn record_words() -> impl Strategy<Value = Vec<u64>> {
    let address = prop_oneof![(0u64..64).prop_map(|n| 0x7f00_0000_1000 + 48 * n), 0u64..1 << 48, Just(0),];
    let size = prop_oneof![Just(40u64), 0u64..5_000, 0u64..1 << 32];
    let stack = prop_oneof![0u32..4, any::<u32>()];
    let traits = (0u64..1 << 12).prop_map(Traits);
    (0u8..9, address.clone(), address, size, stack, traits, any::<[u64; 4]>()).prop_map(
        |(kind, address, other, size, stack, traits, wide)| match kind {
            0 | 1 => event::alloc_words(address, size, traits, stack).to_vec(),
            2 | 3 => vec![event::free_word(address, size)],
            4 => vec![event::begin_word(address, size)],
            5 => event::moved_words(other, address, size, traits, stack).to_vec(),
            6 => vec![event::refused_word(address)],
            7 => vec![event::thread_word(size % 2 == 0, stack)],
            _ => {
                let kinds = [Tag::Alloc, Tag::Free, Tag::Begin, Tag::Moved, Tag::Refused];
                let [address, size, stack, old] = wide;
                let fields = [address, size, u64::from(stack as u32), old];
                event::wide_words(kinds[(size % 5) as usize], traits, fields).to_vec()
            }
        },
    )
}

fn windows() -> impl Strategy<Value = Vec<Written>> {
    let window = (0u32..20, 0u64..1 << 50, 0u64..1 << 30, prop::collection::vec(record_words(), 0..40));
    let window =
        window.prop_map(|(row, first_ns, step, records)| (Window { row, first_ns, step }, records.concat()));
    prop::collection::vec(window, 0..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_record_comes_back_as_it_was(windows in windows(), per_frame in 1usize..12) {
        let bytes = written(&windows, per_frame, b"the dump");
        let (records, damage) = read(&bytes).unwrap();
        prop_assert_eq!(damage, Vec::<String>::new());
        prop_assert_eq!(records, naive(&windows));
        let mut trace = Trace::open(Cursor::new(&bytes)).unwrap();
        prop_assert_eq!(trace.dump().unwrap().unwrap(), b"the dump");
        let events = naive(&windows).iter().filter(|dated| dated.record.is_event()).count() as u64;
        let counts = Counts { events, lost: 3, waits: 2, waited_ns: 1 };
        prop_assert_eq!(trace.counts(), Some(counts));
    }

    #[test]
    fn a_changed_byte_is_noticed_or_changes_nothing(
        windows in windows(),
        at in any::<prop::sample::Index>(),
        flip in 1u8..,
    ) {
        let mut bytes = written(&windows, 3, b"the dump");
        let whole = naive(&windows);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Some((records, damage)) = read(&bytes) {
            prop_assert!(records == whole || !damage.is_empty(), "byte {} of {}", at, bytes.len());
            let mut rest = whole.iter();
            prop_assert!(records.iter().all(|record| rest.any(|other| other == record)));
        }
    }

    #[test]
    fn bytes_of_chance_in_a_frame_are_refused_and_break_nothing(body in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut model = super::model::Model::new();
        let mut into = Vec::new();
        let _ = super::decode::read(&body, 3, &mut model, &mut into);
    }
}

/// Returns some windows of a small program.
fn some_windows() -> Vec<Written> {
    let plain = Traits::new(8, false, false);
    (0..12u64)
        .map(|n| {
            let at = |k: u64| 0x5555_0000_0000 + 64 * (n * 4 + k);
            let words = [
                event::alloc_words(at(0), 40, plain, 1).to_vec(),
                event::alloc_words(at(1), 48, plain, 2).to_vec(),
                vec![event::free_word(at(0), 40)],
                vec![event::begin_word(at(1), 48)],
                event::moved_words(at(1), at(2), 100, plain, 2).to_vec(),
            ];
            (Window { row: (n % 3) as u32, first_ns: 1000 * n, step: 1 << 16 }, words.concat())
        })
        .collect()
}

#[test]
fn a_cut_at_any_byte_leaves_whole_frames_and_says_what_is_missing() {
    let windows = some_windows();
    let bytes = written(&windows, 4, b"the dump");
    let whole = naive(&windows);
    let mut counts = std::collections::BTreeSet::new();
    for cut in 0..bytes.len() {
        let Some((records, _)) = read(&bytes[..cut]) else {
            assert!(cut < super::frame::HEAD_BYTES, "{cut}");
            continue;
        };
        assert_eq!(records, whole[..records.len()], "cut at {cut}");
        let trace = Trace::open(Cursor::new(&bytes[..cut])).unwrap();
        assert!(trace.counts().is_none(), "cut at {cut}");
        counts.insert(records.len());
    }
    assert_eq!(counts.len(), 4, "none, one, two or all three frames: {counts:?}");
}

#[test]
fn a_broken_frame_costs_itself_only() {
    let windows = some_windows();
    let mut bytes = written(&windows, 4, b"");
    let trace = Trace::open(Cursor::new(&bytes)).unwrap();
    let second = trace.frames().nth(1).unwrap();
    bytes[second.offset as usize + 80] ^= 1;
    let (records, damage) = read(&bytes).unwrap();
    assert_eq!(records.len(), naive(&windows).len() * 2 / 3);
    assert!(damage.len() == 1 && damage[0].contains("16 events are missing"), "{damage:?}");
}

#[test]
fn without_an_end_the_frames_behind_a_broken_head_are_found() {
    let windows = some_windows();
    let mut bytes = written(&windows, 4, b"");
    let frames: Vec<_> = Trace::open(Cursor::new(&bytes)).unwrap().frames().collect();
    bytes[frames[1].offset as usize] ^= 1;
    bytes.truncate(bytes.len() - 5);
    let (records, damage) = read(&bytes).unwrap();
    assert_eq!(records.len(), naive(&windows).len() * 2 / 3);
    assert!(damage[0].contains("hold no whole frame"), "{damage:?}");
}

#[test]
fn with_more_frames_than_the_index_has_room_for_they_are_found_and_the_counts_are_there() {
    let windows = some_windows();
    let mut out = Vec::new();
    let mut writer = Writer::begin(&mut out, FileHead::default()).unwrap().with_index_room(3);
    for (window, words) in &windows {
        writer.window(*window, words);
        writer.end_frame(0).unwrap();
    }
    writer.finish(b"the dump", Counts::default()).unwrap();
    let (records, damage) = read(&out).unwrap();
    assert_eq!((records, damage), (naive(&windows), Vec::new()));
    let trace = Trace::open(Cursor::new(&out)).unwrap();
    assert_eq!(trace.counts().map(|counts| counts.events), Some(48));
}

#[test]
fn what_repeats_takes_next_to_nothing() {
    let plain = Traits::new(8, false, false);
    let pair = |address: u64| {
        let [first, second] = event::alloc_words(address, 64, plain, 0);
        [first, second, event::free_word(address, 64)]
    };
    let words: Vec<u64> = (0..21).flat_map(|_| pair(0x5555_1000)).collect();
    let windows: Vec<Written> =
        (0..2000u64).map(|n| (Window { row: 0, first_ns: n * 500, step: 9 << 16 }, words.clone())).collect();
    let bytes = written(&windows, 2000, b"");
    assert!(bytes.len() < 84_000 / 2, "{} bytes for 84,000 events", bytes.len());
}

#[test]
fn other_files_are_refused() {
    for bytes in [&b""[..], b"HLTRACE1", &[0; 64]] {
        assert!(matches!(Trace::open(Cursor::new(bytes)), Err(super::TraceError::NotATrace)));
    }
    let mut newer = written(&[], 1, b"");
    newer[8] = 2;
    let sum = crc32fast::hash(&newer[..28]).to_le_bytes();
    newer[28..32].copy_from_slice(&sum);
    assert!(matches!(Trace::open(Cursor::new(&newer)), Err(super::TraceError::Newer(2))));
}
