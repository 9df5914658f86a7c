//! Accounts for every heap allocation of a program.

#[cfg(not(loom))]
#[allow(unsafe_code, reason = "state lies in raw pages")]
mod ledger;
pub mod profile;
#[cfg(not(loom))]
#[allow(unsafe_code, reason = "runs inside the allocator")]
mod recorder;
mod ring;
mod sys;

pub use profile::{
    ClockMode, CompletenessTrend, ConcurrencyConfig, DataQualityMode, DumpTarget, ForkPolicy, HeapStats, HistoryLimits,
    LossCounts, LossReason, Profile, QualityIndicator, Retention, Stacks,
};
