//! Distances between addresses as varints, and a reader of the bytes of a column.

use crate::dump::varint::{self, put, unzigzag, zigzag};

/// Appends the difference of two addresses: one byte less when it is a multiple of 16, as most are.
#[inline]
pub(super) fn put_distance(out: &mut Vec<u8>, from: u64, to: u64) {
    let distance = to.wrapping_sub(from) as i64;
    put(out, if distance & 15 == 0 { zigzag(distance >> 4) << 1 } else { zigzag(distance) << 1 | 1 });
}

/// Reads numbers from the front of some bytes. Every method gives `None` when the bytes do not hold one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bytes<'a> {
    rest: &'a [u8],
}

impl<'a> Bytes<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Bytes<'a> {
        Bytes { rest }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    #[inline]
    pub(super) fn number(&mut self) -> Option<u64> {
        varint::take(&mut self.rest).ok()
    }

    pub(super) fn signed(&mut self) -> Option<i64> {
        varint::take_signed(&mut self.rest).ok()
    }

    pub(super) fn distance(&mut self, from: u64) -> Option<u64> {
        let value = self.number()?;
        let distance = if value & 1 == 0 { unzigzag(value >> 1) << 4 } else { unzigzag(value >> 1) };
        Some(from.wrapping_add(distance as u64))
    }

    /// The first `length` bytes.
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
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
