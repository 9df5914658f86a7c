//! Profiles in the formats of other programs.
//!
//! [`export`] writes a profile in a [`Format`]. One file holds one format, with structures of its own or keys that a
//! test pins, so that a change of the profile cannot change a format unnoticed. Formats share nothing with the text
//! report.
//!
//! Every format carries the completeness of the data and the damage of the file, in the place that the format has for
//! such things; `quality` formats them. Collapsed stacks have no such place: [`Format::carries_quality`] says so, and
//! the command prints them to standard error. `docs/EXPORTS.md` lists for each format what its viewers show and what
//! it cannot carry.
//!
//! `calls` and `names` are shared by several formats.

mod calls;
mod collapsed;
mod csv;
mod dhat;
mod diff;
mod firefox;
mod heaptrack;
mod json;
mod names;
mod pprof;
mod quality;
mod speedscope;

use std::fmt;
use std::io::{self, Write};

pub use diff::export_diff;

use crate::analysis::{Origin, SiteOrder};
use heapledger::profile::Profile;

/// An export format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// One JSON object with everything except single live blocks and the history; the stable machine-readable format.
    Json,
    /// One line for each site, after comment lines with the quality of the data.
    Csv,
    /// The format of `go tool pprof` and others; gzip-compressed, not text.
    Pprof,
    /// The format of `dh_view.html` of Valgrind's DHAT.
    Dhat,
    /// Collapsed stacks for flame graph programs, with one figure.
    Collapsed(SiteOrder),
    /// The format of speedscope.
    Speedscope,
    /// The format of heaptrack's viewers.
    Heaptrack,
    /// The format of the Firefox Profiler.
    Firefox,
}

impl Format {
    /// Every format, in the order of the help texts.
    pub const ALL: &'static [Format] = &[
        Format::Json,
        Format::Csv,
        Format::Pprof,
        Format::Dhat,
        Format::Collapsed(SiteOrder::Live),
        Format::Speedscope,
        Format::Heaptrack,
        Format::Firefox,
    ];

    /// The value of `--format`.
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

    /// The format with another figure, or `None` for a format that carries all of them.
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
        match self {
            Format::Pprof => false,
            _ => true,
        }
    }

    /// Whether a file in the format contains the completeness of its data. Where it does not, the caller has to print
    /// it: [`completeness`] returns the sentence.
    pub const fn carries_quality(self) -> bool {
        !matches!(self, Format::Collapsed(_))
    }
}

/// The completeness of the data of `profile`, as the sentence that formats with a text field contain.
pub fn completeness(profile: &Profile, origin: &Origin) -> String {
    quality::sentence(profile, origin)
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Writes `profile`, read from a file with `origin`, in `format`; for a live process, `&Origin::default()`.
///
/// # Errors
///
/// Those of `out`; and [`io::ErrorKind::Unsupported`] when the profile is too large for the format: heaptrack's needs
/// a line for each event, and at most 100 million are written.
pub fn export(format: Format, profile: &Profile, origin: &Origin, out: &mut impl Write) -> io::Result<()> {
    match format {
        Format::Json => json::write(profile, origin, out),
        Format::Csv => csv::write(profile, origin, out),
        Format::Pprof => pprof::write(profile, origin, out),
        Format::Dhat => dhat::write(profile, origin, out),
        Format::Collapsed(metric) => collapsed::write(profile, metric, out),
        Format::Speedscope => speedscope::write(profile, origin, out),
        Format::Heaptrack => heaptrack::write(profile, origin, out),
        Format::Firefox => firefox::write(profile, origin, out),
    }
}
