//! The limits of a collector.

use std::time::Duration;

use crate::profile::ConcurrencyConfig;

/// Limits of a collector. It allocates all of its memory when it is created.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Producers that can register. Default 64.
    pub producers: usize,
    /// Events in the queue of one producer; rounded up to a power of two, at least 4. Default 4,096.
    pub queue_events: usize,
    /// Retained events of the history; at least 1. Default 10,000.
    pub history_events: usize,
    /// Events in the overflow buffer that all producers share; at least 1. Default 65,536.
    pub overflow_events: usize,
    /// Interval of a background thread. Default 100 ms.
    pub interval: Duration,
    /// Retries, first delay, and whether there is an overflow buffer, for [`AdaptiveBackoff`].
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
