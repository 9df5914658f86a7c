//! A ring for each producer, which books it itself when it is full: the mechanism of the default.
//!
//! There is no background thread here at all, to show that completeness does not depend on one: the price of booking
//! is paid by whoever makes the events, once in a ring, while its words are still in that processor's cache. The wait
//! for the lock is bounded by the others' rings, which are bounded.

use super::event::{Event, Outcome};
use super::thread_local_buffers::Buffered;
use super::{Books, Collector, Handle, Limits};

/// A ring for each producer; who finds its ring full books it and goes on. Nothing is shed.
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
        // The ring is empty now, and its only producer is here.
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
