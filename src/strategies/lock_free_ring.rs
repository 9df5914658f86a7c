//! A ring per producer, drained by a background thread that a half-full ring wakes.
//!
//! This adapts to the rate better than an interval. It still depends on when the background thread gets a processor, and with
//! as many busy producers as processors that is too late.

use std::sync::Arc;

use super::background::Background;
use super::books::{Books, Handle};
use super::collector::Collector;
use super::event::{Event, Outcome};
use super::limits::Limits;
use super::thread_local_buffers::Buffered;

/// A ring per producer: a half-full one wakes the background thread, a full one drops events.
#[derive(Debug)]
pub struct LockFreeRing {
    buffered: Arc<Buffered>,
    aggregator: Background,
}

impl LockFreeRing {
    /// A collector within `limits`, with its background thread running.
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
        // A full ring does not wake the thread for each dropped event.
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
