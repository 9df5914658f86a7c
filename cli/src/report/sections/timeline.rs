//! The timeline, drawn: live bytes as bars, allocated bytes under them, and marks where events were lost.

use std::io;

use super::super::plot::bars;
use super::super::sheet::{Sheet, Tone};
use super::super::units::{byte_rate, bytes, counted, duration};
use super::subject::{Subject, certainty, none};
use crate::analysis::{Column, Figure, TimelineFinding, timeline as timeline_of};

/// Rows of the drawing of live bytes.
const LIVE_ROWS: usize = 6;
/// Rows of the drawing of allocated bytes.
const RATE_ROWS: usize = 2;
/// Characters left of the drawing: indent, label, space and axis.
const MARGIN_COLUMNS: usize = 16;
/// Windows of loss that are listed; the rest is summed.
const LOSSES: usize = 6;

pub(in super::super) fn timeline(sheet: &mut Sheet<'_>, subject: &Subject<'_>) -> io::Result<()> {
    let room = sheet.layout.columns() - MARGIN_COLUMNS;
    let found = timeline_of(subject.profile, room);
    if found.columns.is_empty() {
        return none(sheet);
    }
    // A short timeline is stretched by a whole factor, so that no interval looks longer than another.
    let stretch = room / found.columns.len();
    let series = |value: fn(&Column) -> u64| -> Vec<u64> {
        found.columns.iter().flat_map(|column| std::iter::repeat_n(value(column), stretch)).collect()
    };
    let live = series(|column| column.highest_bytes);
    draw(sheet, &live, LIVE_ROWS, &bytes(live.iter().copied().max().unwrap_or(0)), "live")?;
    let allocated = series(|column| column.allocated_bytes);
    draw(sheet, &allocated, RATE_ROWS, &highest_rate(&found), "allocated")?;
    let lost = series(|column| column.lost);
    if lost.iter().any(|events| *events > 0) {
        let marks: String = lost.iter().map(|events| if *events > 0 { '!' } else { ' ' }).collect();
        sheet.line(&format!("{:>14} |{marks}", "lost"))?;
    }
    let end = duration(found.length_ns);
    let ruler = "-".repeat(live.len());
    sheet.line(&format!("{:>14} +{ruler}", ""))?;
    let gap = live.len().saturating_sub(1);
    sheet.line(&format!("{:>14} 0{end:>gap$}", ""))?;
    losses(sheet, &found)?;
    let column_ns = found.columns.iter().map(|column| column.length_ns).max().unwrap_or(0) / stretch as u64;
    sheet.fact(
        "resolution",
        &format!("{} a character, {} recorded", duration(column_ns), duration(found.interval_ns)),
    )?;
    certainty(sheet, subject, Figure::Lifetimes)
}

/// A drawing with the value of its highest bar at its top and its name at its foot.
fn draw(sheet: &mut Sheet<'_>, values: &[u64], rows: usize, top: &str, name: &str) -> io::Result<()> {
    let unicode = sheet.layout.unicode;
    for (index, row) in bars(values, rows, unicode).into_iter().enumerate() {
        let label = match index {
            0 => top,
            last if last + 1 == rows => name,
            _ => "",
        };
        sheet.line(&format!("{label:>14} |{row}"))?;
    }
    Ok(())
}

/// The rate of the column that allocated the most bytes.
fn highest_rate(found: &TimelineFinding) -> String {
    let Some(column) = found.columns.iter().max_by_key(|column| column.allocated_bytes) else {
        return byte_rate(None);
    };
    let product = u128::from(column.allocated_bytes) * 1_000_000_000;
    let per_second = product.checked_div(u128::from(column.length_ns));
    byte_rate(per_second.map(|rate| u64::try_from(rate).unwrap_or(u64::MAX)))
}

fn losses(sheet: &mut Sheet<'_>, found: &TimelineFinding) -> io::Result<()> {
    for window in found.losses.iter().take(LOSSES) {
        let lost = counted(window.lost, "event", "events");
        let span = format!("{lost} lost from {} to {}", duration(window.start_ns), duration(window.end_ns));
        sheet.toned("loss", &span, Tone::Bad)?;
    }
    let rest = found.losses.get(LOSSES..).unwrap_or_default();
    if !rest.is_empty() {
        let lost = rest.iter().fold(0u64, |sum, window| sum.saturating_add(window.lost));
        let windows = counted(rest.len() as u64, "further stretch", "further stretches");
        sheet.toned("loss", &format!("{} lost in {windows}", counted(lost, "event", "events")), Tone::Bad)?;
    }
    Ok(())
}
