//! Numbers of the file format: magic, version, tags, limits, codes.
//!
//! All integers are little-endian. `docs/DUMP_FORMAT.md` describes the format at length.
//!
//! File header, 16 bytes, with the same layout in every version:
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 8 | magic |
//! | 8 | 2 | major version |
//! | 10 | 2 | minor version |
//! | 12 | 4 | CRC-32 of bytes 0 to 11 |
//!
//! Section header, 32 bytes, followed by the stored bytes:
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 4 | mark |
//! | 4 | 4 | tag |
//! | 8 | 4 | sequence number, from 0 |
//! | 12 | 4 | flags |
//! | 16 | 4 | stored bytes |
//! | 20 | 4 | plain bytes: what is left after decompression |
//! | 24 | 4 | CRC-32 of the stored bytes |
//! | 28 | 4 | CRC-32 of bytes 0 to 27 |
//!
//! Chunk of a table, the plain bytes of a table's section:
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 8 | number of the chunk's first row in the whole table |
//! | 8 | 4 | rows |
//! | 12 | 4 | columns, *c* |
//! | 16 | 4·*c* | length of each column, in bytes |
//! | 16 + 4·*c* | rest | the columns, one after the other |

use std::fmt;

use super::varint::VARINT_BYTES_MAX;
use crate::profile::tracked::{PointerEvent, PointerKind};
use crate::profile::{ClockMode, CompletenessTrend, DataQualityMode, ForkPolicy, LossReason};

/// The first bytes of a file. As in PNG, a byte above 127 and both kinds of line end reveal a transfer in text mode.
pub(super) const MAGIC: [u8; 8] = *b"\x89HLD\r\n\x1a\n";

/// Version of the file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Increased when older readers would misread the file.
    pub major: u16,
    /// Increased when sections or columns are added that older readers skip.
    pub minor: u16,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The version that this crate writes, and the newest that it reads.
pub(super) const VERSION: Version = Version { major: 1, minor: 0 };

/// Length of the file header.
pub(super) const FILE_HEADER_BYTES: usize = 16;
/// Length of a section header.
pub(super) const SECTION_HEADER_BYTES: usize = 32;
/// Length of a chunk's prefix, before the lengths of the columns.
pub(super) const CHUNK_PREFIX_BYTES: usize = 16;
/// The first bytes of every section; a reader searches for them after a corrupt section.
pub(super) const SECTION_MARK: [u8; 4] = *b"\xE7SEC";

/// Flag: the stored bytes are one LZ4 block. All other flags are 0 in version 1.
pub(super) const FLAG_LZ4: u32 = 1;

/// Plain bytes of one section at most.
pub(super) const SECTION_PLAIN_BYTES_MAX: usize = 1 << 20;
/// A chunk is closed as soon as its columns hold this many bytes.
pub(super) const CHUNK_CLOSE_BYTES: usize = 256 << 10;
/// Columns of a chunk at most, including those that a later minor version may append.
pub(super) const COLUMNS_MAX: usize = 64;
/// Plain bytes for each stored byte at most: LZ4 cannot do better.
pub(super) const LZ4_RATIO_MAX: usize = 255;
/// Length of a file that is read into memory at most: 16 GiB.
pub(super) const FILE_BYTES_MAX: u64 = 16 << 30;
/// Bytes of one text (name, path, note) at most; the writer cuts longer ones and adds a note.
pub(super) const TEXT_BYTES_MAX: usize = 64 << 10;
/// Bytes of a whole command line at most.
pub(super) const COMMAND_LINE_BYTES_MAX: usize = 512 << 10;
/// Bytes that each argument of a command line counts towards its limit in addition to its text.
pub(super) const ARGUMENT_COST_BYTES: usize = 4;
/// Frames of one stack at most; longer ones are cut and marked truncated.
pub(super) const FRAMES_PER_STACK_MAX: usize = 65_536;
/// Buckets of one histogram at most; higher ones are added to the last.
pub(super) const HISTOGRAM_BUCKETS_MAX: usize = 64;
/// Pairs of threads in the table of remote frees at most.
pub(super) const CROSSINGS_LISTED_MAX: usize = 4096;
/// Bytes of the names, types and places of tracked pointers at most, each.
pub(super) const TRACKED_TEXT_BYTES_MAX: usize = 256;
/// Places that created holders of one tracked pointer, at most.
pub(super) const TRACKED_HOLDERS_MAX: usize = 8;
/// Bytes of all tracked pointers and their last events at most.
pub(super) const TRACKED_BYTES_MAX: usize = 1_000_000;

/// Damages that a reader lists; further ones are counted.
pub(super) const DAMAGES_LISTED_MAX: usize = 1000;
/// Notes that a reader returns at most.
pub(super) const NOTES_LISTED_MAX: usize = 1000;

const PLAIN_SLACK_BYTES: u64 = 16 << 20;
const PLAIN_BYTES_PER_FILE_BYTE: u64 = 32;
const CHECKSUM_SLACK_BYTES: u64 = 16 << 20;
const CHECKSUM_BYTES_PER_FILE_BYTE: u64 = 8;

/// Plain bytes of all sections within the first `file_bytes` of a file at most. The writer stores a section uncompressed
/// rather than exceed it, so a reader refuses a file that does: a small file cannot fill the memory.
pub(super) const fn plain_budget_bytes(file_bytes: u64) -> u64 {
    PLAIN_SLACK_BYTES + file_bytes.saturating_mul(PLAIN_BYTES_PER_FILE_BYTE)
}

/// Bytes that a reader checksums at most. An undamaged file needs its length once; a hostile one can have overlapping
/// sections, and this bounds their cost.
pub(super) const fn checksum_budget_bytes(file_bytes: u64) -> u64 {
    CHECKSUM_SLACK_BYTES + file_bytes.saturating_mul(CHECKSUM_BYTES_PER_FILE_BYTE)
}

// The longest row added to an almost closed chunk must still fit into a section.
const CHUNK_OVERHEAD_BYTES: usize = CHUNK_PREFIX_BYTES + 4 * COLUMNS_MAX;
const fn fits_a_section(row_bytes: usize) -> bool {
    CHUNK_OVERHEAD_BYTES + CHUNK_CLOSE_BYTES + row_bytes <= SECTION_PLAIN_BYTES_MAX
}
const _: () = assert!(fits_a_section((FRAMES_PER_STACK_MAX + 2) * VARINT_BYTES_MAX));
const _: () = assert!(fits_a_section((2 * HISTOGRAM_BUCKETS_MAX + COLUMNS_MAX) * VARINT_BYTES_MAX));
const _: () = assert!(fits_a_section(2 * TEXT_BYTES_MAX + COLUMNS_MAX * VARINT_BYTES_MAX));
const _: () = assert!(TRACKED_BYTES_MAX + COLUMNS_MAX * VARINT_BYTES_MAX <= SECTION_PLAIN_BYTES_MAX);
const _: () = assert!(COMMAND_LINE_BYTES_MAX + 5 * TEXT_BYTES_MAX <= SECTION_PLAIN_BYTES_MAX);

/// Names a section: four ASCII letters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag(pub(super) [u8; 4]);

impl Tag {
    pub(super) const QUALITY: Tag = Tag(*b"QUAL");
    pub(super) const CONTENTS: Tag = Tag(*b"CONT");
    pub(super) const PROCESS: Tag = Tag(*b"PROC");
    pub(super) const SETTINGS: Tag = Tag(*b"CONF");
    pub(super) const CLOCK: Tag = Tag(*b"CLCK");
    pub(super) const TOTALS: Tag = Tag(*b"TOTL");
    pub(super) const CHANGES: Tag = Tag(*b"CHNG");
    pub(super) const MODULES: Tag = Tag(*b"MODS");
    pub(super) const THREADS: Tag = Tag(*b"THRD");
    pub(super) const STACKS: Tag = Tag(*b"STCK");
    pub(super) const STACK_FIGURES: Tag = Tag(*b"STKQ");
    pub(super) const TURN_TIMES: Tag = Tag(*b"RECT");
    pub(super) const ESTIMATES: Tag = Tag(*b"ESTM");
    pub(super) const TRACKED: Tag = Tag(*b"TRKD");
    pub(super) const CROSSINGS: Tag = Tag(*b"CROS");
    pub(super) const SITES: Tag = Tag(*b"SITE");
    pub(super) const TIMELINE: Tag = Tag(*b"TIME");
    pub(super) const LIVE: Tag = Tag(*b"LIVE");
    pub(super) const HISTORY: Tag = Tag(*b"HIST");
    pub(super) const SYMBOL_TEXTS: Tag = Tag(*b"SYMT");
    pub(super) const SYMBOL_FRAMES: Tag = Tag(*b"SYMF");
    pub(super) const SYMBOL_NOTES: Tag = Tag(*b"SYMN");
    pub(super) const NOTES: Tag = Tag(*b"NOTE");
    pub(super) const END: Tag = Tag(*b"END.");

    /// Sections of which a whole file holds exactly one.
    pub(super) const SINGLES: [Tag; 7] =
        [Tag::QUALITY, Tag::CONTENTS, Tag::PROCESS, Tag::SETTINGS, Tag::CLOCK, Tag::TOTALS, Tag::END];

    /// Sections of which a file holds at most one; they are absent when they would be empty.
    pub(super) const OPTIONALS: [Tag; 5] =
        [Tag::STACK_FIGURES, Tag::TURN_TIMES, Tag::ESTIMATES, Tag::TRACKED, Tag::CROSSINGS];

    /// Tables whose rows the contents section counts, in the order of the file.
    pub(super) const TABLES: [Tag; 11] = [
        Tag::CHANGES,
        Tag::MODULES,
        Tag::THREADS,
        Tag::STACKS,
        Tag::SITES,
        Tag::TIMELINE,
        Tag::LIVE,
        Tag::HISTORY,
        Tag::SYMBOL_TEXTS,
        Tag::SYMBOL_FRAMES,
        Tag::SYMBOL_NOTES,
    ];

    /// Whether the contents section omits the table when it has no rows: only a bundled dump has symbols.
    pub(super) const fn is_listed_with_rows_only(self) -> bool {
        matches!(self, Tag::SYMBOL_TEXTS | Tag::SYMBOL_FRAMES | Tag::SYMBOL_NOTES)
    }

    /// Name of the section in messages.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Tag::QUALITY => "quality",
            Tag::CONTENTS => "contents",
            Tag::PROCESS => "process",
            Tag::SETTINGS => "settings",
            Tag::CLOCK => "clock",
            Tag::TOTALS => "totals",
            Tag::CHANGES => "changes",
            Tag::MODULES => "modules",
            Tag::THREADS => "threads",
            Tag::STACKS => "stacks",
            Tag::STACK_FIGURES => "stack figures",
            Tag::TURN_TIMES => "recording times",
            Tag::CROSSINGS => "frees by other threads",
            Tag::ESTIMATES => "estimates",
            Tag::TRACKED => "tracked pointers",
            Tag::SITES => "sites",
            Tag::TIMELINE => "timeline",
            Tag::LIVE => "live blocks",
            Tag::HISTORY => "history",
            Tag::SYMBOL_TEXTS => "names",
            Tag::SYMBOL_FRAMES => "functions",
            Tag::SYMBOL_NOTES => "notes on names",
            Tag::NOTES => "notes",
            Tag::END => "end",
            Tag(_) => "unknown",
        }
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// Defines the codes of an enum. The match is exhaustive, so a new variant does not compile without a code.
macro_rules! codes {
    ($to:ident $from:ident $kind:ident { $($variant:ident = $code:literal),* $(,)? }) => {
        #[doc = concat!("The code of a `", stringify!($kind), "` in a file.")]
        pub(super) const fn $to(value: $kind) -> u8 {
            match value { $($kind::$variant => $code),* }
        }

        #[doc = concat!("The `", stringify!($kind), "` of a code, or `None` for one that this version does not know.")]
        pub(super) const fn $from(code: u8) -> Option<$kind> {
            match code { $($code => Some($kind::$variant),)* _ => None }
        }
    };
}

codes!(trend_code trend_of CompletenessTrend { Improving = 0, Stable = 1, Degrading = 2, Unknown = 3 });
codes!(mode_code mode_of DataQualityMode {
    PerfectAccuracy = 0, HighAccuracy = 1, HighThroughput = 2, BestEffort = 3,
});
codes!(clock_code clock_of ClockMode { Batched = 0, PerEvent = 1, Monotonic = 2 });
codes!(fork_code fork_of ForkPolicy { Fresh = 0, Off = 1 });
codes!(pointer_kind_code pointer_kind_of PointerKind { Arc = 1, Rc = 2 });
codes!(pointer_event_code pointer_event_of PointerEvent { Listed = 0, Cloned = 1, Dropped = 2, Unwrapped = 3 });
codes!(loss_code loss_of LossReason {
    RingFull = 0, Reentrant = 1, TlsTeardown = 2, NoMemory = 3, TableFull = 4, AfterShutdown = 5, ForkedChild = 6,
});

/// No stacks are taken.
pub(super) const STACKS_OFF: u8 = 0;
/// Frame pointers where they are sound, else DWARF.
pub(super) const STACKS_AUTO: u8 = 1;
/// Frame pointers.
pub(super) const STACKS_FRAME_POINTERS: u8 = 2;
/// DWARF unwind tables.
pub(super) const STACKS_DWARF: u8 = 3;
/// A random subset; the argument is the mean distance in bytes.
pub(super) const STACKS_SAMPLED: u8 = 4;

/// An allocation.
pub(super) const EVENT_ALLOC: u8 = 0;
/// An allocation of zeroed memory.
pub(super) const EVENT_ALLOC_ZEROED: u8 = 1;
/// A free.
pub(super) const EVENT_FREE: u8 = 2;
/// A realloc.
pub(super) const EVENT_REALLOC: u8 = 3;
/// A realloc that was refused.
pub(super) const EVENT_REALLOC_FAILED: u8 = 4;
/// Code of what happened to a tracked pointer, the code of the pointer event added to it.
pub(super) const EVENT_TRACKED: u8 = 8;
