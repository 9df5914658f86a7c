//! Locking of mutexes that continues after a panic.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex` even after a panic: a panic of the system under test must not end the measurement.
pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
