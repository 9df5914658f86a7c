//! Version 1 of the content of sections. This version is frozen.
//!
//! A record does not describe its fields, so one field more or less makes every later byte misread. For this reason no
//! type of [`profile`](crate::profile) is serialised by a derive. `meta` and `figures` list the fields of each record,
//! and `tables` lists the columns of each table, in the order of the bytes. The lists are exhaustive patterns: if the
//! profile gets a new field, the code does not compile until the field is listed. A list does not change after a
//! release has written it. A new figure goes into a new section or a new last column, which older readers skip.

pub(super) mod figures;
pub(super) mod meta;
pub(super) mod tables;

use std::borrow::Cow;

use super::codec::{CodecError, Cursor, put_record};
use super::format::TEXT_BYTES_MAX;

/// Counts of parts that the writer cut or omitted to keep the limits of the format.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(in crate::dump) struct Cuts {
    /// Number of texts cut to their maximum length.
    pub(in crate::dump) texts: u64,
    /// Number of arguments omitted from the command line.
    pub(in crate::dump) arguments: u64,
    /// Number of stacks cut to their maximum number of frames.
    pub(in crate::dump) stacks: u64,
    /// Number of histograms cut to their maximum number of buckets.
    pub(in crate::dump) histograms: u64,
    /// Number of curves of sites cut to their maximum number of values.
    pub(in crate::dump) curves: u64,
    /// Number of addresses whose inlined functions were cut to the maximum number.
    pub(in crate::dump) inlined: u64,
    /// Number of pairs of threads omitted from the section of remote frees.
    pub(in crate::dump) crossings: u64,
    /// Number of tracked pointers omitted from their section.
    pub(in crate::dump) tracked_pointers: u64,
    /// Number of places of holders omitted from tracked pointers.
    pub(in crate::dump) tracked_holders: u64,
    /// Number of events omitted from the section of tracked pointers.
    pub(in crate::dump) tracked_events: u64,
}

/// Counts of values that the reader replaced or omitted within whole sections.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(in crate::dump) struct Faults {
    /// Number of texts that were not UTF-8.
    pub(in crate::dump) texts: u64,
    /// Number of codes that this version does not know.
    pub(in crate::dump) codes: u64,
}

/// A value that can be written into a record and read from one.
pub(super) trait Wire: Sized {
    /// Appends the bytes of the value.
    fn put(&self, out: &mut Vec<u8>, cuts: &mut Cuts) -> Result<(), CodecError>;

    /// Reads a value from the front of `from`.
    fn get(from: &mut Cursor<'_>, faults: &mut Faults) -> Result<Self, CodecError>;
}

/// Implements [`Wire`] for types whose layout the codec defines.
macro_rules! plain {
    ($($type:ty),* $(,)?) => { $(
        impl Wire for $type {
            fn put(&self, out: &mut Vec<u8>, _: &mut Cuts) -> Result<(), CodecError> {
                put_record(out, self)
            }

            fn get(from: &mut Cursor<'_>, _: &mut Faults) -> Result<Self, CodecError> {
                from.record()
            }
        }
    )* };
}

/// Implements [`Wire`] for a struct: its fields one after the other, in the listed order. The fields after `without`
/// are stored in another section, so this record reads them as their defaults.
macro_rules! record {
    ($type:ty { $($field:ident),* $(,)? } $(without { $($absent:ident),* })?) => {
        impl Wire for $type {
            fn put(&self, out: &mut Vec<u8>, cuts: &mut Cuts) -> Result<(), CodecError> {
                let Self { $($field,)* $($($absent: _,)*)? } = self;
                $($field.put(out, cuts)?;)*
                Ok(())
            }

            fn get(from: &mut Cursor<'_>, faults: &mut Faults) -> Result<Self, CodecError> {
                $(let $field = Wire::get(from, faults)?;)*
                Ok(Self { $($field,)* $($($absent: Default::default(),)*)? })
            }
        }
    };
}

/// Implements [`Wire`] for an enum, as the code of its variant. An unknown code is counted and read as the default.
macro_rules! coded {
    ($($type:ty: $code:path, $of:path, $default:expr;)*) => { $(
        impl Wire for $type {
            fn put(&self, out: &mut Vec<u8>, _: &mut Cuts) -> Result<(), CodecError> {
                put_record(out, &$code(*self))
            }

            fn get(from: &mut Cursor<'_>, faults: &mut Faults) -> Result<Self, CodecError> {
                let value = $of(from.record()?);
                faults.codes += u64::from(value.is_none());
                Ok(value.unwrap_or($default))
            }
        }
    )* };
}

pub(super) use {coded, record};

plain!(bool, u32, u64, f64, Option<u32>, Option<u64>, Option<f64>, Vec<([u8; 4], u64)>);

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn put(&self, out: &mut Vec<u8>, cuts: &mut Cuts) -> Result<(), CodecError> {
        self.0.put(out, cuts)?;
        self.1.put(out, cuts)
    }

    fn get(from: &mut Cursor<'_>, faults: &mut Faults) -> Result<Self, CodecError> {
        Ok((A::get(from, faults)?, B::get(from, faults)?))
    }
}

impl Wire for String {
    fn put(&self, out: &mut Vec<u8>, cuts: &mut Cuts) -> Result<(), CodecError> {
        put_text(out, self, TEXT_BYTES_MAX, cuts)
    }

    fn get(from: &mut Cursor<'_>, faults: &mut Faults) -> Result<Self, CodecError> {
        let bytes: &[u8] = from.record()?;
        let text = String::from_utf8_lossy(bytes);
        faults.texts += u64::from(matches!(text, Cow::Owned(_)));
        Ok(text.into_owned())
    }
}

/// Appends the length of a text, then its bytes. A text of more than `bytes_max` bytes is cut between two characters.
fn put_text(out: &mut Vec<u8>, text: &str, bytes_max: usize, cuts: &mut Cuts) -> Result<(), CodecError> {
    let kept = &text[..text.floor_char_boundary(bytes_max)];
    cuts.texts += u64::from(kept.len() < text.len());
    put_record(out, &kept)
}

/// Appends the number of `values`, then the values.
fn put_all<T: Wire>(out: &mut Vec<u8>, values: &[T], cuts: &mut Cuts) -> Result<(), CodecError> {
    put_record(out, &values.len())?;
    values.iter().try_for_each(|value| value.put(out, cuts))
}

/// Reads a number, then that number of values. Each value takes at least one byte, so memory for the values is limited
/// by the bytes that are present.
fn get_all<T: Wire>(from: &mut Cursor<'_>, faults: &mut Faults) -> Result<Vec<T>, CodecError> {
    let count: u64 = from.record()?;
    let mut values = Vec::new();
    for _ in 0..count {
        values.push(T::get(from, faults)?);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_not_utf8_is_replaced_and_counted() {
        let mut faults = Faults::default();
        let mut read = |bytes: &[u8]| String::get(&mut Cursor::new(bytes), &mut faults).unwrap();
        assert_eq!((read(b"\x04fine"), read(b"\x03b\xFFd")), ("fine".to_owned(), "b\u{FFFD}d".to_owned()));
        assert_eq!(faults, Faults { texts: 1, codes: 0 });
    }

    #[test]
    fn a_text_is_cut_between_two_letters() {
        let mut cuts = Cuts::default();
        let written = |text: &str, cuts: &mut Cuts| {
            let mut out = Vec::new();
            text.to_owned().put(&mut out, cuts).unwrap();
            String::get(&mut Cursor::new(&out), &mut Faults::default()).unwrap()
        };
        let text = written(&format!("x{}", "ä".repeat(TEXT_BYTES_MAX)), &mut cuts);
        assert_eq!((text.len(), cuts.texts), (TEXT_BYTES_MAX - 1, 1));
        assert_eq!((written("short", &mut cuts), cuts.texts), ("short".to_owned(), 1));
    }

    #[test]
    fn a_number_of_values_beyond_the_bytes_is_refused() {
        let mut bytes = Vec::new();
        put_record(&mut bytes, &u64::MAX).unwrap();
        let read = get_all::<u64>(&mut Cursor::new(&bytes), &mut Faults::default());
        assert!(read.is_err());
    }
}
