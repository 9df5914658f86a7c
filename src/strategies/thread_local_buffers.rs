//! A buffer per producer, drained by a background thread at an interval.
//!
//! Recording has no contention. Events are lost if a buffer has room for fewer events than its producer makes in an
//! interval, because the interval does not adapt to the rate.

use std::sync::Arc;

use super::background::BackgroundAggregator;
use super::books::{Books, Handle};
use super::collector::Collector;
use super::event::{Event, LossCause, Outcome};
use super::limits::Limits;
use super::queue::Queue;

/// A history with a queue per producer. Some strategies share this value with their background thread.
#[derive(Debug)]
pub(super) struct Buffered {
    pub(super) books: Books,
    pub(super) queues: Box<[Queue]>,
}

impl Buffered {
    pub(super) fn new(limits: &Limits) -> Buffered {
        let queues = (0..limits.producers).map(|_| Queue::new(limits.queue_events)).collect();
        Buffered { books: Books::new(limits), queues }
    }

    /// Drains one queue into the history.
    pub(super) fn drain(&self, queue: &Queue) {
        let mut history = self.books.open();
        queue.drain(|event| history.book(event));
    }

    pub(super) fn drain_all(&self) {
        for queue in self.queues.iter().filter(|queue| queue.len() > 0) {
            self.drain(queue);
        }
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.queues.iter().map(Queue::len).sum()
    }

    /// Pushes the event to the producer's queue, or drops it if the queue is full.
    #[inline]
    pub(super) fn push_or_lose(&self, handle: &mut Handle, event: Event) -> Outcome {
        let event = self.books.attempt(handle, event);
        if self.queues[handle.index()].push(event) {
            return Outcome::InFlight;
        }
        self.books.lose(handle, LossCause::QueueFull);
        Outcome::Lost(LossCause::QueueFull)
    }
}

/// A collector with a queue per producer. A background thread drains the queues every [`Limits::interval`]; a full
/// queue drops events.
#[derive(Debug)]
pub struct ThreadLocalBuffers {
    buffered: Arc<Buffered>,
    background: BackgroundAggregator,
}

impl ThreadLocalBuffers {
    /// Creates a collector within `limits` and starts its background thread.
    pub fn new(limits: &Limits) -> ThreadLocalBuffers {
        let buffered = Arc::new(Buffered::new(limits));
        let shared = Arc::clone(&buffered);
        let background = BackgroundAggregator::spawn(limits.interval, move || shared.drain_all());
        ThreadLocalBuffers { buffered, background }
    }
}

impl Collector for ThreadLocalBuffers {
    fn name(&self) -> &'static str {
        "thread-local buffers, interval"
    }

    fn books(&self) -> &Books {
        &self.buffered.books
    }

    fn record(&self, handle: &mut Handle, event: Event) -> Outcome {
        self.buffered.push_or_lose(handle, event)
    }

    fn in_flight(&self) -> u64 {
        self.buffered.in_flight()
    }

    fn finish(&self) {
        self.background.stop();
        self.buffered.drain_all();
    }
}
