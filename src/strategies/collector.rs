//! The interface of all strategies.

use super::account::Account;
use super::books::{Books, Handle};
use super::event::{Event, Losses, Outcome};

/// A strategy for collecting events.
pub trait Collector: Sync {
    /// Name of the strategy for tables.
    fn name(&self) -> &'static str;

    /// Counters and history of the collector.
    fn books(&self) -> &Books;

    /// Records an event of the producer that owns `handle`. The handle must be from this collector.
    fn record(&self, handle: &mut Handle, event: Event) -> Outcome;

    /// Accepted events in the buffers that are not booked yet. Exact while no producer records.
    fn in_flight(&self) -> u64;

    /// Ends background work and books the events in flight. Call it once all producers have finished.
    fn finish(&self);

    /// Registers a producer; `None` beyond [`Limits::producers`](super::Limits::producers). Places are never freed.
    fn register(&self) -> Option<Handle> {
        self.books().register()
    }

    /// Attempted events.
    fn attempted(&self) -> u64 {
        self.books().attempted()
    }

    /// Booked events.
    fn recorded(&self) -> u64 {
        self.books().recorded()
    }

    /// Lost events by cause.
    fn lost_by_reason(&self) -> Losses {
        self.books().losses()
    }

    /// All counters. They are consistent only while no producer records.
    fn account(&self) -> Account {
        Account {
            attempted: self.attempted(),
            lost: self.lost_by_reason(),
            in_flight: self.in_flight(),
            ..self.books().booked()
        }
    }
}
