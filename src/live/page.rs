//! The live page: 64 KiB that one thread of heapledger writes and any process may read.
//!
//! The page begins with its magic number and a hash of its layout. Then follow a sequence lock and the words that the
//! lock guards. All words are atomic, because a reader may load a word while it is written.
//!
//! Invariant **Y1**: `Content` consists of `u64`s and arrays of bytes whose length is a multiple of 8, without padding.
//! So it is an array of words, and any words are a valid content.

use crate::profile::LossReason;
use crate::sys::latch::wait;
use crate::sys::seqlock::Sequence;
use crate::sys::sync::{AtomicU64, Ordering};

/// Bytes of the page.
pub(crate) const LIVE_PAGE_BYTES: usize = 64 << 10;
/// Maximum number of sites that are in the page for their live bytes, and maximum number that are there for their
/// growth.
pub(crate) const LIVE_SITES_MAX: usize = 32;
/// Maximum number of scopes that are in the page for their live bytes, and maximum number that are there for their
/// growth.
pub(crate) const LIVE_SCOPES_MAX: usize = 32;
/// Maximum number of frames of a site's stack. The innermost frames are kept.
pub(crate) const LIVE_FRAMES_MAX: usize = 48;
/// Maximum number of intervals. Each write adds an interval. After a time without changes, a write first adds an
/// interval for that time.
pub(crate) const LIVE_INTERVALS_MAX: usize = 240;
/// Maximum length of a scope's name, in bytes.
pub(crate) const NAME_BYTES: usize = 120;
/// The first bytes of the page.
pub(crate) const MAGIC: [u8; 8] = *b"HLLIVE\r\n";
/// Value of an unknown figure.
pub(crate) const UNKNOWN: u64 = u64::MAX;

const HEADER_WORDS: usize = 5;
const WORDS: usize = LIVE_PAGE_BYTES / 8 - HEADER_WORDS;

/// The page in memory. A page of zero bytes was never written.
#[repr(C)]
pub(crate) struct LivePage {
    magic: AtomicU64,
    layout: AtomicU64,
    /// Whether the recording has ended.
    ended: AtomicU64,
    sequence: Sequence,
    /// Number of readings by readers that may write to the page. The number tells the writer that somebody reads.
    readings: AtomicU64,
    words: [AtomicU64; WORDS],
}

/// The words that the sequence lock guards: the figures of one write.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Content {
    pub(crate) pid: u64,
    pub(crate) started_unix_ns: u64,
    pub(crate) at_ns: u64,
    pub(crate) written_unix_ns: u64,
    pub(crate) interval_ns: u64,
    pub(crate) cost_ns: u64,
    /// Offset of the metadata in the page's file. If `metadata_bytes` is 0, there is no metadata.
    pub(crate) metadata_start: u64,
    pub(crate) metadata_bytes: u64,
    /// The fields of `HeapStats` in their order, without the coverage.
    pub(crate) totals: [u64; 10],
    pub(crate) quality: Quality,
    pub(crate) resident_bytes: u64,
    pub(crate) sites_known: u64,
    pub(crate) sites_seen: u64,
    pub(crate) scopes_known: u64,
    pub(crate) growth_ns: u64,
    pub(crate) site_count: u64,
    pub(crate) scope_count: u64,
    pub(crate) interval_count: u64,
    pub(crate) sites: [SiteWords; 2 * LIVE_SITES_MAX],
    pub(crate) scopes: [ScopeWords; 2 * LIVE_SCOPES_MAX],
    /// A ring buffer: interval `n` is at index `n % LIVE_INTERVALS_MAX`. `interval_count` counts all intervals since
    /// the start.
    pub(crate) intervals: [IntervalWords; LIVE_INTERVALS_MAX],
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quality {
    pub(crate) attempted: u64,
    pub(crate) recorded: u64,
    pub(crate) in_flight: u64,
    pub(crate) lost: [u64; LossReason::COUNT],
    pub(crate) sampled_out: u64,
    pub(crate) anomalies: [u64; 4],
    pub(crate) own_bytes: u64,
    pub(crate) own_cpu_ns: u64,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct SiteWords {
    /// Number of the stack in the lower half, number of its scope in the upper half.
    pub(crate) stack_and_scope: u64,
    pub(crate) total_blocks: u64,
    pub(crate) total_bytes: u64,
    pub(crate) live_blocks: u64,
    pub(crate) live_bytes: u64,
    /// Growth of the live bytes in two's complement; [`UNKNOWN_GROWTH`] if it was not measured.
    pub(crate) growth_bytes: u64,
    /// Number of frames in the lower half; whether outer frames are missing, in the upper half.
    pub(crate) frame_count: u64,
    pub(crate) frames: [u64; LIVE_FRAMES_MAX],
}

/// Value of a growth that was not measured.
pub(crate) const UNKNOWN_GROWTH: u64 = i64::MIN as u64;

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScopeWords {
    pub(crate) number_and_parent: u64,
    pub(crate) total_blocks: u64,
    pub(crate) total_bytes: u64,
    pub(crate) live_blocks: u64,
    pub(crate) live_bytes: u64,
    pub(crate) peak_bytes: u64,
    pub(crate) growth_bytes: u64,
    pub(crate) name_bytes: u64,
    pub(crate) name: [u8; NAME_BYTES],
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct IntervalWords {
    pub(crate) end_ns: u64,
    pub(crate) live_bytes: u64,
    pub(crate) allocated_blocks: u64,
    pub(crate) allocated_bytes: u64,
    pub(crate) freed_blocks: u64,
    pub(crate) freed_bytes: u64,
    pub(crate) lost: u64,
    pub(crate) resident_bytes: u64,
}

const CONTENT_WORDS: usize = size_of::<Content>() / 8;

const _: () = assert!(size_of::<LivePage>() == LIVE_PAGE_BYTES);
const _: () = assert!(CONTENT_WORDS <= WORDS && NAME_BYTES.is_multiple_of(8));
// Y1: the size of the content is the sum of the sizes of its fields, so there is no padding.
const _: () = assert!(
    CONTENT_WORDS
        == 8 + 10
            + size_of::<Quality>() / 8
            + 8
            + 2 * LIVE_SITES_MAX * (7 + LIVE_FRAMES_MAX)
            + 2 * LIVE_SCOPES_MAX * (8 + NAME_BYTES / 8)
            + LIVE_INTERVALS_MAX * 8
        && size_of::<Quality>() / 8 == 3 + LossReason::COUNT + 7
);

/// Hash of the layout that this build uses. A reader with another layout does not read the page.
pub(crate) const LIVE_LAYOUT: u64 = {
    const REVISION: u64 = 2;
    let parts = [
        REVISION,
        size_of::<Content>() as u64,
        size_of::<Quality>() as u64,
        size_of::<SiteWords>() as u64,
        size_of::<ScopeWords>() as u64,
        size_of::<IntervalWords>() as u64,
        LIVE_INTERVALS_MAX as u64,
        LossReason::COUNT as u64,
        u64::from_ne_bytes([1, 2, 3, 4, 5, 6, 7, 8]),
    ];
    // FNV-1a over the parts (Fowler, Noll and Vo).
    let (mut hash, mut at) = (0xCBF2_9CE4_8422_2325u64, 0);
    while at < parts.len() {
        hash = (hash ^ parts[at]).wrapping_mul(0x0000_0100_0000_01B3);
        at += 1;
    }
    hash
};

/// Reason why no content could be read from a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unread {
    /// The bytes are not a live page, or are a live page with another layout.
    OtherLayout,
    /// The process has not written the page yet.
    Unwritten,
    /// A write was in progress at each of [`TRIES_MAX`] copies.
    Busy,
}

/// Maximum number of copies that a reader makes until a copy is consistent. With the pauses between them, this takes
/// more than a second. A write takes some microseconds, but the writing thread can lose the processor during a write.
pub(crate) const TRIES_MAX: u32 = 20_000;

impl Content {
    /// Returns a content whose figures are all 0.
    pub(crate) fn zeroed() -> Box<Content> {
        // SAFETY: Y1.
        unsafe { Box::new_zeroed().assume_init() }
    }

    #[cfg(test)]
    pub(crate) fn fill_with(&mut self, word: u64) {
        self.words_mut().fill(word);
    }

    fn words(&self) -> &[u64] {
        // SAFETY: Y1.
        unsafe { std::slice::from_raw_parts(std::ptr::from_ref(self).cast::<u64>(), CONTENT_WORDS) }
    }

    fn words_mut(&mut self) -> &mut [u64] {
        // SAFETY: Y1.
        unsafe { std::slice::from_raw_parts_mut(std::ptr::from_mut(self).cast::<u64>(), CONTENT_WORDS) }
    }
}

#[cfg(test)]
impl LivePage {
    pub(crate) fn zeroed() -> Box<LivePage> {
        // SAFETY: all zero bytes are a valid page, because a page consists of integers.
        unsafe { Box::new_zeroed().assume_init() }
    }

    pub(crate) fn change_layout(&self) {
        self.layout.fetch_add(1, Ordering::Relaxed);
    }
}

impl LivePage {
    /// Writes magic number and layout into a fresh page.
    pub(crate) fn begin(&self) {
        // relaxed, both: before the first write, the sequence lock gives a reader no content.
        self.layout.store(LIVE_LAYOUT, Ordering::Relaxed);
        self.magic.store(u64::from_le_bytes(MAGIC), Ordering::Relaxed);
    }

    /// Publishes a content. One thread writes at a time.
    pub(crate) fn write(&self, content: &Content) {
        self.sequence.write(self.words.iter().zip(content.words().iter().copied()));
    }

    /// Notes that the recording has ended.
    pub(crate) fn end(&self) {
        // relaxed: the figures are complete without it.
        self.ended.store(1, Ordering::Relaxed);
    }

    pub(crate) fn has_ended(&self) -> bool {
        // relaxed: see `end`.
        self.ended.load(Ordering::Relaxed) != 0
    }

    /// Counts a reading, which tells the writer that somebody reads. The page must be writable.
    pub(crate) fn note_reading(&self) {
        // relaxed: the writer reads only this word, and any value of it is valid.
        self.readings.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of readings so far, which [`LivePage::note_reading`] increases.
    pub(crate) fn readings(&self) -> u64 {
        // relaxed: see `note_reading`.
        self.readings.load(Ordering::Relaxed)
    }

    /// Copies the content that one write has published. Returns the number of writes so far.
    pub(crate) fn read(&self, into: &mut Content) -> Result<u64, Unread> {
        // relaxed, both: before the first write, the sequence lock gives a reader no content.
        if self.magic.load(Ordering::Relaxed) != u64::from_le_bytes(MAGIC)
            || self.layout.load(Ordering::Relaxed) != LIVE_LAYOUT
        {
            return Err(Unread::OtherLayout);
        }
        for round in 0..TRIES_MAX {
            let copied = self.sequence.read(|| {
                for (to, word) in into.words_mut().iter_mut().zip(&self.words) {
                    // relaxed: the sequence lock orders the load.
                    *to = word.load(Ordering::Relaxed);
                }
            });
            match copied {
                Some(((), writes)) => return Ok(writes),
                None if !self.sequence.was_written() => return Err(Unread::Unwritten),
                None => wait(round),
            }
        }
        Err(Unread::Busy)
    }
}
