//! A ring for each producer, emptied by an aggregator that is called when a ring is half full.
//!
//! Better than an interval: the call follows the rate. It still depends on when the aggregator gets a processor, and
//! with as many busy producers as processors that is too late.

use std::sync::Arc;

use super::background::Background;
use super::event::{Event, Outcome};
use super::thread_local_buffers::Buffered;
use super::{Books, Collector, Handle, Limits};

/// A ring for each producer; a half-full one calls the aggregator, a full one sheds.
#[derive(Debug)]
pub struct LockFreeRing {
    buffered: Arc<Buffered>,
    aggregator: Background,
}

impl LockFreeRing {
    /// A collector within `limits`, with its aggregator running.
    pub fn new(limits: &Limits) -> LockFreeRing {
        let buffered = Arc::new(Buffered::new(limits));
        let shared = Arc::clone(&buffered);
        let aggregator = Background::start(limits.interval, move || shared.drain_all());
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
        // A full ring that has been called for is not called for at every event that it sheds.
        if outcome == Outcome::InFlight && self.buffered.queues[handle.index()].is_worth_a_call() {
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
