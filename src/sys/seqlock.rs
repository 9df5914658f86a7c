//! A sequence lock: one writer publishes many words at once. A reader, which may be in another process, either gets all
//! words of one write, or learns that it did not. There may be any number of readers. Readers write nothing, so a
//! read-only mapping suffices for them, and the writer never waits.
//!
//! The sequence number is odd while the words are being written. A reader compares the number before and after its copy
//! (H.-J. Boehm, "Can seqlocks get along with programming language memory models?", 2012).
//!
//! Several writers must exclude each other by other means.

use super::sync::{AtomicU64, Ordering, fence};

/// The sequence number. All zero bytes are the valid number of a lock that was never written.
#[repr(transparent)]
#[derive(Debug)]
pub(crate) struct Sequence(AtomicU64);

impl Sequence {
    #[cfg(any(test, loom))]
    pub(crate) fn new() -> Sequence {
        Sequence(AtomicU64::new(0))
    }

    /// Writes all words. There may be only one writer at a time.
    pub(crate) fn write<'a>(&self, words: impl Iterator<Item = (&'a AtomicU64, u64)>) {
        // relaxed: only writers change the number.
        let before = self.0.load(Ordering::Relaxed) & !1;
        self.0.store(before.wrapping_add(1), Ordering::Relaxed);
        // Release: pairs with the acquire fence in `read`; a reader that sees one of the words below also sees the odd
        // number.
        fence(Ordering::Release);
        for (word, value) in words {
            word.store(value, Ordering::Relaxed);
        }
        // Release: pairs with the acquire in `read`; a reader that sees the new number sees all words.
        self.0.store(before.wrapping_add(2), Ordering::Release);
    }

    /// Returns whether any words were written, or are being written.
    pub(crate) fn was_written(&self) -> bool {
        // relaxed: the result changes only once.
        self.0.load(Ordering::Relaxed) != 0
    }

    /// Calls `copy`, which loads the words. Returns its result with the number of completed writes. Returns `None` if
    /// nothing was written yet, or if a write was in progress during the copy.
    pub(crate) fn read<T>(&self, copy: impl FnOnce() -> T) -> Option<(T, u64)> {
        // Acquire: pairs with the release at the end of `write`.
        let before = self.0.load(Ordering::Acquire);
        if before == 0 || before & 1 == 1 {
            return None;
        }
        let copied = copy();
        // Acquire: pairs with the release fence in `write`; the words are loaded before the number is loaded again.
        fence(Ordering::Acquire);
        (self.0.load(Ordering::Relaxed) == before).then_some((copied, before / 2))
    }
}

/// Weakened copies, whose orderings are too weak; the models must detect them.
#[cfg(loom)]
impl Sequence {
    /// Weakened copy of [`Sequence::write`], without the fence after the odd number.
    pub(crate) fn write_without_fence<'a>(&self, words: impl Iterator<Item = (&'a AtomicU64, u64)>) {
        let before = self.0.load(Ordering::Relaxed) & !1;
        self.0.store(before.wrapping_add(1), Ordering::Relaxed);
        for (word, value) in words {
            word.store(value, Ordering::Relaxed);
        }
        self.0.store(before.wrapping_add(2), Ordering::Release);
    }

    /// Weakened copy of [`Sequence::write`], which stores the new number with a relaxed ordering.
    pub(crate) fn write_unreleased<'a>(&self, words: impl Iterator<Item = (&'a AtomicU64, u64)>) {
        let before = self.0.load(Ordering::Relaxed) & !1;
        self.0.store(before.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        for (word, value) in words {
            word.store(value, Ordering::Relaxed);
        }
        self.0.store(before.wrapping_add(2), Ordering::Relaxed);
    }

    /// Weakened copy of [`Sequence::read`], without the fence before the second load of the number.
    pub(crate) fn read_without_fence<T>(&self, copy: impl FnOnce() -> T) -> Option<(T, u64)> {
        let before = self.0.load(Ordering::Acquire);
        if before == 0 || before & 1 == 1 {
            return None;
        }
        let copied = copy();
        (self.0.load(Ordering::Relaxed) == before).then_some((copied, before / 2))
    }

    /// Weakened copy of [`Sequence::read`], which loads the number first with a relaxed ordering.
    pub(crate) fn read_unacquired<T>(&self, copy: impl FnOnce() -> T) -> Option<(T, u64)> {
        let before = self.0.load(Ordering::Relaxed);
        if before == 0 || before & 1 == 1 {
            return None;
        }
        let copied = copy();
        fence(Ordering::Acquire);
        (self.0.load(Ordering::Relaxed) == before).then_some((copied, before / 2))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    const WORDS: usize = 64;

    fn torn(
        reads: usize,
        take: fn(&Sequence, &[AtomicU64; WORDS]) -> Option<[u64; WORDS]>,
    ) -> (usize, usize) {
        let (sequence, words) = (Sequence::new(), [const { AtomicU64::new(0) }; WORDS]);
        let is_over = AtomicBool::new(false);
        let (mut whole, mut torn) = (0, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut number = 0;
                while !is_over.load(Ordering::Relaxed) {
                    number += 1;
                    sequence.write(words.iter().map(|word| (word, number)));
                }
            });
            while whole + torn < reads {
                if let Some(copy) = take(&sequence, &words) {
                    let is_one = copy.iter().all(|word| *word == copy[0]);
                    *(if is_one { &mut whole } else { &mut torn }) += 1;
                }
            }
            is_over.store(true, Ordering::Relaxed);
        });
        (whole, torn)
    }

    fn copied(words: &[AtomicU64; WORDS]) -> [u64; WORDS] {
        std::array::from_fn(|at| words[at].load(Ordering::Relaxed))
    }

    #[test]
    fn no_read_mixes_two_writings_and_without_the_sequence_reads_do() {
        let reads = if cfg!(debug_assertions) { 20_000 } else { 1_000_000 };
        let taken = torn(reads, |sequence, words| Some(sequence.read(|| copied(words))?.0));
        assert_eq!(taken, (reads, 0));
        // Shows that the test detects a torn read. On one processor a reader is preempted now and then; on two, reads
        // are torn often.
        let (_, found) = torn(reads, |_, words| Some(copied(words)));
        assert!(found > 0);
    }
}
