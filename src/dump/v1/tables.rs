//! Columns of the tables, version 1.
//!
//! A table is stored by columns, because adjacent values of a column are similar and compress well. A table is cut into
//! chunks that can be read alone: deltas start from 0 in each chunk. A table whose rows contain texts has one column of
//! records.

use super::{Cuts, Faults, Wire};
use crate::dump::codec::{CodecError, Cursor, put_delta, put_varint};
use crate::dump::format::{
    CURVE_POINTS_MAX, EVENT_ALLOC, EVENT_ALLOC_ZEROED, EVENT_FREE, EVENT_REALLOC, EVENT_REALLOC_FAILED,
    EVENT_TRACKED, FRAMES_PER_STACK_MAX, HISTOGRAM_BUCKETS_MAX, Tag, pointer_event_code, pointer_event_of,
};
use crate::profile::{
    Change, Event, EventKind, Histogram, INLINED_MAX, Interval, LiveBlock, Module, ReallocStats, Scope, Site,
    SiteCurve, Stack, SymbolFrame, ThreadRow,
};

/// The previous values of a chunk, from which deltas are computed. All are 0 at the start of a chunk.
#[derive(Debug, Default)]
pub(in crate::dump) struct Last {
    address: u64,
    ns: u64,
    bytes: u64,
}

/// Conversion between the rows and the columns of a table.
pub(in crate::dump) trait Table {
    /// A row as the profile holds it.
    type Row;
    /// Tag of the sections that hold the chunks.
    const TAG: Tag;
    /// Number of columns.
    const COLUMNS: usize;
    /// Number of leading columns with at least one byte for every row. The shortest of these columns limits the memory
    /// that a reader reserves for rows.
    const FULL_COLUMNS: usize;

    /// Appends one row to `columns`, which must hold [`Table::COLUMNS`] columns.
    fn put(
        row: &Self::Row,
        last: &mut Last,
        columns: &mut [Vec<u8>],
        cuts: &mut Cuts,
    ) -> Result<(), CodecError>;

    /// Reads one row from `columns`, which must hold [`Table::COLUMNS`] columns.
    fn get(columns: &mut [Cursor<'_>], last: &mut Last, faults: &mut Faults)
    -> Result<Self::Row, CodecError>;
}

/// The error for a slice with too few columns. It never occurs, because callers pass [`Table::COLUMNS`] columns.
const NO_COLUMN: CodecError = CodecError::OutOfRange("number of columns");

fn put_numbers(columns: &mut [Vec<u8>], numbers: &[u64]) {
    for (column, number) in columns.iter_mut().zip(numbers) {
        put_varint(column, *number);
    }
}

fn get_numbers<const N: usize>(columns: &mut [Cursor<'_>]) -> Result<[u64; N], CodecError> {
    let mut numbers = [0; N];
    for (number, column) in numbers.iter_mut().zip(columns) {
        *number = column.varint()?;
    }
    Ok(numbers)
}

fn byte(value: u64, field: &'static str) -> Result<u8, CodecError> {
    u8::try_from(value).map_err(|_| CodecError::OutOfRange(field))
}

fn word(value: u64, field: &'static str) -> Result<u32, CodecError> {
    u32::try_from(value).map_err(|_| CodecError::OutOfRange(field))
}

/// The table of stacks. Columns: number of frames · truncated · frames (deltas, also from one stack to the next).
pub(in crate::dump) struct Stacks;

impl Table for Stacks {
    type Row = Stack;
    const TAG: Tag = Tag::STACKS;
    const COLUMNS: usize = 3;
    const FULL_COLUMNS: usize = 2;

    fn put(row: &Stack, last: &mut Last, columns: &mut [Vec<u8>], cuts: &mut Cuts) -> Result<(), CodecError> {
        let [lengths, flags, frames] = columns else { return Err(NO_COLUMN) };
        let kept = &row.frames[..row.frames.len().min(FRAMES_PER_STACK_MAX)];
        let cut = kept.len() < row.frames.len();
        cuts.stacks += u64::from(cut);
        put_varint(lengths, kept.len() as u64);
        flags.push(u8::from(row.truncated || cut));
        kept.iter().for_each(|frame| put_delta(frames, &mut last.address, *frame));
        Ok(())
    }

    fn get(columns: &mut [Cursor<'_>], last: &mut Last, _: &mut Faults) -> Result<Stack, CodecError> {
        let [lengths, flags, frames] = columns else { return Err(NO_COLUMN) };
        let length = lengths.count(Some(frames), FRAMES_PER_STACK_MAX, "number of frames")?;
        let truncated = match flags.u8()? {
            0 => false,
            1 => true,
            _ => return Err(CodecError::OutOfRange("truncation mark")),
        };
        let mut stack = Stack { frames: Vec::with_capacity(length), truncated };
        for _ in 0..length {
            stack.frames.push(frames.delta(&mut last.address)?);
        }
        Ok(stack)
    }
}

/// The table of sites. Columns: stack · ten figures of the [`Site`], from `total_blocks` to `cross_thread_frees` · six
/// figures of its [`ReallocStats`] · sizes · lifetimes. Sizes and lifetimes are histograms: the number of buckets, then
/// the count of each bucket.
pub(in crate::dump) struct Sites;

fn put_histogram(column: &mut Vec<u8>, histogram: &Histogram, cuts: &mut Cuts) {
    let (kept, rest) = histogram.counts.split_at(histogram.counts.len().min(HISTOGRAM_BUCKETS_MAX));
    cuts.histograms += u64::from(!rest.is_empty());
    put_varint(column, kept.len() as u64);
    for (bucket, count) in kept.iter().enumerate() {
        let above = if bucket + 1 == HISTOGRAM_BUCKETS_MAX { rest } else { &[] };
        put_varint(column, above.iter().fold(*count, |sum, count| sum.saturating_add(*count)));
    }
}

fn get_histogram(column: &mut Cursor<'_>) -> Result<Histogram, CodecError> {
    let buckets = column.count(None, HISTOGRAM_BUCKETS_MAX, "number of buckets")?;
    let mut histogram = Histogram { counts: Vec::with_capacity(buckets) };
    for _ in 0..buckets {
        histogram.counts.push(column.varint()?);
    }
    Ok(histogram)
}

impl Table for Sites {
    type Row = Site;
    const TAG: Tag = Tag::SITES;
    const COLUMNS: usize = 19;
    const FULL_COLUMNS: usize = 19;

    #[rustfmt::skip]
    fn put(row: &Site, _: &mut Last, columns: &mut [Vec<u8>], cuts: &mut Cuts) -> Result<(), CodecError> {
        let Site {
            stack, total_blocks, total_bytes, freed_blocks, freed_bytes, own_peak_bytes, at_peak_bytes,
            at_peak_blocks, temporary_blocks, temporary_bytes, cross_thread_frees, reallocs, ref sizes,
            ref lifetimes,
        } = *row;
        let ReallocStats { count, moved, copied_bytes, chains, chain_links, longest_chain } = reallocs;
        let [numbers @ .., sizes_column, lifetimes_column] = columns else { return Err(NO_COLUMN) };
        put_numbers(numbers, &[
            u64::from(stack), total_blocks, total_bytes, freed_blocks, freed_bytes, own_peak_bytes, at_peak_bytes,
            at_peak_blocks, temporary_blocks, temporary_bytes, cross_thread_frees,
            count, moved, copied_bytes, chains, chain_links, longest_chain,
        ]);
        put_histogram(sizes_column, sizes, cuts);
        put_histogram(lifetimes_column, lifetimes, cuts);
        Ok(())
    }

    #[rustfmt::skip]
    fn get(columns: &mut [Cursor<'_>], _: &mut Last, _: &mut Faults) -> Result<Site, CodecError> {
        let [numbers @ .., sizes, lifetimes] = columns else { return Err(NO_COLUMN) };
        let [
            stack, total_blocks, total_bytes, freed_blocks, freed_bytes, own_peak_bytes, at_peak_bytes,
            at_peak_blocks, temporary_blocks, temporary_bytes, cross_thread_frees,
            count, moved, copied_bytes, chains, chain_links, longest_chain,
        ] = get_numbers::<17>(numbers)?;
        Ok(Site {
            stack: word(stack, "stack")?,
            total_blocks, total_bytes, freed_blocks, freed_bytes, own_peak_bytes, at_peak_bytes,
            at_peak_blocks, temporary_blocks, temporary_bytes, cross_thread_frees,
            reallocs: ReallocStats { count, moved, copied_bytes, chains, chain_links, longest_chain },
            sizes: get_histogram(sizes)?,
            lifetimes: get_histogram(lifetimes)?,
        })
    }
}

/// The table of live blocks. Columns: address (delta) · birth (delta) · size · stack · thread · alignment · reallocs.
pub(in crate::dump) struct Live;

impl Table for Live {
    type Row = LiveBlock;
    const TAG: Tag = Tag::LIVE;
    const COLUMNS: usize = 7;
    const FULL_COLUMNS: usize = 7;

    fn put(
        row: &LiveBlock,
        last: &mut Last,
        columns: &mut [Vec<u8>],
        _: &mut Cuts,
    ) -> Result<(), CodecError> {
        let LiveBlock { address, size, born_ns, stack, thread, align_log2, reallocs } = *row;
        let [addresses, births, numbers @ ..] = columns else { return Err(NO_COLUMN) };
        put_delta(addresses, &mut last.address, address);
        put_delta(births, &mut last.ns, born_ns);
        put_numbers(numbers, &[size, stack.into(), thread.into(), align_log2.into(), reallocs.into()]);
        Ok(())
    }

    fn get(columns: &mut [Cursor<'_>], last: &mut Last, _: &mut Faults) -> Result<LiveBlock, CodecError> {
        let [addresses, births, numbers @ ..] = columns else { return Err(NO_COLUMN) };
        let [size, stack, thread, align_log2, reallocs] = get_numbers(numbers)?;
        Ok(LiveBlock {
            address: addresses.delta(&mut last.address)?,
            size,
            born_ns: births.delta(&mut last.ns)?,
            stack: word(stack, "stack")?,
            thread: word(thread, "thread")?,
            align_log2: byte(align_log2, "alignment")?,
            reallocs: byte(reallocs, "number of reallocs")?,
        })
    }
}

/// The table of intervals. Columns: blocks and bytes allocated · blocks and bytes freed · peak · lost.
pub(in crate::dump) struct Intervals;

impl Table for Intervals {
    type Row = Interval;
    const TAG: Tag = Tag::TIMELINE;
    const COLUMNS: usize = 6;
    const FULL_COLUMNS: usize = 6;

    fn put(row: &Interval, _: &mut Last, columns: &mut [Vec<u8>], _: &mut Cuts) -> Result<(), CodecError> {
        let Interval { allocated_blocks, allocated_bytes, freed_blocks, freed_bytes, peak_bytes, lost } =
            *row;
        put_numbers(
            columns,
            &[allocated_blocks, allocated_bytes, freed_blocks, freed_bytes, peak_bytes, lost],
        );
        Ok(())
    }

    fn get(columns: &mut [Cursor<'_>], _: &mut Last, _: &mut Faults) -> Result<Interval, CodecError> {
        let [allocated_blocks, allocated_bytes, freed_blocks, freed_bytes, peak_bytes, lost] =
            get_numbers(columns)?;
        Ok(Interval { allocated_blocks, allocated_bytes, freed_blocks, freed_bytes, peak_bytes, lost })
    }
}

/// The table of curves. Columns: stack · length of an interval · first interval · number of values · live bytes
/// (deltas, also from one curve to the next).
pub(in crate::dump) struct Curves;

impl Table for Curves {
    type Row = SiteCurve;
    const TAG: Tag = Tag::CURVES;
    const COLUMNS: usize = 5;
    const FULL_COLUMNS: usize = 4;

    fn put(
        row: &SiteCurve,
        last: &mut Last,
        columns: &mut [Vec<u8>],
        cuts: &mut Cuts,
    ) -> Result<(), CodecError> {
        let SiteCurve { stack, interval_ns, first_interval, live_bytes } = row;
        let [numbers @ .., lengths, values] = columns else { return Err(NO_COLUMN) };
        let kept = &live_bytes[..live_bytes.len().min(CURVE_POINTS_MAX)];
        cuts.curves += u64::from(kept.len() < live_bytes.len());
        put_numbers(numbers, &[u64::from(*stack), *interval_ns, u64::from(*first_interval)]);
        put_varint(lengths, kept.len() as u64);
        kept.iter().for_each(|bytes| put_delta(values, &mut last.bytes, *bytes));
        Ok(())
    }

    fn get(columns: &mut [Cursor<'_>], last: &mut Last, _: &mut Faults) -> Result<SiteCurve, CodecError> {
        let [numbers @ .., lengths, values] = columns else { return Err(NO_COLUMN) };
        let [stack, interval_ns, first_interval] = get_numbers(numbers)?;
        let length = lengths.count(Some(values), CURVE_POINTS_MAX, "number of values of a curve")?;
        let mut live_bytes = Vec::with_capacity(length);
        for _ in 0..length {
            live_bytes.push(values.delta(&mut last.bytes)?);
        }
        let (stack, first_interval) = (word(stack, "stack")?, word(first_interval, "first interval")?);
        Ok(SiteCurve { stack, interval_ns, first_interval, live_bytes })
    }
}

/// The table of events. Columns: kind · time (delta) · thread · stack · address (delta) · size, for kinds that have a
/// size · new address of a realloc (delta to the old address).
pub(in crate::dump) struct History;

impl Table for History {
    type Row = Event;
    const TAG: Tag = Tag::HISTORY;
    const COLUMNS: usize = 7;
    const FULL_COLUMNS: usize = 5;

    fn put(row: &Event, last: &mut Last, columns: &mut [Vec<u8>], _: &mut Cuts) -> Result<(), CodecError> {
        let [kinds, times, threads, stacks, addresses, sizes, moves] = columns else { return Err(NO_COLUMN) };
        let Event { at_ns, thread, stack, kind } = *row;
        put_delta(times, &mut last.ns, at_ns);
        put_varint(threads, thread.into());
        put_varint(stacks, stack.into());
        let (code, address) = match kind {
            EventKind::Alloc { address, zeroed: false, .. } => (EVENT_ALLOC, address),
            EventKind::Alloc { address, zeroed: true, .. } => (EVENT_ALLOC_ZEROED, address),
            EventKind::Free { address } => (EVENT_FREE, address),
            EventKind::Realloc { old_address, .. } => (EVENT_REALLOC, old_address),
            EventKind::ReallocFailed { address } => (EVENT_REALLOC_FAILED, address),
            EventKind::Tracked { pointer, event, held } => {
                put_varint(sizes, pointer.into());
                put_varint(sizes, held.into());
                // A pointer event has no heap address: the delta is 0.
                (EVENT_TRACKED + pointer_event_code(event), last.address)
            }
        };
        kinds.push(code);
        put_delta(addresses, &mut last.address, address);
        match kind {
            EventKind::Alloc { size, .. } => put_varint(sizes, size),
            EventKind::Realloc { mut old_address, new_address, new_size } => {
                put_delta(moves, &mut old_address, new_address);
                put_varint(sizes, new_size);
            }
            EventKind::Free { .. } | EventKind::ReallocFailed { .. } | EventKind::Tracked { .. } => {}
        }
        Ok(())
    }

    fn get(columns: &mut [Cursor<'_>], last: &mut Last, _: &mut Faults) -> Result<Event, CodecError> {
        let [kinds, times, threads, stacks, addresses, sizes, moves] = columns else { return Err(NO_COLUMN) };
        let address = addresses.delta(&mut last.address)?;
        let kind = match kinds.u8()? {
            EVENT_ALLOC => EventKind::Alloc { address, size: sizes.varint()?, zeroed: false },
            EVENT_ALLOC_ZEROED => EventKind::Alloc { address, size: sizes.varint()?, zeroed: true },
            EVENT_FREE => EventKind::Free { address },
            EVENT_REALLOC => EventKind::Realloc {
                old_address: address,
                new_address: moves.delta(&mut { address })?,
                new_size: sizes.varint()?,
            },
            EVENT_REALLOC_FAILED => EventKind::ReallocFailed { address },
            code => {
                let event = code.checked_sub(EVENT_TRACKED).and_then(pointer_event_of);
                let event = event.ok_or(CodecError::OutOfRange("kind of event"))?;
                let (pointer, held) = (sizes.varint_u32("tracked pointer")?, sizes.varint_u32("holders")?);
                EventKind::Tracked { pointer, event, held }
            }
        };
        Ok(Event {
            at_ns: times.delta(&mut last.ns)?,
            thread: threads.varint_u32("thread")?,
            stack: stacks.varint_u32("stack")?,
            kind,
        })
    }
}

/// The table of functions at addresses. Columns: number of functions · address (delta) · for each function its name,
/// file, line and whether it is inlined.
pub(in crate::dump) struct SymbolFrames;

impl Table for SymbolFrames {
    type Row = (u64, Vec<SymbolFrame>);
    const TAG: Tag = Tag::SYMBOL_FRAMES;
    const COLUMNS: usize = 6;
    const FULL_COLUMNS: usize = 2;

    fn put(
        (address, functions): &Self::Row,
        last: &mut Last,
        columns: &mut [Vec<u8>],
        cuts: &mut Cuts,
    ) -> Result<(), CodecError> {
        let [lengths, addresses, numbers @ .., inlined] = columns else { return Err(NO_COLUMN) };
        let kept = &functions[..functions.len().min(INLINED_MAX)];
        cuts.inlined += u64::from(kept.len() < functions.len());
        put_varint(lengths, kept.len() as u64);
        put_delta(addresses, &mut last.address, *address);
        for frame in kept {
            put_numbers(numbers, &[frame.function, frame.file, frame.line].map(u64::from));
            inlined.push(u8::from(frame.inlined));
        }
        Ok(())
    }

    fn get(columns: &mut [Cursor<'_>], last: &mut Last, _: &mut Faults) -> Result<Self::Row, CodecError> {
        let [lengths, addresses, numbers @ .., inlined] = columns else { return Err(NO_COLUMN) };
        let length = lengths.count(Some(inlined), INLINED_MAX, "number of inlined functions")?;
        let address = addresses.delta(&mut last.address)?;
        let mut functions = Vec::with_capacity(length);
        for _ in 0..length {
            let [function, file, line] = get_numbers(numbers)?;
            let inlined = match inlined.u8()? {
                0 => false,
                1 => true,
                _ => return Err(CodecError::OutOfRange("mark of an inlined function")),
            };
            let (function, file) = (word(function, "name of a function")?, word(file, "name of a file")?);
            functions.push(SymbolFrame { function, file, line: word(line, "line")?, inlined });
        }
        Ok((address, functions))
    }
}

/// Defines tables that have one column of records.
macro_rules! record_tables {
    ($($(#[$doc:meta])* $table:ident, $row:ty, $tag:expr;)*) => { $(
        $(#[$doc])*
        pub(in crate::dump) struct $table;

        impl Table for $table {
            type Row = $row;
            const TAG: Tag = $tag;
            const COLUMNS: usize = 1;
            const FULL_COLUMNS: usize = 1;

            fn put(row: &$row, _: &mut Last, columns: &mut [Vec<u8>], cuts: &mut Cuts) -> Result<(), CodecError> {
                let [column] = columns else { return Err(NO_COLUMN) };
                row.put(column, cuts)
            }

            fn get(columns: &mut [Cursor<'_>], _: &mut Last, faults: &mut Faults) -> Result<$row, CodecError> {
                let [column] = columns else { return Err(NO_COLUMN) };
                Wire::get(column, faults)
            }
        }
    )* };
}

record_tables! {
    /// The table of threads.
    Threads, ThreadRow, Tag::THREADS;
    /// The table of modules.
    Modules, Module, Tag::MODULES;
    /// The table of changes of state.
    Changes, Change, Tag::CHANGES;
    /// The table of the writer's notes.
    Notes, String, Tag::NOTES;
    /// The table of texts that symbols refer to.
    SymbolTexts, String, Tag::SYMBOL_TEXTS;
    /// The table of scopes.
    Scopes, Scope, Tag::SCOPES;
    /// The table of notes on symbols.
    SymbolNotes, String, Tag::SYMBOL_NOTES;
}
