//! Encodes a profile as a dump, into any [`Write`].

use std::borrow::Cow;
use std::io::{self, Write};

use super::codec::{CodecError, put_u32, put_u64};
use super::format::{CHUNK_CLOSE_BYTES, Tag};
use super::rows::{Counted, Rows};
use super::section::SectionWriter;
use super::v1::meta::Contents;
use super::v1::{Cuts, Wire, tables};
use crate::profile::{
    OwnMemory, ProcessInfo, Profile, ScopeCounts, StackFigures, TurnTimes, Violation, check_rows,
};

/// Describes the bytes that [`write_to`] has written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Encoded {
    /// Length of the file, in bytes.
    pub bytes: u64,
    /// Number of sections in the file.
    pub sections: u32,
    /// Conservation laws that the profile breaks. The file was written nevertheless, with a note for each broken law.
    pub broken_laws: Vec<Violation>,
    /// Notes in the file: one for each broken law, and one for each kind of cut that the limits of the format required.
    pub notes: Vec<String>,
}

/// Writes `profile` as a dump into `out`, and flushes `out`.
///
/// # Errors
///
/// Returns the first error of `out`. The bytes written before the error are an incomplete dump.
///
/// # Examples
///
/// ```
/// # fn profile() -> heapledger::Profile { heapledger::Profile::default() }
/// let mut bytes = Vec::new();
/// let encoded = heapledger::dumps::write_to(&mut bytes, &profile())?;
/// assert_eq!(encoded.bytes, bytes.len() as u64);
/// # std::io::Result::Ok(())
/// ```
pub fn write_to<W: Write>(out: W, profile: &Profile) -> io::Result<Encoded> {
    write_noted(out, profile, profile, &[])
}

/// Writes a dump of `profile`, with `rows` as its large tables.
pub(crate) fn write_rows<W: Write>(out: W, profile: &Profile, rows: &dyn Rows) -> io::Result<Encoded> {
    write_noted(out, profile, rows, &[])
}

/// Writes a dump as [`write_rows`] does. Also writes `earlier`, the notes of the file that the profile was read from.
pub(super) fn write_noted<W: Write>(
    out: W,
    profile: &Profile,
    rows: &dyn Rows,
    earlier: &[String],
) -> io::Result<Encoded> {
    let counted = Counted::of(rows, !profile.scopes.is_empty());
    let broken_laws = check_rows(profile, &counted.sums);
    let mut writer = ProfileWriter { sections: SectionWriter::start(out)?, cuts: Cuts::default() };
    writer.metadata(profile, &counted)?;
    writer.table::<tables::Changes>(&profile.changes)?;
    writer.table::<tables::Modules>(&profile.modules)?;
    writer.table::<tables::Threads>(&profile.threads)?;
    writer.rows::<tables::Stacks>(rows.stacks())?;
    writer.rows::<tables::Sites>(rows.sites())?;
    writer.table::<tables::Intervals>(&profile.timeline.intervals)?;
    writer.rows::<tables::Live>(rows.live().map(Cow::Owned))?;
    writer.table::<tables::History>(&profile.history)?;
    let names = &profile.symbols;
    writer.table::<tables::SymbolTexts>(&names.strings)?;
    // The rows of this table are copied out of a map. The map is empty in a recorded program, so nothing is copied
    // there.
    let frames: Vec<_> = names.frames.iter().map(|(address, frames)| (*address, frames.clone())).collect();
    writer.table::<tables::SymbolFrames>(&frames)?;
    writer.table::<tables::SymbolNotes>(&names.notes)?;
    writer.table::<tables::Scopes>(&profile.scopes)?;
    writer.table::<tables::Curves>(&profile.curves)?;
    let mut notes = notes(&broken_laws, writer.cuts);
    let unsaid: Vec<_> = earlier.iter().filter(|note| !notes.contains(note)).cloned().collect();
    notes.extend(unsaid);
    writer.table::<tables::Notes>(&notes)?;
    // The end section: the number of sections in the file, including this one, and the number of bytes before it.
    writer.record(Tag::END, &(writer.sections.sections + 1, writer.sections.bytes))?;
    writer.sections.flush()?;
    Ok(Encoded { bytes: writer.sections.bytes, sections: writer.sections.sections, broken_laws, notes })
}

fn notes(broken_laws: &[Violation], cuts: Cuts) -> Vec<String> {
    let Cuts {
        texts,
        arguments,
        stacks,
        histograms,
        curves,
        inlined,
        crossings,
        tracked_pointers,
        tracked_holders,
        tracked_events,
    } = cuts;
    let cut = [
        (texts, "texts were longer than the format allows and were cut"),
        (arguments, "arguments of the command line were left off, it was too long"),
        (stacks, "stacks had more frames than the format allows; they are marked as truncated"),
        (histograms, "histograms had more buckets than the format allows; the last ones were merged"),
        (curves, "curves of sites had more values than the format allows; the last ones were left off"),
        (
            inlined,
            "addresses lie in more inlined functions than the format allows; the outer ones were left off",
        ),
        (crossings, "pairs of threads were left off, those that freed most were kept"),
        (tracked_pointers, "tracked pointers were left off, those with most holders were kept"),
        (tracked_holders, "places of holders of tracked pointers were left off, those with most were kept"),
        (tracked_events, "events of tracked pointers were left off, the oldest"),
    ];
    let laws = broken_laws.iter().map(|law| format!("the profile breaks a law when written: {law}"));
    let cuts = cut.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
    laws.chain(cuts).collect()
}

fn invalid(error: CodecError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

struct ProfileWriter<W> {
    sections: SectionWriter<W>,
    cuts: Cuts,
}

impl<W: Write> ProfileWriter<W> {
    fn metadata(&mut self, profile: &Profile, counted: &Counted) -> io::Result<()> {
        self.record(Tag::QUALITY, &profile.quality)?;
        self.record(Tag::CONTENTS, &Contents::of(profile, counted))?;
        self.record(Tag::PROCESS, &profile.process)?;
        self.record(Tag::SETTINGS, &profile.settings)?;
        self.record(Tag::CLOCK, &(profile.clock.clone(), profile.timeline.interval_ns))?;
        self.record(Tag::TOTALS, &(profile.totals, profile.peak))?;
        if profile.stack_figures != StackFigures::default() {
            self.record(Tag::STACK_FIGURES, &profile.stack_figures)?;
        }
        if profile.quality.turn_times != TurnTimes::default() {
            self.record(Tag::TURN_TIMES, &profile.quality.turn_times)?;
        }
        if profile.quality.own_memory != OwnMemory::default() {
            self.record(Tag::OWN_MEMORY, &profile.quality.own_memory)?;
        }
        if !profile.memory.is_empty() {
            self.record(Tag::MEMORY, &profile.memory)?;
        }
        if !profile.crossings.is_empty() {
            self.record(Tag::CROSSINGS, &profile.crossings)?;
        }
        if let Some(estimates) = &profile.estimates {
            self.record(Tag::ESTIMATES, estimates)?;
        }
        let ProcessInfo { directory, unread, host, .. } = &profile.process;
        if !directory.is_empty() || !unread.is_empty() {
            self.record(Tag::SURROUNDINGS, &(directory.clone(), unread.clone()))?;
        }
        if !host.is_empty() {
            self.record(Tag::HOST, host)?;
        }
        if profile.scope_counts != ScopeCounts::default() {
            self.record(Tag::SCOPE_COUNTS, &profile.scope_counts)?;
        }
        if !profile.tracked.is_empty() {
            self.record(Tag::TRACKED, &profile.tracked)?;
        }
        Ok(())
    }

    fn record(&mut self, tag: Tag, record: &impl Wire) -> io::Result<()> {
        let mut plain = Vec::new();
        record.put(&mut plain, &mut self.cuts).map_err(invalid)?;
        self.sections.put(tag, &plain)
    }

    fn table<T: tables::Table>(&mut self, rows: &[T::Row]) -> io::Result<()>
    where
        T::Row: Clone,
    {
        self.rows::<T>(rows.iter().map(Cow::Borrowed))
    }

    /// Writes a table as chunks. Takes one row at a time, so the rows need not be in memory together.
    fn rows<'a, T: tables::Table>(&mut self, rows: impl Iterator<Item = Cow<'a, T::Row>>) -> io::Result<()>
    where
        T::Row: Clone + 'a,
    {
        let mut columns = vec![Vec::new(); T::COLUMNS];
        let (mut last, mut first_row) = (tables::Last::default(), 0);
        let mut rows = rows.enumerate().peekable();
        while let Some((index, row)) = rows.next() {
            T::put(&row, &mut last, &mut columns, &mut self.cuts).map_err(invalid)?;
            let bytes: usize = columns.iter().map(Vec::len).sum();
            if bytes >= CHUNK_CLOSE_BYTES || rows.peek().is_none() {
                self.chunk(T::TAG, first_row, index + 1 - first_row, &mut columns)?;
                first_row = index + 1;
                last = tables::Last::default();
            }
        }
        Ok(())
    }

    fn chunk(&mut self, tag: Tag, first_row: usize, rows: usize, columns: &mut [Vec<u8>]) -> io::Result<()> {
        let mut plain = Vec::new();
        put_u64(&mut plain, first_row as u64);
        put_u32(&mut plain, rows as u32);
        put_u32(&mut plain, columns.len() as u32);
        columns.iter().for_each(|column| put_u32(&mut plain, column.len() as u32));
        for column in columns {
            plain.append(column);
        }
        self.sections.put(tag, &plain)
    }
}
