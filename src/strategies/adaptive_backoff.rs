//! One lock for all, tried again after growing delays, with a bounded overflow buffer behind it.
//!
//! # Order
//!
//! An event that went into the overflow buffer is older than all that its producer records later. So whoever gets the
//! lock books the buffer first, and only then its own event. A producer sees what it put there itself, and
//! [`ArrayQueue::pop`] says "empty" only when that is so: it waits for a push that is under way.
//!
//! # Delays
//!
//! `base_delay_ns`, doubled with each try, plus an eighth of it for each step of the producer's number modulo 8:
//! producers that collided do not collide again in step, and no random number is needed for that.

use std::hint::spin_loop;

use crossbeam_queue::ArrayQueue;

use super::books::History;
use super::event::{Cause, Event, Outcome};
use super::{Books, Collector, Handle, Limits};
use crate::profile::ConcurrencyConfig;

/// Nanoseconds that one round of `spin_loop` takes, about.
const SPIN_NS: u64 = 20;
/// The longest delay between two tries, in nanoseconds, whatever is configured.
const DELAY_NS_LIMIT: u64 = 100_000;
/// Producers whose delays differ.
const PHASES: u64 = 8;

/// Tries for the shared lock with growing delays, then puts the event into a bounded buffer, then gives it up.
#[derive(Debug)]
pub struct AdaptiveBackoff {
    books: Books,
    config: ConcurrencyConfig,
    overflow: ArrayQueue<Event>,
}

impl AdaptiveBackoff {
    /// A collector within `limits`.
    pub fn new(limits: &Limits) -> AdaptiveBackoff {
        AdaptiveBackoff {
            books: Books::new(limits),
            config: limits.concurrency,
            overflow: ArrayQueue::new(limits.overflow_events.max(1)),
        }
    }

    fn book_overflow(&self, history: &mut History) {
        // No more than fit: producers that keep adding must not hold the one who books.
        for _ in 0..self.overflow.capacity() {
            match self.overflow.pop() {
                Some(event) => history.book(event),
                None => break,
            }
        }
    }

    /// The delay before the try after `tries` failed ones, in nanoseconds.
    fn delay_ns(&self, tries: u32, producer: usize) -> u64 {
        let growth = 1u64.checked_shl(tries).unwrap_or(u64::MAX);
        let phase = (self.config.base_delay_ns / PHASES).saturating_mul(producer as u64 % PHASES);
        self.config.base_delay_ns.saturating_mul(growth).saturating_add(phase).min(DELAY_NS_LIMIT)
    }

    fn give_up(&self, handle: &mut Handle, cause: Cause) -> Outcome {
        self.books.lose(handle, cause);
        Outcome::Lost(cause)
    }
}

impl Collector for AdaptiveBackoff {
    fn name(&self) -> &'static str {
        "adaptive backoff, overflow"
    }

    fn books(&self) -> &Books {
        &self.books
    }

    fn record(&self, handle: &mut Handle, event: Event) -> Outcome {
        let event = self.books.attempt(handle, event);
        for tries in 0..=self.config.max_retries {
            if let Some(mut history) = self.books.try_open() {
                self.book_overflow(&mut history);
                history.book(event);
                return Outcome::Recorded;
            }
            if tries < self.config.max_retries {
                for _ in 0..self.delay_ns(tries, handle.index()).div_ceil(SPIN_NS) {
                    spin_loop();
                }
            }
        }
        if !self.config.enable_overflow_buffer {
            return self.give_up(handle, Cause::Contended);
        }
        match self.overflow.push(event) {
            Ok(()) => Outcome::InFlight,
            Err(_) => self.give_up(handle, Cause::OverflowFull),
        }
    }

    fn in_flight(&self) -> u64 {
        self.overflow.len() as u64
    }

    fn finish(&self) {
        self.book_overflow(&mut self.books.open());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_differ_by_producer_and_are_bounded() {
        let collector = AdaptiveBackoff::new(&Limits::default());
        let delays = |producer| [0, 1, 2, 60, 64, u32::MAX].map(|tries| collector.delay_ns(tries, producer));
        assert_eq!(delays(0), [100, 200, 400, DELAY_NS_LIMIT, DELAY_NS_LIMIT, DELAY_NS_LIMIT]);
        assert_eq!(delays(3)[..3], [136, 236, 436]);
        assert_eq!(delays(8), delays(0));
    }
}
