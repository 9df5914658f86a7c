//! Variable-length integers, as dumps and traces use them.
//!
//! * A *varint* is LEB128: seven bits a byte, lowest first, with the top bit set on all bytes but the last. Maximum
//!   length: 10 bytes.
//! * A signed varint is a varint of the zigzag code: 0, −1, 1, −2, … become 0, 1, 2, 3, …

/// Maximum length of a varint, in bytes.
pub(crate) const VARINT_BYTES_MAX: usize = 10;

/// Reason why bytes do not start with a valid varint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VarintError {
    /// The bytes end within the varint.
    Ended,
    /// The value has more than 64 bits.
    TooLong,
}

/// Appends a varint.
#[inline]
pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed varint.
#[inline]
pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, zigzag(value));
}

/// Reads a varint from the front of `rest`. After an error `rest` is unspecified.
#[inline]
pub(crate) fn take(rest: &mut &[u8]) -> Result<u64, VarintError> {
    let mut value = 0u64;
    for shift in (0..7 * VARINT_BYTES_MAX as u32).step_by(7) {
        let (byte, behind) = rest.split_first().ok_or(VarintError::Ended)?;
        *rest = behind;
        let bits = u64::from(byte & 0x7F);
        if bits << shift >> shift != bits {
            return Err(VarintError::TooLong);
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(VarintError::TooLong)
}

/// Reads a signed varint from the front of `rest`. After an error `rest` is unspecified.
#[inline]
pub(crate) fn take_signed(rest: &mut &[u8]) -> Result<i64, VarintError> {
    take(rest).map(unzigzag)
}

pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_varint_is_read_back_and_cut_anywhere_it_is_an_error(value in any::<u64>(), shift in 0u32..64) {
            let mut out = Vec::new();
            put(&mut out, value >> shift);
            put_signed(&mut out, value as i64 >> shift);
            prop_assert!(out.len() <= 2 * VARINT_BYTES_MAX);
            let mut rest = &out[..];
            prop_assert_eq!(take(&mut rest), Ok(value >> shift));
            let length = out.len() - rest.len();
            prop_assert_eq!(take_signed(&mut rest), Ok(value as i64 >> shift));
            prop_assert!(rest.is_empty());
            for cut in 0..length {
                prop_assert_eq!(take(&mut &out[..cut]), Err(VarintError::Ended));
            }
        }
    }

    #[test]
    fn a_varint_of_more_than_64_bits_is_refused() {
        let mut bytes = [0xFF; 10];
        for (last, expected) in [(0x01, Ok(u64::MAX)), (0x02, Err(VarintError::TooLong))] {
            bytes[9] = last;
            assert_eq!(take(&mut &bytes[..]), expected);
        }
        assert_eq!(take(&mut &[0x80; 11][..]), Err(VarintError::TooLong));
    }

    #[test]
    fn the_ends_of_the_signed_range_are_read_back() {
        for value in [0, -1, 5, i64::MIN, i64::MAX] {
            assert_eq!(unzigzag(zigzag(value)), value);
        }
        assert_eq!([0, -1, 1, -2].map(zigzag), [0, 1, 2, 3]);
    }
}
