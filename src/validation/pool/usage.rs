//! The configuration, errors and accounting of a pool.

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::deadlock::{Actor, WouldDeadlock, entered};
use super::super::stats::{Latencies, LatencySummary};

/// Maximum number of reported leaks.
const LEAKS_MAX: usize = 100;

/// The configuration of a pool.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// Name for reports.
    pub name: String,
    /// Time-out of an acquire. With `None`, an acquire waits without limit.
    pub acquire_timeout: Option<Duration>,
    /// Hold time above which a connection counts as leaked.
    pub leak_after: Duration,
}

impl Default for PoolConfig {
    fn default() -> Self {
        let (acquire_timeout, leak_after) = (Some(Duration::from_secs(5)), Duration::from_secs(10));
        Self { name: "pool".to_owned(), acquire_timeout, leak_after }
    }
}

/// The error of a failed acquire.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// No connection became free in time.
    #[error(
        "no connection within {waited:?} ({active} in use, {pending} waiting): enlarge the pool or hold connections for less time"
    )]
    Timeout {
        /// Time of the wait.
        waited: Duration,
        /// Number of connections in use at the end of the wait.
        active: usize,
        /// Number of other acquires that still wait.
        pending: usize,
    },
    /// The pool is closed.
    #[error("the pool is closed: acquire before closing it")]
    Closed,
    /// The request exceeds the size of the pool.
    #[error("{asked} connections of a pool of {size}: ask for fewer or enlarge the pool")]
    TooMany {
        /// Number of requested connections.
        asked: usize,
        /// Number of connections in the pool.
        size: usize,
    },
    /// The wait was chosen to break a deadlock.
    #[error("{WouldDeadlock}")]
    WouldDeadlock,
}

/// A connection that was held for too long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeakReport {
    /// Source line of the acquire, as `file:line`.
    pub location: String,
    /// Name of the user that acquired the connection, such as `user 3`; `None` if no user of a run acquired it.
    #[serde(default)]
    pub user: Option<String>,
    /// Hold time in milliseconds. If the connection was not returned, the time so far.
    pub held_for_ms: f64,
    /// Whether the connection was returned later.
    pub returned_later: bool,
}

/// Usage of a pool since the start of its window. Times are in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ConnectionPoolStats {
    /// Number of connections in the pool; 0 without a pool.
    pub pool_size: usize,
    /// Maximum number of connections in use.
    pub peak_usage: usize,
    /// Time average of the number of connections in use.
    pub average_usage: f64,
    /// Mean wait of the served acquires, waits of zero included; 0 if no acquire was served.
    pub wait_time_ms: f64,
    /// Number of acquires that timed out.
    pub connection_timeouts: usize,
    /// Number of acquires started.
    pub acquires_started: u64,
    /// Number of acquires served without a wait.
    pub acquires_direct: u64,
    /// Number of acquires served after a wait.
    pub acquires_waited: u64,
    /// Number of acquires that ended during their wait, because they were cancelled or failed, or because the pool was
    /// closed.
    pub acquires_cancelled: u64,
    /// Number of acquires that still wait.
    pub pending: usize,
    /// Maximum number of waiting acquires.
    pub pending_peak: usize,
    /// Time average of the number of waiting acquires.
    pub pending_average: f64,
    /// Summary of all waits. The waits of timed-out and cancelled acquires are censored: they count as lower bounds.
    pub wait: LatencySummary,
    /// Summary of the hold times of returned connections.
    pub usage: LatencySummary,
    /// Average usage in percent of the pool size.
    pub utilization_percent: f64,
    /// Connections held for longer than `leak_after`.
    pub leaks: Vec<LeakReport>,
}

impl ConnectionPoolStats {
    /// Whether every acquire has exactly one outcome.
    pub const fn is_conserved(&self) -> bool {
        self.acquires_started
            == self.acquires_direct
                + self.acquires_waited
                + self.connection_timeouts as u64
                + self.acquires_cancelled
                + self.pending as u64
    }
}

/// The record of a connection in use.
#[derive(Debug, Clone)]
struct Loan {
    at: &'static Location<'static>,
    user: Option<Arc<Actor>>,
    since_ns: u64,
}

impl Loan {
    fn leak(&self, now_ns: u64, returned_later: bool) -> LeakReport {
        LeakReport {
            location: format!("{}:{}", self.at.file(), self.at.line()),
            user: self.user.as_ref().map(|user| user.name.clone()),
            held_for_ms: now_ns.saturating_sub(self.since_ns) as f64 / 1e6,
            returned_later,
        }
    }
}

/// A number that changes over time, such as the connections in use, with its peak and its time integral.
#[derive(Debug, Default)]
pub(super) struct Level {
    pub now: usize,
    peak: usize,
    since_ns: u64,
    area: f64,
}

impl Level {
    pub fn change(&mut self, by: isize, now_ns: u64) {
        self.integrate(now_ns);
        self.now = self.now.saturating_add_signed(by);
        self.peak = self.peak.max(self.now);
    }

    fn integrate(&mut self, now_ns: u64) {
        self.area += self.now as f64 * now_ns.saturating_sub(self.since_ns) as f64;
        self.since_ns = self.since_ns.max(now_ns);
    }

    fn reset(&mut self, now_ns: u64) {
        *self = Self { now: self.now, peak: self.now, since_ns: now_ns, area: 0.0 };
    }
}

/// The usage of a pool since the start of its window.
#[derive(Debug)]
pub(super) struct Usage {
    /// Counters of the acquires. `stats` computes the other fields of the struct.
    pub counts: ConnectionPoolStats,
    pub served_wait_ns: u128,
    pub active: Level,
    pub pending: Level,
    pub wait: Latencies,
    held: Latencies,
    window_ns: u64,
    leak_ns: u64,
    loans: Vec<Option<Loan>>,
    leaks: Vec<LeakReport>,
}

impl Usage {
    pub fn new(size: usize, leak_after: Duration) -> Self {
        Self {
            counts: ConnectionPoolStats { pool_size: size, ..ConnectionPoolStats::default() },
            served_wait_ns: 0,
            active: Level::default(),
            pending: Level::default(),
            wait: Latencies::default(),
            held: Latencies::default(),
            window_ns: 0,
            leak_ns: leak_after.as_nanos() as u64,
            loans: vec![None; size],
            leaks: Vec::new(),
        }
    }

    /// Records that a connection is handed out, and returns the slot of the record.
    pub fn lend(&mut self, at: &'static Location<'static>, since_ns: u64) -> usize {
        self.active.change(1, since_ns);
        let slot = self.loans.iter().position(Option::is_none).unwrap_or(0);
        self.loans[slot] = Some(Loan { at, user: entered(), since_ns });
        slot
    }

    pub fn take_back(&mut self, slot: usize, now_ns: u64) {
        self.active.change(-1, now_ns);
        let Some(loan) = self.loans[slot].take() else { return };
        let held = now_ns.saturating_sub(loan.since_ns);
        self.held.record(held);
        if held > self.leak_ns && self.leaks.len() < LEAKS_MAX {
            self.leaks.push(loan.leak(now_ns, true));
        }
    }

    /// Starts a new window. Counters and histograms restart at zero; connections stay in use, and waits continue.
    pub fn reset(&mut self, now_ns: u64) {
        self.active.reset(now_ns);
        self.pending.reset(now_ns);
        // Waits in progress will end in the new window, so they count as started in it.
        let (pool_size, acquires_started) = (self.loans.len(), self.pending.now as u64);
        self.counts = ConnectionPoolStats { pool_size, acquires_started, ..ConnectionPoolStats::default() };
        self.served_wait_ns = 0;
        self.wait.clear();
        self.held.clear();
        self.leaks.clear();
        self.window_ns = now_ns;
    }

    pub fn stats(&mut self, now_ns: u64) -> ConnectionPoolStats {
        self.active.integrate(now_ns);
        self.pending.integrate(now_ns);
        let window = now_ns.saturating_sub(self.window_ns) as f64;
        let over_window = |area: f64| if window > 0.0 { area / window } else { 0.0 };
        let served = self.counts.acquires_direct + self.counts.acquires_waited;
        let average_usage = over_window(self.active.area);
        let overdue = |loan: &&Loan| now_ns.saturating_sub(loan.since_ns) > self.leak_ns;
        let unreturned = self.loans.iter().flatten().filter(overdue).map(|loan| loan.leak(now_ns, false));
        ConnectionPoolStats {
            peak_usage: self.active.peak,
            average_usage,
            wait_time_ms: self.served_wait_ns as f64 / served.max(1) as f64 / 1e6,
            pending: self.pending.now,
            pending_peak: self.pending.peak,
            pending_average: over_window(self.pending.area),
            wait: self.wait.summary(),
            usage: self.held.summary(),
            utilization_percent: 100.0 * average_usage / self.loans.len() as f64,
            leaks: self.leaks.iter().cloned().chain(unreturned).collect(),
            ..self.counts.clone()
        }
    }
}
