//! The clock of one run: nanoseconds since the users were let go.
//!
//! It reads tokio's clock, which is the monotonic clock in production and the virtual one under `tokio::time::pause`.
//! That is what lets a test run twenty seconds of load, ramps and stalls included, in milliseconds and with the same
//! result each time.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

/// A shared start and the time since it.
#[derive(Debug, Clone)]
pub(super) struct RunClock {
    start: Arc<OnceLock<Instant>>,
}

impl RunClock {
    pub fn new() -> Self {
        Self { start: Arc::new(OnceLock::new()) }
    }

    /// Begins the run, unless it has begun.
    pub fn start(&self) {
        self.start.get_or_init(Instant::now);
    }

    /// Whether the run has begun.
    pub fn has_started(&self) -> bool {
        self.start.get().is_some()
    }

    /// Nanoseconds since the start; 0 before it.
    pub fn now_ns(&self) -> u64 {
        self.start.get().map_or(0, |s| s.elapsed().as_nanos() as u64)
    }

    /// The instant at `ns` after the start.
    pub fn at(&self, ns: u64) -> Instant {
        self.start.get().copied().unwrap_or_else(Instant::now) + Duration::from_nanos(ns)
    }
}
