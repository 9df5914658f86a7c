//! Sections: their headers, checksums and compression. This file does not interpret the content.
//!
//! [`SectionWriter`] writes sections one after the other. [`Sections`] finds sections in any bytes. A header or a
//! payload counts only if its checksum is right. After a corrupt section the search continues, byte by byte, for the
//! next header with a right checksum, so one bad byte costs one section.

use std::io::{self, Write};

use super::codec::{Cursor, put_u16, put_u32};
use super::error::{Damage, DamageKind};
use super::format::{
    FILE_HEADER_BYTES, FLAG_LZ4, LZ4_RATIO_MAX, MAGIC, SECTION_HEADER_BYTES, SECTION_MARK,
    SECTION_PLAIN_BYTES_MAX, Tag, VERSION, Version, checksum_budget_bytes, plain_budget_bytes,
};

/// The header of a section, as stored in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SectionHeader {
    pub(super) tag: Tag,
    pub(super) sequence: u32,
    pub(super) flags: u32,
    pub(super) stored_bytes: u32,
    pub(super) plain_bytes: u32,
    pub(super) payload_crc32: u32,
}

impl SectionHeader {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SECTION_HEADER_BYTES);
        out.extend_from_slice(&SECTION_MARK);
        out.extend_from_slice(&self.tag.0);
        for field in [self.sequence, self.flags, self.stored_bytes, self.plain_bytes, self.payload_crc32] {
            put_u32(&mut out, field);
        }
        let crc32 = crc32fast::hash(&out);
        put_u32(&mut out, crc32);
        out
    }

    /// Reads the header at the front of `bytes`. Returns `None` if `bytes` does not start with a header with a right
    /// checksum.
    fn decode(bytes: &[u8]) -> Option<SectionHeader> {
        let bytes = bytes.get(..SECTION_HEADER_BYTES)?;
        let (hashed, crc32) = bytes.split_last_chunk::<4>()?;
        if !hashed.starts_with(&SECTION_MARK) || crc32fast::hash(hashed) != u32::from_le_bytes(*crc32) {
            return None;
        }
        let mut cursor = Cursor::new(&hashed[SECTION_MARK.len()..]);
        let header = SectionHeader {
            tag: Tag(cursor.take(4).ok()?.try_into().ok()?),
            sequence: cursor.u32().ok()?,
            flags: cursor.u32().ok()?,
            stored_bytes: cursor.u32().ok()?,
            plain_bytes: cursor.u32().ok()?,
            payload_crc32: cursor.u32().ok()?,
        };
        header.lengths_are_possible().then_some(header)
    }

    fn lengths_are_possible(&self) -> bool {
        let (stored, plain) = (self.stored_bytes as usize, self.plain_bytes as usize);
        plain <= SECTION_PLAIN_BYTES_MAX && stored <= plain && plain <= stored.saturating_mul(LZ4_RATIO_MAX)
    }
}

/// Writes the file header and sections into any [`Write`].
#[derive(Debug)]
pub(super) struct SectionWriter<W> {
    out: W,
    pub(super) sections: u32,
    pub(super) bytes: u64,
    plain_bytes: u64,
    packed: Vec<u8>,
}

impl<W: Write> SectionWriter<W> {
    /// Creates the writer and writes the file header.
    pub(super) fn start(mut out: W) -> io::Result<Self> {
        let mut header = MAGIC.to_vec();
        put_u16(&mut header, VERSION.major);
        put_u16(&mut header, VERSION.minor);
        let crc32 = crc32fast::hash(&header);
        put_u32(&mut header, crc32);
        out.write_all(&header)?;
        Ok(SectionWriter { out, sections: 0, bytes: header.len() as u64, plain_bytes: 0, packed: Vec::new() })
    }

    /// Writes one section. Its bytes are compressed if that makes the section smaller and the file stays within its
    /// [budget](plain_budget_bytes) of plain bytes.
    pub(super) fn put(&mut self, tag: Tag, plain: &[u8]) -> io::Result<()> {
        if plain.len() > SECTION_PLAIN_BYTES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a section is longer than the format allows",
            ));
        }
        self.packed.resize(lz4_flex::block::get_maximum_output_size(plain.len()), 0);
        let packed_bytes = lz4_flex::block::compress_into(plain, &mut self.packed).unwrap_or(usize::MAX);
        self.plain_bytes += plain.len() as u64;
        let after_bytes = self.bytes + (SECTION_HEADER_BYTES + plain.len().min(packed_bytes)) as u64;
        // Readers refuse files beyond the budget, so the writer stays within it.
        let (flags, stored) =
            if packed_bytes < plain.len() && self.plain_bytes <= plain_budget_bytes(after_bytes) {
                (FLAG_LZ4, &self.packed[..packed_bytes])
            } else {
                (0, plain)
            };
        let header = SectionHeader {
            tag,
            sequence: self.sections,
            flags,
            stored_bytes: stored.len() as u32,
            plain_bytes: plain.len() as u32,
            payload_crc32: crc32fast::hash(stored),
        };
        self.out.write_all(&header.encode())?;
        self.out.write_all(stored)?;
        self.bytes += (SECTION_HEADER_BYTES + stored.len()) as u64;
        self.sections += 1;
        Ok(())
    }

    /// Flushes the output.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Reads the version at the front of `bytes`, and whether the checksum of the file header is right. Returns `None` if
/// the file header is incomplete.
pub(super) fn file_header(bytes: &[u8]) -> Option<(Version, bool)> {
    let (hashed, crc32) = bytes.get(..FILE_HEADER_BYTES)?.split_last_chunk::<4>()?;
    let mut cursor = Cursor::new(hashed.strip_prefix(&MAGIC)?);
    let version = Version { major: cursor.u16().ok()?, minor: cursor.u16().ok()? };
    Some((version, crc32fast::hash(hashed) == u32::from_le_bytes(*crc32)))
}

/// Returns the plain bytes of a section. A compressed section is decompressed into `scratch`.
pub(super) fn unpack<'a>(
    header: &SectionHeader,
    stored: &'a [u8],
    scratch: &'a mut Vec<u8>,
) -> Result<&'a [u8], String> {
    let plain_bytes = header.plain_bytes as usize;
    match header.flags {
        0 if stored.len() == plain_bytes => Ok(stored),
        0 => Err("its stored and its plain length differ, yet it is not compressed".to_owned()),
        FLAG_LZ4 => {
            scratch.resize(plain_bytes, 0);
            let unpacked = lz4_flex::block::decompress_into(stored, scratch);
            let bytes = unpacked.map_err(|error| format!("it cannot be decompressed ({error})"))?;
            if bytes == plain_bytes {
                Ok(scratch)
            } else {
                Err(format!("it decompresses to {bytes} bytes instead of {plain_bytes}"))
            }
        }
        flags => Err(format!("it is stored in a way that this version does not know (flags {flags:#x})")),
    }
}

/// One result of the search for sections in a file.
#[derive(Debug)]
pub(super) enum Found<'a> {
    /// A section with right checksums.
    Section { offset: u64, header: SectionHeader, stored: &'a [u8] },
    /// Damage of a section, or of the bytes between two sections.
    Damage(Damage),
}

/// Iterator over the sections in the bytes of a file, and over the damage between them.
#[derive(Debug)]
pub(super) struct Sections<'a> {
    bytes: &'a [u8],
    at: usize,
    checksum_budget_bytes: u64,
    /// Whether the last section had a corrupt payload. The bytes up to the next header may be the rest of that section,
    /// so they are not reported as further damage.
    in_bad_section: bool,
}

impl<'a> Sections<'a> {
    /// Starts the search behind the file header.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let checksum_budget_bytes = checksum_budget_bytes(bytes.len() as u64);
        Sections {
            bytes,
            at: FILE_HEADER_BYTES.min(bytes.len()),
            checksum_budget_bytes,
            in_bad_section: false,
        }
    }

    fn damage(&mut self, section: Option<&'static str>, at: usize, kind: DamageKind) -> Option<Found<'a>> {
        Some(Found::Damage(Damage { section, offset: Some(at as u64), kind }))
    }

    /// Returns the offset of the next header with a right checksum, from `self.at` on, or the length of the file if
    /// there is none.
    fn next_header(&self) -> usize {
        let rest = &self.bytes[self.at..];
        let mut from = 0;
        while let Some(step) = rest[from..].iter().position(|byte| *byte == SECTION_MARK[0]) {
            from += step;
            if SectionHeader::decode(&rest[from..]).is_some() {
                return self.at + from;
            }
            from += 1;
        }
        self.bytes.len()
    }
}

impl<'a> Iterator for Sections<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        let start = self.at;
        let header_at = self.next_header();
        self.at = header_at;
        if header_at > start && !std::mem::take(&mut self.in_bad_section) {
            let bytes = (header_at - start) as u64;
            return self.damage(None, start, DamageKind::Unreadable { bytes });
        }
        self.in_bad_section = false;
        let header = SectionHeader::decode(self.bytes.get(header_at..)?)?;
        let payload = &self.bytes[header_at + SECTION_HEADER_BYTES..];
        let stored_bytes = header.stored_bytes as usize;
        let section = Some(header.tag.name());
        let Some(stored) = payload.get(..stored_bytes) else {
            self.at += SECTION_HEADER_BYTES;
            self.in_bad_section = true;
            let missing_bytes = (stored_bytes - payload.len()) as u64;
            return self.damage(section, header_at, DamageKind::Cut { missing_bytes });
        };
        let Some(left_bytes) = self.checksum_budget_bytes.checked_sub(stored_bytes as u64) else {
            self.at = self.bytes.len();
            return self.damage(None, header_at, DamageKind::GaveUp);
        };
        self.checksum_budget_bytes = left_bytes;
        if crc32fast::hash(stored) != header.payload_crc32 {
            // The length in the header may be wrong as well, so the search continues directly behind the header.
            self.at += SECTION_HEADER_BYTES;
            self.in_bad_section = true;
            return self.damage(section, header_at, DamageKind::Checksum);
        }
        self.at += SECTION_HEADER_BYTES + stored_bytes;
        Some(Found::Section { offset: header_at as u64, header, stored })
    }
}
