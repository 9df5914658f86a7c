//! A ring per producer. A background thread drains the rings; a half-full ring wakes it.
//!
//! Waking adapts to the rate of events better than an interval does. The strategy still depends on the time at which
//! the background thread gets a processor. If there are as many busy producers as processors, this is too late.

use std::sync::Arc;

use super::background::BackgroundAggregator;
use super::books::{Books, Handle};
use super::collector::Collector;
use super::event::{Event, Outcome};
use super::limits::Limits;
use super::thread_local_buffers::Buffered;

/// A collector with a ring per producer. A half-full ring wakes the background thread; a full ring drops events.
#[derive(Debug)]
pub struct LockFreeRing {
    buffered: Arc<Buffered>,
    aggregator: BackgroundAggregator,
}

/// Another name of [`LockFreeRing`]. Producers write to the ring only, so only the background thread takes the lock of
/// the [`BoundedHistory`](super::BoundedHistory).
pub type LockFreeRingBuffer = LockFreeRing;

impl LockFreeRing {
    /// Creates a collector within `limits` and starts its background thread.
    pub fn new(limits: &Limits) -> LockFreeRing {
        let buffered = Arc::new(Buffered::new(limits));
        let shared = Arc::clone(&buffered);
        let aggregator = BackgroundAggregator::spawn(limits.interval, move || shared.drain_all());
        LockFreeRing { buffered, aggregator }
    }
}

impl Collector for LockFreeRing {
    fn name(&self) -> &'static str {
        "lock-free ring, aggregator"
    }

    fn books(&self) -> &Books {
        &self.buffered.books
    }

    fn record(&self, handle: &mut Handle, event: Event) -> Outcome {
        let outcome = self.buffered.push_or_lose(handle, event);
        // A dropped event does not wake the thread, because an earlier event has already done so.
        if outcome == Outcome::InFlight && self.buffered.queues[handle.index()].should_wake() {
            self.aggregator.call();
        }
        outcome
    }

    fn in_flight(&self) -> u64 {
        self.buffered.in_flight()
    }

    fn finish(&self) {
        self.aggregator.stop();
        self.buffered.drain_all();
    }
}
