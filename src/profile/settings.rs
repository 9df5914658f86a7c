//! The settings of the user: modes, clocks, limits. Plain data, shared by the recorder, the dump and the reports.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::names::names;

/// Reaction of the recorder when a thread makes events faster than they can be booked.
///
/// Each mode guarantees a behaviour; no mode guarantees a percentage of recorded events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum DataQualityMode {
    /// A thread books its full ring itself, or waits while another thread books it. No event is shed for lack of ring
    /// space. The default.
    #[default]
    PerfectAccuracy = 0,
    /// As `PerfectAccuracy`, but the wait has a time budget. When the budget is used up, events are shed: allocations
    /// before frees.
    HighAccuracy = 1,
    /// A thread never waits. It records an unbiased sample of the blocks, each with both its allocation and its free.
    HighThroughput = 2,
    /// A thread never waits and never books its full ring. Events that do not fit into the ring are shed, newest first,
    /// and counted.
    BestEffort = 3,
}

names!(DataQualityMode: "The name that `HEAPLEDGER_MODE` takes." {
    PerfectAccuracy = "perfect",
    HighAccuracy = "high",
    HighThroughput = "throughput",
    BestEffort = "best-effort",
});

/// Limits of the wait for a full ring, and the target completeness of the quality indicator.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ConcurrencyConfig {
    /// Number of tries to take the latch of a full ring before the overflow buffer is used. Default 3.
    pub max_retries: u32,
    /// Length of the first wait between two tries, in nanoseconds. The length doubles with each try. Default 100.
    pub base_delay_ns: u64,
    /// Whether a full ring may take segments from the bounded overflow pool. Default true.
    pub enable_overflow_buffer: bool,
    /// The completeness, from 0 to 1, below which the quality indicator warns. Default 0.95.
    pub target_completeness: f64,
}

impl ConcurrencyConfig {
    /// The default configuration, for constant contexts.
    pub const DEFAULT: ConcurrencyConfig = ConcurrencyConfig {
        max_retries: 3,
        base_delay_ns: 100,
        enable_overflow_buffer: true,
        target_completeness: 0.95,
    };
}

impl Default for ConcurrencyConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Method by which call stacks are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Stacks {
    /// By frame pointers as long as they agree with the DWARF unwind tables, else by these tables. The default.
    #[default]
    Auto,
    /// By frame pointers in any case. A function without a frame pointer is missing from the stack, or ends the stack.
    FramePointers,
    /// By DWARF unwind tables, with a cache.
    Dwarf,
    /// As `Auto`, but for a random subset of the blocks: on average one stack for every `bytes` bytes allocated. All
    /// events are still recorded and counted exactly. Only their distribution over stacks is an estimate.
    Sampled {
        /// Mean number of bytes that are allocated from one taken stack to the next. Not to be confused with
        /// [`HeapLedger::sampling_bytes`](crate::HeapLedger::sampling_bytes), the mean number of bytes from one sampled
        /// *block* to the next.
        bytes: u64,
    },
    /// No stacks are taken. All blocks outside scopes belong to one site.
    Off,
}

impl Stacks {
    /// Returns the name that `HEAPLEDGER_STACKS` takes. For `Sampled`, returns the part before the colon.
    pub const fn name(self) -> &'static str {
        match self {
            Stacks::Auto => "auto",
            Stacks::FramePointers => "fp",
            Stacks::Dwarf => "dwarf",
            Stacks::Sampled { .. } => "sampled",
            Stacks::Off => "off",
        }
    }
}

impl fmt::Display for Stacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        if let Stacks::Sampled { bytes } = self { write!(f, ":{bytes}") } else { Ok(()) }
    }
}

/// Detail in which events are recorded. Each level costs less and records less than the level before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum Degradation {
    /// Every event, with its stack if stacks are on. The default.
    #[default]
    Full = 0,
    /// Every event, without a stack.
    NoStacks = 1,
    /// A random sample of the blocks, each with both its allocation and its free.
    Sampled = 2,
    /// Counters of blocks and bytes only.
    CountersOnly = 3,
}

names!(Degradation: "The name in records of change and in reports." {
    Full = "full",
    NoStacks = "no-stacks",
    Sampled = "sampled",
    CountersOnly = "counters-only",
});

impl fmt::Display for Degradation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The goal of the tuner that adjusts heapledger's knobs while the process runs.
///
/// ```
/// use heapledger::{HeapLedger, TuningGoal};
///
/// #[global_allocator]
/// static HEAP: HeapLedger =
///     HeapLedger::system().auto_tune(TuningGoal { budget_ns: 50, ..TuningGoal::DEFAULT });
/// # fn main() {}
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TuningGoal {
    /// The target completeness, from 0 to 1. Default 0.95.
    pub target_completeness: f64,
    /// Maximum mean time per event that a thread may spend on the slow path of recording, in nanoseconds. See
    /// [`TurnTimes`](super::TurnTimes) for the slow path; the short path is not measured. Default 200. Must not be 0.
    pub budget_ns: u64,
    /// The level of recording with the least detail that the tuner may set. Default [`Degradation::Sampled`].
    pub lowest: Degradation,
}

impl TuningGoal {
    /// The default goal, for constant contexts.
    pub const DEFAULT: TuningGoal =
        TuningGoal { target_completeness: 0.95, budget_ns: 200, lowest: Degradation::Sampled };
}

impl Default for TuningGoal {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// When the clock is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum ClockMode {
    /// The clock is read at least every 128 words of the ring, and at the first event after each request (*tick*) of
    /// the background thread. The times of the events between two readings are interpolated. The default.
    #[default]
    Batched = 0,
    /// The clock is read at every event.
    PerEvent = 1,
    /// As `Batched`, but always with the system's monotonic clock, even if the processor's counter could be used.
    Monotonic = 2,
}

names!(ClockMode: "The name that `HEAPLEDGER_CLOCK` takes." {
    Batched = "batched",
    PerEvent = "per-event",
    Monotonic = "monotonic",
});

/// Data that is kept about events after they are booked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Retention {
    /// Keeps the ledger and a bounded history of the last events. The default.
    #[default]
    Ledger,
    /// As `Ledger`, and appends every event to a compressed trace at this path. The path may contain the placeholders
    /// of [`DumpTarget::Path`]. A forked child writes a trace only if the path contains `%p`.
    ///
    /// If the writer of the trace is too slow, threads wait as long as the [mode](DataQualityMode) allows. After that
    /// wait, events can be missing in the trace. The trace states their number, and the ledger contains them.
    Trace(&'static str),
}

/// Bounds of the history of last events. The bound that is reached first applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HistoryLimits {
    /// Maximum number of events kept, over all threads. Default 4,096.
    pub events: u64,
    /// Maximum ring memory of the history, in bytes, over all threads. Default 1 MiB.
    pub bytes: u64,
    /// Maximum age of an event, in nanoseconds. `None` keeps events of any age. Default `None`.
    pub age_ns: Option<u64>,
}

impl HistoryLimits {
    /// The default limits, for constant contexts.
    pub const DEFAULT: HistoryLimits = HistoryLimits { events: 4096, bytes: 1 << 20, age_ns: None };
}

impl Default for HistoryLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The file of the dump at exit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum DumpTarget {
    /// `heapledger.<app>.<pid>.hl` in the directory in which the program started. The default.
    #[default]
    WorkingDirectory,
    /// A path with placeholders: `%e` is the name of the program, `%p` its process id, and `%t` the time in seconds
    /// since 1970. A relative path starts from the directory in which the program started.
    Path(&'static str),
    /// No dump is written at exit. A call of `heapledger::dump` still writes one.
    Off,
}

/// Whether and how a forked child is recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum ForkPolicy {
    /// The child opens a fresh ledger, with a link to its parent. The default.
    #[default]
    Fresh = 0,
    /// The child records nothing. Its events are counted as lost, with reason `forked_child`.
    Off = 1,
}

/// The settings of a process, as its dump stores them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The quality mode at the time of the snapshot.
    pub mode: DataQualityMode,
    /// Method by which stacks were taken.
    pub stacks: Stacks,
    /// When the clock was read.
    pub clock: ClockMode,
    /// Bounds of the history.
    pub history: HistoryLimits,
    /// Limits of the wait for a full ring.
    pub concurrency: ConcurrencyConfig,
    /// Whether and how a forked child is recorded.
    pub fork: ForkPolicy,
    /// Maximum memory that heapledger may use for itself, in bytes.
    pub memory_limit_bytes: u64,
}

/// Settings of a recorder that takes no stacks. A reader uses them for a damaged file without readable settings.
impl Default for Settings {
    fn default() -> Settings {
        Settings {
            mode: DataQualityMode::default(),
            stacks: Stacks::Off,
            clock: ClockMode::default(),
            history: HistoryLimits::default(),
            concurrency: ConcurrencyConfig::default(),
            fork: ForkPolicy::default(),
            memory_limit_bytes: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the defaults against the values in the first plan of the project.
    #[test]
    fn the_defaults_of_waits_are_those_of_the_plan() {
        let ConcurrencyConfig { max_retries, base_delay_ns, enable_overflow_buffer, target_completeness } =
            ConcurrencyConfig::default();
        assert_eq!((max_retries, base_delay_ns, enable_overflow_buffer), (3, 100, true));
        assert_eq!(target_completeness.to_bits(), 0.95f64.to_bits());
        assert_eq!(ConcurrencyConfig::default(), ConcurrencyConfig::DEFAULT);
    }
}
