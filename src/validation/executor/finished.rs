//! The raw result of one run, from which the figures are computed.

use super::super::completeness::{QuiesceError, TrackerSnapshot};
use super::super::deadlock::{DeadlockReport, StallReport};
use super::super::pool::ConnectionPoolStats;
use super::super::threads::OsThreadStats;
use super::row::{Row, Shard, SliceCell};

/// The tracker's counters over one run.
#[derive(Debug, Clone)]
pub(in super::super) struct TrackerRun {
    pub before: TrackerSnapshot,
    pub after: TrackerSnapshot,
    /// Snapshots during the run, each with its time on the run's clock in nanoseconds.
    pub samples: Vec<(u64, TrackerSnapshot)>,
    pub elapsed_ns: u64,
    pub quiesced: Result<(), QuiesceError>,
    /// Number of events by the workload's count; `None` if it is unknown or a request did not end.
    pub expected_events: Option<u64>,
}

/// The numbers of requests in progress and of waits, at one moment.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Gauge {
    /// Time on the run's clock, in nanoseconds.
    pub at_ns: u64,
    /// Number of requests in progress.
    pub active: u64,
    /// Number of waits for a connection or a worker.
    pub pending: u64,
}

/// The raw result of one run.
#[derive(Debug, Default)]
pub(in super::super) struct Finished {
    pub rows: Vec<Row>,
    pub all: Shard,
    pub gauges: Vec<Gauge>,
    /// Start of the window on the run's clock, in nanoseconds.
    pub window_start_ns: u64,
    pub window_ns: u64,
    pub slice_ns: u64,
    /// Number of arrivals in the window that no worker took.
    pub unserved: u64,
    pub dropped: u64,
    pub arrivals_in_window: Option<u64>,
    pub pool: ConnectionPoolStats,
    pub deadlocks: Vec<DeadlockReport>,
    pub stalls: Vec<StallReport>,
    pub os_threads: Vec<OsThreadStats>,
    pub abandoned_threads: usize,
    pub tracker: Option<TrackerRun>,
    /// Share of all cores used by other programs, from 0 to 1; `None` if unknown.
    pub foreign_cpu: Option<f64>,
    pub clock_is_virtual: bool,
    pub stopped_early: bool,
    pub started_at_unix_ms: u64,
}

impl Finished {
    /// Returns the slices that lie completely in the window.
    pub fn whole_slices(&self) -> &[SliceCell] {
        &self.all.slices[..((self.window_ns / self.slice_ns) as usize).min(self.all.slices.len())]
    }
}
