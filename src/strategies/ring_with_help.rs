//! A ring per producer, which the producer drains itself when it is full: the mechanism of the default.
//!
//! There is no background thread, to show that completeness does not depend on one: each producer books its own events, once
//! per ring, while the words are still in its processor's cache. The wait for the lock is bounded by the sizes of the
//! other rings.

use super::books::{Books, Handle};
use super::collector::Collector;
use super::event::{Event, Outcome};
use super::limits::Limits;
use super::thread_local_buffers::Buffered;

/// A ring per producer. A producer with a full ring books it and continues. No event is lost.
#[derive(Debug)]
pub struct RingWithHelp {
    buffered: Buffered,
}

impl RingWithHelp {
    /// A collector within `limits`.
    pub fn new(limits: &Limits) -> RingWithHelp {
        RingWithHelp { buffered: Buffered::new(limits) }
    }

    #[cold]
    fn help(&self, handle: &Handle, event: Event) {
        let queue = &self.buffered.queues[handle.index()];
        let mut history = self.buffered.books.open();
        queue.drain(|older| history.book(older));
        // The ring is empty, and this is its only producer.
        history.book(event);
    }
}

impl Collector for RingWithHelp {
    fn name(&self) -> &'static str {
        "ring with help (the default's way)"
    }

    fn books(&self) -> &Books {
        &self.buffered.books
    }

    fn record(&self, handle: &mut Handle, event: Event) -> Outcome {
        let event = self.buffered.books.attempt(handle, event);
        if self.buffered.queues[handle.index()].push(event) {
            return Outcome::InFlight;
        }
        self.help(handle, event);
        Outcome::Recorded
    }

    fn in_flight(&self) -> u64 {
        self.buffered.in_flight()
    }

    fn finish(&self) {
        self.buffered.drain_all();
    }
}
