//! The section on tracked pointers: who holds them, and which were cloned in storms.

use std::io;

use super::super::escape::escaped;
use super::super::sheet::{Sheet, Tone};
use super::super::text::Subject;
use super::super::units::{count, counted};
use crate::profile::tracked::TrackedPointer;

/// Holders listed for one pointer.
const HOLDERS: usize = 3;

/// Its heading. The section is there only if the program has a tracked pointer: most have none.
pub(in super::super) const HEADING: &str = "Tracked pointers";

pub(in super::super) fn tracked(sheet: &mut Sheet<'_>, subject: &Subject<'_>) -> io::Result<()> {
    let report = &subject.profile.tracked;
    let (held, storms) = (report.still_held(), report.storms());
    let all = counted(report.pointers.len() as u64, "pointer", "pointers");
    sheet.fact("tracked", &format!("{all}, {} still held", count(held.len() as u64)))?;
    for pointer in held.iter().take(sheet.layout.rows) {
        holders(sheet, pointer)?;
    }
    if held.len() > sheet.layout.rows {
        let others = (held.len() - sheet.layout.rows) as u64;
        sheet.fact("", &format!("and {} more still held", count(others)))?;
    }
    for pointer in storms.iter().take(sheet.layout.rows) {
        let line = format!(
            "{}: {}, up to {} clones in {} events",
            escaped(&pointer.name),
            counted(pointer.storms, "time", "times"),
            count(pointer.largest_burst_clones),
            count(report.storm_window_events),
        );
        sheet.fact("clone storms", &line)?;
    }
    let unlisted = &report.unlisted;
    if unlisted.pointers > 0 {
        let line = format!(
            "{} found no room in the list, with {} clones and {} drops",
            counted(unlisted.pointers, "pointer", "pointers"),
            count(unlisted.clones),
            count(unlisted.drops),
        );
        sheet.toned("not listed", &line, Tone::Bad)?;
    }
    if unlisted.holders_without_place > 0 {
        let line = counted(unlisted.holders_without_place, "holder has", "holders have");
        sheet.toned("not placed", &format!("{line} no room for where it was made"), Tone::Bad)?;
    }
    sheet.fact("that is", "what these pointers said themselves; others are not seen")
}

fn holders(sheet: &mut Sheet<'_>, pointer: &TrackedPointer) -> io::Result<()> {
    let line = format!(
        "{}: {:?}<{}> of {}; {} held, {} clones, {} drops",
        escaped(&pointer.name),
        pointer.shape,
        escaped(&pointer.type_name),
        escaped(&pointer.created_at),
        count(pointer.held),
        count(pointer.clones),
        count(pointer.drops),
    );
    sheet.fact("still held", &line)?;
    for holder in pointer.holders.iter().filter(|holder| holder.held > 0).take(HOLDERS) {
        sheet.fact("", &format!("{} from {}", count(holder.held), escaped(&holder.place)))?;
    }
    Ok(())
}
