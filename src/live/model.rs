//! The figures of a running process, as plain data.

use serde::{Deserialize, Serialize};

use crate::profile::{Anomalies, HeapStats, LossCounts, Module, QualityIndicator};

/// Figures of a running process at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Live {
    /// Process id that the process itself sees.
    pub pid: u32,
    /// Name of the program. Empty if it is not known.
    pub program: String,
    /// Start of the recording, in nanoseconds since 1970 UTC.
    pub started_unix_ns: u64,
    /// Time of these figures, in nanoseconds since the start of the recording.
    pub at_ns: u64,
    /// Time of these figures, in nanoseconds since 1970 UTC.
    pub written_unix_ns: u64,
    /// Number of times that the figures were written.
    pub writes: u64,
    /// Pause between two writes while the figures change, in nanoseconds: a quarter of a second while somebody reads
    /// the page, else a second. If a write takes more than a hundredth of the pause, the pause is longer. Unchanged
    /// figures are written every ten seconds.
    pub interval_ns: u64,
    /// Processor time of the last write, in nanoseconds.
    pub cost_ns: u64,
    /// Whether the recording has ended. If so, these are the last figures of the recording.
    pub has_ended: bool,
    /// Totals of the heap, including every event that had returned when the write began.
    pub totals: HeapStats,
    /// Completeness of the figures.
    pub quality: LiveQuality,
    /// Resident memory of the process, in bytes; `None` if the system does not report it.
    pub resident_bytes: Option<u64>,
    /// Number of sites of the process. `sites` holds only the 32 sites with the most live bytes and the 32 sites that
    /// have grown most.
    pub sites_known: u64,
    /// Number of sites that the last write examined. The next writes examine the other sites, so a new site can be
    /// missing from `sites` for several writes.
    pub sites_seen: u64,
    /// Number of scopes of the process.
    pub scopes_known: u64,
    /// Time over which growth is measured, in nanoseconds: 30 to 60 seconds, or the time since the start if that is
    /// shorter.
    pub growth_ns: u64,
    /// Sites, largest live bytes first.
    pub sites: Vec<LiveSite>,
    /// Scopes, largest live bytes first.
    pub scopes: Vec<LiveScope>,
    /// Figures of the intervals between the last writes, oldest first. They cover the last minute while somebody reads
    /// the page.
    pub intervals: Vec<LiveInterval>,
    /// Loaded objects. The command uses them to find names for addresses.
    pub modules: Vec<Module>,
}

/// Completeness of the figures of a running process. `attempted = recorded + lost + in_flight`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LiveQuality {
    /// Number of events of the program: allocations, frees and reallocs that have returned or are in progress.
    pub attempted: u64,
    /// Number of events booked into the ledger.
    pub recorded: u64,
    /// Number of events that are not booked yet.
    pub in_flight: u64,
    /// Numbers of lost events, by reason.
    pub lost: LossCounts,
    /// Number of events that were sampled out. The totals contain them, sites and scopes do not.
    pub sampled_out: u64,
    /// Numbers of inconsistent pairings of allocations and frees.
    pub anomalies: Anomalies,
    /// Memory that heapledger holds, in bytes.
    pub own_bytes: u64,
    /// Processor time of heapledger's background thread, in nanoseconds.
    pub own_cpu_ns: u64,
}

impl LiveQuality {
    /// Returns recorded ÷ (recorded + lost), from 0 to 1.
    pub fn completeness(&self) -> f64 {
        QualityIndicator::completeness_of(self.recorded, self.lost.total())
    }
}

/// A site of a running process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveSite {
    /// Number of the stack, which is the same in all figures of one process.
    pub stack: u32,
    /// Number of the innermost scope of the stack; 0 for a stack outside scopes.
    pub scope: u32,
    /// Number of blocks allocated.
    pub total_blocks: u64,
    /// Bytes allocated.
    pub total_bytes: u64,
    /// Number of blocks that are live.
    pub live_blocks: u64,
    /// Bytes that are live.
    pub live_bytes: u64,
    /// Change of the live bytes over [`Live::growth_ns`]; `None` if it was not measured.
    pub growth_bytes: Option<i64>,
    /// Return addresses of the stack, innermost first, without the frames of scopes. Empty if no stacks are taken.
    pub frames: Vec<u64>,
    /// Whether outermost frames of the stack are missing in `frames`.
    pub is_cut: bool,
}

/// A scope of a running process. Its figures include the scopes nested in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveScope {
    /// Number of the scope, which is the same in all figures of one process.
    pub number: u32,
    /// Number of the scope in which this scope is nested; 0 if it is nested in none.
    pub parent: u32,
    /// Name of the scope.
    pub name: String,
    /// Number of blocks allocated.
    pub total_blocks: u64,
    /// Bytes allocated.
    pub total_bytes: u64,
    /// Number of blocks that are live.
    pub live_blocks: u64,
    /// Bytes that are live.
    pub live_bytes: u64,
    /// Maximum of the live bytes, in the order in which events were booked.
    pub peak_bytes: u64,
    /// Change of the live bytes over [`Live::growth_ns`].
    pub growth_bytes: i64,
}

/// Figures of the time between two writes of the live page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveInterval {
    /// End of the interval, in nanoseconds since the start of the recording.
    pub end_ns: u64,
    /// Live bytes at the end.
    pub live_bytes: u64,
    /// Number of blocks allocated in the interval.
    pub allocated_blocks: u64,
    /// Bytes allocated in the interval.
    pub allocated_bytes: u64,
    /// Number of blocks freed in the interval.
    pub freed_blocks: u64,
    /// Bytes freed in the interval.
    pub freed_bytes: u64,
    /// Number of events lost in the interval.
    pub lost: u64,
    /// Resident memory at the end, in bytes; `None` if it is not known.
    pub resident_bytes: Option<u64>,
}
