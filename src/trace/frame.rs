//! The layout of the file: a head, frames that can be read separately, an index, and a tail with the offset of the
//! index.
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
//! Numbers are little-endian. Each head and each payload has a checksum. A frame head begins with the four bytes
//! `MARK`. If the file has no usable index, for example because its end is missing, a reader goes from frame head to
//! frame head. After a corrupt frame head, it searches for the next mark that begins a valid one.

use crc32fast::hash;

use crate::dump::codec::{Cursor, put_u32, put_u64};

/// The first bytes of a trace.
const MAGIC: [u8; 8] = *b"HLTRACE1";
/// The last bytes of a complete trace.
const TAIL_MAGIC: [u8; 8] = *b"HLTRCEND";
/// The first bytes of a frame.
pub(super) const MARK: [u8; 4] = *b"\xA5FRM";
/// Length of the head of the file, in bytes.
pub(super) const HEAD_BYTES: usize = 32;
/// Length of the head of a frame, in bytes.
pub(super) const FRAME_HEAD_BYTES: usize = 72;
/// Length of the tail, in bytes.
pub(super) const TAIL_BYTES: usize = 16;
/// Maximum length of a payload, in bytes, both as stored and before compression.
pub(super) const PAYLOAD_BYTES_MAX: usize = 32 << 20;
/// Version of the format. A reader refuses a higher version.
const VERSION: u32 = 1;

/// Whether the first bytes of a file are those of a trace.
pub fn is_trace(start: &[u8]) -> bool {
    start.starts_with(&MAGIC)
}

/// The head of the file, which describes the process of the trace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileHead {
    /// Process id.
    pub process_id: u32,
    /// Time when the ledger was opened, in nanoseconds since 1970 UTC.
    pub started_unix_ns: u64,
}

impl FileHead {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        put_u32(&mut bytes, VERSION);
        put_u32(&mut bytes, self.process_id);
        put_u64(&mut bytes, self.started_unix_ns);
        put_u32(&mut bytes, 0);
        sealed(bytes)
    }

    /// Reads the version of the file, and also the head if the version is known. Returns `None` if the bytes are not a
    /// complete head.
    pub(super) fn read(bytes: &[u8; HEAD_BYTES]) -> Option<(u32, Option<FileHead>)> {
        let mut cursor = unsealed(bytes, &MAGIC)?;
        let version = cursor.u32().ok()?;
        let head = FileHead { process_id: cursor.u32().ok()?, started_unix_ns: cursor.u64().ok()? };
        Some((version, (version == VERSION).then_some(head)))
    }
}

/// Appends the checksum of a head.
fn sealed(mut head: Vec<u8>) -> Vec<u8> {
    let sum = hash(&head);
    put_u32(&mut head, sum);
    head
}

/// Returns the bytes of a head between `first` and the checksum, if the head begins with `first` and the checksum is
/// right.
fn unsealed<'a>(head: &'a [u8], first: &[u8]) -> Option<Cursor<'a>> {
    let (hashed, sum) = head.split_last_chunk::<4>()?;
    let is_whole = hash(hashed) == u32::from_le_bytes(*sum);
    hashed.strip_prefix(first).filter(|_| is_whole).map(Cursor::new)
}

/// Content of a frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// Records of events.
    #[default]
    Events = 1,
    /// A piece of the dump.
    Dump = 2,
    /// The heads of all frames, and the counts of the whole trace.
    Index = 3,
}

/// The head of a frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FrameHead {
    /// Content of the frame.
    pub kind: FrameKind,
    /// Whether the payload is compressed.
    pub(super) compressed: bool,
    /// Length of the payload as stored, in bytes.
    pub stored: u32,
    /// Length of the payload before compression, in bytes.
    pub plain: u32,
    /// Number of windows.
    pub(super) windows: u32,
    /// Number of records.
    pub records: u32,
    /// Number of events, as the ledger counts them: a realloc is one event.
    pub events: u64,
    /// Time of the first record, in nanoseconds since the start.
    pub first_ns: u64,
    /// Time of the last record, in nanoseconds since the start.
    pub last_ns: u64,
    /// Time bound, in nanoseconds since the start. Every event before this time is in this frame or an earlier frame,
    /// within the accuracy of the clock.
    pub until_ns: u64,
    /// Number of events so far that are missing from the trace, because the writer was too slow.
    pub lost: u64,
}

impl FrameHead {
    pub(super) fn to_bytes(self, payload: &[u8]) -> Vec<u8> {
        let mut bytes = MARK.to_vec();
        bytes.extend_from_slice(&[self.kind as u8, u8::from(self.compressed), 0, 0]);
        let sizes = [self.stored, self.plain, self.windows, self.records];
        sizes.into_iter().for_each(|size| put_u32(&mut bytes, size));
        let times = [self.events, self.first_ns, self.last_ns, self.until_ns, self.lost];
        times.into_iter().for_each(|time| put_u64(&mut bytes, time));
        put_u32(&mut bytes, hash(payload));
        sealed(bytes)
    }

    /// Reads the head and the checksum of the payload. Returns `None` if the bytes are not a complete head.
    pub(super) fn read(bytes: &[u8; FRAME_HEAD_BYTES]) -> Option<(FrameHead, u32)> {
        let mut cursor = unsealed(bytes, &MARK)?;
        let [kind, compressed, ..] = *cursor.take(4).ok()? else { return None };
        let head = FrameHead {
            kind: match kind {
                1 => FrameKind::Events,
                2 => FrameKind::Dump,
                3 => FrameKind::Index,
                _ => return None,
            },
            compressed: compressed != 0,
            stored: cursor.u32().ok()?,
            plain: cursor.u32().ok()?,
            windows: cursor.u32().ok()?,
            records: cursor.u32().ok()?,
            events: cursor.u64().ok()?,
            first_ns: cursor.u64().ok()?,
            last_ns: cursor.u64().ok()?,
            until_ns: cursor.u64().ok()?,
            lost: cursor.u64().ok()?,
        };
        let fits = |bytes: u32| bytes as usize <= PAYLOAD_BYTES_MAX;
        (fits(head.stored) && fits(head.plain)).then_some((head, cursor.u32().ok()?))
    }
}

/// The counts of a whole trace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Number of events in the trace, including events of heapledger's blocks.
    pub events: u64,
    /// Number of events in the ledger but not in the trace, because the writer was too slow.
    pub lost: u64,
    /// Number of times that threads waited for the writer.
    pub waits: u64,
    /// Total time that threads waited for the writer, in nanoseconds.
    pub waited_ns: u64,
}

impl Counts {
    pub(super) const BYTES: usize = 32;

    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let counts = [self.events, self.lost, self.waits, self.waited_ns];
        counts.into_iter().for_each(|count| put_u64(&mut bytes, count));
        bytes
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Counts> {
        let mut cursor = Cursor::new(bytes);
        let mut next = || cursor.u64().ok();
        Some(Counts { events: next()?, lost: next()?, waits: next()?, waited_ns: next()? })
    }
}

/// Returns the tail of a file whose index is at offset `index`.
pub(super) fn tail(index: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_u64(&mut bytes, index);
    bytes.extend_from_slice(&TAIL_MAGIC);
    bytes
}

/// Returns the offset of the index, which is in the tail. Returns `None` if the bytes are not a tail.
pub(super) fn index_of(tail: &[u8; TAIL_BYTES]) -> Option<u64> {
    Cursor::new(tail.strip_suffix(&TAIL_MAGIC)?).u64().ok()
}
