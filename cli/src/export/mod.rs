//! Profiles in the formats of other programs.
//!
//! [`export`] writes a profile in a [`Format`]. Each source file implements one format. A format has its fields in
//! separate structures, or a test lists its keys, so that a change of the profile cannot change the format unnoticed.
//! The formats share no code with the text report.
//!
//! Almost every format has a field for the completeness of the data and the damage of the file; `quality` writes the
//! text for it. The exception are collapsed stacks: [`Format::carries_quality`] is false for them, and the command
//! prints the completeness and the damage to standard error. `docs/EXPORTS.md` lists for each format which figures its
//! viewers show, and which figures the format cannot contain.
//!
//! Several formats use `calls` and `names`.
//!
//! `tables` (feature `parquet`) writes many profiles as tables into a directory of Parquet files. It is no [`Format`],
//! because a format writes a single file.

mod calls;
mod collapsed;
mod csv;
mod dhat;
mod diff;
mod firefox;
mod heaptrack;
mod json;
mod names;
mod options;
mod pprof;
#[cfg(feature = "push")]
pub mod pyroscope;
mod quality;
mod speedscope;
#[cfg(feature = "parquet")]
pub mod tables;

use std::fmt;
use std::io::{self, Write};

pub use diff::export_diff;
pub use options::{ExportOptions, JsonVersion};

use crate::analysis::{Origin, SiteOrder};
use heapledger::profile::Profile;

/// Export format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// Stable format for programs: one JSON object with all data except the single live blocks and the history.
    Json,
    /// Comma-separated values: comment lines with the quality of the data, then one line for each site.
    Csv,
    /// Format of `go tool pprof` and other programs, compressed by gzip. The only format that is not text.
    Pprof,
    /// Format of `dh_view.html`, the viewer of Valgrind's DHAT.
    Dhat,
    /// Collapsed stacks for flame graph programs, with this one figure.
    Collapsed(SiteOrder),
    /// Format of speedscope.
    Speedscope,
    /// Format of heaptrack's viewers.
    Heaptrack,
    /// Format of the Firefox Profiler.
    Firefox,
}

impl Format {
    /// All formats, in the order of the help texts.
    pub const ALL: &'static [Format] = &[
        Format::Json,
        Format::Csv,
        Format::Pprof,
        Format::Dhat,
        Format::Collapsed(SiteOrder::Total),
        Format::Speedscope,
        Format::Heaptrack,
        Format::Firefox,
    ];

    /// Returns the name of the format, which is the value of `--format`.
    pub const fn name(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::Csv => "csv",
            Format::Pprof => "pprof",
            Format::Dhat => "dhat",
            Format::Collapsed(_) => "collapsed",
            Format::Speedscope => "speedscope",
            Format::Heaptrack => "heaptrack",
            Format::Firefox => "firefox",
        }
    }

    /// Returns the format with `metric` as its figure; `None` for a format that contains all figures.
    ///
    /// ```
    /// use heapledger_cli::{analysis::SiteOrder, export::Format};
    /// let live = Format::Collapsed(SiteOrder::Live);
    /// assert_eq!(live.of_metric(SiteOrder::Peak), Some(Format::Collapsed(SiteOrder::Peak)));
    /// assert_eq!(Format::Csv.of_metric(SiteOrder::Peak), None);
    /// ```
    pub const fn of_metric(self, metric: SiteOrder) -> Option<Format> {
        match self {
            Format::Collapsed(_) => Some(Format::Collapsed(metric)),
            _ => None,
        }
    }

    /// Whether the format is text.
    pub const fn is_text(self) -> bool {
        !matches!(self, Format::Pprof)
    }

    /// Whether a file in the format contains the completeness of the data. If not, the caller must print the sentence
    /// that [`completeness`] returns.
    pub const fn carries_quality(self) -> bool {
        !matches!(self, Format::Collapsed(_))
    }
}

/// Returns the sentence on the completeness of `profile`, which most formats contain.
pub fn completeness(profile: &Profile, origin: &Origin) -> String {
    quality::sentence(profile, origin)
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Writes `profile` in `format`, with the default options. `origin` describes the file of the profile; pass
/// `&Origin::default()` for a running process.
///
/// # Errors
///
/// Returns an error if `out` does. Returns [`io::ErrorKind::Unsupported`] if the profile is too large for the format: a
/// file for heaptrack has a line for each event, and the limit is 100 million lines.
pub fn export(format: Format, profile: &Profile, origin: &Origin, out: &mut impl Write) -> io::Result<()> {
    export_with(format, &ExportOptions::default(), profile, origin, out)
}

/// Writes `profile` as [`export`] does, with the given options.
///
/// # Errors
///
/// As [`export`].
pub fn export_with(
    format: Format,
    options: &ExportOptions,
    profile: &Profile,
    origin: &Origin,
    out: &mut impl Write,
) -> io::Result<()> {
    match format {
        Format::Json => json::write(profile, origin, options.json, out),
        Format::Csv => csv::write(profile, origin, options, out),
        Format::Pprof => pprof::write(profile, origin, out),
        Format::Dhat => dhat::write(profile, origin, out),
        Format::Collapsed(metric) => collapsed::write(profile, metric, options, out),
        Format::Speedscope => speedscope::write(profile, origin, options, out),
        Format::Heaptrack => heaptrack::write(profile, origin, out),
        Format::Firefox => firefox::write(profile, origin, out),
    }
}
