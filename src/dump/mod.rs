//! The dump: a [`Profile`](crate::profile::Profile) as a file, and back.
//!
//! A dump is read years later, on another machine, after the disk was full or the process was killed half-way. So
//! the file is a row of sections that each stand for themselves:
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
//! What must hold:
//!
//! 1. **Quality comes first.** Whatever else is cut off, how complete the data was is known.
//! 2. **A section is taken whole or not at all.** Header and payload have their own checksums. A reader that lost its
//!    place finds the next mark, so one bad byte costs one section; tables are split into chunks to make that small.
//! 3. **What is missing is known.** Sections are numbered, the contents section (`CONT`) says early how many rows each
//!    table has, and the end section says that the writer got there. If a profile differs from what was written,
//!    its list of [`Damage`] is not empty.
//! 4. **A file cannot make a reader reserve memory, or work, out of proportion.** A section has at most 1 MiB of plain
//!    bytes, all sections together a fixed multiple of the file, and a count is refused when the bytes for it are
//!    not there.
//! 5. **Version 1 is frozen.** `v1` has its own types; a golden file in `tests/data` must read to the same values for
//!    ever. Older readers skip sections and columns that they do not know; what they would misread gets a new major
//!    version.
//! 6. **The name appears when the file is whole**, and never in place of a file that is not a dump.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `format` | every number: magic, version, tags, limits, codes |
//! | `varint`, `codec` | numbers and records to bytes and back |
//! | `section` | the frame: headers, checksums, compression, finding the place again |
//! | `v1` | the content: records and columns |
//! | `writer`, `file` | profile to bytes; bytes to a file |
//! | `reader`, `references` | bytes to profile and damage; references that lead nowhere |
//!
//! Nothing here knows a recorder: the reader works in any process. `docs/DUMP_FORMAT.md` describes the file for those
//! who want to read it without this crate.

mod codec;
mod error;
mod file;
mod format;
mod reader;
mod references;
mod section;
mod v1;
pub(crate) mod varint;
mod writer;

pub use error::{Damage, DamageKind, Occupant, ReadError, WriteError, WriteStep};
pub use file::{Written, write, write_with_notes};
pub use format::Version;
#[doc(hidden)]
pub use reader::empty_profile;
pub use reader::{Dump, read, read_bytes, read_from};
pub use writer::{Encoded, write_to};

#[cfg(test)]
mod tests;
