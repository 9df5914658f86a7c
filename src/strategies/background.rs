//! A background thread that drains queues at an interval or on request.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use crate::sys::sync::{AtomicU32, Ordering};

/// A background thread that drains queues at an interval, and on request ([`call`](Self::call)). Dropping this value
/// ends the thread.
///
/// The background thread of a recorded program is [`heapledger::BackgroundAggregator`](crate::BackgroundAggregator).
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use heapledger::strategies::BackgroundAggregator;
///
/// let rounds = Arc::new(AtomicU64::new(0));
/// let counted = Arc::clone(&rounds);
/// let aggregator = BackgroundAggregator::spawn(Duration::from_millis(100), move || {
///     counted.fetch_add(1, Ordering::Relaxed);
/// });
/// aggregator.call();
/// while rounds.load(Ordering::Relaxed) == 0 {
///     std::thread::yield_now();
/// }
/// aggregator.stop();
/// ```
#[derive(Debug)]
pub struct BackgroundAggregator {
    end: Arc<AtomicU32>,
    thread: Option<Thread>,
    join: Mutex<Option<JoinHandle<()>>>,
}

impl BackgroundAggregator {
    /// Starts a thread that calls `round` at every interval and on request. If no thread can be started, queues are
    /// drained only at the end, and events that do not fit are counted as lost.
    pub fn spawn(interval: Duration, round: impl Fn() + Send + 'static) -> BackgroundAggregator {
        let end = Arc::new(AtomicU32::new(0));
        let ended = Arc::clone(&end);
        let body = move || {
            // Acquire: pairs with the release in `stop`.
            while ended.load(Ordering::Acquire) == 0 {
                thread::park_timeout(interval);
                round();
            }
        };
        let join = thread::Builder::new().name("strategy".to_owned()).spawn(body).ok();
        let thread = join.as_ref().map(|join| join.thread().clone());
        BackgroundAggregator { end, thread, join: Mutex::new(join) }
    }

    /// Requests a round of the thread now.
    pub fn call(&self) {
        if let Some(thread) = &self.thread {
            thread.unpark();
        }
    }

    /// Ends the thread and waits for it.
    pub fn stop(&self) {
        // Release: pairs with the acquire in the thread.
        self.end.store(1, Ordering::Release);
        self.call();
        let join = self.join.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(join) = join {
            // If the thread has panicked, its events stay in flight and are counted so.
            let _ = join.join();
        }
    }
}

impl Drop for BackgroundAggregator {
    fn drop(&mut self) {
        self.stop();
    }
}
