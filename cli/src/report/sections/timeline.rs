//! Timeline as a bar chart: bars of live bytes, below them bars of allocated bytes, and marks for intervals with lost
//! events.

use std::io;

use super::super::plot::bars;
use super::super::text_page::{TextPage, Tone};
use super::super::units::{byte_rate, bytes, counted, duration};
use super::subject::{Subject, certainty, none};
use crate::analysis::{Column, FigureGroup, TimelineFinding, timeline as timeline_of};

/// Height of the bars of live bytes, in rows.
const LIVE_ROWS: usize = 6;
/// Height of the bars of allocated bytes, in rows.
const RATE_ROWS: usize = 2;
/// Width of the margin left of the drawing, in characters: indent, label, space and axis.
const MARGIN_COLUMNS: usize = 16;
/// Maximum number of listed periods with lost events. One more line sums the remaining periods.
const LOSSES: usize = 6;

pub(in super::super) fn timeline(page: &mut TextPage<'_>, subject: &Subject<'_>) -> io::Result<()> {
    let room = page.layout.columns() - MARGIN_COLUMNS;
    let found = timeline_of(subject.profile, room);
    if found.columns.is_empty() {
        return none(page);
    }
    // A short timeline is stretched by an integer factor, so that all intervals have the same width.
    let stretch = room / found.columns.len();
    let series = |value: fn(&Column) -> u64| -> Vec<u64> {
        found.columns.iter().flat_map(|column| std::iter::repeat_n(value(column), stretch)).collect()
    };
    let live = series(|column| column.highest_bytes);
    draw(page, &live, LIVE_ROWS, &bytes(live.iter().copied().max().unwrap_or(0)), "live")?;
    let allocated = series(|column| column.allocated_bytes);
    draw(page, &allocated, RATE_ROWS, &highest_rate(&found), "allocated")?;
    let lost = series(|column| column.lost);
    if lost.iter().any(|events| *events > 0) {
        let marks: String = lost.iter().map(|events| if *events > 0 { '!' } else { ' ' }).collect();
        page.line(&format!("{:>14} |{marks}", "lost"))?;
    }
    let end = duration(found.length_ns);
    let ruler = "-".repeat(live.len());
    page.line(&format!("{:>14} +{ruler}", ""))?;
    let gap = live.len().saturating_sub(1);
    page.line(&format!("{:>14} 0{end:>gap$}", ""))?;
    let highest = found.columns.iter().map(|column| column.highest_bytes).max().unwrap_or(0);
    let (least, most) = subject.profile.peak_bounds();
    if highest != subject.profile.peak.bytes {
        let text = format!(
            "{} here, {} as booked; threads book in batches, and the peak lies between {} and {}",
            bytes(highest),
            bytes(subject.profile.peak.bytes),
            bytes(least),
            bytes(most),
        );
        page.fact("peak", &text)?;
    }
    losses(page, &found)?;
    let column_ns = found.columns.iter().map(|column| column.length_ns).max().unwrap_or(0) / stretch as u64;
    page.fact(
        "resolution",
        &format!("{} a character, {} recorded", duration(column_ns), duration(found.interval_ns)),
    )?;
    certainty(page, subject, FigureGroup::Lifetimes)
}

/// Draws bars. `top` is the text beside the highest row, and `name` the text beside the lowest row.
fn draw(page: &mut TextPage<'_>, values: &[u64], rows: usize, top: &str, name: &str) -> io::Result<()> {
    let unicode = page.layout.unicode;
    for (index, row) in bars(values, rows, unicode).into_iter().enumerate() {
        let text = match index {
            0 => top,
            last if last + 1 == rows => name,
            _ => "",
        };
        page.line(&format!("{text:>14} |{row}"))?;
    }
    Ok(())
}

/// Returns the allocation rate of the column that allocated the most bytes.
fn highest_rate(found: &TimelineFinding) -> String {
    let Some(column) = found.columns.iter().max_by_key(|column| column.allocated_bytes) else {
        return byte_rate(None);
    };
    let product = u128::from(column.allocated_bytes) * 1_000_000_000;
    let per_second = product.checked_div(u128::from(column.length_ns));
    byte_rate(per_second.map(|rate| u64::try_from(rate).unwrap_or(u64::MAX)))
}

fn losses(page: &mut TextPage<'_>, found: &TimelineFinding) -> io::Result<()> {
    for window in found.losses.iter().take(LOSSES) {
        let lost = counted(window.lost, "event", "events");
        let span = format!("{lost} lost from {} to {}", duration(window.start_ns), duration(window.end_ns));
        page.toned("loss", &span, Tone::Bad)?;
    }
    let rest = found.losses.get(LOSSES..).unwrap_or_default();
    if !rest.is_empty() {
        let lost = rest.iter().fold(0u64, |sum, window| sum.saturating_add(window.lost));
        let windows = counted(rest.len() as u64, "further stretch", "further stretches");
        page.toned("loss", &format!("{} lost in {windows}", counted(lost, "event", "events")), Tone::Bad)?;
    }
    Ok(())
}
