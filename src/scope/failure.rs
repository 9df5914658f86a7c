//! The message of an assertion that fails or cannot be decided. A message has at most forty lines.

use std::fmt::Write;

use super::figure::{Figure, Limit};
use super::measurement::Ended;
use super::places::{self, Ranking};
use super::usage::Usage;
use crate::text::units;

/// An assertion: its name and its limits.
#[derive(Debug)]
pub(super) struct Asserted<'a> {
    /// Place of the assertion, or name of the snapshot.
    pub(super) name: String,
    pub(super) is_of_all_threads: bool,
    pub(super) limits: &'a [Limit],
}

/// Maximum number of figures in a message.
const FIGURES_SHOWN: usize = 16;

/// Returns the message of an assertion that fails or whose figures may be wrong; `None` if the assertion holds.
pub(super) fn failure(asserted: &Asserted<'_>, ended: &Ended) -> Option<String> {
    let Asserted { name, limits, .. } = asserted;
    if let Some(reason) = ended.inconclusive {
        return Some(format!("heap budget inconclusive: {name}\n  {reason}"));
    }
    let usage = &ended.usage;
    if limits.iter().all(|limit| limit.is_surely_kept(usage)) {
        return None;
    }
    let broken = limits.iter().find(|limit| !limit.is_kept(usage));
    let verdict = if broken.is_some() { "broken" } else { "inconclusive" };
    let mut message = format!("heap budget {verdict}: {name}");
    for limit in limits.iter().take(FIGURES_SHOWN) {
        line(&mut message, &figure_line(limit, usage));
    }
    if usage.peak_uncertainty_bytes > 0 && limits.iter().any(|limit| limit.figure.name == "peak") {
        let within = units::bytes(usage.peak_uncertainty_bytes);
        line(
            &mut message,
            &format!("the peak may be higher by {within}: {} threads took part", usage.threads),
        );
    }
    if let Some((scope, broken)) = ended.scope.as_ref().zip(broken) {
        let ranking = Ranking::of_figure(broken.figure.name);
        places::of_scope(scope.cell, ranking).iter().for_each(|text| line(&mut message, text));
        if scope.is_reused {
            line(&mut message, "  of all measurements at this place so far, not of this one alone");
        }
    }
    if asserted.is_of_all_threads {
        line(&mut message, "counted: what all threads of the process did in the meantime");
    }
    if usage.outside_allocations > 0 {
        let outside = units::counted(usage.outside_allocations, "allocation", "allocations");
        line(&mut message, &format!("not counted: {outside} of other threads or scopes in the meantime"));
    }
    Some(message)
}

fn line(message: &mut String, text: &str) {
    // Writing to a `String` cannot fail.
    let _ = write!(message, "\n  {text}");
}

/// Returns the line of a figure: the figure and its limit. If the limit is broken, the difference follows.
fn figure_line(limit: &Limit, usage: &Usage) -> String {
    let Limit { figure: Figure { name, of, shown }, operator, limit: bound, .. } = *limit;
    let value = of(usage);
    let line = format!("{name:<16}{:>12}   allowed {operator} {}", shown(value), shown(bound));
    let (sign, difference) = if value >= bound { ('+', value - bound) } else { ('-', bound - value) };
    if limit.is_kept(usage) { line } else { format!("{line}   ({sign}{})", shown(difference)) }
}

#[cfg(test)]
mod tests {
    use super::super::figure::figures;
    use super::super::measurement::Inconclusive;
    use super::*;

    fn limit(figure: Figure, limit: u64) -> Limit {
        Limit { figure, operator: "<=", limit, holds: |figure, limit| figure <= limit }
    }

    fn said(usage: &Usage, inconclusive: Option<Inconclusive>, limits: &[Limit]) -> Option<String> {
        let asserted = Asserted { name: "tests/parse.rs:42".to_owned(), is_of_all_threads: false, limits };
        failure(&asserted, &Ended { usage: *usage, inconclusive, scope: None })
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

    #[test]
    fn a_message_has_at_most_forty_lines() {
        let limits = [limit(figures::bytes, 0); 100];
        let usage = Usage { bytes: 1, outside_allocations: 1, ..Usage::default() };
        let lines = said(&usage, None, &limits).unwrap().lines().count();
        assert!(lines + places::LINES <= 40, "{lines}");
    }
}
