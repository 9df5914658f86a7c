//! A ring per producer, drained by a background thread that a half-full ring wakes.
//!
//! Waking adapts to the rate of events better than an interval. The strategy still depends on when the background
//! thread gets a processor, which is too late if there are as many busy producers as processors.

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

/// Another name of [`LockFreeRing`]. The ring stands before the [`BoundedHistory`](super::BoundedHistory), so only the
/// background thread takes the lock of the history.
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
        // A dropped event does not wake the thread, because an earlier event has done so.
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
