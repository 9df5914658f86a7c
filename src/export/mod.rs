//! Profiles in the formats of other programs.
//!
//! A [`Format`] names a face, [`export`] writes it. One file holds one format, with structures of its own: what a
//! format promises is spelled out there, and a change of the profile cannot silently change what others parse.
//! Formats share nothing with the text report.
//!
//! Every format carries the completeness of the data and the damage of the file it was read from, in whatever
//! place the format has for such things.

mod csv;
#[cfg(any(feature = "cli", feature = "validation"))]
mod json;

use std::fmt;
use std::io::{self, Write};

use crate::analysis::Origin;
use crate::profile::Profile;

/// A format that a profile can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// One JSON object with everything but the single live blocks and the history; the stable machine face. With
    /// feature `cli` or `validation`.
    #[cfg(any(feature = "cli", feature = "validation"))]
    Json,
    /// One line for each site, after comment lines with the quality of the data.
    Csv,
}

impl Format {
    /// Every format, in the order in which help texts list them.
    pub const ALL: &'static [Format] = &[
        #[cfg(any(feature = "cli", feature = "validation"))]
        Format::Json,
        Format::Csv,
    ];

    /// The name that `--format` takes.
    pub const fn name(self) -> &'static str {
        match self {
            #[cfg(any(feature = "cli", feature = "validation"))]
            Format::Json => "json",
            Format::Csv => "csv",
        }
    }
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
/// Those of `out`.
pub fn export(format: Format, profile: &Profile, origin: &Origin, out: &mut impl Write) -> io::Result<()> {
    match format {
        #[cfg(any(feature = "cli", feature = "validation"))]
        Format::Json => json::write(profile, origin, out),
        Format::Csv => csv::write(profile, origin, out),
    }
}
