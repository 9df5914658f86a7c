//! Numbers as bytes and back: seven bits a byte, low ones first.

/// Bytes of the longest number.
const NUMBER_BYTES: usize = 10;

/// Appends a number.
#[inline]
pub(super) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a difference: small ones of either sign are short.
#[inline]
pub(super) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, fold(value));
}

/// Appends the difference of two addresses: one byte less when it is a multiple of 16, as most are.
#[inline]
pub(super) fn put_distance(out: &mut Vec<u8>, from: u64, to: u64) {
    let distance = to.wrapping_sub(from) as i64;
    put(out, if distance & 15 == 0 { fold(distance >> 4) << 1 } else { fold(distance) << 1 | 1 });
}

fn fold(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unfold(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
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
        let mut value = 0u64;
        for place in 0..NUMBER_BYTES {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    pub(super) fn signed(&mut self) -> Option<i64> {
        self.number().map(unfold)
    }

    pub(super) fn distance(&mut self, from: u64) -> Option<u64> {
        let value = self.number()?;
        let distance = if value & 1 == 0 { unfold(value >> 1) << 4 } else { unfold(value >> 1) };
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
    fn numbers_come_back_and_cut_ones_do_not() {
        let mut out = Vec::new();
        let values = [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX];
        values.iter().for_each(|value| put(&mut out, *value));
        let mut bytes = Bytes::new(&out);
        assert!(values.iter().all(|value| bytes.number() == Some(*value)) && bytes.is_empty());
        assert_eq!(Bytes::new(&out[..out.len() - 1][out.len() - 10..]).number(), None);
        assert_eq!(Bytes::new(&[0x80; 20]).number(), None);
    }

    #[test]
    fn differences_and_distances_come_back() {
        let mut out = Vec::new();
        for value in [0, -1, 5, i64::MIN, i64::MAX] {
            put_signed(&mut out, value);
        }
        let mut bytes = Bytes::new(&out);
        assert_eq!(
            [0, -1, 5, i64::MIN, i64::MAX].map(|_| bytes.signed().unwrap()),
            [0, -1, 5, i64::MIN, i64::MAX]
        );
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
