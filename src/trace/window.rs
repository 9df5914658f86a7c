//! The window, which is the unit in which records are written: consecutive words of one thread between two readings of
//! the clock.

/// Number of fraction bits of [`Window::step`].
const STEP_BITS: u32 = 16;

/// Consecutive records of one thread between two readings of the clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Window {
    /// Number of the thread's row.
    pub(crate) row: u32,
    /// Time of the first word, in nanoseconds since the start.
    pub(crate) first_ns: u64,
    /// Time from one word to the next, in nanoseconds with 16 fraction bits.
    pub(crate) step: u64,
}

impl Window {
    /// Returns the interpolated time of the record that starts `words_before` words after the start of the window.
    pub(crate) fn at(&self, words_before: u64) -> u64 {
        self.first_ns.saturating_add(self.step.saturating_mul(words_before) >> STEP_BITS)
    }
}
