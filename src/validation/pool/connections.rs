//! The pool of connections, and the handles of acquired connections.

use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::time::Instant;

use super::super::clock::RunClock;
use super::super::deadlock::{DeadlockDetector, HoldToken, ResourceId, WaitToken};
use super::super::error::BenchError;
use super::super::sync::lock;
use super::usage::{ConnectionPoolStats, PoolConfig, PoolError, Usage};

struct Inner<R> {
    config: PoolConfig,
    size: usize,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<R>>,
    usage: Mutex<Usage>,
    clock: RunClock,
    watched: Option<(DeadlockDetector, ResourceId)>,
}

/// A pool of connections of type `R`. Clones share one pool.
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

impl<R> ConnectionPool<R> {
    /// Creates a pool of these connections.
    ///
    /// # Errors
    /// Returns [`BenchError::PoolTooSmall`] if there are no connections.
    pub fn new(resources: Vec<R>, config: PoolConfig) -> Result<Self, BenchError> {
        Self::build(resources, config, None)
    }

    /// Creates a pool that reports its waits and its connections in use to `detector`.
    ///
    /// # Errors
    /// Returns the same errors as [`new`](Self::new).
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
        let clock = RunClock::default();
        clock.start();
        let capacity = u32::try_from(size).unwrap_or(u32::MAX);
        let inner = Inner {
            size,
            permits: Arc::new(Semaphore::new(size)),
            idle: Mutex::new(resources),
            usage: Mutex::new(Usage::new(size, config.leak_after)),
            clock,
            watched: detector.map(|d| (d.clone(), d.resource(&config.name, capacity))),
            config,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Waits for a connection. Dropping the future abandons the wait and loses no connection.
    ///
    /// # Errors
    /// Returns a [`PoolError`] after the time-out, if the pool is closed, or if this wait was chosen to break a
    /// deadlock.
    #[track_caller]
    pub fn acquire(&self) -> impl Future<Output = Result<ConnectionHandle<R>, PoolError>> + use<'_, R> {
        let at = Location::caller();
        async move {
            let permit = self.permits(1, at).await?;
            Ok(self.hand_out(permit, at))
        }
    }

    /// Waits for `n` connections at once, all or none, so that requests for several connections cannot deadlock the
    /// pool.
    ///
    /// # Errors
    /// Returns the same errors as [`acquire`](Self::acquire), and [`PoolError::TooMany`] if `n` exceeds the size of the
    /// pool.
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
        if let Some(permit) = inner.try_at_once(n, started_ns)? {
            return Ok(permit);
        }
        let permits = Arc::clone(&inner.permits);
        let pending = Pending { pool: inner, started_ns, outcome: WaitOutcome::Cancelled };
        let deadline = inner.config.acquire_timeout.map(|t| Instant::now() + t);
        let token = inner.watched.as_ref().map(|(d, r)| d.wait_at(*r, n, deadline.is_some(), at));
        let permit = tokio::select! {
            biased;
            permit = permits.acquire_many_owned(n) => permit.map_err(|_| PoolError::Closed)?,
            () = never_or_at(deadline) => {
                pending.end(WaitOutcome::TimedOut);
                let usage = lock(&inner.usage);
                let waited = Duration::from_nanos(inner.clock.now_ns().saturating_sub(started_ns));
                let (active, pending) = (usage.active.now, usage.pending.now);
                return Err(PoolError::Timeout { waited, active, pending });
            }
            () = chosen(token.as_ref()) => return Err(PoolError::WouldDeadlock),
        };
        pending.end(WaitOutcome::Served);
        Ok(permit)
    }

    fn hand_out(&self, permit: OwnedSemaphorePermit, at: &'static Location<'static>) -> ConnectionHandle<R> {
        let inner = &*self.inner;
        let hold = inner.watched.as_ref().map(|(d, r)| d.hold_at(*r, 1, at));
        let resource = lock(&inner.idle).pop();
        let slot = lock(&inner.usage).lend(at, inner.clock.now_ns());
        ConnectionHandle { pool: Arc::clone(&self.inner), resource, slot, _hold: hold, _permit: permit }
    }

    /// Returns the usage since the last [`reset_window`](Self::reset_window), or since the pool was created if there
    /// was none.
    pub fn get_stats(&self) -> ConnectionPoolStats {
        lock(&self.inner.usage).stats(self.inner.clock.now_ns())
    }

    /// Returns the number of waits in progress.
    pub(in super::super) fn pending(&self) -> usize {
        lock(&self.inner.usage).pending.now
    }

    /// Starts a new window. Counters and histograms restart at zero; connections stay in use, and waits continue.
    pub fn reset_window(&self) {
        lock(&self.inner.usage).reset(self.inner.clock.now_ns());
    }

    /// Closes the pool: every acquire fails from now on, including the waits in progress.
    pub fn close(&self) {
        self.inner.permits.close();
    }
}

impl<R> Inner<R> {
    /// Counts the start of an acquire and tries to acquire `n` permits at once. Returns `None` if the acquire must
    /// wait.
    fn try_at_once(&self, n: u32, now_ns: u64) -> Result<Option<OwnedSemaphorePermit>, PoolError> {
        let mut usage = lock(&self.usage);
        usage.counts.acquires_started += 1;
        match Arc::clone(&self.permits).try_acquire_many_owned(n) {
            Ok(permit) => {
                usage.counts.acquires_direct += 1;
                usage.wait.record(0);
                Ok(Some(permit))
            }
            Err(TryAcquireError::Closed) => {
                usage.counts.acquires_cancelled += 1;
                Err(PoolError::Closed)
            }
            Err(TryAcquireError::NoPermits) => {
                usage.pending.change(1, now_ns);
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

#[derive(Debug, Clone, Copy)]
enum WaitOutcome {
    Served,
    TimedOut,
    Cancelled,
}

/// A wait in progress. Dropping the value records the outcome of the wait.
struct Pending<'a, R> {
    pool: &'a Inner<R>,
    started_ns: u64,
    outcome: WaitOutcome,
}

impl<R> Pending<'_, R> {
    fn end(mut self, outcome: WaitOutcome) {
        self.outcome = outcome;
    }
}

impl<R> Drop for Pending<'_, R> {
    fn drop(&mut self) {
        let now_ns = self.pool.clock.now_ns();
        let waited = now_ns.saturating_sub(self.started_ns);
        let mut usage = lock(&self.pool.usage);
        usage.pending.change(-1, now_ns);
        match self.outcome {
            WaitOutcome::Served => {
                usage.counts.acquires_waited += 1;
                usage.served_wait_ns += u128::from(waited);
                return usage.wait.record(waited);
            }
            WaitOutcome::TimedOut => usage.counts.connection_timeouts += 1,
            WaitOutcome::Cancelled => usage.counts.acquires_cancelled += 1,
        }
        usage.wait.record_censored(waited);
    }
}

/// A connection acquired from a pool. Dropping the handle returns the connection to the pool.
pub struct ConnectionHandle<R> {
    pool: Arc<Inner<R>>,
    /// The connection; `None` only during the drop.
    resource: Option<R>,
    slot: usize,
    // Fields drop in order of declaration: the hold must end before the permit admits the next user.
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
        lock(&self.pool.usage).take_back(self.slot, self.pool.clock.now_ns());
    }
}
