//! The ways of collecting events from many threads, side by side, so that they can be compared on one workload.
//!
//! None of this is what a [`HeapLedger`](crate::HeapLedger) runs: the recorder has its own ring. Here are the
//! mechanisms alone, each as short as it can be, behind one seam, with the same events, the same bounded history and
//! the same accounts. `benches/strategies.rs` measures them.
//!
//! ```text
//!  producer ── record ──► strategy ──► books: bounded history, count, order check
//!     │                      │
//!     └ attempted            ├ lost, by cause
//!       (its own line)       └ in flight: queued, not yet booked
//! ```
//!
//! | strategy | where an event goes | what a full buffer or a taken lock does |
//! | --- | --- | --- |
//! | [`SharedLock`] | into the books, under their one lock | lost at once: `contended` |
//! | [`AdaptiveBackoff`] | the same, with retries | bounded overflow buffer, then lost: `overflow_full` |
//! | [`ThreadLocalBuffers`] | the producer's queue, emptied at an interval | lost: `queue_full` |
//! | [`LockFreeRing`] | the producer's queue, emptied when it is half full | lost: `queue_full` |
//! | [`DistributedCollector`] | one of two queues of the producer, by kind | lost: `queue_full` |
//! | [`RingWithHelp`] | the producer's queue | the producer books its own queue: nothing is lost |
//!
//! # Laws
//!
//! * **Conservation.** Once the producers rest: `attempted = recorded + lost + in flight`, and
//!   `recorded = retained + evicted`. Each term is counted where it happens, none is computed from the others.
//! * **Order.** The events of one producer are booked in the order in which it recorded them; what is lost leaves a
//!   gap, never an exchange. The books check it with a sequence number at every event.
//! * **Bounds.** All memory is taken when a collector is made. `record` allocates nothing.
//!
//! [`Account::check`] holds a collector to all of that:
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
mod distributed;
mod event;
mod lock_free_ring;
mod queue;
mod ring_with_help;
mod shared_lock;
#[cfg(test)]
mod tests;
mod thread_local_buffers;

use std::time::Duration;

use crate::profile::ConcurrencyConfig;

pub use account::{Account, Broken};
pub use adaptive_backoff::AdaptiveBackoff;
pub use books::{Books, Handle};
pub use distributed::DistributedCollector;
pub use event::{Cause, Event, Kind, Losses, Outcome};
pub use lock_free_ring::LockFreeRing;
pub use ring_with_help::RingWithHelp;
pub use shared_lock::SharedLock;
pub use thread_local_buffers::ThreadLocalBuffers;

/// Bounds of a collector. All of its memory is taken when it is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Producers that can register. Default 64.
    pub producers: usize,
    /// Events in the queue of one producer; rounded up to a power of two, at least 4. Default 4,096.
    pub queue_events: usize,
    /// Events that the history retains; at least 1. Default 10,000.
    pub history_events: usize,
    /// Events in the overflow buffer that all producers share; at least 1. Default 65,536.
    pub overflow_events: usize,
    /// Pause of a background thread between two rounds. Default 100 ms.
    pub interval: Duration,
    /// Retries, first delay, and whether there is an overflow buffer, for [`AdaptiveBackoff`].
    pub concurrency: ConcurrencyConfig,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            producers: 64,
            queue_events: 4_096,
            history_events: 10_000,
            overflow_events: 65_536,
            interval: Duration::from_millis(100),
            concurrency: ConcurrencyConfig::DEFAULT,
        }
    }
}

/// A way of collecting events.
pub trait Collector: Sync {
    /// The name of the strategy, in words.
    fn name(&self) -> &'static str;

    /// Where the strategy books.
    fn books(&self) -> &Books;

    /// Takes an event of the producer that owns `handle`. The handle must be of this collector.
    fn record(&self, handle: &mut Handle, event: Event) -> Outcome;

    /// Events that were accepted and are not booked yet, as the strategy's buffers say. Exact while producers rest.
    fn in_flight(&self) -> u64;

    /// Ends background work and books what is in flight. To be called when all producers rest.
    fn finish(&self);

    /// A producer's place; `None` when all of [`Limits::producers`] are taken. Places are not given back.
    fn register(&self) -> Option<Handle> {
        self.books().register()
    }

    /// Events that producers made.
    fn attempted(&self) -> u64 {
        self.books().attempted()
    }

    /// Events that were booked.
    fn recorded(&self) -> u64 {
        self.books().recorded()
    }

    /// Events that were given up, by cause.
    fn lost_by_reason(&self) -> Losses {
        self.books().losses()
    }

    /// All figures together. They fit each other only while producers rest.
    fn account(&self) -> Account {
        Account {
            attempted: self.attempted(),
            lost: self.lost_by_reason(),
            in_flight: self.in_flight(),
            ..self.books().booked()
        }
    }
}

/// One collector of each strategy, the oldest idea first and the default's mechanism last.
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
