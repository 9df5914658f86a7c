//! The sparse part of a region: large tables at the region's end, whose pages are committed when they are used.
//!
//! A table that is filled from the front needs its address space at once, but its memory only later. A page that is not
//! committed is not memory of the process. So `mlockall` does not populate and lock it, and it does not count towards
//! the limit of locked memory.
//!
//! Invariant **P3**: a step of pages is marked as committed only after it was committed, and stays committed.

use super::sync::{AtomicU32, AtomicU64, Ordering};

/// Number of pages of a step, which are committed at once.
pub(super) const STEP_PAGES: u32 = 16;
/// Maximum number of steps of the sparse part: 2 GiB in total.
const STEPS: u32 = 1 << 15;

/// The sparse part and its committed steps. All zero bytes are an empty part.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Sparse {
    /// Number of pages of the part, a multiple of [`STEP_PAGES`].
    pages: AtomicU32,
    /// The committed steps, one bit each. Step 0 is at the end of the region, and further steps lie below it.
    committed: [AtomicU64; (STEPS / u64::BITS) as usize],
}

impl Sparse {
    /// Returns the number of pages of the part.
    pub(super) fn pages(&self) -> u32 {
        // relaxed: written before the table in these pages was published.
        self.pages.load(Ordering::Relaxed)
    }

    /// Extends the part by a table of `pages` pages if the number of steps allows it. Returns whether it was extended.
    /// The caller holds the latch of the region.
    pub(super) fn extend(&self, pages: u32) -> bool {
        let all = self.pages().saturating_add(pages.next_multiple_of(STEP_PAGES));
        // relaxed, all: the latch orders them.
        let fits = all / STEP_PAGES <= STEPS;
        if fits {
            self.pages.store(all, Ordering::Relaxed);
        }
        fits
    }

    /// Returns whether a step is committed.
    pub(super) fn is_committed(&self, step: u32) -> bool {
        let (word, bit) = Sparse::place(step);
        // Acquire: pairs with the release in `mark`; a thread that sees the bit finds the pages mapped.
        self.committed.get(word).is_some_and(|word| word.load(Ordering::Acquire) & bit != 0)
    }

    /// Marks a step as committed.
    pub(super) fn mark(&self, step: u32) {
        let (word, bit) = Sparse::place(step);
        if let Some(word) = self.committed.get(word) {
            // Release: pairs with the acquire in `is_committed`.
            word.fetch_or(bit, Ordering::Release);
        }
    }

    fn place(step: u32) -> (usize, u64) {
        ((step / u64::BITS) as usize, 1 << (step % u64::BITS))
    }
}
