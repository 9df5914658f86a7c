//! A connection pool that accounts for every wait and every hold.
//!
//! First come, first served, on a fair semaphore; the connections themselves lie in a list behind it. Three laws hold
//! at any moment and are tested:
//!
//! * `started = direct + waited + timed out + cancelled + pending` (bb8's identity): a wait that times out or is
//!   dropped is an outcome, not a gap in the statistics. Leaving it out is coordinated omission again.
//! * no more connections are out than there are, and all come back, whether their handle is dropped by a return, a
//!   cancelled request or a panic;
//! * average usage is the time integral of the connections in use over the window (Little's law says that it equals
//!   the rate of acquisition times the mean hold), not an average over samples.
//!
//! A handle held for longer than `leak_after` is reported with the line that acquired it, as HikariCP does. Each pool
//! is a counted resource of the deadlock detector.

mod sizing;

pub use sizing::{erlang_c, erlang_c_mean_wait, smallest_pool, smallest_unlockable};

use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::time::Instant;

use super::clock::RunClock;
use super::config::BenchError;
use super::deadlock::{DeadlockDetector, HoldToken, ResourceId, WaitToken};
use super::stats::{Latencies, LatencySummary};

/// Leaks remembered at most.
const LEAKS_MAX: usize = 100;

/// How a pool behaves.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// The name in reports.
    pub name: String,
    /// How long an acquire waits; `None` is for ever.
    pub acquire_timeout: Option<Duration>,
    /// From when on a handle that is still out counts as leaked.
    pub leak_after: Duration,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            name: "pool".to_owned(),
            acquire_timeout: Some(Duration::from_secs(5)),
            leak_after: Duration::from_secs(10),
        }
    }
}

/// Why no connection was given.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PoolError {
    /// None became free in time.
    Timeout {
        /// How long the acquire waited.
        waited: Duration,
        /// Connections in use at the end of the wait.
        active: usize,
        /// Others that were still waiting.
        pending: usize,
    },
    /// The pool was closed.
    Closed,
    /// More connections were asked for at once than the pool has.
    TooMany {
        /// Connections asked for.
        asked: usize,
        /// Connections in the pool.
        size: usize,
    },
    /// The wait was chosen to break a deadlock.
    WouldDeadlock,
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout { waited, active, pending } => write!(
                f,
                "no connection within {waited:?} ({active} in use, {pending} waiting): enlarge the pool or hold connections for less time"
            ),
            Self::Closed => f.write_str("the pool is closed: acquire before closing it"),
            Self::TooMany { asked, size } => {
                write!(f, "{asked} connections of a pool of {size}: ask for fewer or enlarge the pool")
            }
            Self::WouldDeadlock => super::deadlock::WouldDeadlock.fmt(f),
        }
    }
}

impl std::error::Error for PoolError {}

/// A connection that was held for too long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeakReport {
    /// Where it was acquired, as `file:line`.
    pub location: String,
    /// For how long it has been held, or was.
    pub held_for_ms: f64,
    /// Whether it came back after all.
    pub returned_later: bool,
}

/// What a pool did in its window. Times in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ConnectionPoolStats {
    /// Connections in the pool; 0 when there was no pool.
    pub pool_size: usize,
    /// The most in use at once.
    pub peak_usage: usize,
    /// Mean number in use over time.
    pub average_usage: f64,
    /// Mean wait of the acquires that got a connection, waits of zero included; 0 when there were none.
    pub wait_time_ms: f64,
    /// Acquires that gave up.
    pub connection_timeouts: usize,
    /// Acquires begun.
    pub acquires_started: u64,
    /// Acquires served at once.
    pub acquires_direct: u64,
    /// Acquires served after a wait.
    pub acquires_waited: u64,
    /// Acquires dropped, failed or closed while they waited.
    pub acquires_cancelled: u64,
    /// Acquires waiting now.
    pub pending: usize,
    /// The most waiting at once.
    pub pending_peak: usize,
    /// Mean number waiting over time.
    pub pending_average: f64,
    /// All waits; those that timed out or were cancelled are censored.
    pub wait: LatencySummary,
    /// Hold times of the connections returned.
    pub usage: LatencySummary,
    /// Share of connections in use, in percent.
    pub utilization_percent: f64,
    /// Connections held for too long.
    pub leaks: Vec<LeakReport>,
}

impl ConnectionPoolStats {
    /// The law that every acquire has exactly one fate.
    pub const fn is_conserved(&self) -> bool {
        self.acquires_started
            == self.acquires_direct
                + self.acquires_waited
                + self.connection_timeouts as u64
                + self.acquires_cancelled
                + self.pending as u64
    }
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    at: &'static Location<'static>,
    since_ns: u64,
}

/// A level that changes over time, and its integral.
#[derive(Debug, Default)]
struct Gauge {
    now: usize,
    peak: usize,
    since_ns: u64,
    area: f64,
}

impl Gauge {
    fn change(&mut self, by: isize, now_ns: u64) {
        self.settle(now_ns);
        self.now = self.now.saturating_add_signed(by);
        self.peak = self.peak.max(self.now);
    }

    fn settle(&mut self, now_ns: u64) {
        self.area += self.now as f64 * now_ns.saturating_sub(self.since_ns) as f64;
        self.since_ns = self.since_ns.max(now_ns);
    }

    fn reset(&mut self, now_ns: u64) {
        *self = Self { now: self.now, peak: self.now, since_ns: now_ns, area: 0.0 };
    }
}

#[derive(Debug)]
struct Books {
    started: u64,
    direct: u64,
    waited: u64,
    timed_out: u64,
    cancelled: u64,
    active: Gauge,
    pending: Gauge,
    served_wait_ns: u128,
    wait: Latencies,
    usage: Latencies,
    window_ns: u64,
    slots: Vec<Option<Slot>>,
    leaks: Vec<LeakReport>,
}

struct Inner<R> {
    config: PoolConfig,
    size: usize,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<R>>,
    books: Mutex<Books>,
    clock: RunClock,
    watched: Option<(DeadlockDetector, ResourceId)>,
}

/// A pool of connections of type `R`. Clones share it.
///
/// # Examples
/// ```
/// use heapledger::validation::{ConnectionPool, PoolConfig};
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let pool = ConnectionPool::new(vec!["first", "second"], PoolConfig::default()).unwrap();
/// let connection = pool.acquire().await.unwrap();
/// assert_eq!(pool.get_stats().peak_usage, 1);
/// drop(connection);
/// # });
/// ```
pub struct ConnectionPool<R> {
    inner: Arc<Inner<R>>,
}

impl<R> Clone for ConnectionPool<R> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<R> fmt::Debug for ConnectionPool<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionPool")
            .field("name", &self.inner.config.name)
            .field("size", &self.inner.size)
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<R> ConnectionPool<R> {
    /// A pool of these connections.
    ///
    /// # Errors
    /// [`BenchError::PoolTooSmall`] when there are none.
    pub fn new(resources: Vec<R>, config: PoolConfig) -> Result<Self, BenchError> {
        Self::build(resources, config, None)
    }

    /// A pool whose waits and holds `detector` watches.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn watched(
        resources: Vec<R>,
        config: PoolConfig,
        detector: &DeadlockDetector,
    ) -> Result<Self, BenchError> {
        Self::build(resources, config, Some(detector))
    }

    fn build(
        resources: Vec<R>,
        config: PoolConfig,
        detector: Option<&DeadlockDetector>,
    ) -> Result<Self, BenchError> {
        let size = resources.len();
        if size == 0 {
            return Err(BenchError::PoolTooSmall { size, per_request: 1 });
        }
        let clock = RunClock::new();
        clock.start();
        let capacity = u32::try_from(size).unwrap_or(u32::MAX);
        let watched = detector.map(|d| (d.clone(), d.resource(&config.name, capacity)));
        let books = Books {
            started: 0,
            direct: 0,
            waited: 0,
            timed_out: 0,
            cancelled: 0,
            active: Gauge::default(),
            pending: Gauge::default(),
            served_wait_ns: 0,
            wait: Latencies::new(),
            usage: Latencies::new(),
            window_ns: 0,
            slots: vec![None; size],
            leaks: Vec::new(),
        };
        Ok(Self {
            inner: Arc::new(Inner {
                config,
                size,
                permits: Arc::new(Semaphore::new(size)),
                idle: Mutex::new(resources),
                books: Mutex::new(books),
                clock,
                watched,
            }),
        })
    }

    /// Waits for a connection. Dropping the future gives up the place in the line and loses nothing.
    ///
    /// # Errors
    /// [`PoolError`]: none in time, the pool is closed, or the wait was chosen to break a deadlock.
    #[track_caller]
    pub fn acquire(&self) -> impl Future<Output = Result<ConnectionHandle<R>, PoolError>> + use<'_, R> {
        let at = Location::caller();
        async move {
            let permit = self.permits(1, at).await?;
            Ok(self.hand_out(permit, at))
        }
    }

    /// Waits for `n` connections and gets all or none, so that requests that need several cannot lock the pool up.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire), and [`PoolError::TooMany`] for more than the pool has.
    #[track_caller]
    pub fn acquire_many(
        &self,
        n: usize,
    ) -> impl Future<Output = Result<Vec<ConnectionHandle<R>>, PoolError>> + use<'_, R> {
        let at = Location::caller();
        async move {
            if n > self.inner.size {
                return Err(PoolError::TooMany { asked: n, size: self.inner.size });
            }
            let mut permits = self.permits(n as u32, at).await?;
            Ok((0..n).filter_map(|_| Some(self.hand_out(permits.split(1)?, at))).collect())
        }
    }

    async fn permits(
        &self,
        n: u32,
        at: &'static Location<'static>,
    ) -> Result<OwnedSemaphorePermit, PoolError> {
        let inner = &*self.inner;
        let started_ns = inner.clock.now_ns();
        if let Some(direct) = inner.try_at_once(n, started_ns)? {
            return Ok(direct);
        }
        let permits = Arc::clone(&inner.permits);
        let mut pending = Pending { pool: inner, started_ns, settled: false };
        let deadline = inner.config.acquire_timeout.map(|t| Instant::now() + t);
        let token = inner.watched.as_ref().map(|(d, r)| d.wait_here(*r, n, deadline.is_some(), at));
        let permit = tokio::select! {
            biased;
            permit = permits.acquire_many_owned(n) => permit.map_err(|_| PoolError::Closed)?,
            () = never_or_at(deadline) => return Err(pending.timed_out()),
            () = chosen(token.as_ref()) => return Err(PoolError::WouldDeadlock),
        };
        pending.served();
        Ok(permit)
    }

    fn hand_out(&self, permit: OwnedSemaphorePermit, at: &'static Location<'static>) -> ConnectionHandle<R> {
        let inner = &*self.inner;
        let hold = inner.watched.as_ref().map(|(d, r)| d.hold_at(*r, 1, at));
        let resource = lock(&inner.idle).pop();
        let since_ns = inner.clock.now_ns();
        let mut books = lock(&inner.books);
        books.active.change(1, since_ns);
        let slot = books.slots.iter().position(Option::is_none).unwrap_or(0);
        books.slots[slot] = Some(Slot { at, since_ns });
        drop(books);
        ConnectionHandle { pool: Arc::clone(&self.inner), resource, slot, _hold: hold, _permit: permit }
    }

    /// What happened since the window began.
    pub fn get_stats(&self) -> ConnectionPoolStats {
        let inner = &*self.inner;
        let now_ns = inner.clock.now_ns();
        let mut b = lock(&inner.books);
        b.active.settle(now_ns);
        b.pending.settle(now_ns);
        let window = now_ns.saturating_sub(b.window_ns) as f64;
        let over_window = |area: f64| if window > 0.0 { area / window } else { 0.0 };
        let served = b.direct + b.waited;
        let average_usage = over_window(b.active.area);
        let leak_ns = inner.config.leak_after.as_nanos() as u64;
        let still_out = b.slots.iter().flatten().filter(|s| now_ns.saturating_sub(s.since_ns) > leak_ns);
        let leaks = b.leaks.iter().cloned().chain(still_out.map(|s| leak(s, now_ns, false))).collect();
        ConnectionPoolStats {
            pool_size: inner.size,
            peak_usage: b.active.peak,
            average_usage,
            wait_time_ms: if served > 0 { b.served_wait_ns as f64 / served as f64 / 1e6 } else { 0.0 },
            connection_timeouts: b.timed_out as usize,
            acquires_started: b.started,
            acquires_direct: b.direct,
            acquires_waited: b.waited,
            acquires_cancelled: b.cancelled,
            pending: b.pending.now,
            pending_peak: b.pending.peak,
            pending_average: over_window(b.pending.area),
            wait: b.wait.summary(),
            usage: b.usage.summary(),
            utilization_percent: 100.0 * average_usage / inner.size as f64,
            leaks,
        }
    }

    /// Waits going on now.
    pub(super) fn pending(&self) -> usize {
        lock(&self.inner.books).pending.now
    }

    /// Begins a new window: counters and histograms start again, what is out or waiting stays so.
    pub fn reset_window(&self) {
        let now_ns = self.inner.clock.now_ns();
        let mut b = lock(&self.inner.books);
        b.active.reset(now_ns);
        b.pending.reset(now_ns);
        // Those already waiting will end in this window, so they begin in it too.
        b.started = b.pending.now as u64;
        (b.direct, b.waited, b.timed_out, b.cancelled, b.served_wait_ns) = (0, 0, 0, 0, 0);
        b.wait.clear();
        b.usage.clear();
        b.leaks.clear();
        b.window_ns = now_ns;
    }

    /// Refuses every acquire from now on, those that wait included.
    pub fn close(&self) {
        self.inner.permits.close();
    }
}

impl<R> Inner<R> {
    /// Books the beginning of an acquire, and its end when permits are free.
    fn try_at_once(&self, n: u32, now_ns: u64) -> Result<Option<OwnedSemaphorePermit>, PoolError> {
        let mut books = lock(&self.books);
        books.started += 1;
        match Arc::clone(&self.permits).try_acquire_many_owned(n) {
            Ok(permit) => {
                books.direct += 1;
                books.wait.record(0);
                Ok(Some(permit))
            }
            Err(TryAcquireError::Closed) => {
                books.cancelled += 1;
                Err(PoolError::Closed)
            }
            Err(TryAcquireError::NoPermits) => {
                books.pending.change(1, now_ns);
                Ok(None)
            }
        }
    }
}

async fn never_or_at(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn chosen(token: Option<&WaitToken>) {
    match token {
        Some(token) => {
            token.chosen_as_victim().await;
        }
        None => std::future::pending().await,
    }
}

fn leak(slot: &Slot, now_ns: u64, returned_later: bool) -> LeakReport {
    LeakReport {
        location: format!("{}:{}", slot.at.file(), slot.at.line()),
        held_for_ms: now_ns.saturating_sub(slot.since_ns) as f64 / 1e6,
        returned_later,
    }
}

/// An acquire under way; whatever becomes of it, it is booked.
struct Pending<'a, R> {
    pool: &'a Inner<R>,
    started_ns: u64,
    settled: bool,
}

impl<R> Pending<'_, R> {
    fn served(&mut self) {
        self.settle(|b, waited| {
            b.waited += 1;
            b.served_wait_ns += u128::from(waited);
            b.wait.record(waited);
        });
    }

    fn timed_out(&mut self) -> PoolError {
        self.settle(|b, waited| {
            b.timed_out += 1;
            b.wait.record_censored(waited);
        });
        let waited = Duration::from_nanos(self.pool.clock.now_ns().saturating_sub(self.started_ns));
        let b = lock(&self.pool.books);
        PoolError::Timeout { waited, active: b.active.now, pending: b.pending.now }
    }

    fn settle(&mut self, book: impl FnOnce(&mut Books, u64)) {
        self.settled = true;
        let now_ns = self.pool.clock.now_ns();
        let mut b = lock(&self.pool.books);
        b.pending.change(-1, now_ns);
        // A window that began during the wait only saw the rest of it.
        book(&mut b, now_ns.saturating_sub(self.started_ns));
    }
}

impl<R> Drop for Pending<'_, R> {
    fn drop(&mut self) {
        if !self.settled {
            self.settle(|b, waited| {
                b.cancelled += 1;
                b.wait.record_censored(waited);
            });
        }
    }
}

/// A connection on loan. Dropping it gives it back.
pub struct ConnectionHandle<R> {
    pool: Arc<Inner<R>>,
    /// Always there until the drop.
    resource: Option<R>,
    slot: usize,
    // Order matters: the books are told before the permit lets the next one in.
    _hold: Option<HoldToken>,
    _permit: OwnedSemaphorePermit,
}

impl<R: fmt::Debug> fmt::Debug for ConnectionHandle<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConnectionHandle").field(&self.resource).finish()
    }
}

impl<R> Deref for ConnectionHandle<R> {
    type Target = R;

    fn deref(&self) -> &R {
        self.resource.as_ref().expect("a handle has its connection until it is dropped")
    }
}

impl<R> DerefMut for ConnectionHandle<R> {
    fn deref_mut(&mut self) -> &mut R {
        self.resource.as_mut().expect("a handle has its connection until it is dropped")
    }
}

impl<R> Drop for ConnectionHandle<R> {
    fn drop(&mut self) {
        if let Some(resource) = self.resource.take() {
            lock(&self.pool.idle).push(resource);
        }
        let now_ns = self.pool.clock.now_ns();
        let mut b = lock(&self.pool.books);
        b.active.change(-1, now_ns);
        let Some(slot) = b.slots[self.slot].take() else { return };
        let held = now_ns.saturating_sub(slot.since_ns);
        b.usage.record(held);
        if held > self.pool.config.leak_after.as_nanos() as u64 && b.leaks.len() < LEAKS_MAX {
            b.leaks.push(leak(&slot, now_ns, true));
        }
    }
}
