//! Many queues: for each producer one of allocations and frees and one of smart pointers.
//!
//! # The selector
//!
//! A shared counter that deals events out in turn would be the most contended line of all, and would tear the order of
//! a producer apart. Here the producer's own number selects, which costs nothing and keeps order.
//!
//! # Order across two queues
//!
//! An event of one kind must not overtake an older one of the other kind. Looking at both heads is not enough: between
//! the two looks the producer may add to the first queue, then to the second. So the producer publishes one count for
//! both, [`Admitted`], after each push. The consumer reads it first; then all events up to that count are visible
//! at the fronts of the two queues, and merging by sequence number takes exactly those, in order.

use std::sync::Arc;

use super::background::Background;
use super::event::{Cause, Event, Outcome};
use super::queue::{Admitted, Queue};
use super::{Books, Collector, Handle, Limits};
use crate::sys::sync::{AtomicU64, Ordering};

/// What the collector and its background thread share.
#[derive(Debug)]
struct Queues {
    books: Books,
    allocation_queues: Box<[Queue]>,
    smart_pointer_queues: Box<[Queue]>,
    sides: Box<[Side]>,
}

/// Where a producer's pair of queues stands.
#[derive(Debug, Default)]
struct Side {
    admitted: Admitted,
    /// Events taken from either queue; the consumer's.
    taken: AtomicU64,
}

/// Queues by kind and producer, emptied by an aggregator that is called at half full; a full one sheds, so that a
/// burst of one kind cannot push out the other.
#[derive(Debug)]
pub struct DistributedCollector {
    queues: Arc<Queues>,
    aggregator: Background,
}

impl Queues {
    fn drain(&self, producer: usize) {
        let mut history = self.books.open();
        let (allocations, pointers) =
            (&self.allocation_queues[producer], &self.smart_pointer_queues[producer]);
        let side = &self.sides[producer];
        let admitted = side.admitted.observe();
        // relaxed: the consumer's alone; the lock of the books orders who that is.
        let taken = side.taken.load(Ordering::Relaxed);
        for _ in taken..admitted {
            let queue = match (allocations.first(), pointers.first()) {
                (Some(allocation), Some(pointer)) if pointer.sequence < allocation.sequence => pointers,
                (None, Some(_)) => pointers,
                _ => allocations,
            };
            // Never empty: `admitted` events were seen. Were it so, the account would show it.
            let Some(event) = queue.first() else { break };
            history.book(event);
            queue.skip();
        }
        side.taken.store(admitted, Ordering::Relaxed);
    }

    fn drain_all(&self) {
        for producer in 0..self.sides.len() {
            if self.allocation_queues[producer].len() + self.smart_pointer_queues[producer].len() > 0 {
                self.drain(producer);
            }
        }
    }
}

impl DistributedCollector {
    /// A collector within `limits`, with its aggregator running.
    pub fn new(limits: &Limits) -> DistributedCollector {
        let queues = || (0..limits.producers).map(|_| Queue::new(limits.queue_events)).collect();
        let queues = Arc::new(Queues {
            books: Books::new(limits),
            allocation_queues: queues(),
            smart_pointer_queues: queues(),
            sides: (0..limits.producers).map(|_| Side::default()).collect(),
        });
        let shared = Arc::clone(&queues);
        let aggregator = Background::start(limits.interval, move || shared.drain_all());
        DistributedCollector { queues, aggregator }
    }

    /// The queue for an event: its kind chooses the family, the producer's number the queue.
    #[inline]
    fn select(&self, handle: &Handle, event: Event) -> &Queue {
        if event.kind.is_pointer() {
            &self.queues.smart_pointer_queues[handle.index()]
        } else {
            &self.queues.allocation_queues[handle.index()]
        }
    }
}

impl Collector for DistributedCollector {
    fn name(&self) -> &'static str {
        "distributed queues, aggregator"
    }

    fn books(&self) -> &Books {
        &self.queues.books
    }

    fn record(&self, handle: &mut Handle, event: Event) -> Outcome {
        let event = self.queues.books.attempt(handle, event);
        let queue = self.select(handle, event);
        if !queue.push(event) {
            self.queues.books.lose(handle, Cause::QueueFull);
            return Outcome::Lost(Cause::QueueFull);
        }
        self.queues.sides[handle.index()].admitted.one_more();
        if queue.is_worth_a_call() {
            self.aggregator.call();
        }
        Outcome::InFlight
    }

    fn in_flight(&self) -> u64 {
        self.queues.allocation_queues.iter().chain(&self.queues.smart_pointer_queues).map(Queue::len).sum()
    }

    fn finish(&self) {
        self.aggregator.stop();
        self.queues.drain_all();
    }
}
