//! The file: a head, frames that each stand for themselves, an index, and a tail that says where the index lies.
//!
//! ```text
//!  ┌──────┬────────┬────────┬─    ─┬──────┬──────┬───────┬──────┐
//!  │ head │ EVENTS │ EVENTS │ ...  │ DUMP │ DUMP │ INDEX │ tail │
//!  └──────┴───┬────┴────────┴─    ─┴──────┴──────┴───────┴──────┘
//!  ┌──────────┴──┬──────────────────────────────┐
//!  │ frame head, │ payload: columns, LZ4 if that│
//!  │ 72 bytes    │ is smaller                   │
//!  └─────────────┴──────────────────────────────┘
//! ```
//!
//! Numbers are little-endian. Heads and payloads have checksums of their own, so whoever meets a file without an end
//! goes from head to head, and whoever meets a broken head looks for the next mark.

use crc32fast::hash;

/// The first bytes of a trace.
pub(crate) const MAGIC: [u8; 8] = *b"HLTRACE1";
/// The last bytes of a trace that was ended.
const TAIL_MAGIC: [u8; 8] = *b"HLTRCEND";
/// The first bytes of a frame.
pub(super) const MARK: [u8; 4] = *b"\xA5FRM";
/// Bytes of the head of the file.
pub(super) const HEAD_BYTES: usize = 32;
/// Bytes of the head of a frame.
pub(super) const FRAME_HEAD_BYTES: usize = 72;
/// Bytes of the tail.
pub(super) const TAIL_BYTES: usize = 16;
/// Bytes of a payload at most, as stored and as it was before it was compressed.
pub(super) const PAYLOAD_BYTES_MAX: usize = 32 << 20;
/// Version of the format. A reader refuses a higher one.
const VERSION: u32 = 1;

/// Which process a trace is of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileHead {
    /// Process id.
    pub process_id: u32,
    /// When the ledger was opened, in nanoseconds since 1970 UTC.
    pub started_unix_ns: u64,
}

impl FileHead {
    pub(super) fn to_bytes(self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.process_id.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.started_unix_ns.to_le_bytes());
        let sum = hash(&bytes[..28]);
        bytes[28..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// The version of the file, and the head if this reader knows the version and the bytes are whole.
    pub(super) fn read(bytes: &[u8; HEAD_BYTES]) -> Option<(u32, Option<FileHead>)> {
        if bytes[..8] != MAGIC || hash(&bytes[..28]) != u32_at(bytes, 28) {
            return None;
        }
        let head = FileHead { process_id: u32_at(bytes, 12), started_unix_ns: u64_at(bytes, 16) };
        let version = u32_at(bytes, 8);
        Some((version, (version == VERSION).then_some(head)))
    }
}

/// What a frame holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// Records.
    #[default]
    Events = 1,
    /// A piece of the dump.
    Dump = 2,
    /// What frames there are, and the final counts.
    Index = 3,
}

/// The head of a frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FrameHead {
    /// What it holds.
    pub kind: FrameKind,
    /// Whether the payload is compressed.
    pub(super) compressed: bool,
    /// Bytes of the payload as stored.
    pub stored: u32,
    /// Bytes of the payload as it was.
    pub plain: u32,
    /// Windows in it.
    pub(super) windows: u32,
    /// Records in it.
    pub records: u32,
    /// Events in it, as the ledger counts them.
    pub events: u64,
    /// Time of the first record, in nanoseconds since the start.
    pub first_ns: u64,
    /// Time of the last record.
    pub last_ns: u64,
    /// Everything that had happened before this time is in this frame or an earlier one, as far as the clock tells.
    pub until_ns: u64,
    /// Events so far that are in no frame, because the writer could not keep up.
    pub lost: u64,
}

impl FrameHead {
    pub(super) fn to_bytes(self, payload: &[u8]) -> [u8; FRAME_HEAD_BYTES] {
        let mut bytes = [0; FRAME_HEAD_BYTES];
        bytes[..4].copy_from_slice(&MARK);
        (bytes[4], bytes[5]) = (self.kind as u8, u8::from(self.compressed));
        for (place, value) in [(8, self.stored), (12, self.plain), (16, self.windows), (20, self.records)] {
            bytes[place..place + 4].copy_from_slice(&value.to_le_bytes());
        }
        let times = [self.events, self.first_ns, self.last_ns, self.until_ns, self.lost];
        for (place, value) in (24..).step_by(8).zip(times) {
            bytes[place..place + 8].copy_from_slice(&value.to_le_bytes());
        }
        bytes[64..68].copy_from_slice(&hash(payload).to_le_bytes());
        let sum = hash(&bytes[..68]);
        bytes[68..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// The head and the checksum of its payload; `None` when the bytes are not a whole head.
    pub(super) fn read(bytes: &[u8; FRAME_HEAD_BYTES]) -> Option<(FrameHead, u32)> {
        if bytes[..4] != MARK || hash(&bytes[..68]) != u32_at(bytes, 68) {
            return None;
        }
        let kind = match bytes[4] {
            1 => FrameKind::Events,
            2 => FrameKind::Dump,
            3 => FrameKind::Index,
            _ => return None,
        };
        let head = FrameHead {
            kind,
            compressed: bytes[5] != 0,
            stored: u32_at(bytes, 8),
            plain: u32_at(bytes, 12),
            windows: u32_at(bytes, 16),
            records: u32_at(bytes, 20),
            events: u64_at(bytes, 24),
            first_ns: u64_at(bytes, 32),
            last_ns: u64_at(bytes, 40),
            until_ns: u64_at(bytes, 48),
            lost: u64_at(bytes, 56),
        };
        let fits = |bytes: u32| bytes as usize <= PAYLOAD_BYTES_MAX;
        (fits(head.stored) && fits(head.plain)).then_some((head, u32_at(bytes, 64)))
    }
}

/// What the trace as a whole came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events in the trace, heapledger's own included.
    pub events: u64,
    /// Events that the ledger booked and the trace does not have, because the writer could not keep up.
    pub lost: u64,
    /// Times that threads waited for the writer.
    pub waits: u64,
    /// Nanoseconds that they waited together.
    pub waited_ns: u64,
}

impl Counts {
    pub(super) const BYTES: usize = 32;

    pub(super) fn to_bytes(self) -> [u8; Counts::BYTES] {
        let mut bytes = [0; Counts::BYTES];
        for (place, value) in [self.events, self.lost, self.waits, self.waited_ns].into_iter().enumerate() {
            bytes[8 * place..8 * place + 8].copy_from_slice(&value.to_le_bytes());
        }
        bytes
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Counts> {
        if bytes.len() < Counts::BYTES {
            return None;
        }
        let at = |place: usize| u64_at(bytes, 8 * place);
        Some(Counts { events: at(0), lost: at(1), waits: at(2), waited_ns: at(3) })
    }
}

/// The tail of a file whose index lies at `index`.
pub(super) fn tail(index: u64) -> [u8; TAIL_BYTES] {
    let mut bytes = [0; TAIL_BYTES];
    bytes[..8].copy_from_slice(&index.to_le_bytes());
    bytes[8..].copy_from_slice(&TAIL_MAGIC);
    bytes
}

/// Where the index lies, from the tail.
pub(super) fn index_of(tail: &[u8; TAIL_BYTES]) -> Option<u64> {
    (tail[8..] == TAIL_MAGIC).then(|| u64_at(tail, 0))
}

fn u32_at(bytes: &[u8], place: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(bytes.get(place..place + 4).unwrap_or(&[0; 4]));
    u32::from_le_bytes(value)
}

pub(super) fn u64_at(bytes: &[u8], place: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(bytes.get(place..place + 8).unwrap_or(&[0; 8]));
    u64::from_le_bytes(value)
}
