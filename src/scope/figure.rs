//! The figures of an assertion, and their limits.

use super::usage::Usage;

/// A figure of an assertion.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    pub(super) name: &'static str,
    pub(super) of: fn(&Usage) -> u64,
    pub(super) shown: fn(u64) -> String,
}

/// The figures, by their names in [`assert_heap!`](crate::assert_heap).
#[doc(hidden)]
#[allow(non_upper_case_globals, reason = "names of figures as they stand in an assertion")]
pub mod figures {
    use super::Figure;
    use crate::text::units::{bytes as bytes_text, count};

    pub const allocations: Figure =
        Figure { name: "allocations", of: |usage| usage.allocations, shown: count };
    pub const reallocations: Figure =
        Figure { name: "reallocations", of: |usage| usage.reallocations, shown: count };
    pub const bytes: Figure = Figure { name: "bytes", of: |usage| usage.bytes, shown: bytes_text };
    pub const peak: Figure = Figure { name: "peak", of: |usage| usage.peak_bytes, shown: bytes_text };
    pub const retained: Figure = Figure { name: "retained", of: |usage| usage.retained_blocks, shown: count };
    pub const retained_bytes: Figure =
        Figure { name: "retained_bytes", of: |usage| usage.retained_bytes, shown: bytes_text };
}

/// The figures of an assertion on all threads.
#[doc(hidden)]
pub mod figures_of_all_threads {
    pub use super::figures::{allocations, bytes, reallocations, retained, retained_bytes};
}

/// All figures, in the order in which tables show them.
pub(super) const ALL: [Figure; 6] = [
    figures::allocations,
    figures::reallocations,
    figures::bytes,
    figures::peak,
    figures::retained,
    figures::retained_bytes,
];

/// A figure with its limit.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    pub figure: Figure,
    pub operator: &'static str,
    pub limit: u64,
    pub holds: fn(u64, u64) -> bool,
}

impl Limit {
    pub(super) fn is_kept(&self, usage: &Usage) -> bool {
        (self.holds)((self.figure.of)(usage), self.limit)
    }

    /// Returns a text with the figure and, in parentheses, its limit, such as `peak 64 B (was 80 B)`.
    pub(super) fn with_figure(&self, usage: &Usage) -> String {
        let Figure { name, of, shown } = self.figure;
        format!("{name} {} (was {})", shown(of(usage)), shown(self.limit))
    }

    /// Whether the figure keeps the limit for the lowest and for the highest possible peak.
    pub(super) fn is_surely_kept(&self, usage: &Usage) -> bool {
        let highest = usage.peak_bytes.saturating_add(usage.peak_uncertainty_bytes);
        self.is_kept(usage) && self.is_kept(&Usage { peak_bytes: highest, ..*usage })
    }
}
