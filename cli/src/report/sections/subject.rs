//! Input of all sections, and lines that several sections share.

use std::io;

use super::super::certainty_text;
use super::super::detail::Detail;
use super::super::text_page::{TextPage, Tone};
use super::super::units::counted;
use crate::analysis::{FigureGroup, Origin, SiteBook, Verification};
use heapledger::profile::Profile;

/// Profile, with derived values that several sections need.
pub(in super::super) struct Subject<'a> {
    pub(in super::super) profile: &'a Profile,
    pub(in super::super) origin: &'a Origin,
    pub(in super::super) verdict: Verification,
    pub(in super::super) detail: &'a Detail<'a>,
    /// Sites summed by the key of the view; `None` if no stacks were taken and the key is not the thread.
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

/// Writes the line of [`certainty`], but with another name in front.
pub(super) fn named_certainty(
    page: &mut TextPage<'_>,
    subject: &Subject<'_>,
    name: &str,
    figure: FigureGroup,
) -> io::Result<()> {
    page.toned(name, &certainty_text::phrase(subject.verdict.certainty(figure), figure), Tone::Faint)
}

/// Writes `none`, the text of an empty section.
pub(super) fn none(page: &mut TextPage<'_>) -> io::Result<()> {
    page.note("none", 2, Tone::Plain)
}

/// Returns a number of blocks with the noun, such as `1 block`.
pub(super) fn blocks(n: u64) -> String {
    counted(n, "block", "blocks")
}
