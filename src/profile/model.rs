//! The profile: all that is known of a process's heap, as plain data.
//!
//! The live side fills it (`heapledger::snapshot`), the dump carries it, and analysis, reports and exports read it.

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
    /// How much higher the true peak can have been, in bytes: what other threads had made but not booked, and all that
    /// was sampled or left out by sampling. 0 means that the peak is exact.
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

/// The account of one stack. Without stacks there is one site, of stack 0.
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
    /// Return addresses, innermost first: each is that of the instruction after a call, so a name is to be looked up
    /// for the address before it.
    pub frames: Vec<u64>,
    /// Whether the walk ended before the outermost frame.
    pub truncated: bool,
}

/// Blocks that one thread allocated and another one freed. A block that was reallocated is that of its first thread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crossing {
    /// The thread that allocated: index into [`Profile::threads`]. Pairs that found no room in the table are counted
    /// together, at the row of the threads that have none of their own.
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
    /// What to subtract from a run-time address to get the address in the file.
    pub bias: u64,
}

/// A block that was live when the snapshot was taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveBlock {
    /// Where it lies.
    pub address: u64,
    /// Its size, in bytes, as asked for.
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

/// What one thread did. The last row may stand for several threads that ended after the table was full.
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
    /// How many threads this row stands for: 1, or more for the row of the others.
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
    /// Blocks that this thread freed and another had allocated.
    pub cross_thread_frees: u64,
}

/// One interval of the timeline. Live bytes at its end follow from the sum of all intervals so far.
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
    /// The most live bytes that were seen while the interval was booked, held within what its flows allow: not below the
    /// live bytes at its start or its end, and not above those at its start and all that it allocated together.
    pub peak_bytes: u64,
    /// Events lost in the interval. They are dated when the thread's ring is booked, so they may be off by as long as that
    /// took to fill. Those that no ring would have taken are in no interval: of a thread for whose ring there was no
    /// memory, after a thread's last destructor, or after the books were closed.
    pub lost: u64,
}

/// What happened when, at a fixed number of intervals: when they are used up, neighbours merge.
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

/// What an event was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum EventKind {
    /// A block was allocated.
    Alloc {
        /// Where it lies.
        address: u64,
        /// Its size, in bytes.
        size: u64,
        /// Whether it was asked for zeroed.
        zeroed: bool,
    },
    /// A block was freed.
    Free {
        /// Where it lay.
        address: u64,
    },
    /// A block was reallocated.
    Realloc {
        /// Where it lay.
        old_address: u64,
        /// Where it lies now.
        new_address: u64,
        /// Its new size, in bytes.
        new_size: u64,
    },
    /// A realloc was refused; the block lives on.
    ReallocFailed {
        /// Where it lies.
        address: u64,
    },
    /// Something happened to a tracked pointer. It is in no figure of the heap.
    Tracked {
        /// [`TrackedPointer::id`](super::tracked::TrackedPointer::id) of the pointer.
        pointer: u32,
        /// What happened.
        deed: super::tracked::Deed,
        /// Tracked holders after it; it stops at 4,294,967,295.
        held: u32,
    },
}

/// One of the last events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, in nanoseconds since the start; interpolated between two marks in the batched clock modes.
    pub at_ns: u64,
    /// The thread: index into [`Profile::threads`].
    pub thread: u32,
    /// The stack: index into [`Profile::stacks`]; 0 for frees.
    pub stack: u32,
    /// What it was.
    pub kind: EventKind,
}

/// The process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessInfo {
    /// Process id.
    pub pid: u32,
    /// Process id of the process that this one was forked from with a ledger open, if it was.
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
    /// How long the ledger had been open at the snapshot, in nanoseconds.
    pub duration_ns: u64,
    /// What made the snapshot: `exit`, `request`, …
    pub reason: String,
}

/// Which clock ran, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockInfo {
    /// `tsc` or `monotonic`.
    pub source: String,
    /// Why that one.
    pub why: String,
    /// Nanoseconds that the longest interpolated span covered; 0 when every event carries its own time.
    pub longest_span_ns: u64,
}

/// A change of state in the course of the recording, such as a switch of mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When, in nanoseconds since the start.
    pub at_ns: u64,
    /// What changed, as `name: old -> new`; or, as `tuner: why`, why the tuner made the change that follows.
    pub what: String,
}

/// All that is known of a process's heap at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// How complete all of the following is.
    pub quality: QualityIndicator,
    /// The process.
    pub process: ProcessInfo,
    /// The settings it ran with.
    pub settings: Settings,
    /// The clock it used.
    pub clock: ClockInfo,
    /// Totals.
    pub totals: HeapStats,
    /// What the samples say of all blocks, with standard errors; `None` when no block was ever sampled. The totals are
    /// exact all the same, because events that sampling leaves out are counted with their size.
    pub estimates: Option<Estimates>,
    /// The peak.
    pub peak: Peak,
    /// Accounts by stack.
    pub sites: Vec<Site>,
    /// Stacks; number 0 is the empty one.
    pub stacks: Vec<Stack>,
    /// How the stacks were taken.
    pub stack_figures: StackFigures,
    /// Loaded objects.
    pub modules: Vec<Module>,
    /// Names for the frames of the stacks; empty until someone has looked them up.
    pub symbols: Symbols,
    /// Blocks live at the snapshot.
    pub live: Vec<LiveBlock>,
    /// Threads.
    pub threads: Vec<ThreadRow>,
    /// Who freed whose blocks, most blocks first. All together they are the sum of `cross_thread_frees` over the threads.
    pub crossings: Vec<Crossing>,
    /// What happened when.
    pub timeline: Timeline,
    /// The last events, newest last.
    pub history: Vec<Event>,
    /// Changes of state, oldest first.
    pub changes: Vec<Change>,
    /// The program's `Tracked` pointers: what they said themselves.
    pub tracked: TrackedReport,
}
