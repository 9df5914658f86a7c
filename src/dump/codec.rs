//! Conversion of numbers and records to bytes and back. Reading never panics, never reads beyond the end and reserves
//! no memory.
//!
//! * Fixed-width integers are little-endian.
//! * A *delta* is the wrapping difference to the previous value, written as a signed varint (see `varint`). Small
//!   differences, positive or negative, take one or two bytes.
//! * A *record* is a value of metadata. Its layout is defined by [`put_record`] and [`Cursor::record`] only.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::format::SECTION_PLAIN_BYTES_MAX;
pub(super) use super::varint::put as put_varint;
use super::varint::{self, VarintError};

/// Reason why a value could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CodecError {
    /// The bytes end before the value does.
    Ended,
    /// A varint has more than 64 bits.
    VarintTooLong,
    /// The value of the named field is out of range.
    OutOfRange(&'static str),
    /// Bytes remain after the value. The variant holds their number.
    Trailing(usize),
    /// A record is invalid, for the given reason.
    Record(String),
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CodecError::Ended => f.write_str("its bytes end too early"),
            CodecError::VarintTooLong => f.write_str("a number in it is longer than 64 bits"),
            CodecError::OutOfRange(field) => write!(f, "its {field} is out of range"),
            CodecError::Trailing(bytes) => write!(f, "{bytes} bytes are left over"),
            CodecError::Record(why) => write!(f, "a record in it cannot be read ({why})"),
        }
    }
}

impl std::error::Error for CodecError {}

impl From<VarintError> for CodecError {
    fn from(error: VarintError) -> Self {
        match error {
            VarintError::Ended => CodecError::Ended,
            VarintError::TooLong => CodecError::VarintTooLong,
        }
    }
}

/// Appends two bytes, little-endian.
pub(super) fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends four bytes, little-endian.
pub(crate) fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends eight bytes, little-endian.
pub(crate) fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends the delta from `previous` to `value`, then sets `previous` to `value`.
pub(super) fn put_delta(out: &mut Vec<u8>, previous: &mut u64, value: u64) {
    varint::put_signed(out, value.wrapping_sub(*previous) as i64);
    *previous = value;
}

/// Layout of records: little-endian varints. Decoding allocates no more memory than the maximum length of a section.
const RECORDS: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<SECTION_PLAIN_BYTES_MAX>,
> = bincode::config::standard().with_limit();

/// Appends a record.
///
/// This function and [`Cursor::record`] are the only uses of `bincode` 2. Its layout is published and simple: fields in
/// order; an integer below 251 is one byte, a larger one follows a byte 251, 252 or 253 in 2, 4 or 8 bytes; a sequence
/// is its length, then its elements; an `Option` is a byte 0 or 1, then the value; an `f64` is its 8 bytes. So a serde
/// `Serializer` and `Deserializer` of some 150 lines could replace the crate without a change of the files.
pub(super) fn put_record<T: Serialize>(out: &mut Vec<u8>, record: &T) -> Result<(), CodecError> {
    bincode::serde::encode_into_std_write(record, out, RECORDS)
        .map(|_bytes| ())
        .map_err(|error| CodecError::Record(error.to_string()))
}

/// A position in a slice of bytes, from which values are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Returns a cursor at the front of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Cursor { rest: bytes }
    }

    /// Returns the number of bytes that remain.
    pub(super) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Returns an error if bytes remain.
    pub(super) fn finish(self) -> Result<(), CodecError> {
        if self.rest.is_empty() { Ok(()) } else { Err(CodecError::Trailing(self.rest.len())) }
    }

    /// Reads the next `bytes` bytes.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<&'a [u8], CodecError> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or(CodecError::Ended)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(CodecError::Ended)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// Reads one byte.
    pub(crate) fn u8(&mut self) -> Result<u8, CodecError> {
        self.array().map(u8::from_le_bytes)
    }

    /// Reads two bytes, little-endian.
    pub(super) fn u16(&mut self) -> Result<u16, CodecError> {
        self.array().map(u16::from_le_bytes)
    }

    /// Reads four bytes, little-endian.
    pub(crate) fn u32(&mut self) -> Result<u32, CodecError> {
        self.array().map(u32::from_le_bytes)
    }

    /// Reads eight bytes, little-endian.
    pub(crate) fn u64(&mut self) -> Result<u64, CodecError> {
        self.array().map(u64::from_le_bytes)
    }

    /// Reads a varint.
    pub(super) fn varint(&mut self) -> Result<u64, CodecError> {
        Ok(varint::take(&mut self.rest)?)
    }

    /// Reads a varint that must fit into 32 bits. An error names `field`.
    pub(super) fn varint_u32(&mut self, field: &'static str) -> Result<u32, CodecError> {
        u32::try_from(self.varint()?).map_err(|_| CodecError::OutOfRange(field))
    }

    /// Reads a count of values. Returns an error if the count exceeds `most`, or the number of bytes that remain in
    /// `holder` (in this cursor if `holder` is `None`). Each value takes at least one of these bytes, so the caller may
    /// reserve memory for all values.
    pub(super) fn count(
        &mut self,
        holder: Option<&Cursor<'_>>,
        most: usize,
        field: &'static str,
    ) -> Result<usize, CodecError> {
        let count = self.varint()?;
        let there = holder.map_or(self.remaining(), Cursor::remaining).min(most);
        if count > there as u64 { Err(CodecError::OutOfRange(field)) } else { Ok(count as usize) }
    }

    /// Reads a delta, adds it to `previous`, and returns the sum. `previous` becomes the sum.
    pub(super) fn delta(&mut self, previous: &mut u64) -> Result<u64, CodecError> {
        *previous = previous.wrapping_add(varint::take_signed(&mut self.rest)? as u64);
        Ok(*previous)
    }

    /// Reads a record. Byte strings in the record are borrowed from the input.
    pub(super) fn record<T: Deserialize<'a>>(&mut self) -> Result<T, CodecError> {
        let (record, bytes) = bincode::serde::borrow_decode_from_slice(self.rest, RECORDS)
            .map_err(|error| CodecError::Record(error.to_string()))?;
        self.take(bytes)?;
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_put_is_what_is_got(
            a in any::<u16>(), b in any::<u32>(), c in any::<u64>(), shift in 0u32..64,
            walk in proptest::collection::vec(any::<u64>(), 0..20),
        ) {
            let mut out = Vec::new();
            put_u16(&mut out, a);
            put_u32(&mut out, b);
            put_u64(&mut out, c);
            put_varint(&mut out, c >> shift);
            let mut previous = c;
            walk.iter().for_each(|value| put_delta(&mut out, &mut previous, value >> shift));

            let mut cursor = Cursor::new(&out);
            prop_assert_eq!((cursor.u16(), cursor.u32(), cursor.u64()), (Ok(a), Ok(b), Ok(c)));
            prop_assert_eq!(cursor.varint(), Ok(c >> shift));
            let mut previous = c;
            for value in &walk {
                prop_assert_eq!(cursor.delta(&mut previous), Ok(value >> shift));
            }
            prop_assert_eq!(cursor.finish(), Ok(()));
        }

        #[test]
        fn any_bytes_are_a_value_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut cursor = Cursor::new(&bytes);
            while cursor.varint().is_ok() {}
            let _ = cursor.record::<(u64, Option<f64>, Vec<u16>)>();
            let mut cursor = Cursor::new(&bytes);
            while cursor.delta(&mut 7).is_ok() {}
            prop_assert_eq!(Cursor::new(&bytes).take(bytes.len() + 1), Err(CodecError::Ended));
        }

        #[test]
        fn records_come_back(number in any::<u64>(), share in proptest::option::of(0.0f64..1.0)) {
            let mut out = Vec::new();
            put_record(&mut out, &(number, share, true)).unwrap();
            let mut cursor = Cursor::new(&out);
            prop_assert_eq!(cursor.record(), Ok((number, share, true)));
            prop_assert_eq!(cursor.finish(), Ok(()));
        }
    }

    #[test]
    fn a_count_beyond_the_bytes_that_are_there_is_refused() {
        let bytes = [5, 0, 0, 0, 0, 0];
        assert_eq!(Cursor::new(&bytes).count(None, 100, "rows"), Ok(5));
        assert_eq!(Cursor::new(&bytes[..5]).count(None, 100, "rows"), Err(CodecError::OutOfRange("rows")));
        assert_eq!(Cursor::new(&bytes).count(None, 4, "rows"), Err(CodecError::OutOfRange("rows")));
        let holder = Cursor::new(&bytes[..2]);
        assert_eq!(
            Cursor::new(&bytes).count(Some(&holder), 100, "rows"),
            Err(CodecError::OutOfRange("rows"))
        );
    }

    #[test]
    fn the_layout_of_records_is_the_one_that_the_format_states() {
        let mut out = Vec::new();
        put_record(&mut out, &(250u64, 251u64, 65_536u64, 1u64 << 32, Some(7u8), None::<u8>, 1.0f64))
            .unwrap();
        let mut expected = vec![250, 251, 251, 0, 252, 0, 0, 1, 0, 253, 0, 0, 0, 0, 1, 0, 0, 0, 1, 7, 0];
        expected.extend_from_slice(&1.0f64.to_le_bytes());
        assert_eq!(out, expected);
    }
}
