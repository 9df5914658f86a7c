//! The interface by which the endpoint reads the figures of the process.

use crate::live::Live;
use crate::profile::{CodeRange, HeapStats, Profile, QualityIndicator, Scope};

/// The heap behind an endpoint. Two threads never call its methods at the same time.
pub(crate) trait Heap {
    /// Books all recorded events, and returns the current totals and the quality. With `with_scopes`, also returns the
    /// scopes.
    fn figures(&self, with_scopes: bool) -> Option<Figures>;

    /// Returns the current profile, without live blocks, history and timeline.
    fn sites(&self) -> Option<Profile>;

    /// Returns the ranges of code of all objects through which stacks lead.
    fn code(&self) -> Vec<CodeRange>;

    /// Returns the whole current profile, as the bytes of a dump.
    fn dump(&self) -> Option<Vec<u8>>;

    /// Returns the figures of the live page.
    fn live(&self) -> Option<Live>;

    /// Returns the name of the function at each address, or an empty text for an address without a name. Returns `None`
    /// if names are not looked up.
    fn names(&self, addresses: &[u64]) -> Option<Vec<String>>;

    /// Returns the arguments of the process.
    fn command_line(&self) -> Vec<Vec<u8>>;
}

/// Figures for the counters of `/metrics`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    pub(crate) stats: HeapStats,
    pub(crate) quality: QualityIndicator,
    pub(crate) resident_bytes: Option<u64>,
    pub(crate) scopes: Vec<Scope>,
}
