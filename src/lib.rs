//! Accounts for every heap allocation of a program.

pub mod analysis;
pub mod export;
pub mod profile;
pub mod quality;
pub mod report;

pub use profile::{
    ClockMode, CompletenessTrend, ConcurrencyConfig, DataQualityMode, DumpTarget, ForkPolicy, HeapStats,
    HistoryLimits, LossCounts, LossReason, Profile, QualityIndicator, Retention, Stacks,
};
