//! Traces in a form whose bytes a fuzzer can change without a wrong checksum, as the dumps of the crate's root.
//!
//! A plain trace has no index and no tail, because these would have to agree with the frames. A reader finds the frames
//! from head to head.

use crate::{put, word};

const HEAD_BYTES: usize = 32;
const FRAME_HEAD_BYTES: usize = 72;
const PAYLOAD_BYTES_MAX: usize = 1 << 20;
const MARK: [u8; 4] = *b"\xA5FRM";
const COMPRESSED: usize = 5;
const STORED: usize = 8;
const PLAIN: usize = 12;
const INDEX: u8 = 3;

/// Returns a trace in which every frame is uncompressed, without its index.
pub fn plain(file: &[u8]) -> Vec<u8> {
    let mut plain = file.get(..HEAD_BYTES).unwrap_or_default().to_vec();
    let mut at = plain.len();
    while let Some(head) = file.get(at..at + FRAME_HEAD_BYTES).filter(|head| head[4] != INDEX) {
        let field = |offset| word(head, offset).unwrap_or(0) as usize;
        let begin = at + FRAME_HEAD_BYTES;
        let Some(payload) = file.get(begin..begin + field(STORED)) else { break };
        let payload = match head[COMPRESSED] {
            0 => payload.to_vec(),
            _ => lz4_flex::block::decompress(payload, field(PLAIN)).unwrap_or_default(),
        };
        let start = plain.len();
        plain.extend_from_slice(head);
        plain[start + COMPRESSED] = 0;
        put(&mut plain, start + STORED, payload.len() as u32);
        plain.extend_from_slice(&payload);
        at = begin + field(STORED);
    }
    repaired(&plain)
}

/// Returns the bytes with correct lengths and checksums.
pub fn repaired(bytes: &[u8]) -> Vec<u8> {
    let mut file = bytes.to_vec();
    file.resize(file.len().max(HEAD_BYTES), 0);
    file[..8].copy_from_slice(b"HLTRACE1");
    put(&mut file, 8, 1);
    let checksum = crc32fast::hash(&file[..HEAD_BYTES - 4]);
    put(&mut file, HEAD_BYTES - 4, checksum);
    let mut at = HEAD_BYTES;
    while at + FRAME_HEAD_BYTES <= file.len() {
        let begin = at + FRAME_HEAD_BYTES;
        let stored =
            (word(&file, at + STORED).unwrap_or(0) as usize).min(file.len() - begin).min(PAYLOAD_BYTES_MAX);
        file[at..at + 4].copy_from_slice(&MARK);
        put(&mut file, at + STORED, stored as u32);
        if file[at + COMPRESSED] == 0 {
            put(&mut file, at + PLAIN, stored as u32);
        }
        let checksum = crc32fast::hash(&file[begin..begin + stored]);
        put(&mut file, at + FRAME_HEAD_BYTES - 8, checksum);
        let checksum = crc32fast::hash(&file[at..at + FRAME_HEAD_BYTES - 4]);
        put(&mut file, at + FRAME_HEAD_BYTES - 4, checksum);
        at = begin + stored;
    }
    file
}
