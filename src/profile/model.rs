//! The profile: all figures of a process's heap, as plain data.
//!
//! The recorder fills the profile (`heapledger::snapshot`), a dump stores it, and analysis, reports and exports read
//! it.

use serde::{Deserialize, Serialize};

use super::curves::SiteCurve;
use super::histogram::Histogram;
use super::loss::LossCounts;
use super::memory::ProcessMemory;
use super::quality::{Coverage, Estimates, QualityIndicator};
use super::scopes::{Scope, ScopeCounts};
use super::settings::Settings;
use super::symbols::{StackFigures, Symbols};
use super::tracked::TrackedReport;

/// Totals of the heap. `allocated − freed = live` holds in blocks and in bytes. Sums since the start have 64 bits and
/// wrap around. A sum of bytes wraps around after 16 EiB, which takes five centuries at a gigabyte a second.
///
/// If events were lost ([`HeapStats::coverage`]), the totals of allocated and freed blocks are lower bounds. The live
/// figures and the peak can then be too high or too low, by one block for each lost event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeapStats {
    /// Number of blocks allocated so far. A successful realloc counts as one more block, as in dhat and heaptrack.
    pub total_blocks: u64,
    /// Bytes allocated so far. A realloc counts with its whole new size.
    pub total_bytes: u64,
    /// Number of blocks freed so far, including blocks that a realloc replaced.
    pub freed_blocks: u64,
    /// Bytes freed so far.
    pub freed_bytes: u64,
    /// Number of blocks that are live now.
    pub live_blocks: u64,
    /// Bytes that are live now.
    pub live_bytes: u64,
    /// Number of live blocks at the peak of the live bytes.
    pub peak_blocks: u64,
    /// Maximum of the live bytes.
    pub peak_bytes: u64,
    /// Number of successful reallocs.
    pub reallocs: u64,
    /// Number of allocations and reallocs that the inner allocator refused. A refused call changes no other figure.
    pub failed: u64,
    /// Number of events in these figures, and number of lost events that are missing from them.
    #[serde(default)]
    pub coverage: Coverage,
}

/// The peak: the moment at which the live bytes were highest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peak {
    /// Live bytes at the peak. Only booked events count.
    pub bytes: u64,
    /// Number of live blocks at the peak.
    pub blocks: u64,
    /// Time of the peak, in nanoseconds since the start of the ledger.
    pub at_ns: u64,
    /// Number of bytes by which the true peak can exceed `bytes`. Two kinds of blocks are uncertain: blocks of other
    /// threads that were not booked yet, and blocks that were sampled or sampled out. 0 means that the peak is exact.
    /// [`Profile::peak_bounds`] returns both bounds.
    pub uncertainty_bytes: u64,
}

/// The realloc figures of a site.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReallocStats {
    /// Number of successful reallocs.
    pub count: u64,
    /// Number of reallocs that moved the block to another address.
    pub moved: u64,
    /// Bytes that the moves copied: for each move, the old or the new size, whichever is smaller.
    pub copied_bytes: u64,
    /// Number of blocks that were freed after at least one realloc.
    pub chains: u64,
    /// Number of reallocs of the blocks in `chains`.
    pub chain_links: u64,
    /// Maximum number of reallocs of one block (counted up to 31).
    pub longest_chain: u64,
}

/// The figures of one call stack. A recording without stacks and without scopes has one site, with stack 0.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Site {
    /// Index into [`Profile::stacks`]. 0 means that no stack was taken.
    pub stack: u32,
    /// Number of blocks allocated at this site.
    pub total_blocks: u64,
    /// Bytes allocated at this site.
    pub total_bytes: u64,
    /// Number of blocks of this site that were freed. The call of the free can be anywhere in the program.
    pub freed_blocks: u64,
    /// Bytes of this site that were freed.
    pub freed_bytes: u64,
    /// Maximum of the live bytes of this site.
    pub own_peak_bytes: u64,
    /// Bytes of this site that were live at the peak of the whole process.
    pub at_peak_bytes: u64,
    /// Number of blocks of this site that were live at the peak of the whole process.
    pub at_peak_blocks: u64,
    /// Number of temporary blocks: the allocating thread freed them before it had made more than [`TEMPORARY_ALLOCS`]
    /// further allocations. Blocks of 4 GiB or more are not counted.
    pub temporary_blocks: u64,
    /// Bytes of the blocks in `temporary_blocks`.
    pub temporary_bytes: u64,
    /// Number of blocks of this site that were freed by a thread other than the allocating one.
    pub cross_thread_frees: u64,
    /// The realloc figures.
    pub reallocs: ReallocStats,
    /// Sizes of the blocks allocated at this site, in bytes.
    pub sizes: Histogram,
    /// Lifetimes of the freed blocks of this site, in nanoseconds.
    pub lifetimes: Histogram,
}

impl Site {
    /// Returns the bytes that are live now.
    pub fn live_bytes(&self) -> u64 {
        self.total_bytes.saturating_sub(self.freed_bytes)
    }

    /// Returns the number of blocks that are live now.
    pub fn live_blocks(&self) -> u64 {
        self.total_blocks.saturating_sub(self.freed_blocks)
    }
}

/// Maximum number of further allocations that a thread makes between the allocation of a temporary block and its free.
pub const TEMPORARY_ALLOCS: u32 = 8;

/// One call stack.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// Return addresses, innermost first. A return address is the address after a call instruction, so names are looked
    /// up at the return address minus 1.
    pub frames: Vec<u64>,
    /// Whether the walk ended before the outermost frame.
    pub truncated: bool,
}

/// Blocks that one thread allocated and another thread freed. A reallocated block belongs to the thread that first
/// allocated it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteFrees {
    /// Index into [`Profile::threads`] of the thread that allocated the blocks. The number of pairs of threads is
    /// limited. One entry has the sums of all further pairs. Both indices of this entry refer to the row that several
    /// threads share.
    pub allocated_by: u32,
    /// Index into [`Profile::threads`] of the thread that freed the blocks.
    pub freed_by: u32,
    /// Number of blocks.
    pub blocks: u64,
    /// Bytes of the blocks.
    pub bytes: u64,
}

/// An object file that the process has loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Module {
    /// Path of the file at the time of loading, on the machine that ran the program. Each byte that is not UTF-8 is
    /// written in hexadecimal, such as `\xff`. ` (deleted)` is appended if the object has no build id and its file was
    /// removed or replaced while the program ran.
    pub path: String,
    /// Build id in hexadecimal. Empty if the object has none.
    pub build_id: String,
    /// Lowest address at which the object is mapped.
    pub start: u64,
    /// End of the mapping (exclusive).
    pub end: u64,
    /// Address in the process minus address in the file. The difference is the same for every address of the object.
    pub bias: u64,
}

/// A range of addresses of a loaded object that holds code.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CodeRange {
    /// Lowest address of the range.
    pub start: u64,
    /// First address above the range.
    pub end: u64,
    /// Offset in the object's file of the byte at `start`.
    pub file_offset: u64,
    /// Path of the object's file, as in [`Module::path`].
    pub path: String,
    /// Build id of the object in hexadecimal. Empty if the object has none.
    pub build_id: String,
}

/// A block that was live when the snapshot was taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveBlock {
    /// Address of the block.
    pub address: u64,
    /// Requested size of the block, in bytes.
    pub size: u64,
    /// Time of the first allocation of the block, in nanoseconds since the start.
    pub born_ns: u64,
    /// Index into [`Profile::stacks`] of the block's stack.
    pub stack: u32,
    /// Index into [`Profile::threads`] of the thread that allocated the block.
    pub thread: u32,
    /// Base-2 logarithm of the block's alignment. The maximum is 31, also for alignments above 2 GiB.
    pub align_log2: u8,
    /// Number of reallocs of the block (counted up to 31).
    pub reallocs: u8,
}

/// The figures of one thread. When the table of threads is full, further threads share the last row.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ThreadRow {
    /// Number of the row, in the order in which threads made their first event.
    pub index: u32,
    /// Name of the thread. Empty if it has none.
    pub name: String,
    /// Id that the operating system gave the thread.
    pub os_id: u64,
    /// Time of the thread's first event, in nanoseconds since the start.
    pub started_ns: u64,
    /// Time of the thread's end, in nanoseconds since the start, or `None` while the thread runs.
    pub ended_ns: Option<u64>,
    /// Number of threads in this row: 1, or more in the last row.
    pub threads: u64,
    /// Whether the thread belongs to heapledger.
    pub own: bool,
    /// Number of events that the thread made.
    pub attempted: u64,
    /// Number of events of the thread that were booked.
    pub recorded: u64,
    /// Numbers of events of the thread that were lost, by reason.
    pub lost: LossCounts,
    /// Number of blocks that the thread allocated.
    pub total_blocks: u64,
    /// Bytes that the thread allocated.
    pub total_bytes: u64,
    /// Number of blocks that the thread freed.
    pub freed_blocks: u64,
    /// Bytes that the thread freed.
    pub freed_bytes: u64,
    /// Number of blocks that this thread freed and another thread allocated.
    pub cross_thread_frees: u64,
}

/// One interval of the timeline. The live bytes at the end of an interval are all bytes allocated until then minus all
/// bytes freed until then.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    /// Number of blocks allocated in the interval.
    pub allocated_blocks: u64,
    /// Bytes allocated in the interval.
    pub allocated_bytes: u64,
    /// Number of blocks freed in the interval.
    pub freed_blocks: u64,
    /// Bytes freed in the interval.
    pub freed_bytes: u64,
    /// Estimated maximum of the live bytes in the interval: the maximum that was seen while the events of the interval
    /// were booked, limited to the possible range. The lower limit is the live bytes at the start or at the end of the
    /// interval, whichever are more. The upper limit is the live bytes at the start plus all bytes allocated in the
    /// interval.
    pub peak_bytes: u64,
    /// Number of events lost in the interval. A lost event is dated when its thread's ring is booked. So it can appear
    /// too late, by at most the time that the thread takes to fill the ring. An event that is lost without a ring is in
    /// no interval: there was no memory for the ring, the thread's last destructor had run, or the ledger was closed.
    pub lost: u64,
}

/// Allocations and frees over time, in a fixed number of intervals. When all intervals are in use, neighbouring
/// intervals are merged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    /// Length of an interval, in nanoseconds.
    pub interval_ns: u64,
    /// The intervals, from the start of the ledger onwards.
    pub intervals: Vec<Interval>,
}

impl Timeline {
    /// Returns the live bytes at the end of each interval.
    pub fn live_bytes(&self) -> Vec<u64> {
        let mut live = 0i128;
        let next = |interval: &Interval| {
            live += i128::from(interval.allocated_bytes) - i128::from(interval.freed_bytes);
            live.max(0) as u64
        };
        self.intervals.iter().map(next).collect()
    }
}

/// Kind of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum EventKind {
    /// A block was allocated.
    Alloc {
        /// Address of the block.
        address: u64,
        /// Size of the block, in bytes.
        size: u64,
        /// Whether the program asked for zeroed memory.
        zeroed: bool,
    },
    /// A block was freed.
    Free {
        /// Address of the block.
        address: u64,
    },
    /// A block was reallocated.
    Realloc {
        /// Address of the block before the realloc.
        old_address: u64,
        /// Address of the block after the realloc.
        new_address: u64,
        /// New size of the block, in bytes.
        new_size: u64,
    },
    /// A realloc failed, and the block is unchanged.
    ReallocFailed {
        /// Address of the block.
        address: u64,
    },
    /// An event of a tracked pointer. No figure of the heap counts this event.
    Tracked {
        /// [`TrackedPointer::id`](super::tracked::TrackedPointer::id) of the tracked pointer.
        pointer: u32,
        /// Kind of the pointer event.
        #[serde(rename = "deed")]
        event: super::tracked::PointerEvent,
        /// Number of tracked holders after the event. The count saturates at 4,294,967,295.
        held: u32,
    },
}

/// One event of the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Time of the event, in nanoseconds since the start. In the batched clock modes the time is interpolated between
    /// two time stamps.
    pub at_ns: u64,
    /// Index into [`Profile::threads`] of the thread that made the event.
    pub thread: u32,
    /// Index into [`Profile::stacks`] of the event's stack. 0 for frees.
    pub stack: u32,
    /// Kind of the event.
    pub kind: EventKind,
}

/// The recorded process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessInfo {
    /// Process id.
    pub pid: u32,
    /// Process id of the parent, if this process was forked while a ledger was open.
    pub forked_from: Option<u32>,
    /// Name of the program.
    pub program: String,
    /// Command line of the process.
    pub command_line: Vec<String>,
    /// Operating system and processor, for example `linux x86_64`.
    pub platform: String,
    /// Version of the heapledger that recorded the process.
    pub heapledger_version: String,
    /// Time at which the ledger was opened, in nanoseconds since 1970 UTC.
    pub started_unix_ns: u64,
    /// Time from the opening of the ledger to the snapshot, in nanoseconds.
    pub duration_ns: u64,
    /// The reason for the snapshot: `exit`, `request`, …
    pub reason: String,
    /// Directory in which the program started. Relative paths of dump, trace and black box start from this directory,
    /// even if the program changes its directory later. Empty if the directory is unknown.
    #[serde(default)]
    pub directory: String,
    /// Facts that heapledger could not read from the system, each with the reason. Usually empty.
    #[serde(default)]
    pub unread: Vec<String>,
    /// Name of the machine or container, as the kernel gives it. Empty if the name is unknown, as in a black box.
    #[serde(default)]
    pub host: String,
}

/// The clock that was used, and the reason for the choice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockInfo {
    /// Name of the clock: `tsc` or `monotonic`.
    pub source: String,
    /// Reason why this clock was used.
    pub why: String,
    /// Longest time between two successive time stamps of a thread, in nanoseconds. The times of the events between the
    /// stamps are interpolated. 0 if every event has a time stamp.
    pub longest_span_ns: u64,
}

/// A change of state during the recording, for example of the mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Time of the change, in nanoseconds since the start.
    pub at_ns: u64,
    /// The change, as `name: old -> new`. A text `tuner: reason` gives the reason for the next change in the list.
    pub what: String,
}

/// All figures of the heap of a process at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// The completeness of all other figures.
    pub quality: QualityIndicator,
    /// The recorded process.
    pub process: ProcessInfo,
    /// The settings of the recording.
    pub settings: Settings,
    /// The clock that gave the events their times.
    pub clock: ClockInfo,
    /// Totals of the heap.
    pub totals: HeapStats,
    /// Estimates for all blocks, computed from the sampled blocks, with standard errors. `None` if no block was ever
    /// sampled. Sampling does not affect the totals, because events that are sampled out are counted with their size.
    pub estimates: Option<Estimates>,
    /// The peak of the live bytes.
    pub peak: Peak,
    /// Figures by call stack.
    pub sites: Vec<Site>,
    /// Live bytes over time of the largest sites, largest site first. Empty in files of earlier versions.
    #[serde(default)]
    pub curves: Vec<SiteCurve>,
    /// Figures by scope. Empty if the program has no scopes.
    pub scopes: Vec<Scope>,
    /// Numbers of irregular uses of scopes.
    #[serde(default)]
    pub scope_counts: ScopeCounts,
    /// Stacks. Stack 0 is the empty stack.
    pub stacks: Vec<Stack>,
    /// The method by which the stacks were taken, with its counters.
    pub stack_figures: StackFigures,
    /// Object files that the process had loaded.
    pub modules: Vec<Module>,
    /// Names for the frames of the stacks. Empty until the command `heapledger` has looked up the names.
    pub symbols: Symbols,
    /// Blocks that were live at the snapshot.
    pub live: Vec<LiveBlock>,
    /// Figures by thread.
    pub threads: Vec<ThreadRow>,
    /// Numbers of blocks that one thread allocated and another thread freed, by pair of threads, in descending order of
    /// blocks. The sum of these blocks equals the sum of `cross_thread_frees` over all threads.
    pub crossings: Vec<RemoteFrees>,
    /// Allocations and frees over time.
    pub timeline: Timeline,
    /// The memory of the process, as the system and the allocator below heapledger see it. Empty in files of earlier
    /// versions.
    #[serde(default)]
    pub memory: ProcessMemory,
    /// The last events, oldest first.
    pub history: Vec<Event>,
    /// Changes of state, oldest first.
    pub changes: Vec<Change>,
    /// The `Tracked` pointers of the program.
    pub tracked: TrackedReport,
}

impl Profile {
    /// Returns the lower and the upper bound of the true peak, in bytes. Both bounds are equal if the peak is exact.
    ///
    /// The recorded peak is the maximum of the live bytes in the order in which threads booked their events. It is too
    /// high if a thread had not booked its frees by then, and too low if a thread had not booked its allocations
    /// ([`Peak::uncertainty_bytes`]). The timeline has every event at its time, so the true peak is at least as high as
    /// the live bytes at the end of any interval.
    pub fn peak_bounds(&self) -> (u64, u64) {
        let Peak { bytes, uncertainty_bytes, .. } = self.peak;
        if uncertainty_bytes == 0 {
            return (bytes, bytes);
        }
        let seen = self.timeline.live_bytes().into_iter().max().unwrap_or(bytes);
        (seen.min(bytes), bytes.saturating_add(uncertainty_bytes))
    }

    /// Returns the number of events that count in the totals but are in no table. These are the events that were
    /// sampled out and the allocations of sampled blocks.
    pub fn events_in_no_table(&self) -> u64 {
        let samples = self.estimates.as_ref().map_or(0, |estimates| estimates.sampled_blocks);
        self.quality.sampled_out.saturating_add(samples)
    }

    /// Copies the numbers of recorded and lost events from [`Profile::quality`] to the totals and the estimates.
    pub(crate) fn set_coverage(&mut self) {
        let quality = &self.quality;
        let coverage = Coverage { recorded_events: quality.recorded, lost_events: quality.lost.total() };
        self.totals.coverage = coverage;
        if let Some(estimates) = &mut self.estimates {
            estimates.coverage = coverage;
        }
    }
}
