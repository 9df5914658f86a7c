//! The data model: plain structs with all figures of a recorded process.
//!
//! The recorder fills a [`Profile`]. Dumps store a profile; analysis, reports and exports read it. The profile is the
//! only interface between the code that records and the code that reads. This module computes simple sums only; it
//! reads no clock and opens no file.
//!
//! [`check()`] checks the conservation laws of a profile. It is called before a dump is written and after a dump is
//! read.

mod by_scope;
mod check;
mod curves;
mod histogram;
mod loss;
mod memory;
mod model;
mod names;
mod quality;
mod references;
mod scopes;
mod settings;
mod symbols;
pub mod tracked;
mod triggers;

pub use check::{Law, Violation, check, laws};
pub(crate) use check::{RowSums, check_rows};
pub use curves::SiteCurve;
pub(crate) use histogram::bucket_of_narrow;
pub use histogram::{BUCKETS, Histogram, bucket_of};
pub use loss::{LossCounts, LossReason};
pub use memory::{LARGE_BLOCK_BYTES, ProcessMemory};
pub use model::{
    Change, ClockInfo, CodeRange, Event, EventKind, HeapStats, Interval, LiveBlock, Module, Peak,
    ProcessInfo, Profile, ReallocStats, RemoteFrees, Site, Stack, TEMPORARY_ALLOCS, ThreadRow, Timeline,
};
pub use quality::{
    Anomalies, CompletenessTrend, Coverage, Estimate, Estimates, OwnMemory, QualityIndicator, TURN_BUCKETS,
    TurnTimes,
};
#[cfg(any(test, feature = "read"))]
pub(crate) use references::{Table, lost_thread, references};
pub use scopes::{Scope, ScopeCounts, scope_address, scope_of_address};
pub use settings::{
    ClockMode, ConcurrencyConfig, DataQualityMode, Degradation, DumpTarget, ForkPolicy, HistoryLimits,
    Retention, Settings, Stacks, TuningGoal,
};
pub use symbols::{INLINED_MAX, StackFigures, SymbolFrame, Symbols};
pub use tracked::TrackedReport;
pub(crate) use triggers::DumpTrigger;
pub use triggers::{Signal, Triggers};
