//! Accounts for every heap allocation of a program.

#[cfg(not(loom))]
#[allow(unsafe_code, reason = "copies books whose latches it holds")]
mod aggregator;
#[cfg(not(loom))]
pub mod analysis;
#[cfg(not(loom))]
pub mod dump;
#[cfg(not(loom))]
pub mod export;
#[cfg(not(loom))]
#[allow(unsafe_code, reason = "state lies in raw pages")]
mod ledger;
pub mod profile;
#[cfg(not(loom))]
pub mod quality;
#[cfg(not(loom))]
#[allow(unsafe_code, reason = "runs inside the allocator")]
mod recorder;
#[cfg(not(loom))]
pub mod report;
mod ring;
#[cfg(not(loom))]
mod session;
#[cfg(all(feature = "strategies", not(loom)))]
pub mod strategies;
mod sys;
#[cfg(not(loom))]
pub mod tracked;

/// Dumps: profiles in files.
#[cfg(not(loom))]
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
#[cfg(not(loom))]
pub use recorder::allocator::HeapLedger;
#[cfg(not(loom))]
pub use session::{
    DumpError, estimates, flush, history, is_installed, quality, set_mode, snapshot, stats, tracked,
};
#[cfg(not(loom))]
pub use tracked::{Tracked, TrackedReport};

/// Writes a dump now: see [`session`](crate::flush) for what is in it.
#[cfg(not(loom))]
pub use session::dump;
