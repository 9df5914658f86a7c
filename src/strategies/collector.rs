//! The interface of all strategies.

use super::account::Account;
use super::books::{Books, Handle};
use super::event::{Event, Losses, Outcome};

/// A strategy for collecting events.
pub trait Collector: Sync {
    /// Returns the name of the strategy, for tables.
    fn name(&self) -> &'static str;

    /// Returns the counters and the history of the collector.
    fn books(&self) -> &Books;

    /// Records an event of the producer that owns `handle`, which must come from this collector.
    fn record(&self, handle: &mut Handle, event: Event) -> Outcome;

    /// Returns the number of accepted events that are not booked yet. Exact while no producer records.
    fn in_flight(&self) -> u64;

    /// Ends background work and books the events in flight. Must be called after all producers have finished.
    fn finish(&self);

    /// Registers a producer. Returns `None` beyond [`Limits::producers`](super::Limits::producers). A registration is
    /// never freed.
    fn register(&self) -> Option<Handle> {
        self.books().register()
    }

    /// Returns the number of attempted events.
    fn attempted(&self) -> u64 {
        self.books().attempted()
    }

    /// Returns the number of booked events.
    fn recorded(&self) -> u64 {
        self.books().recorded()
    }

    /// Returns the number of lost events, by cause.
    fn lost_by_reason(&self) -> Losses {
        self.books().losses()
    }

    /// Returns all counters. The counters are consistent only while no producer records.
    fn account(&self) -> Account {
        Account {
            attempted: self.attempted(),
            lost: self.lost_by_reason(),
            in_flight: self.in_flight(),
            ..self.books().booked()
        }
    }
}
