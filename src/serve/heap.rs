//! What the endpoint asks of the process.

use crate::live::Live;
use crate::profile::{HeapStats, Profile, QualityIndicator, Scope};

/// The heap behind an endpoint. No method is called by two threads at a time.
pub(crate) trait Heap {
    /// Returns the totals and the quality of this moment, after booking what was recorded; the scopes if they are asked for.
    fn figures(&self, with_scopes: bool) -> Option<Figures>;

    /// Returns the profile of this moment, without live blocks, history and timeline.
    fn sites(&self) -> Option<Profile>;

    /// Returns the whole profile of this moment, as the bytes of a dump.
    fn dump(&self) -> Option<Vec<u8>>;

    /// Returns the figures of the live page.
    fn live(&self) -> Option<Live>;

    /// Returns the name of the function at each address, empty where it has none; `None` if names are not looked up.
    fn names(&self, addresses: &[u64]) -> Option<Vec<String>>;

    /// Returns the arguments of the process.
    fn command_line(&self) -> Vec<Vec<u8>>;
}

/// Figures for counters.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    pub(crate) stats: HeapStats,
    pub(crate) quality: QualityIndicator,
    pub(crate) resident_bytes: Option<u64>,
    pub(crate) scopes: Vec<Scope>,
}
