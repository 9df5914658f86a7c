//! Functions that the fuzz targets share: files in a form whose bytes a fuzzer can change without a wrong checksum.
//!
//! A dump protects every section with two checksums and compresses most sections, so a change of any byte is detected
//! and the section is omitted. The target `reader` tests that. All other targets work on *plain* files: nothing is
//! compressed, and [`repaired`] corrects the lengths and checksums after the fuzzer's changes. So the content behind
//! the checksums is as hostile as that of a forged file. Black boxes and traces have forms of their own: see [`region`] and
//! [`trace`].

pub mod region;
pub mod trace;

use heapledger::Profile;
use heapledger_cli::analysis::Origin;
use heapledger::dumps;

const FILE_HEADER_BYTES: usize = 16;
const SECTION_HEADER_BYTES: usize = 32;
const SECTION_BYTES_MAX: usize = 1 << 20;
const MARK: [u8; 4] = *b"\xE7SEC";
const PACKED: u32 = 1;

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&value.to_le_bytes());
    }
}

/// Returns a whole file in which every section is uncompressed.
pub fn plain(file: &[u8]) -> Vec<u8> {
    let mut plain = file.get(..FILE_HEADER_BYTES).unwrap_or_default().to_vec();
    let mut at = plain.len();
    while let Some(header) = file.get(at..at + SECTION_HEADER_BYTES) {
        let field = |offset| word(header, offset).unwrap_or(0);
        let (flags, stored, unpacked) = (field(12), field(16) as usize, field(20) as usize);
        let begin = at + SECTION_HEADER_BYTES;
        let Some(content) = file.get(begin..begin + stored) else { break };
        let content = if flags & PACKED == 0 {
            content.to_vec()
        } else {
            lz4_flex::block::decompress(content, unpacked).unwrap_or_default()
        };
        let start = plain.len();
        plain.extend_from_slice(header);
        put(&mut plain, start + 12, flags & !PACKED);
        put(&mut plain, start + 16, content.len() as u32);
        plain.extend_from_slice(&content);
        at = begin + stored;
    }
    repaired(&plain)
}

/// Returns the bytes with correct lengths and checksums.
pub fn repaired(bytes: &[u8]) -> Vec<u8> {
    let mut file = bytes.to_vec();
    file.resize(file.len().max(FILE_HEADER_BYTES), 0);
    file[..8].copy_from_slice(b"\x89HLD\r\n\x1a\n");
    // Version 1.0: another one is refused before anything is read.
    file[8..12].copy_from_slice(&[1, 0, 0, 0]);
    let checksum = crc32fast::hash(&file[..12]);
    put(&mut file, 12, checksum);
    let mut at = FILE_HEADER_BYTES;
    while at + SECTION_HEADER_BYTES <= file.len() {
        let begin = at + SECTION_HEADER_BYTES;
        let stored =
            (word(&file, at + 16).unwrap_or(0) as usize).min(file.len() - begin).min(SECTION_BYTES_MAX);
        file[at..at + 4].copy_from_slice(&MARK);
        put(&mut file, at + 16, stored as u32);
        if word(&file, at + 12).unwrap_or(0) & PACKED == 0 {
            put(&mut file, at + 20, stored as u32);
        }
        let checksum = crc32fast::hash(&file[begin..begin + stored]);
        put(&mut file, at + 24, checksum);
        let checksum = crc32fast::hash(&file[at..at + 28]);
        put(&mut file, at + 28, checksum);
        at = begin + stored;
    }
    file
}

/// Returns the profile that a reader makes of the repaired bytes.
pub fn profile(bytes: &[u8]) -> Option<(Profile, Origin)> {
    let dump = dumps::read_bytes(&repaired(bytes)).ok()?;
    let damage = dump.damage.iter().map(ToString::to_string).collect();
    Some((dump.profile, Origin::new(damage, dump.notes)))
}

/// Panics if the text could change a terminal: it must have no control character except line ends.
pub fn harmless(text: &[u8]) {
    let text = std::str::from_utf8(text).expect("text");
    let bad = text.chars().find(|c| c.is_control() && *c != '\n');
    assert!(bad.is_none(), "{bad:?}");
}
