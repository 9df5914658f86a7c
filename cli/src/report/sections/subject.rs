//! The input of every section, and the lines that several sections share.

use std::io;

use super::super::certainty_text;
use super::super::detail::Detail;
use super::super::text_page::{TextPage, Tone};
use super::super::units::counted;
use crate::analysis::{FigureGroup, Origin, SiteBook, Verification};
use heapledger::profile::Profile;

/// The profile with everything derived from it that sections show.
pub(in super::super) struct Subject<'a> {
    pub(in super::super) profile: &'a Profile,
    pub(in super::super) origin: &'a Origin,
    pub(in super::super) verdict: Verification,
    pub(in super::super) detail: &'a Detail<'a>,
    /// The sites by call path; `None` when no stacks were taken.
    pub(in super::super) book: Option<SiteBook>,
}

/// Writes the certainty of the figures of a section.
pub(super) fn certainty(
    page: &mut TextPage<'_>,
    subject: &Subject<'_>,
    figure: FigureGroup,
) -> io::Result<()> {
    named_certainty(page, subject, "certainty", figure)
}

/// As [`certainty`], with another name for the line.
pub(super) fn named_certainty(
    page: &mut TextPage<'_>,
    subject: &Subject<'_>,
    name: &str,
    figure: FigureGroup,
) -> io::Result<()> {
    page.toned(name, &certainty_text::phrase(subject.verdict.certainty(figure), figure), Tone::Faint)
}

/// Writes `none`, for a section without content.
pub(super) fn none(page: &mut TextPage<'_>) -> io::Result<()> {
    page.note("none", 2, Tone::Plain)
}

/// A number of blocks, such as `1 block`.
pub(super) fn blocks(n: u64) -> String {
    counted(n, "block", "blocks")
}
