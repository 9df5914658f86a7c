//! Decodes the columns of a frame into records.

use super::columns::{
    ADDRESSES, AFTER_LAST, ALLOC, BEFORE_LAST, BEGINS, BLOCKS, COLUMNS, DEPTHS, EARLIER, ENDS,
    FRAME_RECORDS_MAX, FREE, KINDS, MOVED, MOVED_OTHER, NEW_SHAPES, NEWEST, REFUSED, REFUSED_OTHER,
    SHAPE_EXPECTED, SHAPE_KNOWN, SHAPES, SIZE_BITS, STARTS, STAYED, WIDE, WIDES, WINDOWS,
};
use super::model::{Model, Placed};
use super::window::Window;
use crate::dump::varint::{self, unzigzag};
use crate::replay::{BlockShape, Dated, Record, SizeBits};

/// The bytes of a column that are not read yet. Every method returns `None` if the bytes do not contain the value.
#[derive(Debug, Clone, Copy, Default)]
struct Bytes<'a> {
    rest: &'a [u8],
}

impl<'a> Bytes<'a> {
    fn new(rest: &'a [u8]) -> Bytes<'a> {
        Bytes { rest }
    }

    fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    #[inline]
    fn number(&mut self) -> Option<u64> {
        varint::take(&mut self.rest).ok()
    }

    fn signed(&mut self) -> Option<i64> {
        varint::take_signed(&mut self.rest).ok()
    }

    fn distance(&mut self, from: u64) -> Option<u64> {
        let value = self.number()?;
        let distance = if value & 1 == 0 { unzigzag(value >> 1) << 4 } else { unzigzag(value >> 1) };
        Some(from.wrapping_add(distance as u64))
    }

    /// Returns the first `length` bytes, and removes them from the rest.
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }
}

/// Reads records from the columns of a frame.
#[derive(Debug)]
pub(crate) struct Rows<'a> {
    columns: [Bytes<'a>; COLUMNS],
    model: &'a mut Model,
    /// Address and size of each block of this frame, by the number of the block.
    blocks: Vec<(u64, u64)>,
    shapes: Vec<BlockShape>,
    following: Vec<u32>,
    last_shape: u32,
}

/// Reads a frame and appends its records to `into`, in the order in which they were written. Returns `None` if the body
/// is invalid; the caller must then drop the records appended by this call.
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
    /// Returns the next record, and the number of words that the record had in the ring.
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

    fn moved(&mut self, row: u32, old: u64, code: u8) -> Option<Record> {
        let shape = self.shape(code % 3)?;
        self.moved_to(row, old, shape, code / 3)
    }

    fn moved_to(&mut self, row: u32, old_address: u64, shape: BlockShape, placed: u8) -> Option<Record> {
        let address = if placed == STAYED {
            self.allocated(row, shape, old_address, Placed::Behind);
            old_address
        } else {
            self.place(row, shape, placed)?
        };
        Some(Record::ReallocEnds { old_address, address, shape })
    }

    fn place(&mut self, row: u32, shape: BlockShape, code: u8) -> Option<u64> {
        let placed = match code {
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

    fn allocated(&mut self, row: u32, shape: BlockShape, address: u64, placed: Placed) {
        self.model.allocated(row, SizeBits::of(shape.size), shape.size, address, placed);
        self.blocks.push((address, shape.size));
    }

    fn shape(&mut self, code: u8) -> Option<BlockShape> {
        let number = match code {
            SHAPE_EXPECTED => *self.following.get(self.last_shape as usize)?,
            SHAPE_KNOWN => u32::try_from(self.columns[SHAPES].number()?).ok()?,
            _ => {
                let bytes = &mut self.columns[NEW_SHAPES];
                let size = bytes.number()?;
                let stack = u32::try_from(bytes.number()?).ok()?;
                let traits = u16::try_from(bytes.number()?).ok()?;
                let number = self.shapes.len() as u32;
                self.shapes.push(BlockShape { size, stack, traits });
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

    fn freed(&mut self, row: u32, code: u8) -> Option<(u64, SizeBits)> {
        let made = self.blocks.len() as u32;
        let state = self.model.row(row);
        let (address, size_bits) = if code == EARLIER {
            let address = self.columns[ADDRESSES].distance(state.earlier)?;
            state.earlier = address;
            (address, SizeBits(self.columns[SIZE_BITS].number()?))
        } else {
            let number = match code {
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
        let shape = || {
            Some(BlockShape { size, stack: u32::try_from(stack).ok()?, traits: u16::try_from(traits).ok()? })
        };
        Some(match kind {
            0 => Record::Alloc { address, shape: shape()? },
            1 => Record::Free { address, size_bits },
            2 => Record::ReallocBegins { address, size_bits },
            3 => Record::ReallocEnds { old_address, address, shape: shape()? },
            _ => Record::ReallocRefused { address },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::encode::put_distance;
    use super::*;

    #[test]
    fn distances_come_back_and_short_aligned_ones_take_one_byte() {
        let pairs = [(4096, 4112), (4112, 4096), (1, 8), ((1 << 48) - 1, 0), (0, (1 << 48) - 16)];
        for (from, to) in pairs {
            let mut out = Vec::new();
            put_distance(&mut out, from, to);
            assert_eq!(Bytes::new(&out).distance(from), Some(to), "{from} to {to}");
        }
        let mut near = Vec::new();
        put_distance(&mut near, 4096, 4096 + 16 * 31);
        assert_eq!(near.len(), 1);
    }
}
