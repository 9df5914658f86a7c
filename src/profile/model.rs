//! The profile: all figures of a process's heap, as plain data.
//!
//! The live side fills it (`heapledger::snapshot`), a dump stores it, and analysis, reports and exports read it.

use serde::{Deserialize, Serialize};

use super::histogram::Histogram;
use super::loss::LossCounts;
use super::quality::{Estimates, QualityIndicator};
use super::settings::Settings;
use super::symbols::{StackFigures, Symbols};
use super::tracked::TrackedReport;

/// Totals of the heap. `allocated − freed = live` holds in blocks and in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeapStats {
    /// Blocks allocated so far. A successful realloc counts as one more block, as in dhat and heaptrack.
    pub total_blocks: u64,
    /// Bytes allocated so far; a realloc counts with its whole new size.
    pub total_bytes: u64,
    /// Blocks freed so far, those that a realloc replaced included.
    pub freed_blocks: u64,
    /// Bytes freed so far.
    pub freed_bytes: u64,
    /// Blocks live now.
    pub live_blocks: u64,
    /// Bytes live now.
    pub live_bytes: u64,
    /// Blocks live when the live bytes were at their peak.
    pub peak_blocks: u64,
    /// The most bytes that were live at one time.
    pub peak_bytes: u64,
    /// Successful reallocs.
    pub reallocs: u64,
    /// Allocations and reallocs that the inner allocator refused. They change nothing else.
    pub failed: u64,
}

/// The moment at which the most bytes were live.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peak {
    /// Bytes live at that moment, as booked.
    pub bytes: u64,
    /// Blocks live at that moment.
    pub blocks: u64,
    /// When, in nanoseconds since the start of the process's ledger.
    pub at_ns: u64,
    /// How much higher the true peak can have been, in bytes: blocks of other threads that were not booked yet, and all blocks
    /// that were sampled or sampled out. 0 means that the peak is exact.
    pub uncertainty_bytes: u64,
}

/// Realloc traffic of a site.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReallocStats {
    /// Successful reallocs.
    pub count: u64,
    /// Reallocs that moved the block to another address.
    pub moved: u64,
    /// Bytes that those moves copied: for each, the smaller of the old and the new size.
    pub copied_bytes: u64,
    /// Blocks freed after at least one realloc.
    pub chains: u64,
    /// Reallocs over all those blocks.
    pub chain_links: u64,
    /// The longest chain of reallocs of one block (counted up to 31).
    pub longest_chain: u64,
}

/// The figures of one call stack. Without stacks there is one site, with stack 0.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Site {
    /// Index into [`Profile::stacks`]; 0 stands for "no stack taken".
    pub stack: u32,
    /// Blocks allocated here.
    pub total_blocks: u64,
    /// Bytes allocated here.
    pub total_bytes: u64,
    /// Blocks of this site that were freed, here or elsewhere.
    pub freed_blocks: u64,
    /// Bytes of this site that were freed.
    pub freed_bytes: u64,
    /// The most bytes of this site that were live at one time.
    pub own_peak_bytes: u64,
    /// Bytes of this site that were live at the peak of the whole process.
    pub at_peak_bytes: u64,
    /// Blocks of this site that were live at the peak of the whole process.
    pub at_peak_blocks: u64,
    /// Blocks freed before the thread that allocated them made [`TEMPORARY_ALLOCS`] further allocations.
    pub temporary_blocks: u64,
    /// Bytes of those blocks.
    pub temporary_bytes: u64,
    /// Blocks freed by another thread than the one that allocated them.
    pub cross_thread_frees: u64,
    /// Realloc traffic.
    pub reallocs: ReallocStats,
    /// Sizes of the blocks allocated here, in bytes.
    pub sizes: Histogram,
    /// Lifetimes of the blocks freed, in nanoseconds.
    pub lifetimes: Histogram,
}

impl Site {
    /// Bytes live now.
    pub fn live_bytes(&self) -> u64 {
        self.total_bytes.saturating_sub(self.freed_bytes)
    }

    /// Blocks live now.
    pub fn live_blocks(&self) -> u64 {
        self.total_blocks.saturating_sub(self.freed_blocks)
    }
}

/// A block is temporary when it is freed before its thread made this many further allocations.
pub const TEMPORARY_ALLOCS: u32 = 8;

/// One call stack.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// Return addresses, innermost first. Each is the address after a call: to find a name, look up the address before it.
    pub frames: Vec<u64>,
    /// Whether the walk ended before the outermost frame.
    pub truncated: bool,
}

/// Blocks that one thread allocated and another one freed. A reallocated block belongs to the thread that first allocated it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteFrees {
    /// The thread that allocated: index into [`Profile::threads`]. Pairs for which the table had no room are counted together,
    /// at the row of the threads without a row of their own.
    pub allocated_by: u32,
    /// The thread that freed: index into [`Profile::threads`].
    pub freed_by: u32,
    /// Blocks.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A loaded object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Module {
    /// Path on the machine that ran the program.
    pub path: String,
    /// Build id in hexadecimal; empty when the object has none.
    pub build_id: String,
    /// Lowest address it is mapped at.
    pub start: u64,
    /// End of its mapping, exclusive.
    pub end: u64,
    /// Subtracted from a run-time address, it gives the address in the file.
    pub bias: u64,
}

/// A block that was live when the snapshot was taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveBlock {
    /// Its address.
    pub address: u64,
    /// Its requested size, in bytes.
    pub size: u64,
    /// When it was first allocated, in nanoseconds since the start.
    pub born_ns: u64,
    /// Its stack: index into [`Profile::stacks`].
    pub stack: u32,
    /// The thread that allocated it: index into [`Profile::threads`].
    pub thread: u32,
    /// Base-2 logarithm of its alignment.
    pub align_log2: u8,
    /// How often it was reallocated (counted up to 31).
    pub reallocs: u8,
}

/// The figures of one thread. The last row may stand for several threads that ended after the table was full.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ThreadRow {
    /// Number of the row, in the order in which threads made their first event.
    pub index: u32,
    /// Name of the thread, or empty.
    pub name: String,
    /// The system's id of the thread.
    pub os_id: u64,
    /// First event, in nanoseconds since the start.
    pub started_ns: u64,
    /// End of the thread, or `None` while it runs.
    pub ended_ns: Option<u64>,
    /// The number of threads in this row: 1, or more for the shared last row.
    pub threads: u64,
    /// Whether this is a thread of heapledger itself.
    pub own: bool,
    /// Events the thread made.
    pub attempted: u64,
    /// Events of the thread that were booked.
    pub recorded: u64,
    /// Events of the thread that were lost, by reason.
    pub lost: LossCounts,
    /// Blocks allocated by the thread.
    pub total_blocks: u64,
    /// Bytes allocated by the thread.
    pub total_bytes: u64,
    /// Blocks freed by the thread.
    pub freed_blocks: u64,
    /// Bytes freed by the thread.
    pub freed_bytes: u64,
    /// Blocks freed by this thread that another thread allocated.
    pub cross_thread_frees: u64,
}

/// One interval of the timeline. The live bytes at its end are the sum over all intervals up to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    /// Blocks allocated in the interval.
    pub allocated_blocks: u64,
    /// Bytes allocated in the interval.
    pub allocated_bytes: u64,
    /// Blocks freed in the interval.
    pub freed_blocks: u64,
    /// Bytes freed in the interval.
    pub freed_bytes: u64,
    /// The most live bytes while the interval was booked, clamped to its flows: not below the live bytes at its start or
    /// its end, and not above those at its start plus all bytes that it allocated.
    pub peak_bytes: u64,
    /// Events lost in the interval. They are dated when the thread's ring is booked, so they may be late by the time that the
    /// ring took to fill. Events without a ring are in no interval: of a thread for whose ring there was no memory,
    /// after a thread's last destructor, or after the ledger was closed.
    pub lost: u64,
}

/// Allocations and frees over time, in a fixed number of intervals: when all are used, neighbours merge.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    /// Length of an interval, in nanoseconds.
    pub interval_ns: u64,
    /// The intervals, from the start of the ledger on.
    pub intervals: Vec<Interval>,
}

impl Timeline {
    /// Live bytes at the end of each interval.
    pub fn live_bytes(&self) -> Vec<u64> {
        let mut live = 0i128;
        let next = |interval: &Interval| {
            live += i128::from(interval.allocated_bytes) - i128::from(interval.freed_bytes);
            live.max(0) as u64
        };
        self.intervals.iter().map(next).collect()
    }
}

/// The kind of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum EventKind {
    /// A block was allocated.
    Alloc {
        /// Its address.
        address: u64,
        /// Its size, in bytes.
        size: u64,
        /// Whether it was requested zeroed.
        zeroed: bool,
    },
    /// A block was freed.
    Free {
        /// Its address.
        address: u64,
    },
    /// A block was reallocated.
    Realloc {
        /// Its address before.
        old_address: u64,
        /// Its address now.
        new_address: u64,
        /// Its new size, in bytes.
        new_size: u64,
    },
    /// A realloc failed; the block stays as it was.
    ReallocFailed {
        /// Its address.
        address: u64,
    },
    /// An event of a tracked pointer. It is in no figure of the heap.
    Tracked {
        /// [`TrackedPointer::id`](super::tracked::TrackedPointer::id) of the pointer.
        pointer: u32,
        /// What happened.
        #[serde(rename = "deed")]
        event: super::tracked::PointerEvent,
        /// Tracked holders after it; it stops at 4,294,967,295.
        held: u32,
    },
}

/// One of the last events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Time, in nanoseconds since the start; interpolated between two marks in the batched clock modes.
    pub at_ns: u64,
    /// The thread: index into [`Profile::threads`].
    pub thread: u32,
    /// The stack: index into [`Profile::stacks`]; 0 for frees.
    pub stack: u32,
    /// Its kind.
    pub kind: EventKind,
}

/// The process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessInfo {
    /// Process id.
    pub pid: u32,
    /// Process id of the parent, if this process was forked while a ledger was open.
    pub forked_from: Option<u32>,
    /// Name of the program.
    pub program: String,
    /// Its command line.
    pub command_line: Vec<String>,
    /// Operating system and processor, such as `linux x86_64`.
    pub platform: String,
    /// Version of heapledger that recorded.
    pub heapledger_version: String,
    /// When the ledger was opened, in nanoseconds since 1970 UTC.
    pub started_unix_ns: u64,
    /// Time from the opening of the ledger to the snapshot, in nanoseconds.
    pub duration_ns: u64,
    /// The reason for the snapshot: `exit`, `request`, …
    pub reason: String,
}

/// The clock that ran, and the reason for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockInfo {
    /// `tsc` or `monotonic`.
    pub source: String,
    /// The reason for it.
    pub why: String,
    /// Longest interpolated span, in nanoseconds; 0 when every event has a time stamp of its own.
    pub longest_span_ns: u64,
}

/// A change of state during the recording, such as another mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When, in nanoseconds since the start.
    pub at_ns: u64,
    /// The change, as `name: old -> new`; or, as `tuner: reason`, the reason for the change that follows.
    pub what: String,
}

/// All figures of a process's heap at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// The completeness of all the following.
    pub quality: QualityIndicator,
    /// The process.
    pub process: ProcessInfo,
    /// The settings it ran with.
    pub settings: Settings,
    /// The clock it used.
    pub clock: ClockInfo,
    /// Totals.
    pub totals: HeapStats,
    /// Estimates for all blocks from the samples, with standard errors; `None` when no block was ever sampled. The totals are
    /// exact in any case, because events that are sampled out are counted with their size.
    pub estimates: Option<Estimates>,
    /// The peak.
    pub peak: Peak,
    /// Figures by call stack.
    pub sites: Vec<Site>,
    /// Stacks; number 0 is the empty one.
    pub stacks: Vec<Stack>,
    /// How the stacks were taken.
    pub stack_figures: StackFigures,
    /// Loaded objects.
    pub modules: Vec<Module>,
    /// Names for the frames of the stacks; empty until the command has looked them up.
    pub symbols: Symbols,
    /// Blocks live at the snapshot.
    pub live: Vec<LiveBlock>,
    /// Threads.
    pub threads: Vec<ThreadRow>,
    /// Frees by another thread than the allocating one, most blocks first. Their sum is that of `cross_thread_frees` over the
    /// threads.
    pub crossings: Vec<RemoteFrees>,
    /// Allocations and frees over time.
    pub timeline: Timeline,
    /// The last events, newest last.
    pub history: Vec<Event>,
    /// Changes of state, oldest first.
    pub changes: Vec<Change>,
    /// The program's `Tracked` pointers.
    pub tracked: TrackedReport,
}
