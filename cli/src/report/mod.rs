//! Reports: findings as text for a terminal and as a page for a browser.
//!
//! A report has a title and sections in a fixed order; [`SECTIONS`] has their headings. The first section has the
//! findings, the last one the quality of the data. Each section with figures ends with the certainty of the figures.
//! `docs/REPORTS.md` explains each line.
//!
//! * [`text`] orders the sections, and `sections` writes them.
//! * [`short`] writes short forms of the report, for machines and (with `markdown`) in Markdown.
//! * [`check`] is the report of `heapledger verify`; [`mod@diff`] is the report of `heapledger diff`.
//! * [`live`] is the report of a running process.
//! * [`html`] writes the findings of the text report as a page for a browser.
//! * [`mod@detail`] has the options of a report; [`mod@warnings`] has all warnings, with advice.
//! * [`units`] and [`escape`] of the library format numbers and names. [`table`], [`plot`] and `certainty_text` format
//!   tables, bar charts and certainties.
//!
//! The reports compute no figures and do not inspect the terminal: a [`Layout`] says the width, the character set and
//! the colours, and the text goes to any `Write`.

mod certainty_text;
pub mod check;
pub mod detail;
pub mod diff;
pub mod html;
pub mod live;
mod markdown;
pub mod plot;
mod sections;
pub mod short;
pub mod table;
pub mod text;
mod text_page;
pub mod warnings;

pub use check::write_verdict;
pub use detail::{Detail, SourceExtract};
pub use diff::write_diff;
pub use heapledger::text::{escape, units};
pub use live::write_live;
pub use short::{ShortForm, write_short};
pub use text::{OVERVIEW, SECTIONS, write_report, write_report_with};
pub use text_page::{Layout, Styles};
pub use warnings::{Warning, warnings};
