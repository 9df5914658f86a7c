//! Accounts for every heap allocation of a program.

pub mod analysis;
pub mod profile;

pub use profile::{
    ClockMode, CompletenessTrend, ConcurrencyConfig, DataQualityMode, DumpTarget, ForkPolicy, HeapStats,
    HistoryLimits, LossCounts, LossReason, Profile, QualityIndicator, Retention, Stacks,
};
