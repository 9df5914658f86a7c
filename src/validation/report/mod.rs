//! Reports for people and programs: text, JSON, CSV, a page for a browser, a plot, and an exit code.
//!
//! The JSON form is the complete result under a `schema_version`. Changes within a version only add fields; a reader
//! rejects a report of an unknown version.

mod document;
mod figures;
mod page;
mod plot;
mod table;
mod text;

pub use document::{ExitCode, SCHEMA_VERSION, ValidationReport};
pub use page::validation_html;
pub use plot::scalability_svg;
pub use text::{runs_text, scalability_text};
