//! Asynchronous locks that the detector sees.
//!
//! They are tokio's locks with three additions: a free lock is noted as held, a taken one as waited for, with the
//! source line of each; and a wait can fail with [`WouldDeadlock`] when it was chosen to break a deadlock.

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::panic::Location;

use tokio::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{DeadlockDetector, HoldToken, ResourceId, WouldDeadlock};

/// Units of a readers-writer lock: a reader takes one, a writer all.
const ALL: u32 = u32::MAX;

/// A mutual exclusion lock for asynchronous code.
#[derive(Debug)]
pub struct TrackedMutex<T> {
    detector: DeadlockDetector,
    resource: ResourceId,
    lock: Mutex<T>,
}

/// A locked [`TrackedMutex`].
#[derive(Debug)]
pub struct TrackedMutexGuard<'a, T> {
    // Fields drop in order: the books first, so that nobody else can hold it in them before we do not.
    _hold: HoldToken,
    guard: MutexGuard<'a, T>,
}

impl<T> TrackedMutex<T> {
    /// A lock called `name` in reports.
    pub fn new(name: &str, value: T, detector: &DeadlockDetector) -> Self {
        Self { detector: detector.clone(), resource: detector.resource(name, 1), lock: Mutex::new(value) }
    }

    /// Waits for the lock, in order of arrival.
    ///
    /// # Errors
    /// [`WouldDeadlock`] when the wait was chosen to break a deadlock.
    #[track_caller]
    pub fn lock(&self) -> impl Future<Output = Result<TrackedMutexGuard<'_, T>, WouldDeadlock>> {
        let at = Location::caller();
        async move {
            if let Ok(guard) = self.lock.try_lock() {
                return Ok(TrackedMutexGuard { _hold: self.detector.hold_at(self.resource, 1, at), guard });
            }
            let token = self.detector.wait_here(self.resource, 1, false, at);
            let guard = tokio::select! {
                biased;
                guard = self.lock.lock() => guard,
                e = token.chosen_as_victim() => return Err(e),
            };
            Ok(TrackedMutexGuard { _hold: token.into_hold(), guard })
        }
    }

    /// The lock if it is free.
    #[track_caller]
    pub fn try_lock(&self) -> Option<TrackedMutexGuard<'_, T>> {
        let guard = self.lock.try_lock().ok()?;
        Some(TrackedMutexGuard { _hold: self.detector.hold_now(self.resource, 1), guard })
    }
}

impl<T> Deref for TrackedMutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for TrackedMutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

/// A readers-writer lock for asynchronous code; fair, so readers queue behind a waiting writer.
#[derive(Debug)]
pub struct TrackedRwLock<T> {
    detector: DeadlockDetector,
    resource: ResourceId,
    lock: RwLock<T>,
}

/// Shared access to a [`TrackedRwLock`].
#[derive(Debug)]
pub struct TrackedReadGuard<'a, T> {
    _hold: HoldToken,
    guard: RwLockReadGuard<'a, T>,
}

/// Sole access to a [`TrackedRwLock`].
#[derive(Debug)]
pub struct TrackedWriteGuard<'a, T> {
    _hold: HoldToken,
    guard: RwLockWriteGuard<'a, T>,
}

impl<T> TrackedRwLock<T> {
    /// A lock called `name` in reports.
    pub fn new(name: &str, value: T, detector: &DeadlockDetector) -> Self {
        Self { detector: detector.clone(), resource: detector.resource(name, ALL), lock: RwLock::new(value) }
    }

    /// Waits for shared access.
    ///
    /// # Errors
    /// [`WouldDeadlock`] when the wait was chosen to break a deadlock.
    #[track_caller]
    pub fn read(&self) -> impl Future<Output = Result<TrackedReadGuard<'_, T>, WouldDeadlock>> {
        let at = Location::caller();
        async move {
            if let Ok(guard) = self.lock.try_read() {
                return Ok(TrackedReadGuard { _hold: self.detector.hold_at(self.resource, 1, at), guard });
            }
            let token = self.detector.wait_here(self.resource, 1, false, at);
            let guard = tokio::select! {
                biased;
                guard = self.lock.read() => guard,
                e = token.chosen_as_victim() => return Err(e),
            };
            Ok(TrackedReadGuard { _hold: token.into_hold(), guard })
        }
    }

    /// Waits for sole access.
    ///
    /// # Errors
    /// [`WouldDeadlock`] when the wait was chosen to break a deadlock.
    #[track_caller]
    pub fn write(&self) -> impl Future<Output = Result<TrackedWriteGuard<'_, T>, WouldDeadlock>> {
        let at = Location::caller();
        async move {
            if let Ok(guard) = self.lock.try_write() {
                return Ok(TrackedWriteGuard { _hold: self.detector.hold_at(self.resource, ALL, at), guard });
            }
            let token = self.detector.wait_here(self.resource, ALL, false, at);
            let guard = tokio::select! {
                biased;
                guard = self.lock.write() => guard,
                e = token.chosen_as_victim() => return Err(e),
            };
            Ok(TrackedWriteGuard { _hold: token.into_hold(), guard })
        }
    }
}

impl<T> Deref for TrackedReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> Deref for TrackedWriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for TrackedWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}
