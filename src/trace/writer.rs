//! Writes records into frames, and frames into a file.

use std::io::{self, Write};

use super::encode::FrameEncoder;
use super::frame::{Counts, FRAME_HEAD_BYTES, FileHead, FrameHead, FrameKind, PAYLOAD_BYTES_MAX, tail};
use super::window::Window;

/// Maximum number of bytes of the dump in one frame.
const DUMP_PIECE_BYTES: usize = 8 << 20;

/// Maximum number of frames that an index lists.
const INDEX_FRAMES_MAX: usize = 400_000;

const _: () = assert!(INDEX_FRAMES_MAX * (8 + FRAME_HEAD_BYTES) + Counts::BYTES <= PAYLOAD_BYTES_MAX);

/// The writer of a trace.
#[derive(Debug)]
pub(crate) struct Writer<W> {
    out: W,
    offset: u64,
    columns: FrameEncoder,
    body: Vec<u8>,
    stored: Vec<u8>,
    /// Offset and head of each frame written so far.
    index: Vec<(u64, FrameHead)>,
    /// Capacity of the index, in frames. If a trace has more frames, its index lists no frames, and readers go from
    /// head to head.
    index_room: usize,
    until_ns: u64,
    events: u64,
}

impl<W: Write> Writer<W> {
    /// Creates the writer and writes the head of the file.
    pub(crate) fn begin(mut out: W, head: FileHead) -> io::Result<Writer<W>> {
        let bytes = head.to_bytes();
        out.write_all(&bytes)?;
        let (columns, body, stored, index) = (FrameEncoder::new(), Vec::new(), Vec::new(), Vec::new());
        let offset = bytes.len() as u64;
        let index_room = INDEX_FRAMES_MAX;
        Ok(Writer { out, offset, columns, body, stored, index, index_room, until_ns: 0, events: 0 })
    }

    /// Changes the capacity of the index.
    #[cfg(test)]
    pub(crate) fn with_index_room(self, index_room: usize) -> Writer<W> {
        Writer { index_room, ..self }
    }

    /// Appends the records of a window.
    pub(crate) fn window(&mut self, window: Window, words: &[u64]) {
        self.columns.window(window, words);
    }

    /// Whether the current frame should be ended before the next window.
    pub(crate) fn is_frame_full(&self) -> bool {
        self.columns.is_full()
    }

    /// Notes that every event before `until_ns` (in nanoseconds since the start) has been appended.
    pub(crate) fn passed(&mut self, until_ns: u64) {
        self.until_ns = self.until_ns.max(until_ns);
    }

    /// Writes the current frame, unless it is empty. `lost` is the number of events so far that are missing from the
    /// trace.
    pub(crate) fn end_frame(&mut self, lost: u64) -> io::Result<()> {
        if self.columns.is_empty() {
            return Ok(());
        }
        let (first_ns, last_ns) = self.columns.span_ns.unwrap_or_default();
        let head = FrameHead {
            kind: FrameKind::Events,
            windows: self.columns.windows,
            records: self.columns.records,
            events: u64::from(self.columns.events),
            first_ns,
            last_ns,
            until_ns: self.until_ns,
            lost,
            ..FrameHead::default()
        };
        let mut body = std::mem::take(&mut self.body);
        self.columns.finish(&mut body);
        self.events += head.events;
        let written = self.frame(head, &body);
        self.body = body;
        written
    }

    /// Ends the trace: writes the current frame, the dump, the index and the tail.
    pub(crate) fn finish(&mut self, dump: &[u8], mut counts: Counts) -> io::Result<Counts> {
        self.end_frame(counts.lost)?;
        counts.events = self.events;
        for piece in dump.chunks(DUMP_PIECE_BYTES) {
            let head = FrameHead { kind: FrameKind::Dump, lost: counts.lost, ..FrameHead::default() };
            self.frame(head, piece)?;
        }
        let mut index = Vec::with_capacity(Counts::BYTES + self.index.len() * 80);
        index.extend_from_slice(&counts.to_bytes());
        for (offset, head) in &self.index {
            index.extend_from_slice(&offset.to_le_bytes());
            index.extend_from_slice(&head.to_bytes(&[]));
        }
        let at = self.offset;
        let head = FrameHead { kind: FrameKind::Index, lost: counts.lost, ..FrameHead::default() };
        self.frame(head, &index)?;
        self.out.write_all(&tail(at))?;
        self.out.flush()?;
        Ok(counts)
    }

    fn frame(&mut self, head: FrameHead, plain: &[u8]) -> io::Result<()> {
        let room = lz4_flex::block::get_maximum_output_size(plain.len());
        if self.stored.len() < room {
            self.stored.resize(room, 0);
        }
        let length = lz4_flex::block::compress_into(plain, &mut self.stored).unwrap_or(plain.len());
        let compressed = length < plain.len();
        let payload = if compressed { self.stored.get(..length).unwrap_or(plain) } else { plain };
        let head = FrameHead { compressed, stored: payload.len() as u32, plain: plain.len() as u32, ..head };
        self.out.write_all(&head.to_bytes(payload))?;
        self.out.write_all(payload)?;
        if self.index.len() < self.index_room {
            self.index.push((self.offset, head));
        } else {
            // The index has no room for a further frame. A trace has some 10¹⁰ events before this happens.
            (self.index, self.index_room) = (Vec::new(), 0);
        }
        self.offset += (FRAME_HEAD_BYTES + payload.len()) as u64;
        Ok(())
    }
}
