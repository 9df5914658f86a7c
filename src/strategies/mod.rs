//! Strategies for collecting events from many threads, for comparison on the same workload.
//!
//! A [`HeapLedger`](crate::HeapLedger) uses none of these strategies. The ring of its recorder works as
//! [`RingWithHelp`] does, the only strategy whose completeness does not depend on the rate of events, on the capacity
//! of queues or on the scheduling of another thread. Each strategy is reduced to its mechanism behind one trait, with
//! the same events, the same bounded history and the same counters. `benches/strategies.rs` measures the strategies, at
//! full speed and over rate and capacity. `docs/QUALITY.md` shows the measured limits of the other strategies.
//!
//! ```text
//!  producer ── record ──► strategy ──► books: bounded history, count, order check
//!     │                      │
//!     └ attempted            ├ lost, by cause
//!       (per producer)       └ in flight: queued, not yet booked
//! ```
//!
//! | strategy | destination of an event | with a full buffer or a contended lock |
//! | --- | --- | --- |
//! | [`SharedLock`] | the history, under its lock | lost at once: `contended` |
//! | [`AdaptiveBackoff`] | the same, with retries | bounded overflow buffer, then lost: `overflow_full` |
//! | [`ThreadLocalBuffers`] | the producer's queue, drained at an interval | lost: `queue_full` |
//! | [`LockFreeRing`] | the producer's queue, drained when it is half full | lost: `queue_full` |
//! | [`DistributedCollector`] | one of two queues of the producer, by kind | lost: `queue_full` |
//! | [`RingWithHelp`] | the producer's queue | the producer books its queue: nothing is lost |
//!
//! # Laws
//!
//! * **Conservation.** While no producer records: `attempted = recorded + lost + in flight`, and
//!   `recorded = retained + evicted`. Each term is counted independently; none is computed from the others.
//! * **Order.** The events of one producer are booked in the order of recording. A loss leaves a gap and never
//!   reorders. Every event carries a sequence number, which is checked when the event is booked.
//! * **Limits.** A collector allocates all its memory when it is created; `record` does not allocate.
//!
//! [`Account::check`] verifies these laws:
//!
//! ```
//! use heapledger::strategies::{Collector, Event, Limits, Outcome, RingWithHelp};
//!
//! let collector = RingWithHelp::new(&Limits::default());
//! let mut producer = collector.register().expect("room for a producer");
//! assert_eq!(collector.record(&mut producer, Event::alloc(0x1000, 64)), Outcome::InFlight);
//! collector.finish();
//! let account = collector.account();
//! account.check().expect("conservation and order");
//! assert_eq!((account.attempted, account.recorded), (1, 1));
//! ```

mod account;
mod adaptive_backoff;
mod background;
mod books;
mod collector;
mod distributed;
mod event;
mod limits;
mod lock_free_ring;
mod queue;
mod ring_with_help;
mod shared_lock;
#[cfg(test)]
mod tests;
mod thread_local_buffers;

pub use account::{Account, Broken};
pub use adaptive_backoff::AdaptiveBackoff;
pub use background::BackgroundAggregator;
pub use books::{Books, BoundedHistory, Handle};
pub use collector::Collector;
pub use distributed::DistributedCollector;
pub use event::{AllocationInfo, Event, EventKind, LossCause, Losses, Outcome, SmartPointerInfo};
pub use limits::Limits;
pub use lock_free_ring::{LockFreeRing, LockFreeRingBuffer};
pub use ring_with_help::RingWithHelp;
pub use shared_lock::SharedLock;
pub use thread_local_buffers::ThreadLocalBuffers;

/// Returns one collector per strategy, from the simplest strategy to the mechanism that the recorder uses by default.
pub fn all(limits: &Limits) -> Vec<Box<dyn Collector>> {
    vec![
        Box::new(SharedLock::new(limits)),
        Box::new(AdaptiveBackoff::new(limits)),
        Box::new(ThreadLocalBuffers::new(limits)),
        Box::new(LockFreeRing::new(limits)),
        Box::new(DistributedCollector::new(limits)),
        Box::new(RingWithHelp::new(limits)),
    ]
}
