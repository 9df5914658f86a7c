//! A buffer for each producer, emptied by a background thread at an interval.
//!
//! Recording contends with nobody. But how much survives is the size of the buffer against rate times interval: the
//! interval knows nothing of the rate.

use std::sync::Arc;

use super::background::Background;
use super::event::{Cause, Event, Outcome};
use super::queue::Queue;
use super::{Books, Collector, Handle, Limits};

/// The books with a queue for each producer. Shared with the background thread of the strategies that have one.
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

    /// Books what is in one queue.
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

    /// Puts the event into the producer's queue, or gives it up when that is full.
    #[inline]
    pub(super) fn push_or_lose(&self, handle: &mut Handle, event: Event) -> Outcome {
        let event = self.books.attempt(handle, event);
        if self.queues[handle.index()].push(event) {
            return Outcome::InFlight;
        }
        self.books.lose(handle, Cause::QueueFull);
        Outcome::Lost(Cause::QueueFull)
    }
}

/// A queue for each producer, which a background thread empties at [`Limits::interval`]; sheds when it is full.
#[derive(Debug)]
pub struct ThreadLocalBuffers {
    buffered: Arc<Buffered>,
    background: Background,
}

impl ThreadLocalBuffers {
    /// A collector within `limits`, with its background thread running.
    pub fn new(limits: &Limits) -> ThreadLocalBuffers {
        let buffered = Arc::new(Buffered::new(limits));
        let shared = Arc::clone(&buffered);
        let background = Background::start(limits.interval, move || shared.drain_all());
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
