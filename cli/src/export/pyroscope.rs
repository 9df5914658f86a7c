//! Request that sends profiles to Pyroscope: `push.v1.PusherService/Push`, in the Connect protocol.
//!
//! The request is a protocol buffer with a list of series. A series has labels, and profiles in the format of pprof.
//! Alloy (`pyroscope.receive_http`) and other collectors accept the same request.

use std::collections::BTreeMap;
use std::io::Read;

use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

/// Path of the request's URL on a server.
pub const PUSH_PATH: &str = "/push.v1.PusherService/Push";

/// Label with the name of the service, which Pyroscope requires.
pub const SERVICE_LABEL: &str = "service_name";

/// Maximum unpacked length of a profile, in bytes. The rest of a longer profile is not searched for the program's name.
pub const PROFILE_BYTES_MAX: u64 = 1 << 30;

/// Returns the body of the request for one profile in the format of pprof, compressed or not. The labels are sorted, as
/// the server expects. Of several labels with the same name, the last one is used. The id of the profile is a hash of
/// its bytes, so sending the same profile again uses the same id.
pub fn push_request(labels: &[(String, String)], pprof: &[u8]) -> Vec<u8> {
    let sorted: BTreeMap<&str, &str> =
        labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    // Messages, from the inside out: `types.v1.LabelPair`, `push.v1.RawSample`, `push.v1.RawProfileSeries`,
    // `push.v1.PushRequest`.
    let mut series = Vec::new();
    for (name, value) in sorted {
        let mut label = Vec::new();
        put(&mut label, 1, name.as_bytes());
        put(&mut label, 2, value.as_bytes());
        put(&mut series, 1, &label);
    }
    let mut sample = Vec::with_capacity(pprof.len() + 64);
    put(&mut sample, 1, pprof);
    put(&mut sample, 2, profile_id(pprof).as_bytes());
    put(&mut series, 2, &sample);
    let mut request = Vec::with_capacity(series.len() + 16);
    put(&mut request, 1, &series);
    request
}

/// Appends a field to a message. The content is a text, bytes, or another message.
fn put(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(field << 3 | 2);
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
}

/// Returns the id of a profile: a UUID of version 8, made from a hash of the profile.
fn profile_id(pprof: &[u8]) -> String {
    let hash = Sha256::digest(pprof);
    let mut bytes: [u8; 16] = std::array::from_fn(|at| hash[at]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

/// Returns the path of the program from a compressed profile in the format of pprof: the file of the first object. The
/// path is empty if the profile has no objects. Returns `None` if `bytes` are no such profile.
pub fn pprof_program(bytes: &[u8]) -> Option<String> {
    let mut plain = Vec::new();
    GzDecoder::new(bytes).take(PROFILE_BYTES_MAX).read_to_end(&mut plain).ok()?;
    let (mut filename, mut texts) = (None, Vec::new());
    let mut fields = Fields(&plain);
    while !fields.0.is_empty() {
        match fields.next()? {
            (MAPPING, Field::Bytes(mapping)) if filename.is_none() => filename = Some(filename_of(mapping)?),
            (TEXT, Field::Bytes(text)) => texts.push(text),
            _ => {}
        }
    }
    // In a valid profile, text 0 is the empty text.
    texts.first().filter(|text| text.is_empty())?;
    let text = texts.get(usize::try_from(filename.unwrap_or(0)).ok()?)?;
    Some(String::from_utf8_lossy(text).into_owned())
}

/// Field numbers in the format of pprof: `MAPPING` and `TEXT` are fields of a profile (an object, and an entry of the
/// table of texts). `FILENAME` is the field of an object with the number of the text with its path.
const MAPPING: u64 = 3;
const TEXT: u64 = 6;
const FILENAME: u64 = 5;

fn filename_of(mapping: &[u8]) -> Option<u64> {
    let (mut fields, mut found) = (Fields(mapping), 0);
    while !fields.0.is_empty() {
        if let (FILENAME, Field::Number(text)) = fields.next()? {
            found = text;
        }
    }
    Some(found)
}

enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Reader of the fields of a message; holds the bytes that were not read yet.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Returns the number and the content of the next field; `None` if the message is malformed.
    fn next(&mut self) -> Option<(u64, Field<'a>)> {
        let key = self.number()?;
        let field = match key & 7 {
            0 => Field::Number(self.number()?),
            1 => Field::Bytes(self.bytes(8)?),
            2 => {
                let length = self.number()?;
                Field::Bytes(self.bytes(length)?)
            }
            5 => Field::Bytes(self.bytes(4)?),
            _ => return None,
        };
        Some((key >> 3, field))
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (first, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn bytes(&mut self, length: u64) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(bytes)
    }
}

/// Whether a text is a valid name of a label: letters, digits and `_`, with no digit at the start.
pub fn is_label_name(name: &str) -> bool {
    let starts = name.starts_with(|sign: char| sign.is_ascii_alphabetic() || sign == '_');
    starts && name.chars().all(|sign| sign.is_ascii_alphanumeric() || sign == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_a_uuid_that_depends_on_the_profile_only() {
        let id = profile_id(b"a");
        assert_eq!((id.len(), &id[14..15], id.matches('-').count()), (36, "8", 4), "{id}");
        assert_eq!((profile_id(b"a") == id, profile_id(b"b") == id), (true, false));
    }

    #[test]
    fn a_field_has_its_number_its_length_and_its_bytes() {
        let mut out = Vec::new();
        put(&mut out, 2, &[7; 300]);
        assert_eq!((&out[..4], out.len()), (&[0x12, 0xac, 0x02, 7][..], 303));
        let mut fields = Fields(&out);
        assert!(matches!(fields.next(), Some((2, Field::Bytes(bytes))) if bytes == [7; 300]));
        for cut in 1..out.len() {
            assert!(Fields(&out[..cut]).next().is_none(), "{cut}");
        }
    }

    #[test]
    fn labels_are_sorted_and_the_last_of_a_name_counts() {
        let pairs = [("b", "1"), ("a", "2"), ("b", "3")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        let request = push_request(&pairs, b"");
        let expected = [&b"\x0a\x06\x0a\x01a\x12\x012"[..], b"\x0a\x06\x0a\x01b\x12\x013"].concat();
        assert_eq!(&request[2..2 + expected.len()], expected);
    }

    #[test]
    fn the_program_of_a_profile_is_its_first_object() {
        let mut pprof = Vec::new();
        let profile = crate::analysis::sample::named();
        let origin = crate::analysis::Origin::default();
        super::super::export(super::super::Format::Pprof, &profile, &origin, &mut pprof).expect("written");
        let path = profile.modules[0].path.clone();
        assert_eq!(pprof_program(&pprof), Some(path));
        assert_eq!((pprof_program(b"no profile"), pprof_program(&pprof[..20])), (None, None));
    }

    #[test]
    fn names_of_labels_are_those_that_the_server_takes() {
        for (name, expected) in [("a_1", true), ("_x", true), ("1a", false), ("", false), ("a-b", false)] {
            assert_eq!(is_label_name(name), expected, "{name}");
        }
    }
}
