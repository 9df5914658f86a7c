//! Corruptions of the golden file, read under a counting allocator. A reader must not panic, hide damage, or take
//! memory out of proportion to the file.

#![allow(unsafe_code, reason = "a counting global allocator can only be written with an unsafe impl")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use heapledger::dumps::{self, ReadError};

use super::golden;

/// Maximum number of bytes that reading a corruption of the golden file may hold at one time. One section of plain
/// bytes, its rows and the file itself fit into it; a count that is not checked against the file does not.
const PEAK_BYTES_MAX: usize = 2 << 20;
/// Number of corruptions.
const CORRUPTIONS: u64 = 10_000;

struct Counting;

thread_local! {
    static LIVE_BYTES: Cell<usize> = const { Cell::new(0) };
    static PEAK_BYTES: Cell<usize> = const { Cell::new(0) };
}

fn grow(bytes: usize) {
    let live = LIVE_BYTES.get().saturating_add(bytes);
    LIVE_BYTES.set(live);
    PEAK_BYTES.set(PEAK_BYTES.get().max(live));
}

// SAFETY: every call is passed on unchanged; the counters are plain cells without destructors and do not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE_BYTES.set(LIVE_BYTES.get().saturating_sub(layout.size()));
        // SAFETY: as above; the block came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Returns the highest number of bytes that `work` held at one time, in addition to those held before.
fn peak_bytes_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = LIVE_BYTES.get();
    PEAK_BYTES.set(before);
    let result = work();
    (result, PEAK_BYTES.get() - before)
}

/// A generator of random numbers (Marsaglia, xorshift), with the same corruptions in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

const HUGE: [u64; 6] = [u64::MAX, u32::MAX as u64, 1 << 31, 1 << 20, (1 << 20) + 1, i64::MAX as u64];

/// Returns the offsets of the section marks. The lengths have fixed distances from them.
fn marks(bytes: &[u8]) -> Vec<usize> {
    (0..bytes.len()).filter(|at| bytes[*at..].starts_with(b"\xE7SEC")).collect()
}

/// Overwrites a length in a section header, with a right or a wrong checksum.
fn huge_length(bytes: &mut [u8], random: &mut Random) {
    let marks = marks(bytes);
    let Some(at) = marks.get(random.below(marks.len())).copied().filter(|at| at + 32 <= bytes.len()) else {
        return;
    };
    let value = HUGE[random.below(HUGE.len())] as u32;
    let field = at + [8, 12, 16, 20, 24][random.below(5)];
    bytes[field..field + 4].copy_from_slice(&value.to_le_bytes());
    if random.below(2) == 0 {
        let crc32 = crc32fast::hash(&bytes[at..at + 28]).to_le_bytes();
        bytes[at + 28..at + 32].copy_from_slice(&crc32);
    }
}

/// Overwrites bytes of a payload and corrects both checksums, so that the reader sees the wrong bytes.
fn fault_behind_the_checksums(bytes: &mut [u8], random: &mut Random) {
    let marks = marks(bytes);
    let Some(at) = marks.get(random.below(marks.len())).copied().filter(|at| at + 32 <= bytes.len()) else {
        return;
    };
    let stored = u32::from_le_bytes(bytes[at + 16..at + 20].try_into().unwrap()) as usize;
    let Some(payload) = bytes.get_mut(at + 32..at + 32 + stored).filter(|payload| !payload.is_empty()) else {
        return;
    };
    let value = HUGE[random.below(HUGE.len())].to_le_bytes();
    let from = random.below(payload.len());
    let width = [1, 4, 8][random.below(3)].min(payload.len() - from);
    payload[from..from + width].copy_from_slice(&value[..width]);
    let crc32 = crc32fast::hash(payload).to_le_bytes();
    bytes[at + 24..at + 28].copy_from_slice(&crc32);
    let crc32 = crc32fast::hash(&bytes[at..at + 28]).to_le_bytes();
    bytes[at + 28..at + 32].copy_from_slice(&crc32);
}

/// Applies one corruption. The last kind forges checksums, and may make another profile without damage.
fn corrupt(bytes: &mut Vec<u8>, random: &mut Random) -> bool {
    let at = random.below(bytes.len());
    let magnitude = random.below(10);
    let run = 1 + random.below(1 << magnitude);
    match random.below(8) {
        0 | 1 => bytes[at] ^= 1 << random.below(8),
        2 => bytes[at] = random.next() as u8,
        3 => drop(bytes.drain(at..(at + run).min(bytes.len()))),
        4 => {
            let inserted: Vec<u8> = (0..run).map(|_| random.next() as u8).collect();
            bytes.splice(at..at, inserted);
        }
        5 => {
            // A piece of the file again: whole sections come twice this way.
            let end = (at + run).min(bytes.len());
            let (piece, to) = (bytes[at..end].to_vec(), random.below(bytes.len()));
            bytes.splice(to..to, piece);
        }
        6 => huge_length(bytes, random),
        _ => {
            fault_behind_the_checksums(bytes, random);
            return true;
        }
    }
    false
}

#[test]
fn no_corruption_panics_hides_damage_or_takes_much_memory() {
    let whole = golden::profile();
    let (mut silent, mut damaged, mut refused, mut highest_bytes) = (0u32, 0u32, 0u32, 0);
    for seed in 1..=CORRUPTIONS {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let mut bytes = golden::FILE.to_vec();
        let mut forged = false;
        for _ in 0..=random.below(3) {
            forged |= !bytes.is_empty() && corrupt(&mut bytes, &mut random);
        }
        let (result, peak_bytes) = peak_bytes_of(|| dumps::read_bytes(&bytes));
        highest_bytes = highest_bytes.max(peak_bytes);
        assert!(peak_bytes <= PEAK_BYTES_MAX, "seed {seed}: {peak_bytes} bytes");
        match result {
            Ok(dump) if dump.damage.is_empty() => {
                assert!(forged || dump.profile == whole, "seed {seed}: differs, and nothing is listed");
                silent += 1;
            }
            Ok(dump) => {
                assert!(dump.damage.iter().all(|damage| !damage.to_string().is_empty()));
                damaged += 1;
            }
            Err(ReadError::NotADump | ReadError::TooShort { .. } | ReadError::Version { .. }) => refused += 1,
            Err(other) => panic!("seed {seed}: {other}"),
        }
    }
    println!(
        "{damaged} damaged, {refused} refused, {silent} read without damage, at most {highest_bytes} bytes"
    );
    assert!(damaged > CORRUPTIONS as u32 / 2, "the corruptions reach the sections: {damaged}");
    assert!(refused < CORRUPTIONS as u32 / 10, "{refused}");
}

#[test]
fn the_counting_allocator_sees_a_reservation_that_is_too_large() {
    let ((), peak_bytes) =
        peak_bytes_of(|| drop(std::hint::black_box(Vec::<u8>::with_capacity(PEAK_BYTES_MAX + 1))));
    assert!(peak_bytes > PEAK_BYTES_MAX);
}

#[test]
fn a_large_file_takes_memory_in_proportion() {
    let mut profile = golden::profile();
    profile.live = vec![profile.live[0]; 400_000];
    let mut bytes = Vec::new();
    dumps::write_to(&mut bytes, &profile).unwrap();
    let rows_bytes = profile.live.len() * size_of_val(&profile.live[0]);
    let (dump, peak_bytes) = peak_bytes_of(|| dumps::read_bytes(&bytes).unwrap());
    assert!(dump.is_whole());
    assert!(
        peak_bytes <= 3 * rows_bytes + PEAK_BYTES_MAX,
        "{peak_bytes} bytes for {rows_bytes} bytes of rows"
    );
}
