//! The limits of a collector.

use std::time::Duration;

use crate::profile::ConcurrencyConfig;

/// The limits of a collector. A collector allocates all its memory when it is created.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Maximum number of producers that can register. Default 64.
    pub producers: usize,
    /// Size of the queue of one producer, in events; rounded up to a power of two, with a minimum of 4. Default 4,096.
    pub queue_events: usize,
    /// Maximum number of events retained in the history; the minimum is 1. Default 10,000.
    pub history_events: usize,
    /// Size of the overflow buffer that all producers share, in events; the minimum is 1. Default 65,536.
    pub overflow_events: usize,
    /// Interval between the rounds of a background thread. Default 100 ms.
    pub interval: Duration,
    /// Settings of [`AdaptiveBackoff`](super::AdaptiveBackoff): number of retries, first delay, and whether there is an
    /// overflow buffer.
    pub concurrency: ConcurrencyConfig,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            producers: 64,
            queue_events: 4_096,
            history_events: 10_000,
            overflow_events: 65_536,
            interval: Duration::from_millis(100),
            concurrency: ConcurrencyConfig::DEFAULT,
        }
    }
}
