//! A ring per producer, which the producer drains itself when the ring is full. By default, the recorder works in this
//! way.
//!
//! The strategy has no background thread, to show that completeness does not depend on one. A producer books the events
//! of a full ring at once, while their words are still in the cache of its processor. A producer holds the lock only to
//! book one full ring, which bounds the wait of other producers for the lock.

use super::books::{Books, Handle};
use super::collector::Collector;
use super::event::{Event, Outcome};
use super::limits::Limits;
use super::thread_local_buffers::Buffered;

/// A collector with a ring per producer. A producer whose ring is full books the ring and continues; no event is lost.
#[derive(Debug)]
pub struct RingWithHelp {
    buffered: Buffered,
}

impl RingWithHelp {
    /// Creates a collector within `limits`.
    pub fn new(limits: &Limits) -> RingWithHelp {
        RingWithHelp { buffered: Buffered::new(limits) }
    }

    #[cold]
    fn help(&self, handle: &Handle, event: Event) {
        let queue = &self.buffered.queues[handle.index()];
        let mut history = self.buffered.books.open();
        queue.drain(|older| history.book(older));
        // The ring stays empty, because this producer is its only producer.
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
