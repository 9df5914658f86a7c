//! Live bytes over time of the largest sites.

use serde::{Deserialize, Serialize};

/// Live bytes over time of one site. Only the largest sites have a curve.
///
/// An interval of a curve consists of whole intervals of the [timeline](super::Timeline). The figures lack events that
/// threads had not booked yet at the snapshot (see `Peak::uncertainty_bytes`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteCurve {
    /// Index into [`Profile::stacks`](super::Profile::stacks) of the site's stack.
    pub stack: u32,
    /// Length of an interval, in nanoseconds.
    pub interval_ns: u64,
    /// Index of the curve's first interval, counted from the start of the ledger: the interval in which the site became
    /// one of the largest. 0 if the curve covers the whole run.
    pub first_interval: u32,
    /// Live bytes of the site at the end of each interval, from `first_interval` on. The last value is the live bytes
    /// at the snapshot.
    pub live_bytes: Vec<u64>,
}
