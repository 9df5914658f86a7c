//! The clock of one run: nanoseconds since the users started.
//!
//! The clock reads tokio's clock, which is monotonic in production and virtual under `tokio::time::pause`. On the
//! virtual clock a test runs twenty seconds of load, with ramps and stalls, in milliseconds and with the same result
//! each time.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

/// The clock of a run. Clones have the same start.
#[derive(Debug, Clone, Default)]
pub(super) struct RunClock {
    start: Arc<OnceLock<Instant>>,
}

impl RunClock {
    /// Starts the clock if it has not been started.
    pub fn start(&self) {
        self.start.get_or_init(Instant::now);
    }

    /// Whether the clock has been started.
    pub fn has_started(&self) -> bool {
        self.start.get().is_some()
    }

    /// Returns the nanoseconds since the start; 0 before the start.
    pub fn now_ns(&self) -> u64 {
        self.start.get().map_or(0, |s| s.elapsed().as_nanos() as u64)
    }

    /// Returns the instant `ns` nanoseconds after the start.
    pub fn at(&self, ns: u64) -> Instant {
        self.start.get().copied().unwrap_or_else(Instant::now) + Duration::from_nanos(ns)
    }
}
