//! The input of every section, and the lines that several sections share.

use std::io;

use super::super::detail::Detail;
use super::super::sheet::{Sheet, Tone};
use super::super::units::counted;
use super::super::words;
use crate::analysis::{Figure, Origin, SiteBook, Verdict};
use heapledger::profile::Profile;

/// What every section is written from.
pub(in super::super) struct Subject<'a> {
    pub(in super::super) profile: &'a Profile,
    pub(in super::super) origin: &'a Origin,
    pub(in super::super) verdict: Verdict,
    pub(in super::super) detail: &'a Detail<'a>,
    /// The sites by call path; `None` when no stacks were taken.
    pub(in super::super) book: Option<SiteBook>,
}

/// Writes the line on how far the figures of a section can be trusted.
pub(super) fn certainty(sheet: &mut Sheet<'_>, subject: &Subject<'_>, figure: Figure) -> io::Result<()> {
    labelled_certainty(sheet, subject, "certainty", figure)
}

/// As [`certainty`], under a label of its own.
pub(super) fn labelled_certainty(
    sheet: &mut Sheet<'_>,
    subject: &Subject<'_>,
    label: &str,
    figure: Figure,
) -> io::Result<()> {
    sheet.toned(label, &words::standing(subject.verdict.standing(figure), figure), Tone::Faint)
}

/// Writes the line of a section that has nothing to list.
pub(super) fn none(sheet: &mut Sheet<'_>) -> io::Result<()> {
    sheet.note("none", 2, Tone::Plain)
}

/// A number of blocks with its noun.
pub(super) fn blocks(n: u64) -> String {
    counted(n, "block", "blocks")
}
