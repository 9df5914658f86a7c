//! Tests of files that are no black boxes, and of cut and corrupt black boxes.

use std::ops::Range;
use std::ptr::from_ref;

use super::read_bytes;
use crate::aggregator::oracle_tests::producer::Producer;
use crate::dump::ReadError;
use crate::ledger::Ledger;
use crate::ledger::fold_state::LaneWithState;
use crate::profile::ClockMode;
use crate::recorder::region_abi::{LAYOUT, VERSION};
use crate::ring::event::Traits;
use crate::sys::box_file::MAGIC;
use crate::sys::pages::PAGE_BYTES;

/// Returns the start of a black box of this build, followed by zeros.
pub(super) fn blank(bytes: usize) -> Vec<u8> {
    let mut file = vec![0; bytes];
    file[..8].copy_from_slice(&MAGIC);
    file[8..16].copy_from_slice(&LAYOUT.to_ne_bytes());
    file[16..32].copy_from_slice(&VERSION);
    file
}

#[test]
fn a_black_box_without_events_is_an_empty_profile_with_a_note() {
    let dump = read_bytes(&blank(4 << 20)).unwrap();
    assert!(dump.broken_laws.is_empty(), "{:?}", dump.broken_laws);
    assert_eq!((dump.profile.quality.attempted, dump.profile.live.len()), (0, 0));
    assert!(dump.notes[0].contains("before it had said who it is"), "{:?}", dump.notes);
}

#[test]
fn a_black_box_of_another_build_and_a_cut_one_are_refused_with_advice() {
    let mut other = blank(4 << 20);
    other[9] ^= 1;
    let error = read_bytes(&other).unwrap_err();
    assert!(matches!(error, ReadError::OtherBuild { .. }), "{error}");
    assert!(error.to_string().contains(env!("CARGO_PKG_VERSION")), "{error}");
    assert!(matches!(read_bytes(&blank(1000)).unwrap_err(), ReadError::TooShort { .. }));
    assert!(matches!(read_bytes(&MAGIC).unwrap_err(), ReadError::TooShort { .. }));
}

/// Pseudo-random numbers (Marsaglia, xorshift).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[test]
fn any_bytes_behind_the_head_read_to_a_profile_or_an_error() {
    let mut noise = Noise(0x9E37_79B9_7F4A_7C15);
    let clean = blank(2 << 20);
    for round in 0..60u64 {
        let mut file = clean.clone();
        // The damage ranges from a few wrong words to a file full of noise, with small and large numbers.
        let words = 1usize << (round % 19);
        for _ in 0..words {
            let at = 32 + (noise.next() as usize % (file.len() - 40)) / 8 * 8;
            let value = noise.next() >> (noise.next() % 64);
            file[at..at + 8].copy_from_slice(&value.to_ne_bytes());
        }
        if let Ok(dump) = read_bytes(&file) {
            let profile = dump.profile;
            let says_so = dump.broken_laws.iter().any(|law| law.law.starts_with("attempted"));
            assert!(profile.quality.is_conserved() || says_so, "{:?}", profile.quality);
            assert!(profile.sites.iter().all(|site| (site.stack as usize) < profile.stacks.len()));
        }
    }
}

/// Reads a changed black box. Its sums must be conserved, or a broken law must report that they are not.
fn read_changed(file: &[u8], what: impl Fn() -> String) {
    if let Ok(dump) = read_bytes(file) {
        let says_so = dump.broken_laws.iter().any(|law| law.law.starts_with("attempted"));
        assert!(dump.profile.quality.is_conserved() || says_so, "{}", what());
    }
}

/// Tests damage at every fourth word of `places`. Overwrites this word and the following words, `words` in all, with
/// one bits, reads the file, and restores the words.
fn fill_neighbours(file: &mut [u8], places: Range<usize>, words: usize) {
    fill_neighbours_at(file, places.step_by(4 * 8), words);
}

fn fill_neighbours_at(file: &mut [u8], places: impl Iterator<Item = usize>, words: usize) {
    for at in places {
        let filled = at..at + words * 8;
        let before = file[filled.clone()].to_vec();
        file[filled.clone()].fill(0xFF);
        read_changed(file, || format!("{words} words at {at}"));
        file[filled].copy_from_slice(&before);
    }
}

#[test]
fn neighbouring_figures_of_maximum_size_read_to_a_profile_or_an_error() {
    // The words of the ledger, which follow the head of the file.
    fill_neighbours(&mut blank(2 << 20), 32..size_of::<Ledger>() - 64, 8);
}

/// Returns the black box of a process with some hundred events, half of them booked. Also returns the offset of the
/// lane, and the offsets of its three cursors: oldest word, tail and head.
fn with_a_lane() -> (Vec<u8>, usize, [usize; 3]) {
    const BYTES: usize = 8 << 20;
    let ledger = Ledger::open(BYTES as u64, ClockMode::Batched).unwrap();
    ledger.clock.set_by_hand(1);
    let mut producer = Producer::new(ledger, 4);
    let events = |producer: &mut Producer, from: u64| {
        for number in from..from + 200 {
            producer.alloc(0x1000 + number * 64, 40, Traits::default(), 0);
            if number % 3 == 0 {
                producer.free(0x1000 + number * 64, 40);
            }
        }
    };
    events(&mut producer, 0);
    ledger.fold(producer.lane);
    events(&mut producer, 200);
    let mut file = blank(ledger.pages.taken() as usize * PAGE_BYTES);
    // SAFETY: P1, as much of the region was taken, so it is committed, and nobody writes there now.
    let region = unsafe { std::slice::from_raw_parts(ledger.pages.at(0), file.len()) };
    file[32..].copy_from_slice(&region[32..]);
    let lane = producer.lane;
    let cursors = [
        from_ref(&lane.cold.oldest).addr(),
        from_ref(&lane.folder.tail).addr(),
        from_ref(lane.head()).addr(),
    ];
    let start = ledger.pages.at(0).addr();
    (file, from_ref(lane).addr() - start, cursors.map(|cursor| cursor - start))
}

#[test]
fn a_lane_that_has_written_more_words_than_there_are_is_left_out() {
    let (mut file, _, cursors) = with_a_lane();
    for (cursor, number) in cursors.into_iter().zip([u64::MAX - 100, u64::MAX - 100, u64::MAX - 1]) {
        file[cursor..cursor + 8].copy_from_slice(&number.to_ne_bytes());
    }
    let dump = read_bytes(&file).unwrap();
    assert!(dump.notes[0].starts_with("1 rings in the black box make no sense"), "{:?}", dump.notes);
}

#[test]
fn any_bytes_in_a_lane_read_to_a_profile_or_an_error() {
    let (mut file, lane, _) = with_a_lane();
    let quality = read_bytes(&file).unwrap().profile.quality;
    assert_eq!((quality.attempted, quality.lost.total()), (533 + 1, 0), "{quality:?}");
    let places = lane..lane + size_of::<LaneWithState>().min(8192) - 64 * 8;
    for words in [1, 8, 64] {
        fill_neighbours(&mut file, places.clone(), words);
    }
    // Overwrites two places at a time, because figures that the reader adds can be far from each other in the file.
    let blocks = || places.clone().step_by(16 * 8);
    for first in blocks() {
        let before = file[first..first + 128].to_vec();
        file[first..first + 128].fill(0xFF);
        fill_neighbours_at(&mut file, blocks().filter(|second| *second > first), 16);
        file[first..first + 128].copy_from_slice(&before);
    }
    let mut noise = Noise(0xD1B5_4A32_D192_ED03);
    for round in 0..300 {
        let before = file[places.clone()].to_vec();
        for _ in 0..1 + round % 4 {
            let at = places.start + noise.next() as usize % places.len() / 8 * 8;
            let value = u64::MAX - (noise.next() >> (noise.next() % 64));
            file[at..at + 8].copy_from_slice(&value.to_ne_bytes());
        }
        read_changed(&file, || format!("round {round}"));
        file[places.clone()].copy_from_slice(&before);
    }
}
