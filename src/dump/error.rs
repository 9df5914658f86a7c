//! Errors and damage. A [`WriteError`] or a [`ReadError`] ends a call. [`Damage`] does not: the reader lists it and
//! continues.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::format::{DAMAGES_LISTED_MAX, Version};

/// Kind of file that already exists at the path of a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Occupant {
    /// A regular file that is not a dump.
    ForeignFile,
    /// A symbolic link.
    Symlink,
    /// A directory.
    Directory,
    /// A pipe, a socket or a device.
    Special,
}

impl fmt::Display for Occupant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Occupant::ForeignFile => "a file that is not a heapledger dump",
            Occupant::Symlink => "a symbolic link",
            Occupant::Directory => "a directory",
            Occupant::Special => "a pipe, a socket or a device",
        })
    }
}

/// The step at which writing failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteStep {
    /// Examining the existing file.
    Inspect,
    /// Creating the temporary file in the same directory.
    Create,
    /// Writing the sections.
    Write,
    /// Syncing the file to the disk.
    Sync,
    /// Renaming the file to its final name.
    Rename,
}

impl fmt::Display for WriteStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WriteStep::Inspect => "look at what is there",
            WriteStep::Create => "create a temporary file beside it",
            WriteStep::Write => "write it",
            WriteStep::Sync => "bring it to the disk",
            WriteStep::Rename => "rename the finished file",
        })
    }
}

/// Reason why a dump was not written. After such an error, no file was overwritten, and no temporary file remains.
#[derive(Debug)]
#[non_exhaustive]
pub enum WriteError {
    /// The path holds a file that a dump must not replace.
    Occupied {
        /// The path.
        path: PathBuf,
        /// Kind of the existing file.
        by: Occupant,
    },
    /// The path does not end in a file name.
    NoFileName {
        /// The path.
        path: PathBuf,
    },
    /// A system call failed.
    Io {
        /// The path of the dump.
        path: PathBuf,
        /// The step that failed.
        step: WriteStep,
        /// The error that the system returned.
        source: io::Error,
    },
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteError::Occupied { path, by } => write!(
                f,
                "{} is {by}; it was left alone: remove it or choose another path for the dump",
                path.display()
            ),
            WriteError::NoFileName { path } => {
                write!(f, "\"{}\" does not end in a file name; choose a path that does", path.display())
            }
            WriteError::Io { path, step, source } => write!(
                f,
                "cannot write the dump {}: could not {step}: {source}; {}",
                path.display(),
                advice(source.kind())
            ),
        }
    }
}

fn advice(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space, or choose a path on another disk"
        }
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            "create the directory first, or choose a path in one that exists"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "choose a directory that the program may write to"
        }
        _ => "choose another path, or dump again",
    }
}

impl std::error::Error for WriteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            WriteError::Io { source, .. } => Some(source),
            WriteError::Occupied { .. } | WriteError::NoFileName { .. } => None,
        }
    }
}

/// Reason why a dump could not be read at all. A damaged file is no error: see [`Damage`].
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// A system call failed.
    Io {
        /// The path of the file, or `None` if the bytes came from a stream.
        path: Option<PathBuf>,
        /// The error that the system returned.
        source: io::Error,
    },
    /// The path is a directory, a pipe or a device.
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The first bytes of the file are not those of a dump.
    NotADump,
    /// The bytes end within the file header.
    TooShort {
        /// Number of bytes in the file.
        bytes: u64,
    },
    /// The file exceeds the maximum length that a reader loads into memory.
    TooLarge {
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// The file has a version that this reader does not know.
    Version {
        /// The version of the file.
        found: Version,
        /// The newest version that this reader knows.
        expected: Version,
    },
    /// The file is a black box or a live page that a process is writing. Its tables change while they are read; only
    /// its live page can be read consistently ([`LiveReader`](crate::dumps::LiveReader)).
    BeingWritten {
        /// Id of the process.
        pid: u32,
    },
    /// The file exists, but its process has not written a live page into it yet.
    NotWrittenYet,
    /// The file is a black box that another build of heapledger wrote. Only the command of that version can read it.
    OtherBuild {
        /// The version of heapledger that the program was built with.
        version: String,
    },
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Io { path: Some(path), source } => {
                write!(f, "cannot read {}: {source}; check the path and its permissions", path.display())
            }
            ReadError::Io { path: None, source } => write!(f, "cannot read the dump: {source}; try again"),
            ReadError::NotAFile { path } => {
                write!(f, "{} is not a regular file; give the path of a dump, such as app.1234.hl", path.display())
            }
            ReadError::NotADump => f.write_str(
                "this is not a heapledger dump (its first bytes differ); if it was one, copy it again in binary mode",
            ),
            ReadError::TooShort { bytes } => {
                write!(f, "the file ends after {bytes} bytes, within its header; nothing can be read, record again")
            }
            ReadError::TooLarge { limit_bytes } => {
                write!(f, "the file is longer than {limit_bytes} bytes, the most that is read; keep a smaller history")
            }
            ReadError::Version { found, expected } => write!(
                f,
                "the file has format version {found}, this heapledger reads version {expected}; use a heapledger as \
                 new as the one that wrote it"
            ),
            ReadError::BeingWritten { pid } => write!(
                f,
                "process {pid} is running and writes it, so that only its live page is consistent: \
                 `heapledger top` shows that; for everything, have the process write a dump, by a signal or its endpoint"
            ),
            ReadError::NotWrittenYet => {
                f.write_str("its process has not written a live page into it yet; try again in a second")
            }
            ReadError::OtherBuild { version } => write!(
                f,
                "it is a black box of heapledger {version} or of another build; read it with the command of the version \
                 that the program was built with (this one is {})",
                env!("CARGO_PKG_VERSION")
            ),
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ReadError::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// One missing or corrupt part of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// Name of the section as in `docs/DUMP_FORMAT.md`, or `None` if the section is unknown.
    pub section: Option<&'static str>,
    /// Offset in the file at which the damage starts, or `None` if the damage has no place.
    pub offset: Option<u64>,
    /// Kind of the damage.
    pub kind: DamageKind,
}

/// Kind of damage of a part of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DamageKind {
    /// The checksum of the file header is wrong. The version in the header was ignored.
    FileHeader,
    /// Bytes between two sections belong to no section.
    Unreadable {
        /// Number of bytes.
        bytes: u64,
    },
    /// The section extends beyond the end of the file.
    Cut {
        /// Number of missing bytes of the section.
        missing_bytes: u64,
    },
    /// The checksum of the section is wrong.
    Checksum,
    /// The content of the section is invalid.
    Malformed {
        /// Reason why the content is invalid.
        why: String,
    },
    /// The section occurs again. Only its first occurrence was kept.
    Repeated,
    /// Sections are missing: some sequence numbers do not occur.
    SectionsMissing {
        /// Number of missing sections.
        sections: u64,
    },
    /// The section is missing. Its values are defaults.
    Missing,
    /// Rows of a table are missing.
    RowsMissing {
        /// Number of missing rows.
        rows: u64,
        /// Number of rows that were written.
        of: u64,
    },
    /// Entries referred to a missing row. Now they refer to row 0.
    Dangling {
        /// Number of entries.
        entries: u64,
        /// Name of the table of the missing row.
        table: &'static str,
    },
    /// Row 0 of a table is missing. An empty row replaces it.
    PlaceholderRow,
    /// Texts were not UTF-8. Their invalid bytes are replaced by `U+FFFD`.
    Texts {
        /// Number of texts.
        texts: u64,
    },
    /// Settings or counts have codes of a newer version. Their values were ignored.
    UnknownCodes {
        /// Number of codes.
        codes: u64,
    },
    /// The end section is missing: the writer did not finish, or the file was cut.
    Unfinished,
    /// The rest of the file was not searched, because too many of its sections are corrupt.
    GaveUp,
    /// The file has more damage than the list holds.
    Unlisted {
        /// Number of damages that the list omits.
        damages: u64,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(section) = self.section {
            write!(f, "section \"{section}\"")?;
        } else {
            f.write_str("file")?;
        }
        if let Some(offset) = self.offset {
            write!(f, " at byte {offset}")?;
        }
        write!(f, ": {}", self.kind)
    }
}

impl fmt::Display for DamageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DamageKind::FileHeader => {
                f.write_str("the file header is corrupt; it was read as the current version")
            }
            DamageKind::Unreadable { bytes } => write!(f, "{bytes} bytes are no section and were skipped"),
            DamageKind::Cut { missing_bytes } => {
                write!(f, "its last {missing_bytes} bytes are not in the file")
            }
            DamageKind::Checksum => f.write_str("its checksum does not fit; it was left out"),
            DamageKind::Malformed { why } => write!(f, "{why}; it was left out"),
            DamageKind::Repeated => f.write_str("it occurs a second time; the first one was kept"),
            DamageKind::SectionsMissing { sections } => {
                write!(f, "{sections} sections before it are missing")
            }
            DamageKind::Missing => f.write_str("it is missing; defaults stand in its place"),
            DamageKind::RowsMissing { rows, of } => write!(f, "{rows} of its {of} rows are missing"),
            DamageKind::Dangling { entries, table } => {
                write!(
                    f,
                    "{entries} entries referred to rows of \"{table}\" that are not there; they refer to row 0 now"
                )
            }
            DamageKind::PlaceholderRow => {
                f.write_str("its row 0 is missing; an empty row stands in its place")
            }
            DamageKind::Texts { texts } => {
                write!(f, "{texts} texts were not UTF-8; the wrong bytes were replaced")
            }
            DamageKind::UnknownCodes { codes } => {
                write!(
                    f,
                    "{codes} entries have a meaning that this version does not know; they were left out"
                )
            }
            DamageKind::Unfinished => {
                f.write_str("the file has no end section; it was cut, or its writer did not finish")
            }
            DamageKind::GaveUp => f.write_str("too much of it is broken; the rest was not searched"),
            DamageKind::Unlisted { damages } => write!(f, "{damages} more damages are not listed"),
        }
    }
}

/// The damage found so far: a list of the first [`DAMAGES_LISTED_MAX`] damages, and the number of further damages.
#[derive(Debug, Default)]
pub(super) struct DamageList {
    listed: Vec<Damage>,
    unlisted: u64,
}

impl DamageList {
    pub(super) fn add(&mut self, section: Option<&'static str>, offset: Option<u64>, kind: DamageKind) {
        self.push(Damage { section, offset, kind });
    }

    pub(super) fn push(&mut self, damage: Damage) {
        if self.listed.len() < DAMAGES_LISTED_MAX {
            self.listed.push(damage);
        } else {
            self.unlisted += 1;
        }
    }

    pub(super) fn finish(mut self) -> Vec<Damage> {
        if self.unlisted > 0 {
            let kind = DamageKind::Unlisted { damages: self.unlisted };
            self.listed.push(Damage { section: None, offset: None, kind });
        }
        self.listed
    }
}
