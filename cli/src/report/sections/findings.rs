//! First section: the completeness of the data, then the findings.

use std::io;

use super::super::certainty_text;
use super::super::escape::escaped;
use super::super::text_page::{TextPage, Tone};
use super::super::units::{bytes, count, counted, duration, share};
use super::super::warnings::warnings;
use super::heap::savings;
use super::places::ShownPath;
use super::subject::{Subject, blocks};
use crate::analysis::course::CourseKind;
use crate::analysis::retained::SPANS;
use crate::analysis::{
    Finding, FindingKind, GroupBy, MemoryKind, SiteBook, View, findings as findings_of, memory as memory_of,
    site_book,
};
use heapledger::profile::{Profile, TEMPORARY_ALLOCS};
use heapledger::quality::completeness_percent;

pub(in super::super) fn findings(page: &mut TextPage<'_>, subject: &Subject<'_>) -> io::Result<()> {
    let (profile, origin) = (subject.profile, subject.origin);
    let (text, is_good) = completeness(profile, origin.is_whole());
    page.toned("complete", &text, if is_good { Tone::Good } else { Tone::Bad })?;
    for part in &origin.damage {
        page.toned("file damage", &escaped(part), Tone::Bad)?;
    }
    for warning in warnings(profile, &subject.verdict, origin) {
        page.toned("warning", &format!("{} {}", warning.seen, warning.advice), Tone::Bad)?;
    }
    places(page, subject)?;
    resident(profile).map_or(Ok(()), |text| page.fact("resident", &text))
}

/// Writes the findings on places (lines of a [`SiteBook`]).
fn places(page: &mut TextPage<'_>, subject: &Subject<'_>) -> io::Result<()> {
    let profile = subject.profile;
    // Findings name places. If the report sums by scope or by thread, the sites are summed by place here.
    let group = subject.detail.view.group;
    let of_places = (!group.is_place())
        .then(|| site_book(profile, &View { group: GroupBy::Line, ..subject.detail.view.clone() }));
    let has_stacks = profile.sites.iter().any(|site| site.stack != 0);
    let Some(book) = of_places.as_ref().or(subject.book.as_ref()).filter(|_| has_stacks) else {
        return page.fact("places", &without_stacks(profile));
    };
    let found = findings_of(profile, book);
    if found.is_empty() {
        return page.fact("places", "none stands out");
    }
    for finding in &found {
        let (name, text) = sentence(profile, book, finding, page.layout.columns());
        page.fact(name, &text)?;
    }
    Ok(())
}

/// Returns why no block has a call stack. Suggests the environment variable if only the settings are the reason.
fn without_stacks(profile: &Profile) -> String {
    let figures = &profile.stack_figures;
    match (figures.walker.as_str(), figures.why.as_str()) {
        ("" | "off", "" | "asked for") => {
            "none: no call stacks were taken (HEAPLEDGER_STACKS=auto takes them)".into()
        }
        ("off", why) => format!("none: no call stacks were taken ({})", escaped(why)),
        (walker, why) => format!("none: no block has a call stack ({}: {})", escaped(walker), escaped(why)),
    }
}

/// Returns the sentence on the largest part of the resident memory, with advice. Returns `None` if there is no advice:
/// the part is the program's live blocks, is untouched, or is unknown.
pub(in super::super) fn resident(profile: &Profile) -> Option<String> {
    let found = memory_of(profile)?;
    let part = found.part(found.most?)?;
    let advice = match part.kind {
        MemoryKind::AllocatorKeeps if profile.memory.allocator == "jemalloc" => {
            "`arena.4096.purge` gives it back, and a shorter `dirty_decay_ms` keeps less"
        }
        MemoryKind::AllocatorKeeps => {
            "`malloc_trim` gives it back, and an allocator that returns memory sooner keeps less"
        }
        MemoryKind::InAllocator => "`mi_collect` gives back what is free",
        MemoryKind::OtherCode => "its blocks are in no figure below: look at what that code keeps",
        MemoryKind::OutsideAllocator => "/proc/PID/smaps lists them",
        MemoryKind::Heapledger => "HEAPLEDGER_STACKS=off takes much less",
        MemoryKind::Program | MemoryKind::Unexplained | MemoryKind::Untouched => return None,
    };
    let (least, most) = part.bounds;
    Some(format!(
        "{} resident at the end and {} live; {} of it ({} to {}): {}; {advice}",
        bytes(found.resident_bytes),
        bytes(profile.totals.live_bytes),
        bytes(part.bytes),
        bytes(least),
        bytes(most),
        part.kind.name()
    ))
}

/// Returns the sentence on the completeness of a profile, and whether the profile is complete.
pub(in super::super) fn completeness(profile: &Profile, is_whole: bool) -> (String, bool) {
    let quality = &profile.quality;
    if !quality.installed {
        return (certainty_text::no_completeness(is_whole).to_owned(), false);
    }
    let lost = quality.lost.total();
    let percent = completeness_percent(quality.recorded, lost);
    let attempted = counted(quality.attempted, "event", "events");
    let mut text = match lost {
        0 => format!("{percent}: {attempted} attempted, none lost"),
        lost => {
            let reasons = quality.lost.iter().filter(|(_, events)| *events > 0);
            let reasons: Vec<String> =
                reasons.map(|(reason, events)| format!("{} {}", reason.name(), count(events))).collect();
            let reasons = reasons.join(", ");
            format!("{percent}: {} of {attempted} lost ({reasons}), every sum is a lower bound", count(lost))
        }
    };
    if quality.sampled_out > 0 {
        text.push_str(&format!(", {} left out by sampling", count(quality.sampled_out)));
    }
    if !is_whole {
        text.push_str("; parts of the file could not be read");
    }
    (text, lost == 0 && quality.sampled_out == 0 && is_whole)
}

/// Returns the end of the sentence on a large place, which says how its live bytes grew.
fn grew(course: Option<CourseKind>) -> &'static str {
    match course {
        Some(CourseKind::KeepsGrowing) => ", and kept growing",
        Some(CourseKind::GivenBack) => ", and grew until it was freed at the end",
        Some(CourseKind::LevelsOff) => ", and had stopped growing",
        Some(CourseKind::RisesAndFalls | CourseKind::Unclear) | None => "",
    }
}

/// Returns the name of a finding, and its sentence with place, figure and advice.
pub(in super::super) fn sentence(
    profile: &Profile,
    book: &SiteBook,
    finding: &Finding,
    width: usize,
) -> (&'static str, String) {
    let line = &book.lines[finding.line];
    let shown = ShownPath { functions: &book.functions, path: &line.path, lines: &line.lines, label: "" };
    let place = shown.place(book.group, width);
    match &finding.kind {
        FindingKind::LargestAtPeak { bytes: held, of_bytes, course } => {
            let (part, when) = (share(*held, *of_bytes), duration(profile.peak.at_ns));
            let held = bytes(*held);
            let grew = grew(*course);
            (
                "largest",
                format!("{place} held {held} when most was live, after {when}: {part} of the peak{grew}"),
            )
        }
        FindingKind::LargestLive { bytes: held, of_bytes } => {
            let part = share(*held, *of_bytes);
            ("still live", format!("{place} holds {} at the end: {part} of what is live", bytes(*held)))
        }
        FindingKind::KeepsGrowing(course) => (
            "keeps growing",
            format!(
                "{place} holds {} at the end; its live bytes rose in {} of {} intervals, {} a second; give it a bound, or \
                 free what is no longer used",
                bytes(course.retained_bytes()),
                course.rises,
                course.steps(),
                bytes(course.slope_bytes_per_s.unsigned_abs()),
            ),
        ),
        FindingKind::GrewUntilTheEnd(course) => (
            "grew to the end",
            format!(
                "{place} held up to {}; its live bytes rose in {} of {} intervals and were freed at the end; give it a \
                 bound, if it is a queue or what tasks and connections hold",
                bytes(course.highest_bytes()),
                course.rises,
                course.steps(),
            ),
        ),
        FindingKind::AllocatedThroughout(place_of) => (
            "keeps growing",
            format!(
                "{place} holds {} in {} at the end, allocated in {} of {SPANS} equal parts of the run; give it a \
                 bound, or free what is no longer used",
                bytes(place_of.bytes),
                blocks(place_of.blocks),
                place_of.spans(),
            ),
        ),
        FindingKind::Temporary { blocks: freed, of_blocks, bytes: size } => (
            "temporary",
            format!(
                "{place} freed {} of its {} ({}) within {TEMPORARY_ALLOCS} more allocations; borrow, or reuse one \
                 buffer",
                count(*freed),
                blocks(*of_blocks),
                bytes(*size),
            ),
        ),
        FindingKind::Capacity(growth) => ("capacity", format!("{place}: {}", savings(growth))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::sample;
    use heapledger::profile::ProcessMemory;

    #[test]
    fn memory_that_is_not_the_programs_is_named_with_its_bounds() {
        let mut profile = sample::complete();
        assert_eq!(resident(&profile), None, "nothing is known");
        profile.memory = ProcessMemory {
            anonymous_bytes: Some(100 << 20),
            allocator: "glibc".into(),
            allocator_used_bytes: Some(80 << 20),
            allocator_free_bytes: Some(1 << 20),
            blocks_at_least_bytes: Some(2_200),
            blocks_at_most_bytes: Some(4_000),
            ..ProcessMemory::default()
        };
        let text = resident(&profile).expect("a finding");
        assert!(text.starts_with("100.0 MiB resident at the end and 2.1 KiB live; 8"), "{text}");
        assert!(text.contains("C code"), "{text}");
        profile.memory.allocator_used_bytes = Some(4_000);
        profile.memory.allocator_free_bytes = Some(90 << 20);
        assert!(resident(&profile).expect("a finding").contains("malloc_trim"));
    }

    #[test]
    fn stacks_are_recommended_only_where_they_are_off() {
        let mut profile = sample::complete();
        let mut said = |walker: &str, why: &str| {
            (profile.stack_figures.walker, profile.stack_figures.why) = (walker.into(), why.into());
            without_stacks(&profile)
        };
        assert!(said("off", "asked for").contains("HEAPLEDGER_STACKS=auto"));
        assert!(!said("\u{1b}[31m", "\n").contains(['\u{1b}', '\n']), "a damaged file may say anything");
        assert!(said("off", "there was no memory for them").contains("(there was no memory for them)"));
        let none_taken = said("frame pointers", "no stack has been compared with the unwind tables yet");
        assert!(
            none_taken.contains("(frame pointers: no stack") && !none_taken.contains("auto"),
            "{none_taken}"
        );
    }
}
