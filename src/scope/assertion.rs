//! Assertions on what a piece of work allocates.

use std::fmt::Write;
use std::panic::Location;

use super::measurement::{Inconclusive, Measurement};
use super::usage::Usage;
use crate::text::units;

/// Asserts what a block of code allocates, and gives back its value. Right whatever other threads allocate in the
/// meantime: no test has to be alone in its process.
///
/// | figure | meaning |
/// | --- | --- |
/// | `allocations`, `reallocations` | calls that allocated a block, and successful reallocs |
/// | `bytes` | bytes allocated; a realloc counts with its whole new size |
/// | `peak` | maximum of the live bytes |
/// | `retained`, `retained_bytes` | blocks, and bytes, that are live at the end, the value's among them |
///
/// Each figure stands with an operator and a limit. `warmup = N` in front of them runs the block `N` times before, and
/// counts none of that.
///
/// ```
/// # #[global_allocator]
/// # static HEAP: heapledger::HeapLedger = heapledger::HeapLedger::system().dump(heapledger::DumpTarget::Off);
/// # fn main() {
/// let text = heapledger::assert_heap!(allocations <= 2, peak <= 64 * 1024, retained == 1; {
///     String::from("parsed")
/// });
/// assert_eq!(text, "parsed");
/// # }
/// ```
///
/// # Panics
///
/// Panics if a figure is not as asserted, with a table of the figures. Also panics if the figures cannot be exact, with
/// the [reason](crate::scope::Inconclusive): the assertion never passes by chance.
#[macro_export]
macro_rules! assert_heap {
    (warmup = $rounds:expr, $($figure:ident $operator:tt $limit:expr),+ $(,)?; $work:expr) => {{
        for _ in 0..$rounds {
            let _ = $work;
        }
        $crate::assert_heap!($($figure $operator $limit),+; $work)
    }};
    ($($figure:ident $operator:tt $limit:expr),+ $(,)?; $work:expr) => {{
        let measurement = $crate::scope::Measurement::begin();
        let value = $work;
        measurement.assert(&[$($crate::scope::Limit {
            figure: $crate::scope::figures::$figure,
            operator: stringify!($operator),
            limit: ($limit) as u64,
            holds: |figure, limit| figure $operator limit,
        }),+]);
        value
    }};
}

/// Asserts that a block of code neither allocates nor reallocates, and gives back its value. See [`assert_heap!`].
///
/// ```
/// # #[global_allocator]
/// # static HEAP: heapledger::HeapLedger = heapledger::HeapLedger::system().dump(heapledger::DumpTarget::Off);
/// # fn main() {
/// let sum: u64 = heapledger::assert_no_alloc!({ (0..100).sum() });
/// assert_eq!(sum, 4950);
/// # }
/// ```
#[macro_export]
macro_rules! assert_no_alloc {
    ($work:expr) => {
        $crate::assert_heap!(allocations == 0, reallocations == 0; $work)
    };
}

/// A figure of an assertion.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    name: &'static str,
    of: fn(&Usage) -> u64,
    shown: fn(u64) -> String,
}

/// The figures, by their names in [`assert_heap!`].
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
    fn is_kept(&self, usage: &Usage) -> bool {
        (self.holds)((self.figure.of)(usage), self.limit)
    }

    /// Whether the figures keep the limit, even with the highest possible peak.
    fn is_surely_kept(&self, usage: &Usage) -> bool {
        let highest = usage.peak_bytes.saturating_add(usage.peak_uncertainty_bytes);
        self.is_kept(&Usage { peak_bytes: highest, ..*usage })
    }
}

impl Measurement {
    /// Ends the measurement of an assertion.
    #[doc(hidden)]
    #[track_caller]
    pub fn assert(self, limits: &[Limit]) {
        let place = self.place();
        let (usage, inconclusive) = self.end();
        if let Some(message) = failure(place, &usage, inconclusive, limits) {
            panic!("{message}");
        }
    }
}

/// Returns the message of an assertion that fails or cannot be decided; `None` if it holds.
fn failure(
    place: &Location<'_>,
    usage: &Usage,
    inconclusive: Option<Inconclusive>,
    limits: &[Limit],
) -> Option<String> {
    let place = format!("{}:{}", place.file(), place.line());
    if let Some(reason) = inconclusive {
        return Some(format!("heap budget inconclusive: {place}\n  {reason}"));
    }
    if limits.iter().all(|limit| limit.is_surely_kept(usage)) {
        return None;
    }
    let is_decided = limits.iter().any(|limit| !limit.is_kept(usage));
    let verdict = if is_decided { "broken" } else { "inconclusive" };
    let mut message = format!("heap budget {verdict}: {place}");
    // A text takes everything.
    let _ = limits.iter().try_for_each(|limit| write!(message, "\n{}", line(limit, usage)));
    if usage.peak_uncertainty_bytes > 0 {
        let within = units::bytes(usage.peak_uncertainty_bytes);
        let threads = usage.threads;
        let _ = write!(message, "\n  the peak may be higher by {within}: {threads} threads took part");
    }
    if usage.outside_allocations > 0 {
        let outside = units::counted(usage.outside_allocations, "allocation", "allocations");
        let _ = write!(message, "\n  not counted: {outside} of other threads or scopes in the meantime");
    }
    Some(message)
}

/// Returns the line of a figure: the figure, its limit, and the difference.
fn line(limit: &Limit, usage: &Usage) -> String {
    let Limit { figure: Figure { name, of, shown }, operator, limit: bound, .. } = *limit;
    let value = of(usage);
    let line = format!("  {name:<16}{:>12}   allowed {operator} {}", shown(value), shown(bound));
    let (sign, difference) = if value >= bound { ('+', value - bound) } else { ('-', bound - value) };
    if limit.is_kept(usage) { line } else { format!("{line}   ({sign}{})", shown(difference)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(figure: Figure, limit: u64) -> Limit {
        Limit { figure, operator: "<=", limit, holds: |figure, limit| figure <= limit }
    }

    fn said(usage: &Usage, inconclusive: Option<Inconclusive>, limits: &[Limit]) -> Option<String> {
        let place = Location::caller();
        let message = failure(place, usage, inconclusive, limits)?;
        Some(message.replace(&format!("{}:{}", place.file(), place.line()), "tests/parse.rs:42"))
    }

    #[test]
    fn the_message_of_a_broken_budget_keeps_its_form() {
        let usage = Usage {
            allocations: 14,
            peak_bytes: 9728,
            retained_blocks: 1,
            outside_allocations: 4,
            threads: 1,
            ..Usage::default()
        };
        let limits =
            [limit(figures::allocations, 12), limit(figures::peak, 65_536), limit(figures::retained, 0)];
        assert_eq!(
            said(&usage, None, &limits).unwrap(),
            "heap budget broken: tests/parse.rs:42\n  \
             allocations               14   allowed <= 12   (+2)\n  \
             peak                 9.5 KiB   allowed <= 64.0 KiB\n  \
             retained                   1   allowed <= 0   (+1)\n  \
             not counted: 4 allocations of other threads or scopes in the meantime"
        );
        assert_eq!(said(&usage, None, &[limit(figures::allocations, 14)]), None);
    }

    #[test]
    fn a_budget_that_cannot_be_decided_is_inconclusive() {
        let usage = Usage { peak_bytes: 100, peak_uncertainty_bytes: 50, threads: 2, ..Usage::default() };
        let said_of = |bound| said(&usage, None, &[limit(figures::peak, bound)]);
        assert_eq!(
            said_of(120).unwrap(),
            "heap budget inconclusive: tests/parse.rs:42\n  \
             peak                   100 B   allowed <= 120 B\n  \
             the peak may be higher by 50 B: 2 threads took part"
        );
        assert!(said_of(99).unwrap().starts_with("heap budget broken"));
        assert_eq!(said_of(150), None);
        assert_eq!(
            said(&Usage::default(), Some(Inconclusive::Lost { events: 3 }), &[]).unwrap(),
            "heap budget inconclusive: tests/parse.rs:42\n  3 events were lost: see `heapledger::quality()`"
        );
    }
}
