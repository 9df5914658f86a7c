//! Instrumented asynchronous locks.
//!
//! The locks are those of tokio, and also report to the deadlock detector. An acquired lock is reported as a hold, and
//! a contended lock as a wait, each with its source line. A wait fails with [`WouldDeadlock`] if it was chosen to break
//! a deadlock.

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::panic::Location;

use tokio::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::actor::ResourceId;
use super::detector::DeadlockDetector;
use super::report::WouldDeadlock;
use super::token::HoldToken;

/// Number of units of a readers-writer lock: a reader takes one unit, a writer takes all.
const ALL: u32 = u32::MAX;

/// A guard of a tokio lock, with its hold in the detector.
#[derive(Debug)]
pub struct TrackedGuard<G> {
    // Fields drop in order of declaration: the hold must end before the next owner can acquire the lock.
    _hold: HoldToken,
    guard: G,
}

/// The guard of a locked [`TrackedMutex`].
pub type TrackedMutexGuard<'a, T> = TrackedGuard<MutexGuard<'a, T>>;
/// The guard of shared access to a [`TrackedRwLock`].
pub type TrackedReadGuard<'a, T> = TrackedGuard<RwLockReadGuard<'a, T>>;
/// The guard of exclusive access to a [`TrackedRwLock`].
pub type TrackedWriteGuard<'a, T> = TrackedGuard<RwLockWriteGuard<'a, T>>;

impl<G: Deref> Deref for TrackedGuard<G> {
    type Target = G::Target;

    fn deref(&self) -> &G::Target {
        &self.guard
    }
}

impl<G: DerefMut> DerefMut for TrackedGuard<G> {
    fn deref_mut(&mut self) -> &mut G::Target {
        &mut self.guard
    }
}

#[derive(Debug)]
struct Watched {
    detector: DeadlockDetector,
    resource: ResourceId,
}

impl Watched {
    fn new(name: &str, capacity: u32, detector: &DeadlockDetector) -> Self {
        Self { detector: detector.clone(), resource: detector.resource(name, capacity) }
    }

    fn held<G>(&self, units: u32, at: &'static Location<'static>, guard: G) -> TrackedGuard<G> {
        TrackedGuard { _hold: self.detector.hold_at(self.resource, units, at), guard }
    }

    /// Acquires the lock: with the guard `free` if the lock was free, else by waiting for the guard from `wait`.
    async fn acquire<G>(
        &self,
        units: u32,
        at: &'static Location<'static>,
        free: Option<G>,
        wait: impl Future<Output = G>,
    ) -> Result<TrackedGuard<G>, WouldDeadlock> {
        if let Some(guard) = free {
            return Ok(self.held(units, at, guard));
        }
        let token = self.detector.wait_at(self.resource, units, false, at);
        let guard = tokio::select! {
            biased;
            guard = wait => guard,
            e = token.chosen_as_victim() => return Err(e),
        };
        Ok(TrackedGuard { _hold: token.into_hold(), guard })
    }
}

/// A mutex for asynchronous code, which reports waits and holds to a [`DeadlockDetector`].
#[derive(Debug)]
pub struct TrackedMutex<T> {
    watched: Watched,
    lock: Mutex<T>,
}

impl<T> TrackedMutex<T> {
    /// Creates a mutex with a name for reports.
    pub fn new(name: &str, value: T, detector: &DeadlockDetector) -> Self {
        Self { watched: Watched::new(name, 1, detector), lock: Mutex::new(value) }
    }

    /// Waits for the lock, in order of arrival.
    ///
    /// # Errors
    /// Returns [`WouldDeadlock`] if the wait was chosen to break a deadlock.
    #[track_caller]
    pub fn lock(&self) -> impl Future<Output = Result<TrackedMutexGuard<'_, T>, WouldDeadlock>> {
        let at = Location::caller();
        async move { self.watched.acquire(1, at, self.lock.try_lock().ok(), self.lock.lock()).await }
    }

    /// Acquires the lock if it is free; returns `None` if it is not.
    #[track_caller]
    pub fn try_lock(&self) -> Option<TrackedMutexGuard<'_, T>> {
        Some(self.watched.held(1, Location::caller(), self.lock.try_lock().ok()?))
    }
}

/// A readers-writer lock for asynchronous code, which reports waits and holds to a [`DeadlockDetector`]. The lock is
/// fair, so readers queue behind a waiting writer.
#[derive(Debug)]
pub struct TrackedRwLock<T> {
    watched: Watched,
    lock: RwLock<T>,
}

impl<T> TrackedRwLock<T> {
    /// Creates a lock with a name for reports.
    pub fn new(name: &str, value: T, detector: &DeadlockDetector) -> Self {
        Self { watched: Watched::new(name, ALL, detector), lock: RwLock::new(value) }
    }

    /// Waits for shared access.
    ///
    /// # Errors
    /// Returns [`WouldDeadlock`] if the wait was chosen to break a deadlock.
    #[track_caller]
    pub fn read(&self) -> impl Future<Output = Result<TrackedReadGuard<'_, T>, WouldDeadlock>> {
        let at = Location::caller();
        async move { self.watched.acquire(1, at, self.lock.try_read().ok(), self.lock.read()).await }
    }

    /// Waits for exclusive access.
    ///
    /// # Errors
    /// Returns [`WouldDeadlock`] if the wait was chosen to break a deadlock.
    #[track_caller]
    pub fn write(&self) -> impl Future<Output = Result<TrackedWriteGuard<'_, T>, WouldDeadlock>> {
        let at = Location::caller();
        async move { self.watched.acquire(ALL, at, self.lock.try_write().ok(), self.lock.write()).await }
    }
}
