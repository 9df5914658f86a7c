//! Differential flame graph of two profiles, as a page in one file.
//!
//! The width of a frame is its figure in the second profile. [`inferno`] draws the frame red if the figure grew and
//! blue if it shrank. Sites that exist only in the first profile have no width, so a table below the graph lists them.
//! The quality of both profiles is shown above the graph.

use std::collections::BTreeMap;
use std::io::{self, Write};

use inferno::flamegraph::{Options, from_lines};

use super::super::units::{bytes_exact, counted};
use super::{described, sentence, signed};
use crate::analysis::name_simplify::in_collapsed_stack;
use crate::analysis::{Diff, Presence, Side, SiteOrder};

/// Maximum number of listed sites that exist only in the first profile.
const GONE_ROWS: usize = 100;

const STYLE: &str = "body{font:15px/1.4 system-ui,sans-serif;margin:1.5em;color:#222;background:#fff}\
.bad{background:#c00;color:#fff;padding:.3em .6em}table{border-collapse:collapse}td{padding:.1em .8em .1em 0;\
vertical-align:top}td:first-child{text-align:right;white-space:nowrap}code{word-break:break-word}\
svg{display:block;width:100%}";

/// Writes the page with the differential flame graph.
///
/// # Errors
///
/// Returns an error if `out` does, and [`io::ErrorKind::InvalidData`] if a figure is too large for inferno to draw.
pub fn write_diff_html(
    diff: &Diff,
    before: Side<'_>,
    after: Side<'_>,
    order: SiteOrder,
    out: &mut impl Write,
) -> io::Result<()> {
    let unit = if order.is_in_bytes() { "bytes" } else { "blocks" };
    let title = format!("heapledger diff: {} ({unit})", order.name());
    writeln!(out, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>")?;
    writeln!(out, "<style>{STYLE}</style></head><body>\n<h1>{title}</h1>")?;
    writeln!(out, "<p>before: {}<br>after: {}</p>", text(&described(before)), text(&described(after)))?;
    for issue in &diff.issues {
        let class = if issue.forbids() { " class=\"bad\"" } else { "" };
        let label = if issue.forbids() { "Not comparable: " } else { "" };
        writeln!(out, "<p{class}>{label}{}</p>", text(&sentence(issue)))?;
    }
    let (was, is) = (diff.before.of(order), diff.after.of(order));
    let grown = signed(crate::analysis::diff::change(was, is), order.is_in_bytes());
    let shown =
        |value| if order.is_in_bytes() { bytes_exact(value) } else { counted(value, "block", "blocks") };
    writeln!(out, "<p>{} before, {} after: {}</p>", shown(was), shown(is), text(&grown))?;
    writeln!(
        out,
        "<p>Widths are those after. Where blocks were allocated, red has grown and blue has shrunk.</p>"
    )?;
    graph(diff, order, unit, out)?;
    gone(diff, order, out)?;
    writeln!(out, "</body></html>")
}

fn graph(diff: &Diff, order: SiteOrder, unit: &str, out: &mut impl Write) -> io::Result<()> {
    // Stacks with different names can become the same line, so the figures of equal lines are summed. The map also
    // sorts.
    let mut stacks: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for site in &diff.sites {
        let mut names: Vec<String> = diff.names(&site.stack).rev().map(in_collapsed_stack).collect();
        if names.is_empty() {
            names.push("(no stack)".into());
        }
        let sums = stacks.entry(names.join(";")).or_default();
        sums.0 = sums.0.saturating_add(site.before.of(order));
        sums.1 = sums.1.saturating_add(site.after.of(order));
    }
    let all = stacks.values().fold(0u64, |sum, (_, after)| sum.saturating_add(*after));
    if all == 0 {
        return writeln!(out, "<p>Nothing is there after.</p>");
    }
    if all > 1 << 53 {
        let text = "the figures are larger than a flame graph can draw";
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let lines: Vec<String> = stacks
        .iter()
        .filter(|(_, (_, after))| *after > 0)
        .map(|(stack, (before, after))| format!("{stack} {} {after}", (*before).min(1 << 53)))
        .collect();
    let mut options = Options::default();
    options.title = "after, coloured by change".into();
    options.count_name = unit.into();
    let mut drawn = Vec::new();
    from_lines(&mut options, lines.iter().map(String::as_str), &mut drawn)?;
    let drawn = String::from_utf8_lossy(&drawn);
    // Only the drawing goes into the page, without the XML declaration before it.
    let start = drawn.find("<svg").unwrap_or(0);
    writeln!(out, "{}", &drawn[start..])
}

fn gone(diff: &Diff, order: SiteOrder, out: &mut impl Write) -> io::Result<()> {
    let changed = diff.by_change(order);
    let rows: Vec<_> = changed.iter().filter(|site| site.presence == Presence::Gone).collect();
    writeln!(
        out,
        "<h2>Gone</h2><p>{} sites that are not there after, the largest first.</p><table>",
        rows.len()
    )?;
    for site in rows.iter().take(GONE_ROWS) {
        let names: Vec<&str> = diff.names(&site.stack).collect();
        let shown = if names.is_empty() { "(no stack)".to_owned() } else { names.join(" < ") };
        let amount = signed(site.change(order), order.is_in_bytes());
        writeln!(out, "<tr><td>{}</td><td><code>{}</code></td></tr>", text(&amount), text(&shown))?;
    }
    writeln!(out, "</table>")
}

/// Returns `raw` as HTML text, with all markup escaped.
fn text(raw: &str) -> String {
    let raw = super::escaped(raw);
    raw.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{Origin, diff, sample};
    use heapledger::profile::Profile;

    fn page(before: &Profile, after: &Profile) -> String {
        let origin = Origin::default();
        let (before, after) =
            (Side { profile: before, origin: &origin }, Side { profile: after, origin: &origin });
        let mut out = Vec::new();
        write_diff_html(&diff(before, after), before, after, SiteOrder::Total, &mut out).expect("a vector");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn the_graph_shows_what_changed_and_the_list_what_is_gone() {
        let mut after = sample::named();
        after.sites[3].total_bytes += 1_000;
        after.sites.remove(4);
        let page = page(&sample::named(), &after);
        assert!(
            page.contains("<title>main;libx.so+0x123") || page.contains("libx.so+0x123 (11,001 bytes"),
            "{page}"
        );
        assert!(page.contains("<td>-64 B</td><td><code>0xefff</code></td>"), "{page}");
        assert!(!page.contains("<?xml") && !page.contains("src=\"http") && !page.contains("href=\"http"));
    }

    #[test]
    fn names_are_text_wherever_they_stand() {
        let mut after = sample::named();
        after.process.program = "<script>alert(1)</script>".into();
        after.symbols.strings[1] = "<img src=x onerror=alert(1)>;]]></script> 12".into();
        for page in [page(&sample::named(), &after), page(&after, &sample::named())] {
            assert!(!page.contains("<img") && !page.contains("<script>alert"), "{page}");
        }
    }

    #[test]
    fn nothing_gives_a_page_too() {
        assert!(page(&sample::empty(), &sample::empty()).contains("Nothing is there after."));
    }
}
