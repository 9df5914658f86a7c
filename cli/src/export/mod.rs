//! Profiles in the formats of other programs.
//!
//! A [`Format`] names a face, [`export`] writes it. One file holds one format, with structures of its own: what a
//! format promises is spelled out there, and a change of the profile cannot silently change what others parse.
//! Formats share nothing with the text report.
//!
//! Every format carries the completeness of the data and the damage of the file it was read from, in whatever
//! place the format has for such things; `quality` makes the words. Collapsed stacks alone have no such place:
//! [`Format::carries_quality`] says so, and the command prints them beside it. `docs/EXPORTS.md` says for each format
//! what its viewers show and what it cannot carry.
//!
//! Rooms: `calls` and `names` are what several formats say alike.

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

/// A format that a profile can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// One JSON object with everything but the single live blocks and the history; the stable machine face.
    Json,
    /// One line for each site, after comment lines with the quality of the data.
    Csv,
    /// What `go tool pprof` and its relatives read: gzip-compressed, so not text.
    Pprof,
    /// What `dh_view.html` of Valgrind's DHAT reads.
    Dhat,
    /// The lines that flame graph programs read, of one figure.
    Collapsed(SiteOrder),
    /// What speedscope reads.
    Speedscope,
    /// What heaptrack's viewers read.
    Heaptrack,
    /// What the Firefox Profiler reads.
    Firefox,
}

impl Format {
    /// Every format, in the order in which help texts list them.
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

    /// The name that `--format` takes.
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

    /// Whether the format is text, which a terminal can show.
    pub const fn is_text(self) -> bool {
        match self {
            Format::Pprof => false,
            _ => true,
        }
    }

    /// Whether a file in the format says how complete its data is. Where it does not, whoever hands it on has to:
    /// [`completeness`] gives the sentence.
    pub const fn carries_quality(self) -> bool {
        !matches!(self, Format::Collapsed(_))
    }
}

/// How complete the data of `profile` is, in one sentence; what formats carry that have a text somewhere.
pub fn completeness(profile: &Profile, origin: &Origin) -> String {
    quality::sentence(profile, origin)
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Writes `profile` in `format`, given what is known of its file; for a live process, `&Origin::default()`.
///
/// # Errors
///
/// Those of `out`; and [`io::ErrorKind::Unsupported`] when the format cannot hold so large a profile, which heaptrack's
/// cannot from 100 million lines on.
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
