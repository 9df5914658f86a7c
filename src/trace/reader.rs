//! Reads the frames of a file, and the records of a frame.
//!
//! A reader first finds the frames: from the index or, in a file without an end, from head to head. Then the reader
//! loads one frame after the other, so a trace may be larger than memory.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};

use crc32fast::hash;

use super::decode;
use super::frame::{
    Counts, FRAME_HEAD_BYTES, FileHead, FrameHead, FrameKind, HEAD_BYTES, MARK, PAYLOAD_BYTES_MAX,
    TAIL_BYTES, index_of,
};
use super::model::Model;
use crate::replay::Dated;

/// Number of bytes that are read at once in a search for a mark.
const SEARCH_BYTES: usize = 1 << 16;
/// Length of an entry of the index, in bytes.
const ENTRY_BYTES: usize = 8 + FRAME_HEAD_BYTES;
/// Maximum number of damaged places that are listed. Further places are only counted.
const DAMAGE_TOLD_MAX: usize = 20;
/// Maximum length of the dump in a trace, in bytes.
const DUMP_BYTES_MAX: u64 = 4 << 30;

/// Reason why a trace cannot be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum TraceError {
    /// A system call failed.
    Io(io::Error),
    /// The first bytes are not those of a trace.
    NotATrace,
    /// The trace has a newer format, with this version number.
    Newer(u32),
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TraceError::Io(error) => error.fmt(f),
            TraceError::NotATrace => f.write_str("this is not a heapledger trace"),
            TraceError::Newer(version) => {
                write!(f, "the trace has format version {version}: a newer heapledger reads it")
            }
        }
    }
}

impl std::error::Error for TraceError {}

impl From<io::Error> for TraceError {
    fn from(error: io::Error) -> TraceError {
        TraceError::Io(error)
    }
}

/// A frame and its offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Offset of the frame's head in the file, in bytes.
    pub offset: u64,
    /// Head of the frame.
    pub head: FrameHead,
}

/// An open trace.
#[derive(Debug)]
pub struct Trace<R> {
    from: R,
    length: u64,
    head: FileHead,
    frames: Vec<Frame>,
    counts: Option<Counts>,
    damage: Damages,
    model: Model,
    payload: Vec<u8>,
    plain: Vec<u8>,
}

/// Descriptions of damaged places.
#[derive(Debug, Default)]
struct Damages {
    listed: Vec<String>,
    more: u64,
}

impl Damages {
    fn add(&mut self, place: String) {
        if self.listed.len() < DAMAGE_TOLD_MAX { self.listed.push(place) } else { self.more += 1 }
    }
}

impl<R: Read + Seek> Trace<R> {
    /// Opens a trace and finds its frames.
    ///
    /// # Errors
    ///
    /// Returns a [`TraceError`] if the file is not a trace or cannot be read.
    pub fn open(mut from: R) -> Result<Trace<R>, TraceError> {
        let length = from.seek(SeekFrom::End(0))?;
        let mut bytes = [0; HEAD_BYTES];
        from.rewind()?;
        from.read_exact(&mut bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => TraceError::NotATrace,
            _ => TraceError::Io(error),
        })?;
        let head = match FileHead::read(&bytes) {
            None => return Err(TraceError::NotATrace),
            Some((version, None)) => return Err(TraceError::Newer(version)),
            Some((_, Some(head))) => head,
        };
        let mut trace = Trace {
            from,
            length,
            head,
            frames: Vec::new(),
            counts: None,
            damage: Damages::default(),
            model: Model::new(),
            payload: Vec::new(),
            plain: Vec::new(),
        };
        if !trace.read_index()? {
            trace.scan()?;
        }
        Ok(trace)
    }

    /// Returns the head of the file, which describes the process.
    pub fn head(&self) -> FileHead {
        self.head
    }

    /// Returns the frames with records, in the order of the file.
    pub fn frames(&self) -> impl Iterator<Item = Frame> + '_ {
        self.frames.iter().copied().filter(|frame| frame.head.kind == FrameKind::Events)
    }

    /// Returns the counts of the whole trace, if the trace is complete.
    pub fn counts(&self) -> Option<Counts> {
        self.counts
    }

    /// Returns the length of the file, in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Returns descriptions of the damaged places.
    pub fn damage(&self) -> Vec<String> {
        let mut listed = self.damage.listed.clone();
        if self.damage.more > 0 {
            listed.push(format!("{} more damaged places", self.damage.more));
        }
        listed
    }

    /// Reads the index. Returns `false` if the file has no valid tail and index, or the index lists no frames.
    fn read_index(&mut self) -> io::Result<bool> {
        let Some(tail_at) = self.length.checked_sub(TAIL_BYTES as u64) else { return Ok(false) };
        let mut bytes = [0; TAIL_BYTES];
        self.from.seek(SeekFrom::Start(tail_at))?;
        self.from.read_exact(&mut bytes)?;
        let Some(offset) = index_of(&bytes) else { return Ok(false) };
        let Some((head, _)) = self.head_at(offset)? else { return Ok(false) };
        if head.kind != FrameKind::Index || !self.load(&Frame { offset, head })? {
            return Ok(false);
        }
        let Some(counts) = Counts::read(&self.plain) else { return Ok(false) };
        let mut frames = Vec::new();
        for entry in self.plain.get(Counts::BYTES..).unwrap_or(&[]).chunks(ENTRY_BYTES) {
            let Some((offset, head)) = entry.split_first_chunk() else { return Ok(false) };
            let head = head.first_chunk().and_then(FrameHead::read);
            let Some((head, _)) = head else { return Ok(false) };
            frames.push(Frame { offset: u64::from_le_bytes(*offset), head });
        }
        // The index of a trace with too many frames lists no frames.
        let is_named = !frames.is_empty();
        (self.frames, self.counts) = (frames, Some(counts));
        Ok(is_named)
    }

    /// Finds the frames by going from head to head. Corrupt bytes are skipped up to the next valid head.
    fn scan(&mut self) -> io::Result<()> {
        let mut offset = HEAD_BYTES as u64;
        while offset < self.length {
            match self.head_at(offset)? {
                Some((head, _)) if self.fits(offset, &head) => {
                    if head.kind == FrameKind::Index {
                        break;
                    }
                    self.frames.push(Frame { offset, head });
                    offset += FRAME_HEAD_BYTES as u64 + u64::from(head.stored);
                }
                _ => {
                    let next = self.next_mark(offset + 1)?;
                    let end = next.unwrap_or(self.length);
                    self.damage.add(format!("bytes {offset} to {end} of the trace hold no whole frame"));
                    offset = end;
                }
            }
        }
        Ok(())
    }

    fn fits(&self, offset: u64, head: &FrameHead) -> bool {
        let end = offset.checked_add(FRAME_HEAD_BYTES as u64 + u64::from(head.stored));
        end.is_some_and(|end| end <= self.length)
    }

    fn head_at(&mut self, offset: u64) -> io::Result<Option<(FrameHead, u32)>> {
        let end = offset.checked_add(FRAME_HEAD_BYTES as u64);
        if end.is_none_or(|end| end > self.length) {
            return Ok(None);
        }
        let mut bytes = [0; FRAME_HEAD_BYTES];
        self.from.seek(SeekFrom::Start(offset))?;
        self.from.read_exact(&mut bytes)?;
        Ok(FrameHead::read(&bytes))
    }

    /// Returns the offset of the next valid head at or after `from`.
    fn next_mark(&mut self, from: u64) -> io::Result<Option<u64>> {
        let mut buffer = vec![0; SEARCH_BYTES];
        let mut start = from;
        while start < self.length {
            self.from.seek(SeekFrom::Start(start))?;
            let wanted = (self.length - start).min(SEARCH_BYTES as u64) as usize;
            let Some(bytes) = buffer.get_mut(..wanted) else { return Ok(None) };
            self.from.read_exact(bytes)?;
            let marks: Vec<u64> = (bytes.windows(MARK.len()).enumerate())
                .filter(|(_, window)| **window == MARK)
                .map(|(place, _)| start + place as u64)
                .collect();
            for at in marks {
                if self.head_at(at)?.is_some_and(|(head, _)| self.fits(at, &head)) {
                    return Ok(Some(at));
                }
            }
            // The next piece overlaps this one, because a mark can span the border.
            start += (wanted as u64).saturating_sub(MARK.len() as u64 - 1).max(1);
        }
        Ok(None)
    }

    /// Loads the payload of a frame into `plain`. Returns `false` if the payload is corrupt.
    fn load(&mut self, frame: &Frame) -> io::Result<bool> {
        let Some((head, sum)) = self.head_at(frame.offset)? else { return Ok(false) };
        if head != frame.head || !self.fits(frame.offset, &head) {
            return Ok(false);
        }
        self.payload.resize(head.stored as usize, 0);
        self.from.read_exact(&mut self.payload)?;
        if hash(&self.payload) != sum {
            return Ok(false);
        }
        let plain = (head.plain as usize).min(PAYLOAD_BYTES_MAX);
        if !head.compressed {
            std::mem::swap(&mut self.plain, &mut self.payload);
            return Ok(self.plain.len() == plain);
        }
        // LZ4 expands a byte to no more than 255 bytes. The check keeps a short corrupt payload from reserving much
        // memory.
        if plain / 256 > head.stored as usize {
            return Ok(false);
        }
        self.plain.resize(plain, 0);
        Ok(lz4_flex::block::decompress_into(&self.payload, &mut self.plain)
            .is_ok_and(|length| length == plain))
    }

    /// Appends the records of a frame and returns `true`. For a corrupt frame, appends no records, lists the damage and
    /// returns `false`.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read.
    pub fn records(&mut self, frame: &Frame, into: &mut Vec<Dated>) -> io::Result<bool> {
        let before = into.len();
        let is_whole = self.load(frame)?
            && decode::read(&self.plain, frame.head.windows, &mut self.model, into).is_some()
            && into.len() - before == frame.head.records as usize;
        if !is_whole {
            into.truncate(before);
            let (offset, events) = (frame.offset, frame.head.events);
            self.damage.add(format!("the frame at byte {offset} is damaged: {events} events are missing"));
        }
        Ok(is_whole)
    }

    /// Returns the bytes of the dump that was taken at the end of the trace, or `None` if the dump is missing or
    /// corrupt.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read.
    pub fn dump(&mut self) -> io::Result<Option<Vec<u8>>> {
        let pieces: Vec<Frame> =
            self.frames.iter().copied().filter(|frame| frame.head.kind == FrameKind::Dump).collect();
        let bytes: u64 = pieces.iter().map(|piece| u64::from(piece.head.plain)).sum();
        if pieces.is_empty() || bytes > DUMP_BYTES_MAX {
            return Ok(None);
        }
        let mut dump = Vec::new();
        for piece in &pieces {
            if !self.load(piece)? {
                self.damage.add(format!("the dump in the trace is damaged at byte {}", piece.offset));
                return Ok(None);
            }
            dump.extend_from_slice(&self.plain);
        }
        Ok(Some(dump))
    }
}
