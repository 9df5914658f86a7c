//! Encodes records into the columns of a frame.

use super::columns::{
    ADDRESSES, AFTER_LAST, ALLOC, BEFORE_LAST, BEGINS, BLOCKS, COLUMNS, DEPTHS, EARLIER, ENDS,
    FRAME_RECORDS_MAX, FREE, KINDS, MOVED, MOVED_OTHER, NEAR, NEW_SHAPES, NEWEST, REFUSED, REFUSED_OTHER,
    SHAPE_EXPECTED, SHAPE_KNOWN, SHAPE_NEW, SHAPES, SIZE_BITS, STARTS, STAYED, WIDE, WIDES, WINDOWS,
};
use super::model::{Model, Placed};
use super::window::Window;
use crate::dump::varint::{put, put_signed, zigzag};
use crate::replay::{BlockShape, Numbered, Record, SizeBits};

/// The encoder of the frame in progress.
#[derive(Debug)]
pub(crate) struct FrameEncoder {
    model: Model,
    columns: [Vec<u8>; COLUMNS],
    /// Live blocks that were allocated in this frame: number and size of the block at each address.
    alive: Numbered<u64, (u32, u64)>,
    made: u32,
    shapes: Numbered<BlockShape, u32>,
    /// Number of the shape that last followed each shape, by the number of the shape.
    following: Vec<u32>,
    last_shape: u32,
    last: Window,
    pub(crate) windows: u32,
    pub(crate) records: u32,
    pub(crate) events: u32,
    /// Times of the first and the last record of the frame, in nanoseconds since the start.
    pub(crate) span_ns: Option<(u64, u64)>,
}

impl FrameEncoder {
    pub(crate) fn new() -> FrameEncoder {
        FrameEncoder {
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

    /// Whether the next window should go into a new frame.
    pub(crate) fn is_full(&self) -> bool {
        self.records as usize >= FRAME_RECORDS_MAX / 2
    }

    /// Appends the records of a window. Stops at a word that does not start a record.
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

    /// Writes the body of the frame, and starts the next frame.
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

    fn alloc(&mut self, row: u32, address: u64, shape: BlockShape) {
        let code = self.shape(shape);
        let placed = self.place(row, shape, address);
        self.columns[KINDS].push(ALLOC + placed * 3 + code);
    }

    fn moved(&mut self, row: u32, old: u64, address: u64, shape: BlockShape) {
        let begun = self.model.row(row).begun;
        let code = self.shape(shape);
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
        self.columns[KINDS].push(kind + placed * 3 + code);
    }

    /// Writes the address of a block, unless the model predicts it. Returns the code of its encoding.
    fn place(&mut self, row: u32, shape: BlockShape, address: u64) -> u8 {
        let placed = self.model.find(row, SizeBits::of(shape.size), address);
        let newest = self.model.row(row).newest;
        let code = match placed {
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
        code
    }

    fn allocated(&mut self, row: u32, shape: BlockShape, address: u64, placed: Placed) {
        self.model.allocated(row, SizeBits::of(shape.size), shape.size, address, placed);
        self.alive.insert(address, (self.made, shape.size));
        self.made += 1;
    }

    /// Writes the shape of a block, unless the model predicts it. Returns the code of its encoding.
    fn shape(&mut self, shape: BlockShape) -> u8 {
        let next = self.shapes.len() as u32;
        let number = *self.shapes.entry(shape).or_insert(next);
        let code = if number == next {
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
        code
    }

    fn free(&mut self, kind: u8, row: u32, address: u64, size_bits: SizeBits) {
        let known = self.alive.remove(&address).filter(|(_, size)| SizeBits::of(*size) == size_bits);
        let made = self.made;
        let state = self.model.row(row);
        let code = match known {
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
                put_distance(&mut self.columns[ADDRESSES], state.earlier, address);
                put(&mut self.columns[SIZE_BITS], size_bits.0);
                state.earlier = address;
                EARLIER
            }
        };
        self.columns[KINDS].push(kind + code);
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
            // These records are never wide.
            Record::ThreadStarts | Record::ThreadEnds => return,
        };
        self.columns[KINDS].push(WIDE + kind);
        fields.into_iter().for_each(|field| put(&mut self.columns[WIDES], field));
    }
}

/// Appends the difference of two addresses. Multiples of 16 have a shorter encoding, because most differences are
/// multiples of 16.
#[inline]
pub(super) fn put_distance(out: &mut Vec<u8>, from: u64, to: u64) {
    let distance = to.wrapping_sub(from) as i64;
    put(out, if distance & 15 == 0 { zigzag(distance >> 4) << 1 } else { zigzag(distance) << 1 | 1 });
}
