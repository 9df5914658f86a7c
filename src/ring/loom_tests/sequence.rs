//! Models of the sequence lock: the live page's writer, and a reader of another process.

use super::{explore, run_all};
use crate::sys::seqlock::Sequence;
use crate::sys::sync::{AtomicU64, Ordering};
use loom::sync::Arc;

type Write = fn(&Sequence, &[AtomicU64; 2], u64);
type Read = fn(&Sequence, &[AtomicU64; 2]) -> Option<[u64; 2]>;

macro_rules! writer {
    ($method:ident) => {
        |sequence: &Sequence, words: &[AtomicU64; 2], value: u64| {
            sequence.$method(words.iter().map(|word| (word, value)))
        }
    };
}

macro_rules! reader {
    ($method:ident) => {
        |sequence: &Sequence, words: &[AtomicU64; 2]| {
            let copy = || [0, 1].map(|at: usize| words[at].load(Ordering::Relaxed));
            sequence.$method(copy).map(|(copy, _)| copy)
        }
    };
}

fn two_writings(write: Write, read: Read) -> impl Fn() {
    move || {
        let shared = Arc::new((Sequence::new(), [AtomicU64::new(0), AtomicU64::new(0)]));
        let (writer, reader) = (Arc::clone(&shared), shared);
        run_all([
            Box::new(move || {
                for value in 1..=2 {
                    write(&writer.0, &writer.1, value);
                }
            }),
            Box::new(move || {
                if let Some([first, second]) = read(&reader.0, &reader.1) {
                    assert!(first == second, "a read is torn");
                    assert!(first != 0, "a read is older than its sequence");
                }
            }),
        ]);
    }
}

#[test]
fn a_read_is_of_one_writing() {
    explore(100, two_writings(writer!(write), reader!(read)));
}

#[test]
#[should_panic(expected = "a read is")]
fn words_that_pass_the_odd_sequence_are_found_out() {
    explore(0, two_writings(writer!(write_without_fence), reader!(read)));
}

#[test]
#[should_panic(expected = "a read is")]
fn a_sequence_that_passes_its_words_is_found_out() {
    explore(0, two_writings(writer!(write_unreleased), reader!(read)));
}

#[test]
#[should_panic(expected = "a read is")]
fn a_second_look_that_passes_the_copy_is_found_out() {
    explore(0, two_writings(writer!(write), reader!(read_without_fence)));
}

#[test]
#[should_panic(expected = "a read is")]
fn a_copy_that_passes_the_first_look_is_found_out() {
    explore(0, two_writings(writer!(write), reader!(read_unacquired)));
}
