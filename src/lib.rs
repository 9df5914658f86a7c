//! Accounts for every heap allocation of a program.

pub mod profile;
#[cfg(feature = "validation")]
pub mod validation;

pub use profile::{
    ClockMode, CompletenessTrend, ConcurrencyConfig, DataQualityMode, DumpTarget, ForkPolicy, HeapStats, HistoryLimits,
    LossCounts, LossReason, Profile, QualityIndicator, Retention, Stacks,
};
