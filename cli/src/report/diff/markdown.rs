//! Differences between two profiles in Markdown, for the summary of a pull request.

use std::io::{self, Write};

use super::super::markdown::{Cells, code, plain, rows};
use super::{FIGURES, described, growth, names, sentence, signed, total_of};
use crate::analysis::diff::change;
use crate::analysis::{Diff, Side, SiteOrder};
use crate::report::units::{bytes, count};

/// Figures that the table of places shows, in the order of the columns.
const COLUMNS: [SiteOrder; 4] = [SiteOrder::Peak, SiteOrder::Live, SiteOrder::Total, SiteOrder::Count];

/// Writes the result of a comparison as Markdown: the largest change in one sentence, the totals, and the `top` places
/// that changed most by the figure `order`. If `order` is `None`, the figure is [`Diff::most_changed`].
///
/// # Errors
///
/// Returns an error if `out` does.
pub fn write_diff_markdown(
    diff: &Diff,
    before: Side<'_>,
    after: Side<'_>,
    order: Option<SiteOrder>,
    top: usize,
    out: &mut dyn Write,
) -> io::Result<()> {
    let order = order.unwrap_or_else(|| diff.most_changed());
    let changed = diff.places(order);
    let whole = change(diff.before.of(order), diff.after.of(order));
    let mark = if whole > 0 { "🔺" } else { "✅" };
    let by = if whole == 0 { "unchanged".to_owned() } else { signed(whole, order.is_in_bytes()) };
    writeln!(out, "### Heap: {} {by} {mark}\n", total_of(order))?;
    if let Some(first) = changed.first() {
        let amount = signed(first.change(order), order.is_in_bytes());
        writeln!(out, "Most of it, {amount}: {}\n", code(&names(diff, first, order)))?;
    }
    for issue in &diff.issues {
        let label = if issue.forbids() { "⚠️ not comparable" } else { "keep in mind" };
        writeln!(out, "* {label}: {}", plain(&sentence(issue)))?;
    }
    if !diff.issues.is_empty() {
        writeln!(out)?;
    }
    let totals: Vec<Cells> = FIGURES
        .iter()
        .map(|(name, figure, is_bytes)| {
            let (before, after) = (figure(&diff.before), figure(&diff.after));
            let shown = |value| if *is_bytes { bytes(value) } else { count(value) };
            let grown = signed(change(before, after), *is_bytes);
            vec![shown(before), shown(after), grown, growth(before, after), (*name).to_owned()]
        })
        .collect();
    out.write_all(rows(&["before", "after", "change", "", "figure"], &totals).as_bytes())?;
    if !changed.is_empty() {
        let table: Vec<Cells> = changed
            .iter()
            .take(top)
            .map(|place| {
                let figures = COLUMNS.map(|order| signed(place.change(order), order.is_in_bytes()));
                figures.into_iter().chain([code(&names(diff, place, order))]).collect()
            })
            .collect();
        writeln!(out)?;
        let titles = ["at peak", "live", "allocated", "blocks", "function < its callers"];
        out.write_all(rows(&titles, &table).as_bytes())?;
    }
    let more = changed.len().saturating_sub(top);
    if more > 0 {
        writeln!(out, "\n{} more places", count(more as u64))?;
    }
    writeln!(out, "\nbefore: {}; after: {}", plain(&described(before)), plain(&described(after)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{Origin, diff, sample};

    #[test]
    fn the_first_line_names_the_change_and_the_second_its_place() {
        let (before, mut after) = (sample::named(), sample::named());
        after.sites[1].total_bytes += 3_000;
        after.totals.total_bytes += 3_000;
        after.totals.live_bytes += 3_000;
        let origin = Origin::default();
        let side = |profile| Side { profile, origin: &origin };
        let (before, after) = (side(&before), side(&after));
        let mut out = Vec::new();
        let compared = diff(before, after);
        write_diff_markdown(&compared, before, after, Some(SiteOrder::Live), 5, &mut out).expect("a vector");
        let text = String::from_utf8(out).expect("text");
        assert!(text.starts_with("### Heap: live bytes +2.9 KiB 🔺\n\nMost of it, +2.9 KiB: `"), "{text}");
        assert!(text.contains("Vec<T>::push < parse < main (2 stacks)`"), "{text}");
        assert!(text.contains("| 1.5 KiB | 4.4 KiB | +2.9 KiB | +198.5 % | live bytes |"), "{text}");
    }
}
