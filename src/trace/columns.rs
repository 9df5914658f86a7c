//! Records as columns of bytes, and back.
//!
//! Records that look alike are put together: all kinds in one column, all addresses in another, and so on, so that what
//! compresses them finds its repetitions. What the [`Model`] can tell from the records before is not written.
//!
//! | column | for | one entry |
//! | --- | --- | --- |
//! | windows | each window | thread and time as differences to the last one, time from word to word, number of records |
//! | kinds | each record | one byte: what it is, how its address is told, how its shape is told |
//! | shapes | an allocation whose shape is not the one that followed last time | number of the shape |
//! | new shapes | a shape that is new in this frame | size, stack, traits |
//! | addresses | an address that the model does not find | difference to the last one |
//! | depths | a reused block that was not the last of its class to be freed | frees before it |
//! | blocks | a free of a block of this frame | how many allocations ago it was made |
//! | size bits | a free of a block from before this frame | its twelve bits |
//! | wide | a record that needs more than 48 bits of address or 32 of size | all its fields |
//!
//! The bytes of a frame are these columns one after the other, each with its length in front.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::bytes::{Bytes, put_distance};
use super::model::{Model, Placed};
use super::record::{Record, Shape, SizeBits, Window};
use crate::dump::varint::{put, put_signed};

/// Records of one frame at most.
pub(crate) const FRAME_RECORDS_MAX: usize = 1 << 18;
/// Columns of a frame.
const COLUMNS: usize = 9;

const ALLOC: u8 = 0;
const MOVED: u8 = 16;
const FREE: u8 = 32;
const BEGINS: u8 = 40;
const REFUSED: u8 = 48;
const STARTS: u8 = 49;
const ENDS: u8 = 50;
const REFUSED_OTHER: u8 = 51;
const WIDE: u8 = 56;
const MOVED_OTHER: u8 = 64;

/// How a shape is told.
const SHAPE_EXPECTED: u8 = 0;
const SHAPE_KNOWN: u8 = 1;
const SHAPE_NEW: u8 = 2;

/// How a realloc says that the block stayed where it was.
const STAYED: u8 = 4;

/// How the block of a free is told.
const NEWEST: u8 = 0;
const AFTER_LAST: u8 = 1;
const BEFORE_LAST: u8 = 2;
const NEAR: u8 = 3;
const STRANGER: u8 = 4;

/// A record with its time and its thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dated {
    /// When, in nanoseconds since the start; interpolated between two readings of the clock.
    pub at_ns: u64,
    /// Number of the thread's row.
    pub row: u32,
    /// What happened.
    pub record: Record,
}

/// A quick hash of numbers; nobody else chooses them but the program that is watched.
#[derive(Default)]
pub(super) struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u16(&mut self, value: u16) {
        self.write_u64(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        let mixed = (self.0.rotate_left(23) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ mixed >> 32;
    }
}

/// A map by numbers.
pub(super) type Numbered<K, V> = HashMap<K, V, BuildHasherDefault<Mix>>;

/// The frame that is being filled.
#[derive(Debug)]
pub(crate) struct Columns {
    model: Model,
    columns: [Vec<u8>; COLUMNS],
    /// Blocks of this frame that are not freed, with their number and size.
    alive: Numbered<u64, (u32, u64)>,
    made: u32,
    shapes: Numbered<Shape, u32>,
    /// For each shape, the one that followed last time.
    following: Vec<u32>,
    last_shape: u32,
    last: Window,
    pub(crate) windows: u32,
    pub(crate) records: u32,
    pub(crate) events: u32,
    /// Times of the first and last record.
    pub(crate) span_ns: Option<(u64, u64)>,
}

const WINDOWS: usize = 0;
const KINDS: usize = 1;
const SHAPES: usize = 2;
const NEW_SHAPES: usize = 3;
const ADDRESSES: usize = 4;
const DEPTHS: usize = 5;
const BLOCKS: usize = 6;
const SIZE_BITS: usize = 7;
const WIDES: usize = 8;

impl Columns {
    pub(crate) fn new() -> Columns {
        Columns {
            model: Model::new(),
            columns: Default::default(),
            alive: Numbered::default(),
            made: 0,
            shapes: Numbered::default(),
            following: Vec::new(),
            last_shape: 0,
            last: Window::default(),
            windows: 0,
            records: 0,
            events: 0,
            span_ns: None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.windows == 0
    }

    /// Whether the next window is better put into another frame.
    pub(crate) fn is_full(&self) -> bool {
        self.records as usize >= FRAME_RECORDS_MAX / 2
    }

    /// Appends the records of a window. Words that are no record end it.
    pub(crate) fn window(&mut self, window: Window, words: &[u64]) {
        let (mut index, mut records) = (0, 0u32);
        while let Some((record, length)) = words.get(index..).and_then(Record::read) {
            self.record(window.row, &record, length != record.narrow_words());
            self.events += u32::from(record.is_event());
            let at_ns = window.at(index as u64);
            let (first, last) = self.span_ns.unwrap_or((at_ns, at_ns));
            self.span_ns = Some((first.min(at_ns), last.max(at_ns)));
            index += length as usize;
            records += 1;
        }
        let out = &mut self.columns[WINDOWS];
        put_signed(out, i64::from(window.row) - i64::from(self.last.row));
        put_signed(out, window.first_ns.wrapping_sub(self.last.first_ns) as i64);
        put(out, window.step);
        put(out, u64::from(records));
        self.last = window;
        self.windows += 1;
        self.records += records;
    }

    /// Puts the frame together, and begins the next one.
    pub(crate) fn finish(&mut self, body: &mut Vec<u8>) {
        body.clear();
        for column in &mut self.columns {
            put(body, column.len() as u64);
            body.extend_from_slice(column);
            column.clear();
        }
        self.model.start_over();
        self.alive.clear();
        self.shapes.clear();
        self.following.clear();
        (self.made, self.last_shape, self.last) = (0, 0, Window::default());
        (self.windows, self.records, self.events, self.span_ns) = (0, 0, 0, None);
    }

    fn record(&mut self, row: u32, record: &Record, is_wide: bool) {
        if is_wide {
            return self.wide(record);
        }
        match *record {
            Record::Alloc { address, shape } => self.alloc(row, address, shape),
            Record::Free { address, size_bits } => self.free(FREE, row, address, size_bits),
            Record::ReallocBegins { address, size_bits } => {
                self.free(BEGINS, row, address, size_bits);
                self.model.row(row).begun = address;
            }
            Record::ReallocEnds { old_address, address, shape } => {
                self.moved(row, old_address, address, shape)
            }
            Record::ReallocRefused { address } => {
                let begun = self.model.row(row).begun;
                if begun == address {
                    self.columns[KINDS].push(REFUSED);
                } else {
                    self.columns[KINDS].push(REFUSED_OTHER);
                    put_distance(&mut self.columns[ADDRESSES], begun, address);
                }
            }
            Record::ThreadStarts => self.columns[KINDS].push(STARTS),
            Record::ThreadEnds => self.columns[KINDS].push(ENDS),
        }
    }

    fn alloc(&mut self, row: u32, address: u64, shape: Shape) {
        let told = self.shape(shape);
        let placed = self.place(row, shape, address);
        self.columns[KINDS].push(ALLOC + placed * 3 + told);
    }

    fn moved(&mut self, row: u32, old: u64, address: u64, shape: Shape) {
        let begun = self.model.row(row).begun;
        let told = self.shape(shape);
        if begun != old {
            put_distance(&mut self.columns[ADDRESSES], begun, old);
        }
        let placed = if old == address {
            self.allocated(row, shape, address, Placed::Behind);
            STAYED
        } else {
            self.place(row, shape, address)
        };
        let kind = if begun == old { MOVED } else { MOVED_OTHER };
        self.columns[KINDS].push(kind + placed * 3 + told);
    }

    /// Tells where a block lies; returns how.
    fn place(&mut self, row: u32, shape: Shape, address: u64) -> u8 {
        let placed = self.model.find(row, SizeBits::of(shape.size), address);
        let newest = self.model.row(row).newest;
        let told = match placed {
            Placed::Reused => 0,
            Placed::Behind => 1,
            Placed::ReusedDeep(depth) => {
                self.columns[DEPTHS].push(depth as u8);
                2
            }
            Placed::Far => {
                put_distance(&mut self.columns[ADDRESSES], newest, address);
                3
            }
        };
        self.allocated(row, shape, address, placed);
        told
    }

    fn allocated(&mut self, row: u32, shape: Shape, address: u64, placed: Placed) {
        self.model.allocated(row, SizeBits::of(shape.size), shape.size, address, placed);
        self.alive.insert(address, (self.made, shape.size));
        self.made += 1;
    }

    /// Tells a shape; returns how.
    fn shape(&mut self, shape: Shape) -> u8 {
        let next = self.shapes.len() as u32;
        let number = *self.shapes.entry(shape).or_insert(next);
        let told = if number == next {
            let out = &mut self.columns[NEW_SHAPES];
            put(out, shape.size);
            put(out, u64::from(shape.stack));
            put(out, u64::from(shape.traits));
            self.following.push(number);
            SHAPE_NEW
        } else if self.following.get(self.last_shape as usize) == Some(&number) {
            SHAPE_EXPECTED
        } else {
            put(&mut self.columns[SHAPES], u64::from(number));
            SHAPE_KNOWN
        };
        if let Some(following) = self.following.get_mut(self.last_shape as usize) {
            *following = number;
        }
        self.last_shape = number;
        told
    }

    fn free(&mut self, kind: u8, row: u32, address: u64, size_bits: SizeBits) {
        let known = self.alive.remove(&address).filter(|(_, size)| SizeBits::of(*size) == size_bits);
        let made = self.made;
        let state = self.model.row(row);
        let told = match known {
            Some((number, _)) => {
                let last = std::mem::replace(&mut state.freed, number);
                if number + 1 == made {
                    NEWEST
                } else if number == last.wrapping_add(1) {
                    AFTER_LAST
                } else if number == last.wrapping_sub(1) {
                    BEFORE_LAST
                } else {
                    put(&mut self.columns[BLOCKS], u64::from(made - number));
                    NEAR
                }
            }
            None => {
                put_distance(&mut self.columns[ADDRESSES], state.stranger, address);
                put(&mut self.columns[SIZE_BITS], size_bits.0);
                state.stranger = address;
                STRANGER
            }
        };
        self.columns[KINDS].push(kind + told);
        self.model.released(row, size_bits, address);
    }

    fn wide(&mut self, record: &Record) {
        let (kind, fields) = match *record {
            Record::Alloc { address, shape } => {
                (0, [address, shape.size, shape.stack.into(), 0, shape.traits.into()])
            }
            Record::Free { address, size_bits } => (1, [address, size_bits.0, 0, 0, 0]),
            Record::ReallocBegins { address, size_bits } => (2, [address, size_bits.0, 0, 0, 0]),
            Record::ReallocEnds { old_address, address, shape } => {
                (3, [address, shape.size, shape.stack.into(), old_address, shape.traits.into()])
            }
            Record::ReallocRefused { address } => (4, [address, 0, 0, 0, 0]),
            // These are never wide.
            Record::ThreadStarts | Record::ThreadEnds => return,
        };
        self.columns[KINDS].push(WIDE + kind);
        fields.into_iter().for_each(|field| put(&mut self.columns[WIDES], field));
    }
}

/// Reads the columns of a frame.
#[derive(Debug)]
pub(crate) struct Rows<'a> {
    columns: [Bytes<'a>; COLUMNS],
    model: &'a mut Model,
    /// Addresses and sizes of the blocks of this frame.
    blocks: Vec<(u64, u64)>,
    shapes: Vec<Shape>,
    following: Vec<u32>,
    last_shape: u32,
}

/// Reads a frame back: appends its records, in the order in which they were written. `None` when the bytes are not what
/// [`Columns::finish`] makes; then what was appended is of no use.
pub(crate) fn read(body: &[u8], windows: u32, model: &mut Model, into: &mut Vec<Dated>) -> Option<()> {
    model.start_over();
    let before = into.len();
    let mut rest = Bytes::new(body);
    let mut columns = [Bytes::default(); COLUMNS];
    for column in &mut columns {
        let length = usize::try_from(rest.number()?).ok()?;
        *column = Bytes::new(rest.take(length)?);
    }
    let mut rows =
        Rows { columns, model, blocks: Vec::new(), shapes: Vec::new(), following: Vec::new(), last_shape: 0 };
    let mut last = Window::default();
    for _ in 0..windows {
        let bytes = &mut rows.columns[WINDOWS];
        let row = u32::try_from(i64::from(last.row).checked_add(bytes.signed()?)?).ok()?;
        let first_ns = last.first_ns.wrapping_add(bytes.signed()? as u64);
        last = Window { row, first_ns, step: bytes.number()? };
        let records = bytes.number()?;
        let mut words = 0;
        for _ in 0..records {
            let (record, length) = rows.record(row)?;
            if into.len() - before > FRAME_RECORDS_MAX {
                return None;
            }
            into.push(Dated { at_ns: last.at(words), row, record });
            words += length;
        }
    }
    (rest.is_empty() && rows.columns.iter().all(Bytes::is_empty)).then_some(())
}

impl Rows<'_> {
    /// The next record, and how many words it took in the ring.
    fn record(&mut self, row: u32) -> Option<(Record, u64)> {
        let kind = self.columns[KINDS].byte()?;
        let record = match kind {
            ALLOC..=11 => {
                let shape = self.shape(kind % 3)?;
                Record::Alloc { address: self.place(row, shape, kind / 3)?, shape }
            }
            MOVED..=30 => {
                let begun = self.model.row(row).begun;
                self.moved(row, begun, kind - MOVED)?
            }
            MOVED_OTHER..=78 => {
                let shape = self.shape((kind - MOVED_OTHER) % 3)?;
                let begun = self.model.row(row).begun;
                let old = self.columns[ADDRESSES].distance(begun)?;
                self.moved_to(row, old, shape, (kind - MOVED_OTHER) / 3)?
            }
            FREE..=36 => {
                let (address, size_bits) = self.freed(row, kind - FREE)?;
                Record::Free { address, size_bits }
            }
            BEGINS..=44 => {
                let (address, size_bits) = self.freed(row, kind - BEGINS)?;
                self.model.row(row).begun = address;
                Record::ReallocBegins { address, size_bits }
            }
            REFUSED => Record::ReallocRefused { address: self.model.row(row).begun },
            REFUSED_OTHER => {
                let begun = self.model.row(row).begun;
                Record::ReallocRefused { address: self.columns[ADDRESSES].distance(begun)? }
            }
            STARTS => Record::ThreadStarts,
            ENDS => Record::ThreadEnds,
            WIDE..=60 => return Some((self.wide(kind - WIDE)?, crate::ring::event::WIDE_WORDS)),
            _ => return None,
        };
        Some((record, record.narrow_words()))
    }

    fn moved(&mut self, row: u32, old: u64, told: u8) -> Option<Record> {
        let shape = self.shape(told % 3)?;
        self.moved_to(row, old, shape, told / 3)
    }

    fn moved_to(&mut self, row: u32, old_address: u64, shape: Shape, placed: u8) -> Option<Record> {
        let address = if placed == STAYED {
            self.allocated(row, shape, old_address, Placed::Behind);
            old_address
        } else {
            self.place(row, shape, placed)?
        };
        Some(Record::ReallocEnds { old_address, address, shape })
    }

    fn place(&mut self, row: u32, shape: Shape, told: u8) -> Option<u64> {
        let placed = match told {
            0 => Placed::Reused,
            1 => Placed::Behind,
            2 => Placed::ReusedDeep(usize::from(self.columns[DEPTHS].byte()?)),
            _ => Placed::Far,
        };
        let newest = self.model.row(row).newest;
        let address = match placed {
            Placed::Far => self.columns[ADDRESSES].distance(newest)?,
            known => self.model.address(row, SizeBits::of(shape.size), known)?,
        };
        self.allocated(row, shape, address, placed);
        Some(address)
    }

    fn allocated(&mut self, row: u32, shape: Shape, address: u64, placed: Placed) {
        self.model.allocated(row, SizeBits::of(shape.size), shape.size, address, placed);
        self.blocks.push((address, shape.size));
    }

    fn shape(&mut self, told: u8) -> Option<Shape> {
        let number = match told {
            SHAPE_EXPECTED => *self.following.get(self.last_shape as usize)?,
            SHAPE_KNOWN => u32::try_from(self.columns[SHAPES].number()?).ok()?,
            _ => {
                let bytes = &mut self.columns[NEW_SHAPES];
                let size = bytes.number()?;
                let stack = u32::try_from(bytes.number()?).ok()?;
                let traits = u16::try_from(bytes.number()?).ok()?;
                let number = self.shapes.len() as u32;
                self.shapes.push(Shape { size, stack, traits });
                self.following.push(number);
                number
            }
        };
        let shape = *self.shapes.get(number as usize)?;
        if let Some(following) = self.following.get_mut(self.last_shape as usize) {
            *following = number;
        }
        self.last_shape = number;
        Some(shape)
    }

    fn freed(&mut self, row: u32, told: u8) -> Option<(u64, SizeBits)> {
        let made = self.blocks.len() as u32;
        let state = self.model.row(row);
        let (address, size_bits) = if told == STRANGER {
            let address = self.columns[ADDRESSES].distance(state.stranger)?;
            state.stranger = address;
            (address, SizeBits(self.columns[SIZE_BITS].number()?))
        } else {
            let number = match told {
                NEWEST => made.checked_sub(1)?,
                AFTER_LAST => state.freed.wrapping_add(1),
                BEFORE_LAST => state.freed.wrapping_sub(1),
                _ => made.checked_sub(u32::try_from(self.columns[BLOCKS].number()?).ok()?)?,
            };
            state.freed = number;
            let (address, size) = *self.blocks.get(number as usize)?;
            (address, SizeBits::of(size))
        };
        self.model.released(row, size_bits, address);
        Some((address, size_bits))
    }

    fn wide(&mut self, kind: u8) -> Option<Record> {
        let mut fields = [0; 5];
        for field in &mut fields {
            *field = self.columns[WIDES].number()?;
        }
        let [address, size, stack, old_address, traits] = fields;
        let size_bits = SizeBits(size);
        let shape =
            || Some(Shape { size, stack: u32::try_from(stack).ok()?, traits: u16::try_from(traits).ok()? });
        Some(match kind {
            0 => Record::Alloc { address, shape: shape()? },
            1 => Record::Free { address, size_bits },
            2 => Record::ReallocBegins { address, size_bits },
            3 => Record::ReallocEnds { old_address, address, shape: shape()? },
            _ => Record::ReallocRefused { address },
        })
    }
}
