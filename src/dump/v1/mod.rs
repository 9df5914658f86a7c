//! Version 1 of the wire form: its own structs, frozen.
//!
//! Records are not self-describing: a field more or less and every later byte is misread. So no type of
//! [`profile`](crate::profile) is ever serialised. `meta` and `figures` hold a struct for each metadata section and `tables` a
//! list of columns for each table; both are converted field by field, by exhaustive patterns, so a new field in the
//! profile does not compile until someone has decided where it goes. What is here does not change once a release has written it.
//! A new figure goes into a new section or a new last column, which older readers skip.

pub(super) mod figures;
pub(super) mod meta;
pub(super) mod tables;

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::format::TEXT_BYTES_MAX;

/// What the writer had to cut to keep the limits of the format.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(in crate::dump) struct Cuts {
    /// Texts longer than their limit.
    pub(in crate::dump) texts: u64,
    /// Arguments left off a command line.
    pub(in crate::dump) arguments: u64,
    /// Stacks with more frames than their limit.
    pub(in crate::dump) stacks: u64,
    /// Histograms with more buckets than their limit.
    pub(in crate::dump) histograms: u64,
    /// Addresses with more inlined functions than their limit.
    pub(in crate::dump) inlined: u64,
    /// Pairs of threads that found no room in their section.
    pub(in crate::dump) crossings: u64,
    /// Tracked pointers that found no room in their section.
    pub(in crate::dump) tracked_pointers: u64,
    /// Places of their holders that found none.
    pub(in crate::dump) tracked_holders: u64,
    /// Events of tracked pointers that found none.
    pub(in crate::dump) tracked_events: u64,
}

/// What the reader had to replace within sections that were whole.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(in crate::dump) struct Faults {
    /// Texts that were not UTF-8.
    pub(in crate::dump) texts: u64,
    /// Codes without a meaning in this version.
    pub(in crate::dump) codes: u64,
}

impl Faults {
    fn text(&mut self, text: Text<'_>) -> String {
        let read = String::from_utf8_lossy(text.0);
        self.texts += u64::from(matches!(read, Cow::Owned(_)));
        read.into_owned()
    }

    fn code<T>(&mut self, value: Option<T>, default: T) -> T {
        self.codes += u64::from(value.is_none());
        value.unwrap_or(default)
    }
}

/// A text on the wire: its length, then its bytes, which a reader does not trust to be UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dump) struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    /// The wire form of `text`, cut to the limit.
    pub(in crate::dump) fn cut(text: &'a str, cuts: &mut Cuts) -> Self {
        Self::cut_to(text, TEXT_BYTES_MAX, cuts)
    }

    /// The wire form of `text`, cut to `bytes_max` bytes.
    fn cut_to(text: &'a str, bytes_max: usize, cuts: &mut Cuts) -> Self {
        let end = text.floor_char_boundary(bytes_max);
        cuts.texts += u64::from(end < text.len());
        Text(&text.as_bytes()[..end])
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl<'de> de::Visitor<'de> for Bytes {
            type Value = &'de [u8];

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the bytes of a text")
            }

            fn visit_borrowed_bytes<E: de::Error>(self, bytes: &'de [u8]) -> Result<&'de [u8], E> {
                Ok(bytes)
            }
        }
        deserializer.deserialize_bytes(Bytes).map(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::super::codec::{Cursor, put_record};
    use super::*;

    #[test]
    fn a_text_that_is_not_utf8_is_replaced_and_counted() {
        let mut out = Vec::new();
        put_record(&mut out, &(Text(b"fine"), Text(b"b\xFFd"))).unwrap();
        let (fine, bad): (Text<'_>, Text<'_>) = Cursor::new(&out).record().unwrap();
        let mut faults = Faults::default();
        assert_eq!((faults.text(fine), faults.text(bad)), ("fine".to_owned(), "b\u{FFFD}d".to_owned()));
        assert_eq!(faults, Faults { texts: 1, codes: 0 });
    }

    #[test]
    fn a_text_is_cut_between_two_letters() {
        let long = "ä".repeat(TEXT_BYTES_MAX);
        let mut cuts = Cuts::default();
        let text = Text::cut(&format!("x{long}"), &mut cuts).0.to_vec();
        assert_eq!((text.len(), cuts.texts), (TEXT_BYTES_MAX - 1, 1));
        assert!(String::from_utf8(text).is_ok());
        assert_eq!((Text::cut("short", &mut cuts), cuts.texts), (Text(b"short"), 1));
    }
}
