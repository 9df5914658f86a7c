//! Section on tracked pointers (`heapledger::tracked`): their holders, and bursts of clones.

use std::io;

use super::super::escape::escaped;
use super::super::text_page::{TextPage, Tone};
use super::super::units::{count, counted, duration};
use super::subject::Subject;
use heapledger::profile::EventKind;
use heapledger::profile::tracked::{TrackedPointer, TrackedReport};

/// Maximum number of holders listed for one pointer.
const HOLDERS: usize = 3;

/// Heading of the section. The section is left out if the program has no tracked pointers.
pub(in super::super) const HEADING: &str = "Tracked pointers";

pub(in super::super) fn tracked(page: &mut TextPage<'_>, subject: &Subject<'_>) -> io::Result<()> {
    let report = &subject.profile.tracked;
    let (held, storms) = (report.still_held(), report.storms());
    let all = counted(report.pointers.len() as u64, "pointer", "pointers");
    page.fact("tracked", &format!("{all}, {} still held", count(held.len() as u64)))?;
    events(page, report)?;
    for pointer in held.iter().take(page.layout.rows) {
        holders(page, pointer)?;
        last_event(page, subject, pointer)?;
    }
    if held.len() > page.layout.rows {
        let others = (held.len() - page.layout.rows) as u64;
        page.fact("", &format!("and {} more still held", count(others)))?;
    }
    for pointer in storms.iter().take(page.layout.rows) {
        let line = format!(
            "{}: {}, up to {} clones in {} events",
            escaped(&pointer.name),
            counted(pointer.storms, "time", "times"),
            count(pointer.largest_burst_clones),
            count(report.storm_window_events),
        );
        page.fact("clone storms", &line)?;
    }
    let unlisted = &report.unlisted;
    if unlisted.pointers > 0 {
        let line = format!(
            "{} found no room in the list, with {} clones and {} drops",
            counted(unlisted.pointers, "pointer", "pointers"),
            count(unlisted.clones),
            count(unlisted.drops),
        );
        page.toned("not listed", &line, Tone::Bad)?;
    }
    if unlisted.holders_without_place > 0 {
        let line = counted(unlisted.holders_without_place, "holder has", "holders have");
        page.toned("not placed", &format!("{line} no room for where it was made"), Tone::Bad)?;
    }
    page.fact("that is", "what these pointers said themselves; others are not seen")
}

/// Writes the number of events, and how many of them were recorded with time and stack.
fn events(page: &mut TextPage<'_>, report: &TrackedReport) -> io::Result<()> {
    let all = counted(report.events_total, "clone, drop or other event", "clones, drops and other events");
    let line = format!("{all}, {} of them recorded with time and stack", count(report.events_recorded));
    if report.events_unrecorded == 0 {
        return page.fact("events", &line);
    }
    let unrecorded = count(report.events_unrecorded);
    page.toned("events", &format!("{line}, {unrecorded} only counted"), Tone::Bad)
}

/// Writes the last event of a pointer, if the history still has the event.
fn last_event(page: &mut TextPage<'_>, subject: &Subject<'_>, pointer: &TrackedPointer) -> io::Result<()> {
    let profile = subject.profile;
    let mut newest_first = profile.history.iter().rev();
    let last = newest_first.find_map(|event| match event.kind {
        EventKind::Tracked { pointer: id, event: kind, held } if id == pointer.id => {
            Some((event, kind, held))
        }
        _ => None,
    });
    let Some((event, kind, held)) = last else { return Ok(()) };
    let thread = profile.threads.get(event.thread as usize).map_or("?", |row| row.name.as_str());
    let line = format!(
        "last {kind} at {} by {}, {} held then",
        duration(event.at_ns),
        escaped(thread),
        count(held.into())
    );
    page.fact("", &line)
}

fn holders(page: &mut TextPage<'_>, pointer: &TrackedPointer) -> io::Result<()> {
    let line = format!(
        "{}: {:?}<{}> of {}; {} held, {} clones, {} drops",
        escaped(&pointer.name),
        pointer.kind,
        escaped(&pointer.type_name),
        escaped(&pointer.created_at),
        count(pointer.held),
        count(pointer.clones),
        count(pointer.drops),
    );
    page.fact("still held", &line)?;
    for holder in pointer.holders.iter().filter(|holder| holder.held > 0).take(HOLDERS) {
        page.fact("", &format!("{} from {}", count(holder.held), escaped(&holder.place)))?;
    }
    Ok(())
}
