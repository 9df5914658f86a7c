//! Reports: findings as text for a terminal and as a page for a browser.
//!
//! The report has a title and sections in a fixed order, whose headings are [`SECTIONS`]. The first is the quality of
//! the data, and every later one ends with the certainty of its figures. `docs/REPORTS.md` explains each line.
//!
//! [`text`] orders the sections and `sections` writes them; [`check`] is the report of `heapledger verify`,
//! [`mod@diff`] that of `heapledger diff`; [`mod@detail`] has the options on call stacks; [`mod@warnings`] holds all
//! advice; [`units`] and [`escape`] of the library, [`table`] and [`plot`] format numbers, names, rows and series;
//! `certainty_text` formats certainties. [`html`] writes the same findings as a page.
//!
//! Nothing here computes a figure or inspects the terminal: width, character set and colour come from a [`Layout`],
//! and the text goes to any `Write`.

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
