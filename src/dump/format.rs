//! Numbers of the file format: magic, version, tags, limits, codes of enums.
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
//! | 20 | 4 | plain bytes: length after decompression |
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

/// The first bytes of a file. A transfer in text mode changes the byte above 127 or the line ends, so it is detected,
/// as in PNG.
pub(super) const MAGIC: [u8; 8] = *b"\x89HLD\r\n\x1a\n";

/// Version of the file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Major version. It increases when older readers would misread the file.
    pub major: u16,
    /// Minor version. It increases when sections or columns are added that older readers skip.
    pub minor: u16,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The version that this crate writes. It is also the newest version that this crate knows.
pub(super) const VERSION: Version = Version { major: 1, minor: 2 };

/// Length of the file header, in bytes.
pub(super) const FILE_HEADER_BYTES: usize = 16;
/// Length of a section header, in bytes.
pub(super) const SECTION_HEADER_BYTES: usize = 32;
/// Length of the prefix of a chunk, in bytes. The lengths of the columns follow the prefix.
pub(super) const CHUNK_PREFIX_BYTES: usize = 16;
/// The first bytes of every section. A reader searches for them after a corrupt section.
pub(super) const SECTION_MARK: [u8; 4] = *b"\xE7SEC";

/// Flag of a section whose stored bytes are one LZ4 block. All other flags are 0 in version 1.
pub(super) const FLAG_LZ4: u32 = 1;

/// Maximum number of plain bytes of one section.
pub(super) const SECTION_PLAIN_BYTES_MAX: usize = 1 << 20;
/// Number of bytes in the columns of a chunk from which on the writer closes the chunk.
pub(super) const CHUNK_CLOSE_BYTES: usize = 256 << 10;
/// Maximum number of columns of a chunk, including columns that a later minor version may append.
pub(super) const COLUMNS_MAX: usize = 64;
/// Maximum number of plain bytes for each stored byte. LZ4 cannot reach a higher ratio.
pub(super) const LZ4_RATIO_MAX: usize = 255;
/// Maximum length of a file that is read into memory, in bytes: 16 GiB.
pub(super) const FILE_BYTES_MAX: u64 = 16 << 30;
/// Maximum length of one text (name, path, note), in bytes. The writer cuts a longer text and adds a note.
pub(super) const TEXT_BYTES_MAX: usize = 64 << 10;
/// Maximum length of a whole command line, in bytes.
pub(super) const COMMAND_LINE_BYTES_MAX: usize = 512 << 10;
/// Number of bytes that each argument adds to the length of its command line, besides the bytes of its text.
pub(super) const ARGUMENT_COST_BYTES: usize = 4;
/// Maximum number of frames of one stack. A longer stack is cut and marked as truncated.
pub(super) const FRAMES_PER_STACK_MAX: usize = 65_536;
/// Maximum number of buckets of one histogram. Counts of higher buckets are added to the last bucket.
pub(super) const HISTOGRAM_BUCKETS_MAX: usize = 64;
/// Maximum number of intervals of the curve of one site.
pub(super) const CURVE_POINTS_MAX: usize = 1024;
/// Maximum number of pairs of threads in the table of remote frees.
pub(super) const CROSSINGS_LISTED_MAX: usize = 4096;
/// Maximum length of each name, type and place of a tracked pointer, in bytes.
pub(super) const TRACKED_TEXT_BYTES_MAX: usize = 256;
/// Maximum number of places listed for the holders of one tracked pointer.
pub(super) const TRACKED_HOLDERS_MAX: usize = 8;
/// Maximum number of bytes of all tracked pointers and their last events together.
pub(super) const TRACKED_BYTES_MAX: usize = 1_000_000;

/// Maximum number of damages that a reader lists. Further damages are only counted.
pub(super) const DAMAGES_LISTED_MAX: usize = 1000;
/// Maximum number of notes that a reader returns.
pub(super) const NOTES_LISTED_MAX: usize = 1000;

const PLAIN_SLACK_BYTES: u64 = 16 << 20;
const PLAIN_BYTES_PER_FILE_BYTE: u64 = 32;
const CHECKSUM_SLACK_BYTES: u64 = 16 << 20;
const CHECKSUM_BYTES_PER_FILE_BYTE: u64 = 8;

/// Maximum number of plain bytes of all sections within the first `file_bytes` bytes of a file. The writer stores a
/// section uncompressed if compression would exceed this number. A reader refuses a file that exceeds it, so a small
/// file cannot fill the memory.
pub(super) const fn plain_budget_bytes(file_bytes: u64) -> u64 {
    PLAIN_SLACK_BYTES + file_bytes.saturating_mul(PLAIN_BYTES_PER_FILE_BYTE)
}

/// Maximum number of bytes over which a reader computes checksums. An undamaged file needs one checksum of each byte. A
/// hostile file can have overlapping sections; the limit bounds their cost.
pub(super) const fn checksum_budget_bytes(file_bytes: u64) -> u64 {
    CHECKSUM_SLACK_BYTES + file_bytes.saturating_mul(CHECKSUM_BYTES_PER_FILE_BYTE)
}

// A section must have room for the longest row even if the chunk is almost full.
const CHUNK_OVERHEAD_BYTES: usize = CHUNK_PREFIX_BYTES + 4 * COLUMNS_MAX;
const fn fits_a_section(row_bytes: usize) -> bool {
    CHUNK_OVERHEAD_BYTES + CHUNK_CLOSE_BYTES + row_bytes <= SECTION_PLAIN_BYTES_MAX
}
const _: () = assert!(fits_a_section((FRAMES_PER_STACK_MAX + 2) * VARINT_BYTES_MAX));
const _: () = assert!(fits_a_section((2 * HISTOGRAM_BUCKETS_MAX + COLUMNS_MAX) * VARINT_BYTES_MAX));
const _: () = assert!(fits_a_section(2 * TEXT_BYTES_MAX + COLUMNS_MAX * VARINT_BYTES_MAX));
const _: () = assert!(TRACKED_BYTES_MAX + COLUMNS_MAX * VARINT_BYTES_MAX <= SECTION_PLAIN_BYTES_MAX);
const _: () = assert!(COMMAND_LINE_BYTES_MAX + 5 * TEXT_BYTES_MAX <= SECTION_PLAIN_BYTES_MAX);

/// Name of a section: four ASCII letters.
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
    pub(super) const OWN_MEMORY: Tag = Tag(*b"OWNM");
    pub(super) const MEMORY: Tag = Tag(*b"MEMO");
    pub(super) const ESTIMATES: Tag = Tag(*b"ESTM");
    pub(super) const TRACKED: Tag = Tag(*b"TRKD");
    pub(super) const CROSSINGS: Tag = Tag(*b"CROS");
    pub(super) const SURROUNDINGS: Tag = Tag(*b"SURR");
    pub(super) const HOST: Tag = Tag(*b"HOST");
    pub(super) const SITES: Tag = Tag(*b"SITE");
    pub(super) const TIMELINE: Tag = Tag(*b"TIME");
    pub(super) const CURVES: Tag = Tag(*b"CURV");
    pub(super) const SCOPES: Tag = Tag(*b"SCOP");
    pub(super) const SCOPE_COUNTS: Tag = Tag(*b"SCOC");
    pub(super) const LIVE: Tag = Tag(*b"LIVE");
    pub(super) const HISTORY: Tag = Tag(*b"HIST");
    pub(super) const SYMBOL_TEXTS: Tag = Tag(*b"SYMT");
    pub(super) const SYMBOL_FRAMES: Tag = Tag(*b"SYMF");
    pub(super) const SYMBOL_NOTES: Tag = Tag(*b"SYMN");
    pub(super) const NOTES: Tag = Tag(*b"NOTE");
    pub(super) const END: Tag = Tag(*b"END.");

    /// Sections that a whole file holds exactly once.
    pub(super) const SINGLES: [Tag; 7] =
        [Tag::QUALITY, Tag::CONTENTS, Tag::PROCESS, Tag::SETTINGS, Tag::CLOCK, Tag::TOTALS, Tag::END];

    /// Sections that a file holds at most once. Such a section is absent if it would be empty.
    pub(super) const OPTIONALS: [Tag; 10] = [
        Tag::STACK_FIGURES,
        Tag::TURN_TIMES,
        Tag::ESTIMATES,
        Tag::TRACKED,
        Tag::CROSSINGS,
        Tag::SURROUNDINGS,
        Tag::HOST,
        Tag::OWN_MEMORY,
        Tag::MEMORY,
        Tag::SCOPE_COUNTS,
    ];

    /// Tables whose rows the contents section counts, in the order of the file.
    pub(super) const TABLES: [Tag; 13] = [
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
        Tag::SCOPES,
        Tag::CURVES,
    ];

    /// Whether the contents section omits the table if it has no rows. True for the tables of symbols, which only a
    /// bundled dump has, and for the tables of scopes and curves, which dumps of earlier versions do not have.
    pub(super) const fn is_listed_with_rows_only(self) -> bool {
        matches!(self, Tag::SYMBOL_TEXTS | Tag::SYMBOL_FRAMES | Tag::SYMBOL_NOTES | Tag::SCOPES | Tag::CURVES)
    }

    /// Returns the name of the section for messages.
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
            Tag::OWN_MEMORY => "own memory",
            Tag::MEMORY => "memory of the process",
            Tag::CROSSINGS => "frees by other threads",
            Tag::ESTIMATES => "estimates",
            Tag::TRACKED => "tracked pointers",
            Tag::SURROUNDINGS => "surroundings",
            Tag::HOST => "name of the machine",
            Tag::SITES => "sites",
            Tag::TIMELINE => "timeline",
            Tag::CURVES => "curves of sites",
            Tag::SCOPES => "scopes",
            Tag::SCOPE_COUNTS => "uses of scopes",
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

/// Defines the codes of an enum. The match is exhaustive, so a variant without a code does not compile.
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

/// Code of `Stacks::Off`: no stacks are taken.
pub(super) const STACKS_OFF: u8 = 0;
/// Code of `Stacks::Auto`: stacks are taken by frame pointers where these are sound, else by DWARF unwind tables.
pub(super) const STACKS_AUTO: u8 = 1;
/// Code of `Stacks::FramePointers`: stacks are taken by frame pointers.
pub(super) const STACKS_FRAME_POINTERS: u8 = 2;
/// Code of `Stacks::Dwarf`: stacks are taken by DWARF unwind tables.
pub(super) const STACKS_DWARF: u8 = 3;
/// Code of `Stacks::Sampled`: stacks are taken for a random subset of allocations. The argument of the code is the mean
/// number of bytes allocated from one stack to the next.
pub(super) const STACKS_SAMPLED: u8 = 4;

/// Code of an allocation.
pub(super) const EVENT_ALLOC: u8 = 0;
/// Code of an allocation of zeroed memory.
pub(super) const EVENT_ALLOC_ZEROED: u8 = 1;
/// Code of a free.
pub(super) const EVENT_FREE: u8 = 2;
/// Code of a realloc.
pub(super) const EVENT_REALLOC: u8 = 3;
/// Code of a realloc that the allocator refused.
pub(super) const EVENT_REALLOC_FAILED: u8 = 4;
/// Base of the codes of events of tracked pointers. The code of the pointer event is added to this base.
pub(super) const EVENT_TRACKED: u8 = 8;
