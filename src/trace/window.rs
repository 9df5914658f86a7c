//! The unit in which records are written: a run of words of one thread between two readings of the clock.

/// Fraction bits of [`Window::step`].
const STEP_BITS: u32 = 16;

/// A run of records of one thread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Window {
    /// Number of the thread's row.
    pub(crate) row: u32,
    /// Time of the first word, in nanoseconds since the start.
    pub(crate) first_ns: u64,
    /// Nanoseconds from one word to the next, with 16 fraction bits.
    pub(crate) step: u64,
}

impl Window {
    /// The interpolated time of the record behind `words_before` words.
    pub(crate) fn at(&self, words_before: u64) -> u64 {
        self.first_ns.saturating_add(self.step.saturating_mul(words_before) >> STEP_BITS)
    }
}
