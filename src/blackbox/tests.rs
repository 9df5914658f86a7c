//! Files that are no black boxes, cut ones, and ones that were tampered with.

use super::read_bytes;
use crate::dump::ReadError;
use crate::ledger::Ledger;
use crate::recorder::layout::{LAYOUT, VERSION};
use crate::sys::box_file::MAGIC;

/// The start of a black box of this build, and then zeros.
fn blank(bytes: usize) -> Vec<u8> {
    let mut file = vec![0; bytes];
    file[..8].copy_from_slice(&MAGIC);
    file[8..16].copy_from_slice(&LAYOUT.to_ne_bytes());
    file[16..32].copy_from_slice(&VERSION);
    file
}

#[test]
fn a_box_in_which_nothing_happened_is_an_empty_profile_with_a_note() {
    let dump = read_bytes(&blank(4 << 20)).unwrap();
    assert!(dump.broken_laws.is_empty(), "{:?}", dump.broken_laws);
    assert_eq!((dump.profile.quality.attempted, dump.profile.live.len()), (0, 0));
    assert!(dump.notes[0].contains("before it had said who it is"), "{:?}", dump.notes);
}

#[test]
fn a_box_of_another_build_and_a_cut_one_are_refused_with_what_to_do() {
    let mut other = blank(4 << 20);
    other[9] ^= 1;
    let error = read_bytes(&other).unwrap_err();
    assert!(matches!(error, ReadError::OtherBuild { .. }), "{error}");
    assert!(error.to_string().contains(env!("CARGO_PKG_VERSION")), "{error}");
    assert!(matches!(read_bytes(&blank(1000)).unwrap_err(), ReadError::TooShort { .. }));
    assert!(matches!(read_bytes(&MAGIC).unwrap_err(), ReadError::TooShort { .. }));
}

/// A row of numbers that look like anything (Marsaglia, xorshift).
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
fn whatever_stands_behind_the_seal_is_read_to_something() {
    let mut noise = Noise(0x9E37_79B9_7F4A_7C15);
    let clean = blank(2 << 20);
    for round in 0..60u64 {
        let mut file = clean.clone();
        // From a few words that are off to a file full of noise, small and large numbers alike.
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

#[test]
fn neighbouring_figures_as_large_as_can_be_are_read_to_something() {
    const WORDS: usize = 8;
    let clean = blank(2 << 20);
    // The seal stands before them.
    for at in (32..size_of::<Ledger>() - WORDS * 8).step_by(WORDS / 2 * 8) {
        let mut file = clean.clone();
        file[at..at + WORDS * 8].fill(0xFF);
        if let Ok(dump) = read_bytes(&file) {
            let says_so = dump.broken_laws.iter().any(|law| law.law.starts_with("attempted"));
            assert!(dump.profile.quality.is_conserved() || says_so, "at {at}");
        }
    }
}
