//! The idea that loses: one lock for all, tried once.

use super::event::{Cause, Event, Outcome};
use super::{Books, Collector, Handle, Limits};

/// Books under the shared lock if it is free, else gives the event up. What others have measured as "24 to 45 %
/// completeness with several threads" is this.
#[derive(Debug)]
pub struct SharedLock {
    books: Books,
}

impl SharedLock {
    /// A collector within `limits`.
    pub fn new(limits: &Limits) -> SharedLock {
        SharedLock { books: Books::new(limits) }
    }
}

impl Collector for SharedLock {
    fn name(&self) -> &'static str {
        "shared lock, try and drop"
    }

    fn books(&self) -> &Books {
        &self.books
    }

    fn record(&self, handle: &mut Handle, event: Event) -> Outcome {
        let event = self.books.attempt(handle, event);
        if self.books.try_book(event) {
            return Outcome::Recorded;
        }
        self.books.lose(handle, Cause::Contended);
        Outcome::Lost(Cause::Contended)
    }

    fn in_flight(&self) -> u64 {
        0
    }

    fn finish(&self) {}
}
