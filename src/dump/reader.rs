//! Reads a profile from bytes. No byte is trusted: a section counts only if its checksum is right and its content is
//! valid, a count reserves no more memory than the present bytes justify, and missing parts are listed.
//!
//! A section is read whole or skipped. References to missing rows are redirected (see `references`), so users of the
//! profile need not check its indices.

use std::io::Read;
use std::path::Path;

use super::codec::{CodecError, Cursor};
use super::error::{Damage, DamageKind, DamageList, ReadError};
use super::file::{load, load_from};
use super::format::{
    CHUNK_PREFIX_BYTES, COLUMNS_MAX, FILE_BYTES_MAX, FILE_HEADER_BYTES, MAGIC, NOTES_LISTED_MAX, Tag,
    VERSION, Version, plain_budget_bytes,
};
use super::references::{Spans, redirect, redirect_names, redirect_scopes};
use super::section::{Found, SectionHeader, Sections, file_header, unpack};
use super::v1::meta::Contents;
use super::v1::tables::{self, Table};
use super::v1::{Faults, Wire};
use crate::profile::{ProcessInfo, Profile, QualityIndicator, SymbolFrame, Violation, check};

/// The content of a dump.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Dump {
    /// Format version of the file.
    pub version: Version,
    /// The profile. Missing parts have default values and are listed in `damage`.
    pub profile: Profile,
    /// Missing or corrupt parts; empty for an intact file.
    pub damage: Vec<Damage>,
    /// Conservation laws that the profile breaks, because parts are missing or because the written profile broke them.
    pub broken_laws: Vec<Violation>,
    /// Notes of the writer, followed by one note for each section of a newer version that the reader skipped.
    pub notes: Vec<String>,
}

impl Dump {
    /// Returns the content of a black box in the form of a dump.
    pub(crate) fn of_black_box(profile: Profile, broken_laws: Vec<Violation>, notes: Vec<String>) -> Dump {
        Dump { version: VERSION, profile, damage: Vec::new(), broken_laws, notes }
    }

    /// Whether the file is complete and intact.
    pub fn is_whole(&self) -> bool {
        self.damage.is_empty()
    }
}

/// Reads the dump at `path`.
///
/// # Errors
///
/// Returns a [`ReadError`] if the file is not a dump, has another major version, or cannot be read. A cut or corrupt
/// dump is no error: its whole sections are returned, with a list of the damage.
///
/// # Examples
///
/// ```no_run
/// let dump = heapledger::dumps::read("heapledger.app.1234.hl")?;
/// for damage in &dump.damage {
///     eprintln!("warning: {damage}");
/// }
/// println!("{} bytes are live", dump.profile.totals.live_bytes);
/// # Ok::<(), heapledger::dumps::ReadError>(())
/// ```
pub fn read(path: impl AsRef<Path>) -> Result<Dump, ReadError> {
    read_bytes(&load(path.as_ref())?)
}

/// Reads a dump from a stream, up to the end of the stream.
///
/// # Errors
///
/// Returns an error under the same conditions as [`read`].
pub fn read_from(from: impl Read) -> Result<Dump, ReadError> {
    read_bytes(&load_from(from, FILE_BYTES_MAX)?)
}

/// Reads a dump from memory.
///
/// # Errors
///
/// Returns an error under the same conditions as [`read`].
pub fn read_bytes(bytes: &[u8]) -> Result<Dump, ReadError> {
    let magic_bytes = bytes.len().min(MAGIC.len());
    if bytes[..magic_bytes] != MAGIC[..magic_bytes] {
        return Err(ReadError::NotADump);
    }
    if bytes.len() < FILE_HEADER_BYTES {
        return Err(ReadError::TooShort { bytes: bytes.len() as u64 });
    }
    let (found, header_is_whole) = file_header(bytes).ok_or(ReadError::NotADump)?;
    let mut assembly = Assembly::new(bytes.len() as u64);
    // If the checksum of the file header is wrong, its version is ignored. Reading continues, because every section has
    // a separate checksum.
    let version = if header_is_whole { found } else { VERSION };
    if version.major != VERSION.major {
        return Err(ReadError::Version { found, expected: VERSION });
    }
    if !header_is_whole {
        assembly.damage.add(None, Some(0), DamageKind::FileHeader);
    }
    for found in Sections::new(bytes) {
        match found {
            Found::Section { offset, header, stored } => assembly.section(offset, &header, stored),
            Found::Damage(damage) => assembly.damage.push(damage),
        }
    }
    Ok(assembly.finish(version))
}

/// A profile under construction, with the state for reading its sections.
struct Assembly {
    profile: Profile,
    damage: DamageList,
    notes: Vec<String>,
    contents: Contents,
    /// Whether each section of [`Tag::SINGLES`] was read.
    singles: [bool; Tag::SINGLES.len()],
    /// Whether each section of [`Tag::OPTIONALS`] was read.
    optionals: [bool; Tag::OPTIONALS.len()],
    /// For each table of [`Tag::TABLES`], the runs of rows that were read.
    spans: [Spans; Tag::TABLES.len()],
    note_spans: Spans,
    /// Rows of the table of functions. They are moved into a map at the end.
    symbol_frames: Vec<(u64, Vec<SymbolFrame>)>,
    next_sequence: u32,
    plain_budget_bytes: u64,
    scratch: Vec<u8>,
}

impl Assembly {
    fn new(file_bytes: u64) -> Self {
        Assembly {
            profile: Profile::default(),
            damage: DamageList::default(),
            notes: Vec::new(),
            contents: Contents::default(),
            singles: Default::default(),
            optionals: Default::default(),
            spans: Default::default(),
            note_spans: Spans::default(),
            symbol_frames: Vec::new(),
            next_sequence: 0,
            plain_budget_bytes: plain_budget_bytes(file_bytes),
            scratch: Vec::new(),
        }
    }

    /// Reads a section whose checksums are right.
    fn section(&mut self, offset: u64, header: &SectionHeader, stored: &[u8]) {
        let (tag, at) = (header.tag, Some(offset));
        if header.sequence < self.next_sequence {
            return self.damage.add(Some(tag.name()), at, DamageKind::Repeated);
        }
        if header.sequence > self.next_sequence {
            let sections = u64::from(header.sequence - self.next_sequence);
            self.damage.add(Some(tag.name()), at, DamageKind::SectionsMissing { sections });
        }
        self.next_sequence = header.sequence.saturating_add(1);
        let is_once = Tag::SINGLES.contains(&tag) || Tag::OPTIONALS.contains(&tag);
        if !is_once && !Tag::TABLES.contains(&tag) && tag != Tag::NOTES {
            let bytes = header.stored_bytes;
            return self.note(format!(
                "section {tag:?} at byte {offset} ({bytes} bytes) is of a newer version; skipped"
            ));
        }
        let place = |tags: &[Tag]| tags.iter().position(|listed| *listed == tag);
        let single = place(&Tag::SINGLES).map(|single| &mut self.singles[single]);
        let came = single.or(place(&Tag::OPTIONALS).map(|optional| &mut self.optionals[optional]));
        if came.is_some_and(|came| std::mem::replace(came, true)) {
            return self.damage.add(Some(tag.name()), at, DamageKind::Repeated);
        }
        if let Err(why) = self.content(offset, header, stored) {
            self.damage.add(Some(tag.name()), at, DamageKind::Malformed { why });
        }
    }

    fn content(&mut self, offset: u64, header: &SectionHeader, stored: &[u8]) -> Result<(), String> {
        let left_bytes = self.plain_budget_bytes.checked_sub(u64::from(header.plain_bytes));
        self.plain_budget_bytes = left_bytes.ok_or("the file holds more than a file of its length may")?;
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut faults = Faults::default();
        let result = unpack(header, stored, &mut scratch)
            .and_then(|plain| self.plain(header.tag, plain, &mut faults).map_err(|error| error.to_string()));
        self.scratch = scratch;
        let (section, at) = (Some(header.tag.name()), Some(offset));
        if result.is_err() {
            faults = Faults::default();
        }
        if faults.texts > 0 {
            self.damage.add(section, at, DamageKind::Texts { texts: faults.texts });
        }
        if faults.codes > 0 {
            self.damage.add(section, at, DamageKind::UnknownCodes { codes: faults.codes });
        }
        result
    }

    fn plain(&mut self, tag: Tag, plain: &[u8], faults: &mut Faults) -> Result<(), CodecError> {
        let profile = &mut self.profile;
        let table = Tag::TABLES.iter().position(|listed| *listed == tag);
        let spans = table.map_or(&mut self.note_spans, |table| &mut self.spans[table]);
        match tag {
            Tag::QUALITY => {
                let QualityIndicator { turn_times, own_memory, .. } = profile.quality;
                profile.quality = QualityIndicator { turn_times, own_memory, ..record(plain, faults)? };
            }
            Tag::TURN_TIMES => profile.quality.turn_times = record(plain, faults)?,
            Tag::MEMORY => profile.memory = record(plain, faults)?,
            Tag::OWN_MEMORY => profile.quality.own_memory = record(plain, faults)?,
            Tag::CROSSINGS => profile.crossings = record(plain, faults)?,
            Tag::ESTIMATES => profile.estimates = Some(record(plain, faults)?),
            Tag::TRACKED => profile.tracked = record(plain, faults)?,
            Tag::CONTENTS => self.contents = record(plain, faults)?,
            Tag::PROCESS => {
                let ProcessInfo { directory, unread, host, .. } = std::mem::take(&mut profile.process);
                profile.process = ProcessInfo { directory, unread, host, ..record(plain, faults)? };
            }
            Tag::SURROUNDINGS => {
                (profile.process.directory, profile.process.unread) = record(plain, faults)?;
            }
            Tag::HOST => profile.process.host = record(plain, faults)?,
            Tag::SETTINGS => profile.settings = record(plain, faults)?,
            Tag::CLOCK => (profile.clock, profile.timeline.interval_ns) = record(plain, faults)?,
            Tag::TOTALS => (profile.totals, profile.peak) = record(plain, faults)?,
            Tag::STACK_FIGURES => profile.stack_figures = record(plain, faults)?,
            Tag::CHANGES => chunk::<tables::Changes>(plain, &mut profile.changes, spans, faults)?,
            Tag::MODULES => chunk::<tables::Modules>(plain, &mut profile.modules, spans, faults)?,
            Tag::THREADS => chunk::<tables::Threads>(plain, &mut profile.threads, spans, faults)?,
            Tag::STACKS => chunk::<tables::Stacks>(plain, &mut profile.stacks, spans, faults)?,
            Tag::SITES => chunk::<tables::Sites>(plain, &mut profile.sites, spans, faults)?,
            Tag::TIMELINE => {
                chunk::<tables::Intervals>(plain, &mut profile.timeline.intervals, spans, faults)?
            }
            Tag::CURVES => chunk::<tables::Curves>(plain, &mut profile.curves, spans, faults)?,
            Tag::LIVE => chunk::<tables::Live>(plain, &mut profile.live, spans, faults)?,
            Tag::HISTORY => chunk::<tables::History>(plain, &mut profile.history, spans, faults)?,
            Tag::SYMBOL_TEXTS => {
                chunk::<tables::SymbolTexts>(plain, &mut profile.symbols.strings, spans, faults)?
            }
            Tag::SYMBOL_FRAMES => {
                chunk::<tables::SymbolFrames>(plain, &mut self.symbol_frames, spans, faults)?
            }
            Tag::SYMBOL_NOTES => {
                chunk::<tables::SymbolNotes>(plain, &mut profile.symbols.notes, spans, faults)?
            }
            Tag::SCOPE_COUNTS => profile.scope_counts = record(plain, faults)?,
            Tag::SCOPES => chunk::<tables::Scopes>(plain, &mut profile.scopes, spans, faults)?,
            Tag::NOTES => chunk::<tables::Notes>(plain, &mut self.notes, spans, faults)?,
            Tag::END => {
                let (sections, _bytes_before): (u32, u64) = record(plain, faults)?;
                if sections != self.next_sequence {
                    return Err(CodecError::OutOfRange("number of sections"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn note(&mut self, note: String) {
        if self.notes.len() < NOTES_LISTED_MAX {
            self.notes.push(note);
        }
    }

    fn finish(mut self, version: Version) -> Dump {
        self.profile.set_coverage();
        for (tag, came) in Tag::SINGLES.into_iter().zip(self.singles) {
            let kind = if tag == Tag::END { DamageKind::Unfinished } else { DamageKind::Missing };
            if !came {
                let section = (tag != Tag::END).then_some(tag.name());
                self.damage.add(section, None, kind);
            }
        }
        for (tag, spans) in Tag::TABLES.into_iter().zip(&self.spans) {
            let of = self.contents.rows(tag);
            let rows = of.saturating_sub(spans.rows());
            if rows > 0 {
                self.damage.add(Some(tag.name()), None, DamageKind::RowsMissing { rows, of });
            }
        }
        let spans =
            |tag| Tag::TABLES.iter().position(|listed| *listed == tag).map(|table| &self.spans[table]);
        if let (Some(stacks), Some(threads)) = (spans(Tag::STACKS), spans(Tag::THREADS)) {
            redirect(&mut self.profile, stacks, threads, &mut self.damage);
        }
        if let Some(texts) = spans(Tag::SYMBOL_TEXTS) {
            let frames = std::mem::take(&mut self.symbol_frames);
            redirect_names(&mut self.profile.symbols, frames, texts, &mut self.damage);
        }
        redirect_scopes(&mut self.profile.scopes, self.contents.rows(Tag::SCOPES), &mut self.damage);
        self.notes.truncate(NOTES_LISTED_MAX);
        let broken_laws = check(&self.profile);
        Dump { version, profile: self.profile, damage: self.damage.finish(), broken_laws, notes: self.notes }
    }
}

fn record<T: Wire>(plain: &[u8], faults: &mut Faults) -> Result<T, CodecError> {
    let mut cursor = Cursor::new(plain);
    let record = T::get(&mut cursor, faults)?;
    cursor.finish()?;
    Ok(record)
}

/// Appends the rows of a chunk to `rows`. If the chunk is invalid, appends no row.
fn chunk<T: Table>(
    plain: &[u8],
    rows: &mut Vec<T::Row>,
    spans: &mut Spans,
    faults: &mut Faults,
) -> Result<(), CodecError> {
    let before = rows.len();
    let result = chunk_rows::<T>(plain, rows, spans, faults);
    if result.is_err() {
        rows.truncate(before);
    }
    result
}

fn chunk_rows<T: Table>(
    plain: &[u8],
    rows: &mut Vec<T::Row>,
    spans: &mut Spans,
    faults: &mut Faults,
) -> Result<(), CodecError> {
    let mut body = Cursor::new(plain);
    let mut prefix = Cursor::new(body.take(CHUNK_PREFIX_BYTES)?);
    let (first_row, count, column_count) = (prefix.u64()?, prefix.u32()?, prefix.u32()? as usize);
    if !(T::COLUMNS..=COLUMNS_MAX).contains(&column_count) {
        return Err(CodecError::OutOfRange("number of columns"));
    }
    let mut lengths = Cursor::new(body.take(4 * column_count)?);
    let mut columns = Vec::with_capacity(column_count);
    for _ in 0..column_count {
        columns.push(Cursor::new(body.take(lengths.u32()? as usize)?));
    }
    body.finish()?;
    // A newer version appended further columns, which are ignored.
    columns.truncate(T::COLUMNS);
    let shortest = columns[..T::FULL_COLUMNS].iter().map(Cursor::remaining).min().unwrap_or(0);
    if count as usize > shortest {
        return Err(CodecError::OutOfRange("number of rows"));
    }
    let span = spans.next(first_row, u64::from(count), rows.len())?;
    rows.reserve(count as usize);
    let mut last = tables::Last::default();
    for _ in 0..count {
        rows.push(T::get(&mut columns, &mut last, faults)?);
    }
    columns.into_iter().try_for_each(Cursor::finish)?;
    spans.push(span);
    Ok(())
}
