//! A shared lock with retries after growing delays, and a bounded overflow buffer.
//!
//! # Order
//!
//! An event in the overflow buffer is older than all later events of its producer. So a producer that has the lock
//! books the buffer before its current event. It finds all its earlier events in the buffer, because
//! [`ArrayQueue::pop`] waits for a push in progress before it reports an empty buffer.
//!
//! # Delays
//!
//! A delay is `base_delay_ns`, doubled with each retry, plus an eighth of `base_delay_ns` times the producer's number
//! modulo 8. So producers that collided get different delays, without a random number. Each iteration of the wait reads
//! the monotonic clock, because the time of an iteration differs tenfold between processors. A delay exceeds its length
//! by no more than one iteration and one clock read, unless the thread is descheduled.

use std::hint::spin_loop;

use crossbeam_queue::ArrayQueue;

use super::books::{Books, BoundedHistory, Handle};
use super::collector::Collector;
use super::event::{AllocationInfo, Event, LossCause, Outcome};
use super::limits::Limits;
use crate::profile::ConcurrencyConfig;
use crate::sys::clock::monotonic_ns;

/// Maximum delay between two attempts, in nanoseconds.
const DELAY_NS_LIMIT: u64 = 100_000;
/// Number of different delays that producers get after the same number of retries.
const PHASES: u64 = 8;

/// A collector that retries the shared lock with growing delays, then uses a bounded overflow buffer, then drops the
/// event.
#[derive(Debug)]
pub struct AdaptiveBackoff {
    books: Books,
    config: ConcurrencyConfig,
    overflow: ArrayQueue<Event>,
}

impl AdaptiveBackoff {
    /// Creates a collector within `limits`.
    pub fn new(limits: &Limits) -> AdaptiveBackoff {
        AdaptiveBackoff {
            books: Books::new(limits),
            config: limits.concurrency,
            overflow: ArrayQueue::new(limits.overflow_events.max(1)),
        }
    }

    /// Records an event: tries the lock with growing delays, then the overflow buffer. Returns whether the event is in
    /// the history. `false` means that the event is in the overflow buffer or, if the buffer was full, that it was lost
    /// and counted.
    ///
    /// ```
    /// use heapledger::strategies::{AdaptiveBackoff, AllocationInfo, Collector, Limits};
    ///
    /// let collector = AdaptiveBackoff::new(&Limits::default());
    /// let mut producer = collector.register().expect("room for a producer");
    /// assert!(collector.track_with_backoff(&mut producer, AllocationInfo::alloc(0x1000, 64)));
    /// assert_eq!(collector.recorded(), 1);
    /// ```
    pub fn track_with_backoff(&self, handle: &mut Handle, data: AllocationInfo) -> bool {
        self.record(handle, data) == Outcome::Recorded
    }

    fn book_overflow(&self, history: &mut BoundedHistory) {
        // The capacity limits the number of iterations, so that producers that keep pushing cannot block this producer.
        for _ in 0..self.overflow.capacity() {
            match self.overflow.pop() {
                Some(event) => history.book(event),
                None => break,
            }
        }
    }

    /// Returns the delay after `tries` failed attempts, in nanoseconds.
    fn delay_ns(&self, tries: u32, producer: usize) -> u64 {
        let growth = 1u64.checked_shl(tries).unwrap_or(u64::MAX);
        let phase = (self.config.base_delay_ns / PHASES).saturating_mul(producer as u64 % PHASES);
        self.config.base_delay_ns.saturating_mul(growth).saturating_add(phase).min(DELAY_NS_LIMIT)
    }

    fn give_up(&self, handle: &mut Handle, cause: LossCause) -> Outcome {
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
                pause(self.delay_ns(tries, handle.index()), monotonic_ns);
            }
        }
        if !self.config.enable_overflow_buffer {
            return self.give_up(handle, LossCause::Contended);
        }
        match self.overflow.push(event) {
            Ok(()) => Outcome::InFlight,
            Err(_) => self.give_up(handle, LossCause::OverflowFull),
        }
    }

    fn in_flight(&self) -> u64 {
        self.overflow.len() as u64
    }

    fn finish(&self) {
        self.book_overflow(&mut self.books.open());
    }
}

/// Spins until `delay_ns` have passed on `clock`. An iteration takes at least a nanosecond, so the loop makes at most
/// `delay_ns` iterations, even if the clock does not advance.
fn pause(delay_ns: u64, mut clock: impl FnMut() -> u64) {
    let deadline_ns = clock().saturating_add(delay_ns);
    for _ in 0..delay_ns {
        if clock() >= deadline_ns {
            return;
        }
        spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the length of a pause whose iterations take `step_ns` each, including the read of the clock.
    fn lasts_ns(delay_ns: u64, step_ns: u64) -> u64 {
        let mut reads = 0;
        pause(delay_ns, || {
            reads += 1;
            (reads - 1) * step_ns
        });
        (reads - 1) * step_ns
    }

    #[test]
    fn a_pause_ends_with_the_first_iteration_after_its_delay() {
        for step_ns in [1, 4, 33, 56, 100, 1_000] {
            for delay_ns in [100, 400, DELAY_NS_LIMIT] {
                let lasts_ns = lasts_ns(delay_ns, step_ns);
                assert!(
                    (delay_ns..delay_ns + step_ns).contains(&lasts_ns),
                    "{delay_ns} {step_ns} {lasts_ns}"
                );
            }
        }
    }

    #[test]
    fn a_pause_ends_when_the_clock_stands_still() {
        pause(1_000, || 7);
        pause(0, || 7);
    }

    #[test]
    fn delays_double_differ_by_producer_and_are_bounded() {
        let collector = AdaptiveBackoff::new(&Limits::default());
        let delays = |producer| [0, 1, 2, 60, 64, u32::MAX].map(|tries| collector.delay_ns(tries, producer));
        assert_eq!(delays(0), [100, 200, 400, DELAY_NS_LIMIT, DELAY_NS_LIMIT, DELAY_NS_LIMIT]);
        assert_eq!(delays(3)[..3], [136, 236, 436]);
        assert_eq!(delays(8), delays(0));
    }
}
