//! Accounts for every heap allocation of a program.

pub mod analysis;
pub mod dump;
pub mod export;
pub mod profile;
pub mod quality;
pub mod report;

/// Dumps: profiles in files.
pub mod dumps {
    #[doc(hidden)]
    pub use crate::dump::empty_profile;
    pub use crate::dump::{
        Damage, DamageKind, Dump, Encoded, Occupant, ReadError, Version, WriteError, WriteStep, Written,
        read, read_bytes, read_from, write, write_to,
    };
}

pub use profile::{
    ClockMode, CompletenessTrend, ConcurrencyConfig, DataQualityMode, DumpTarget, ForkPolicy, HeapStats,
    HistoryLimits, LossCounts, LossReason, Profile, QualityIndicator, Retention, Stacks,
};
