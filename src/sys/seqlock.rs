//! A sequence lock: one writer publishes many words at once. Any number of readers, also in other processes, either
//! get all words of one writing, or learn that they did not. Readers write nothing, so a read-only mapping is enough
//! for them, and the writer waits for nobody.
//!
//! The sequence is odd while the words are being written. A reader compares the sequence before and after its copy
//! (H.-J. Boehm, "Can seqlocks get along with programming language memory models?", 2012).
//!
//! Writers exclude each other by other means.

use super::sync::{AtomicU64, Ordering, fence};

/// The sequence. All zero bytes are a valid sequence of a lock that was never written.
#[repr(transparent)]
#[derive(Debug)]
pub(crate) struct Sequence(AtomicU64);

impl Sequence {
    #[cfg(any(test, loom))]
    pub(crate) fn new() -> Sequence {
        Sequence(AtomicU64::new(0))
    }

    /// Writes all words. There is one writer at a time.
    pub(crate) fn write<'a>(&self, words: impl Iterator<Item = (&'a AtomicU64, u64)>) {
        // relaxed: only writers change it.
        let before = self.0.load(Ordering::Relaxed) & !1;
        self.0.store(before.wrapping_add(1), Ordering::Relaxed);
        // Release: a reader that sees one of the words below also sees that the sequence is odd.
        fence(Ordering::Release);
        for (word, value) in words {
            word.store(value, Ordering::Relaxed);
        }
        // Release: pairs with the acquire in `read`; a reader that sees the new sequence sees all words.
        self.0.store(before.wrapping_add(2), Ordering::Release);
    }

    /// Whether anything was written, or is being written.
    pub(crate) fn was_written(&self) -> bool {
        // relaxed: it changes once.
        self.0.load(Ordering::Relaxed) != 0
    }

    /// Calls `copy`, which loads the words, and returns its result with the number of writings before it. Returns
    /// `None` if nothing was written yet, or a writing was in progress during the copy.
    pub(crate) fn read<T>(&self, copy: impl FnOnce() -> T) -> Option<(T, u64)> {
        // Acquire: pairs with the release at the end of `write`.
        let before = self.0.load(Ordering::Acquire);
        if before == 0 || before & 1 == 1 {
            return None;
        }
        let copied = copy();
        // Acquire: the words are loaded before the sequence is loaded again.
        fence(Ordering::Acquire);
        (self.0.load(Ordering::Relaxed) == before).then_some((copied, before / 2))
    }
}

/// Twins with orderings that are too weak, which the models must detect.
#[cfg(loom)]
impl Sequence {
    /// Writes as [`Sequence::write`] does, without the fence after the odd sequence.
    pub(crate) fn write_without_fence<'a>(&self, words: impl Iterator<Item = (&'a AtomicU64, u64)>) {
        let before = self.0.load(Ordering::Relaxed) & !1;
        self.0.store(before.wrapping_add(1), Ordering::Relaxed);
        for (word, value) in words {
            word.store(value, Ordering::Relaxed);
        }
        self.0.store(before.wrapping_add(2), Ordering::Release);
    }

    /// Writes as [`Sequence::write`] does, with a relaxed store of the new sequence.
    pub(crate) fn write_unreleased<'a>(&self, words: impl Iterator<Item = (&'a AtomicU64, u64)>) {
        let before = self.0.load(Ordering::Relaxed) & !1;
        self.0.store(before.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        for (word, value) in words {
            word.store(value, Ordering::Relaxed);
        }
        self.0.store(before.wrapping_add(2), Ordering::Relaxed);
    }

    /// Reads as [`Sequence::read`] does, without the fence before the second look.
    pub(crate) fn read_without_fence<T>(&self, copy: impl FnOnce() -> T) -> Option<(T, u64)> {
        let before = self.0.load(Ordering::Acquire);
        if before == 0 || before & 1 == 1 {
            return None;
        }
        let copied = copy();
        (self.0.load(Ordering::Relaxed) == before).then_some((copied, before / 2))
    }

    /// Reads as [`Sequence::read`] does, with a relaxed first look.
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
        // Shows that the test finds a torn read: one processor preempts a reader now and then, two do it all the time.
        let (_, found) = torn(reads, |_, words| Some(copied(words)));
        assert!(found > 0);
    }
}
