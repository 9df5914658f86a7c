//! Two queues per producer: one for allocations and frees, one for smart pointers.
//!
//! # The selector
//!
//! A round-robin counter that all producers advance would be the most contended cache line, and would reorder the
//! events of a producer. Here the producer's number and the kind of an event select its queue, which costs nothing and
//! keeps the order. The round-robin counter, `queue_selector`, belongs to the consumer. It selects the producer whose
//! queues a round drains first, so that no producer is always the last one.
//!
//! # Order across two queues
//!
//! An event of one kind must not overtake an older event of the other kind. It is not enough to read the heads of both
//! queues: between the two reads the producer may push to the first queue, then to the second. So the producer
//! publishes one count for both queues, [`Admitted`], after each push. The consumer reads this count first. All events
//! up to the count are then visible at the fronts of the two queues, and a merge by sequence number takes exactly these
//! events, in order.

use std::sync::Arc;

use super::background::BackgroundAggregator;
use super::books::{Books, Handle};
use super::collector::Collector;
use super::event::{Event, LossCause, Outcome};
use super::limits::Limits;
use super::queue::{Admitted, Queue};
use crate::sys::sync::{AtomicU64, Ordering};

/// The state that the collector shares with its background thread.
#[derive(Debug)]
struct Queues {
    books: Books,
    allocation_queues: Box<[Queue]>,
    smart_pointer_queues: Box<[Queue]>,
    sides: Box<[Side]>,
    /// Number of rounds so far. This number modulo the number of producers is the producer whose queues the next round
    /// drains first.
    queue_selector: AtomicU64,
}

/// The progress of a producer's pair of queues.
#[derive(Debug, Default)]
struct Side {
    admitted: Admitted,
    /// Number of events taken from both queues; written by the consumer.
    taken: AtomicU64,
}

/// A collector with two queues per producer, one for each kind of event. A background thread drains the queues when one
/// of them is half full. A full queue drops new events, so a burst of one kind cannot displace events of the other
/// kind.
#[derive(Debug)]
pub struct DistributedCollector {
    queues: Arc<Queues>,
    aggregator: BackgroundAggregator,
}

impl Queues {
    fn drain(&self, producer: usize) {
        let mut history = self.books.open();
        let (allocations, pointers) =
            (&self.allocation_queues[producer], &self.smart_pointer_queues[producer]);
        let side = &self.sides[producer];
        let admitted = side.admitted.observe();
        // relaxed: only the consumer uses the count; the lock of the history orders consumers.
        let taken = side.taken.load(Ordering::Relaxed);
        for _ in taken..admitted {
            let queue = match (allocations.first(), pointers.first()) {
                (Some(allocation), Some(pointer)) if pointer.sequence < allocation.sequence => pointers,
                (None, Some(_)) => pointers,
                _ => allocations,
            };
            // The queues are never empty here, because all admitted events are visible. If one were empty, the counters
            // would show the missing events.
            let Some(event) = queue.first() else { break };
            history.book(event);
            queue.skip();
        }
        side.taken.store(admitted, Ordering::Relaxed);
    }

    fn drain_all(&self) {
        let producers = self.sides.len();
        // relaxed: rounds may overlap at the end, and may begin with any producer.
        let first = self.queue_selector.fetch_add(1, Ordering::Relaxed) as usize;
        for producer in (0..producers).map(|n| first.wrapping_add(n) % producers) {
            if self.allocation_queues[producer].len() + self.smart_pointer_queues[producer].len() > 0 {
                self.drain(producer);
            }
        }
    }
}

impl DistributedCollector {
    /// Creates a collector within `limits` and starts its background thread.
    pub fn new(limits: &Limits) -> DistributedCollector {
        let queues = || (0..limits.producers).map(|_| Queue::new(limits.queue_events)).collect();
        let queues = Arc::new(Queues {
            books: Books::new(limits),
            allocation_queues: queues(),
            smart_pointer_queues: queues(),
            sides: (0..limits.producers).map(|_| Side::default()).collect(),
            queue_selector: AtomicU64::new(0),
        });
        let shared = Arc::clone(&queues);
        let aggregator = BackgroundAggregator::spawn(limits.interval, move || shared.drain_all());
        DistributedCollector { queues, aggregator }
    }

    /// Returns the number of the producer whose queues the next round drains first.
    pub fn queue_selector(&self) -> usize {
        let rounds = self.queues.queue_selector.load(Ordering::Relaxed) as usize;
        rounds % self.queues.sides.len().max(1)
    }

    /// Makes one round of the background thread, but in the calling thread.
    #[cfg(test)]
    pub(super) fn drain_now(&self) {
        self.queues.drain_all();
    }

    /// Returns the queue of an event, by its kind and its producer.
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
            self.queues.books.lose(handle, LossCause::QueueFull);
            return Outcome::Lost(LossCause::QueueFull);
        }
        self.queues.sides[handle.index()].admitted.one_more();
        if queue.should_wake() {
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
