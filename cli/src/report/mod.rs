//! Findings in words, for a person at a terminal.
//!
//! The report is a page: a title, then sections in a fixed order, whose headings are [`SECTIONS`]. The first one
//! is always the quality of the data, and every later one says how far its own figures can be trusted.
//! `docs/REPORTS.md` explains each line of it.
//!
//! Rooms: [`text`] orders the sections and `sections` writes them; [`check`] is the face of `heapledger verify`, [`mod@diff`]
//! that of `heapledger diff`; [`mod@detail`] says what is wanted of call stacks; [`mod@warnings`] holds all advice;
//! [`units`] and [`escape`] of the library, [`table`] and [`plot`] turn numbers, rows, series and names into characters; `words` says how
//! far a figure can be trusted. `html` writes the same findings as a page for a browser.
//!
//! Nothing here computes a figure, asks what kind of terminal there is, or knows where the text goes: width,
//! character set and colour are given by a [`Layout`], and the text goes to any `Write`.

mod certainty_text;
pub mod check;
pub mod detail;
pub mod diff;
pub mod html;
pub mod plot;
mod sections;
pub mod table;
pub mod text;
mod text_page;
pub mod warnings;

pub use check::write_verdict;
pub use detail::Detail;
pub use diff::write_diff;
pub use heapledger::text::{escape, units};
pub use text::{SECTIONS, write_report, write_report_with};
pub use text_page::{Layout, Styles};
pub use warnings::{Warning, warnings};
