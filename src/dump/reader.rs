//! Bytes become a profile. Nothing in them is trusted: a section counts only when its checksum fits and its content
//! adds up, a count reserves only the memory that the bytes present justify, and what is missing is listed.
//!
//! A section is taken whole or left out whole. What remains is put together, and what refers to something that is
//! gone is redirected (see `references`), so a profile from here can be used without further checks of indices.

use std::io::Read;
use std::path::Path;

use super::codec::{CodecError, Cursor};
use super::error::{Damage, DamageKind, DamageList, ReadError};
use super::file::{load, load_from};
use super::format::{
    CHUNK_PREFIX_BYTES, COLUMNS_MAX, FILE_BYTES_MAX, FILE_HEADER_BYTES, MAGIC, NOTES_LISTED_MAX, Tag,
    VERSION, Version, plain_budget_bytes,
};
use super::references::{Spans, settle, settle_names};
use super::section::{Found, SectionHeader, Sections, file_header, unpack};
use super::v1::Faults;
use super::v1::figures::{WireCrossings, WireEstimates, WireTracked, WireTurnTimes};
use super::v1::meta::{
    WireClock, WireContents, WireEnd, WireProcess, WireQuality, WireSettings, WireStackFigures, WireTotals,
};
use super::v1::tables::{self, Table};
use crate::profile::{
    ClockInfo, ClockMode, ConcurrencyConfig, DataQualityMode, ForkPolicy, HeapStats, HistoryLimits, Peak,
    ProcessInfo, Profile, QualityIndicator, Settings, StackFigures, Stacks, SymbolFrame, Symbols, Timeline,
    Violation, check,
};

/// What a reader got out of a file.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Dump {
    /// Version of the format that the file has.
    pub version: Version,
    /// The profile. What was missing has its default value, and is listed in `damage`.
    pub profile: Profile,
    /// What was missing or corrupt; empty for a file that is as it was written.
    pub damage: Vec<Damage>,
    /// Laws that the profile breaks, as read. Damage breaks laws, but a profile can also have been written so.
    pub broken_laws: Vec<Violation>,
    /// What the writer noted, then what the reader skipped because a newer version put it there.
    pub notes: Vec<String>,
}

impl Dump {
    /// What a black box was read to.
    pub(crate) fn of_black_box(profile: Profile, broken_laws: Vec<Violation>, notes: Vec<String>) -> Dump {
        Dump { version: VERSION, profile, damage: Vec::new(), broken_laws, notes }
    }

    /// Whether all of the file was there and intact.
    pub fn is_whole(&self) -> bool {
        self.damage.is_empty()
    }
}

/// Reads the dump at `path`.
///
/// # Errors
///
/// [`ReadError`] when it is not a dump, or of a newer major version, or cannot be read at all. A cut or corrupt dump
/// is no error: what is whole of it is returned, with a list of what is not.
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

/// Reads a dump from a stream, to its end.
///
/// # Errors
///
/// As [`read`].
pub fn read_from(from: impl Read) -> Result<Dump, ReadError> {
    read_bytes(&load_from(from, FILE_BYTES_MAX)?)
}

/// Reads a dump from memory.
///
/// # Errors
///
/// As [`read`].
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
    // A version whose checksum does not fit says nothing; the sections have checksums of their own.
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

/// A profile with nothing in it: what every missing section is replaced by.
#[doc(hidden)]
pub fn empty_profile() -> Profile {
    Profile {
        quality: QualityIndicator::default(),
        process: ProcessInfo::default(),
        settings: Settings {
            mode: DataQualityMode::default(),
            stacks: Stacks::Off,
            clock: ClockMode::default(),
            history: HistoryLimits::default(),
            concurrency: ConcurrencyConfig::default(),
            fork: ForkPolicy::default(),
            memory_limit_bytes: 0,
        },
        clock: ClockInfo::default(),
        totals: HeapStats::default(),
        estimates: None,
        peak: Peak::default(),
        sites: Vec::new(),
        stacks: Vec::new(),
        stack_figures: StackFigures::default(),
        modules: Vec::new(),
        symbols: Symbols::default(),
        live: Vec::new(),
        threads: Vec::new(),
        crossings: Vec::new(),
        timeline: Timeline::default(),
        history: Vec::new(),
        changes: Vec::new(),
        tracked: Default::default(),
    }
}

/// The parts of a profile, as they come in.
struct Assembly {
    profile: Profile,
    damage: DamageList,
    notes: Vec<String>,
    contents: Option<WireContents>,
    /// Singles that came in, by their place in [`Tag::SINGLES`].
    singles: [bool; Tag::SINGLES.len()],
    /// Sections that need not be there, but came in, by their place in [`Tag::OPTIONALS`].
    optionals: [bool; Tag::OPTIONALS.len()],
    /// Where the rows of each table come from, by its place in [`Tag::TABLES`].
    spans: [Spans; Tag::TABLES.len()],
    note_spans: Spans,
    /// Rows of the functions; they become a map at the end.
    symbol_frames: Vec<(u64, Vec<SymbolFrame>)>,
    next_sequence: u32,
    plain_budget_bytes: u64,
    scratch: Vec<u8>,
}

impl Assembly {
    fn new(file_bytes: u64) -> Self {
        Assembly {
            profile: empty_profile(),
            damage: DamageList::default(),
            notes: Vec::new(),
            contents: None,
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

    /// Takes in a section whose checksums fit.
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
                let turn_times = profile.quality.turn_times;
                let quality = record::<WireQuality<'_>>(plain)?.read(faults);
                profile.quality = QualityIndicator { turn_times, ..quality };
            }
            Tag::TURN_TIMES => profile.quality.turn_times = record::<WireTurnTimes>(plain)?.read(),
            Tag::CROSSINGS => profile.crossings = record::<WireCrossings>(plain)?.read(),
            Tag::ESTIMATES => profile.estimates = Some(record::<WireEstimates>(plain)?.read()),
            Tag::TRACKED => profile.tracked = record::<WireTracked<'_>>(plain)?.read(faults),
            Tag::CONTENTS => self.contents = Some(record(plain)?),
            Tag::PROCESS => profile.process = record::<WireProcess<'_>>(plain)?.read(faults),
            Tag::SETTINGS => profile.settings = record::<WireSettings>(plain)?.read(faults),
            Tag::CLOCK => {
                (profile.clock, profile.timeline.interval_ns) = record::<WireClock<'_>>(plain)?.read(faults);
            }
            Tag::TOTALS => (profile.totals, profile.peak) = record::<WireTotals>(plain)?.read(),
            Tag::STACK_FIGURES => {
                profile.stack_figures = record::<WireStackFigures<'_>>(plain)?.read(faults);
            }
            Tag::CHANGES => chunk::<tables::Changes>(plain, &mut profile.changes, spans, faults)?,
            Tag::MODULES => chunk::<tables::Modules>(plain, &mut profile.modules, spans, faults)?,
            Tag::THREADS => chunk::<tables::Threads>(plain, &mut profile.threads, spans, faults)?,
            Tag::STACKS => chunk::<tables::Stacks>(plain, &mut profile.stacks, spans, faults)?,
            Tag::SITES => chunk::<tables::Sites>(plain, &mut profile.sites, spans, faults)?,
            Tag::TIMELINE => {
                chunk::<tables::Intervals>(plain, &mut profile.timeline.intervals, spans, faults)?
            }
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
            Tag::NOTES => chunk::<tables::Notes>(plain, &mut self.notes, spans, faults)?,
            Tag::END => {
                let end: WireEnd = record(plain)?;
                if end.sections != self.next_sequence {
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
        for (tag, came) in Tag::SINGLES.into_iter().zip(self.singles) {
            let kind = if tag == Tag::END { DamageKind::Unfinished } else { DamageKind::Missing };
            if !came {
                let section = (tag != Tag::END).then_some(tag.name());
                self.damage.add(section, None, kind);
            }
        }
        for (tag, spans) in Tag::TABLES.into_iter().zip(&self.spans) {
            let of = self.contents.as_ref().map_or(0, |contents| contents.rows(tag));
            let rows = of.saturating_sub(spans.rows());
            if rows > 0 {
                self.damage.add(Some(tag.name()), None, DamageKind::RowsMissing { rows, of });
            }
        }
        let spans =
            |tag| Tag::TABLES.iter().position(|listed| *listed == tag).map(|table| &self.spans[table]);
        if let (Some(stacks), Some(threads)) = (spans(Tag::STACKS), spans(Tag::THREADS)) {
            settle(&mut self.profile, stacks, threads, &mut self.damage);
        }
        if let Some(texts) = spans(Tag::SYMBOL_TEXTS) {
            let frames = std::mem::take(&mut self.symbol_frames);
            settle_names(&mut self.profile.symbols, frames, texts, &mut self.damage);
        }
        self.notes.truncate(NOTES_LISTED_MAX);
        let broken_laws = check(&self.profile);
        Dump { version, profile: self.profile, damage: self.damage.finish(), broken_laws, notes: self.notes }
    }
}

fn record<'a, T: serde::Deserialize<'a>>(plain: &'a [u8]) -> Result<T, CodecError> {
    let mut cursor = Cursor::new(plain);
    let record = cursor.record()?;
    cursor.finish()?;
    Ok(record)
}

/// Appends the rows of a chunk; none of them if it has a fault.
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
    // Columns behind those that this version knows were appended by a newer one.
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
