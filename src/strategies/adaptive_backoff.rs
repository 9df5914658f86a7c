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
//! producers that collided do not collide again in step, and no random number is needed for that. The system's monotonic
//! clock says when a delay is over, read after each turn of the loop: how long a turn takes differs tenfold from
//! processor to processor. The delay is exceeded by one turn and one reading at most, unless the thread is taken off
//! the processor.

use std::hint::spin_loop;

use crossbeam_queue::ArrayQueue;

use super::books::History;
use super::event::{Cause, Event, Outcome};
use super::{Books, Collector, Handle, Limits};
use crate::profile::ConcurrencyConfig;
use crate::sys::clock::monotonic_ns;

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
                pause(self.delay_ns(tries, handle.index()), monotonic_ns);
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

/// Turns until `delay_ns` have passed by `clock`. No turn takes less than a nanosecond, so there are no more of them than
/// that, should the clock stand still.
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

    /// How long a pause lasts when each of its turns takes so long, the reading of the clock included.
    fn lasts_ns(delay_ns: u64, turn_ns: u64) -> u64 {
        let mut looks = 0;
        pause(delay_ns, || {
            looks += 1;
            (looks - 1) * turn_ns
        });
        (looks - 1) * turn_ns
    }

    #[test]
    fn a_pause_ends_with_the_first_turn_after_its_delay_however_long_turns_take() {
        for turn_ns in [1, 4, 33, 56, 100, 1_000] {
            for delay_ns in [100, 400, DELAY_NS_LIMIT] {
                let lasts_ns = lasts_ns(delay_ns, turn_ns);
                assert!(
                    (delay_ns..delay_ns + turn_ns).contains(&lasts_ns),
                    "{delay_ns} {turn_ns} {lasts_ns}"
                );
            }
        }
    }

    #[test]
    fn a_pause_ends_though_the_clock_stands_still() {
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
