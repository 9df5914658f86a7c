//! The dump: a file that holds a [`Profile`](crate::profile::Profile).
//!
//! A dump may be read years later on another machine. It may be incomplete, because the disk was full or the process
//! was killed during the write. So the file is a sequence of sections that can each be read alone:
//!
//! ```text
//!  ┌────────┬──────┬──────┬──────┬──────┬──────┬──────┬──────┬─     ─┬──────┬──────┬─     ─┬──────┬──────┬──────┐
//!  │ magic  │ QUAL │ CONT │ PROC │ CONF │ CLCK │ TOTL │ CHNG │  ...  │ STCK │ STCK │  ...  │ HIST │ NOTE │ END. │
//!  │version │      │      │      │      │      │      │      │       │      │      │       │      │      │      │
//!  └────────┴──────┴──────┴──────┴──────┴──────┴──────┴──────┴─     ─┴──┬───┴──────┴─     ─┴──────┴──────┴──────┘
//!                                                    ┌──────────────────┘
//!  ┌──────┬─────┬──────────┬───────┬────────┬────────┴┬─────────┬────────┬───────────────────────────┐
//!  │ mark │ tag │ sequence │ flags │ stored │  plain  │ payload │ header │ stored bytes, LZ4 if that │
//!  │      │     │  number  │       │ bytes  │  bytes  │ CRC-32  │ CRC-32 │        is smaller         │
//!  └──────┴─────┴──────────┴───────┴────────┴─────────┴─────────┴────────┴───────────────────────────┘
//! ```
//!
//! Invariants:
//!
//! 1. **Quality comes first.** A file that ends after its first section still states how complete its data is.
//! 2. **A section is read whole or not at all.** Each header and each payload has a checksum. After a corrupt section
//!    the reader searches for the next mark, so one bad byte costs one section. Tables are split into chunks to keep
//!    sections small.
//! 3. **Missing data is reported.** Sections are numbered, the contents section (`CONT`) states early how many rows
//!    each table has, and the end section proves that the writer finished. If the profile that was read differs from
//!    the written profile, the list of [`Damage`] is not empty.
//! 4. **The length of the file bounds the memory and the work of the reader.** The plain bytes of a section are limited
//!    to 1 MiB, and those of all sections to a fixed multiple of the file's length. A count is refused if the file has
//!    fewer bytes than the counted values need.
//! 5. **Version 1 is frozen.** `v1` lists the fields of version 1, and a golden file in `tests/data` must always give
//!    the same values. Older readers skip sections and columns that they do not know; any other change needs a new
//!    major version.
//! 6. **The file gets its final name when it is complete**, and never replaces a file that is not a dump.
//!
//! | file | holds |
//! | --- | --- |
//! | `format` | magic, version, tags, limits, codes |
//! | `varint`, `codec` | numbers and records to bytes and back |
//! | `section` | headers, checksums, compression, the search for the next section |
//! | `rows` | the rows of large tables, in memory or made as they are written |
//! | `v1` | records and columns of version 1 |
//! | `writer`, `file` | profile to bytes; bytes to a file |
//! | `reader`, `references` | bytes to profile and damage; dangling references |
//!
//! This module does not use the recorder, so the reader works in any process. `docs/DUMP_FORMAT.md` describes the file
//! for the authors of other readers.

pub(crate) mod codec;
mod error;
mod file;
mod format;
#[cfg(any(test, feature = "read"))]
mod reader;
#[cfg(any(test, feature = "read"))]
mod references;
pub(crate) mod rows;
mod section;
mod v1;
pub(crate) mod varint;
mod writer;

pub use error::{Damage, DamageKind, Occupant, ReadError, WriteError, WriteStep};
pub(crate) use file::{NUMBERED_NAMES_MAX, with_suffix, write_beside_others};
pub use file::{Written, write, write_with_notes};
pub use format::Version;
#[cfg(any(test, feature = "read"))]
pub use reader::{Dump, read, read_bytes, read_from};
#[cfg(any(test, feature = "read"))]
pub(crate) use references::redirect_dangling;
pub(crate) use writer::write_rows;
pub use writer::{Encoded, write_to};

#[cfg(test)]
mod tests;
