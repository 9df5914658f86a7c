//! Models of the time bound of an ordered fold: a thread sets a flag between taking a stamp and publishing its event.
//!
//! The clock is a counter that each reading increments. It is not one of loom's atomics: as with a processor's counter,
//! readings have one order, but they are not memory accesses, and no fence orders other accesses by them.

use super::{explore, run_all};
use crate::ring::cursor::{Head, Stamping};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::atomic::AtomicU64 as Clock;

struct Lane {
    clock: Clock,
    stamping: Stamping,
    head: Head,
    /// The stamp of the lane's only event.
    stamp: AtomicU64,
}

impl Lane {
    fn look(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    fn record(&self, begin: fn(&Stamping)) {
        begin(&self.stamping);
        self.stamp.store(self.look(), Ordering::Relaxed);
        self.head.publish(1);
        self.stamping.end();
    }

    /// Returns the time up to which the folder assumes that it has seen every event, or `None` if it cannot tell, and
    /// whether it has seen the lane's event.
    fn fold(&self, order: fn()) -> (Option<u64>, bool) {
        let now = self.look();
        order();
        let is_over = self.stamping.is_over();
        (is_over.then_some(now), self.head.observe() == 1)
    }
}

fn model(begin: fn(&Stamping), order: fn()) -> impl Fn() {
    move || {
        let lane = Arc::new(Lane {
            clock: Clock::new(1),
            stamping: Stamping::new(),
            head: Head::new(),
            stamp: AtomicU64::new(0),
        });
        let believed = Arc::new(std::sync::Mutex::new((None, false)));
        let (thread, folder, found) = (Arc::clone(&lane), Arc::clone(&lane), Arc::clone(&believed));
        run_all([
            Box::new(move || thread.record(begin)),
            Box::new(move || {
                let result = folder.fold(order);
                *found.lock().unwrap() = result;
            }),
        ]);
        let (until, seen) = *believed.lock().unwrap();
        if let Some(until) = until {
            let stamp = lane.stamp.load(Ordering::Relaxed);
            assert!(seen || stamp > until, "an event came that is older than what is booked");
        }
    }
}

#[test]
fn an_event_that_the_folder_did_not_see_is_younger_than_its_look_at_the_clock() {
    explore(95, model(Stamping::begin, || fence(Ordering::SeqCst)));
}

#[test]
#[should_panic(expected = "an event came that is older than what is booked")]
fn a_thread_that_says_weakly_that_it_stamps_is_found_out() {
    explore(0, model(Stamping::begin_weakly, || fence(Ordering::SeqCst)));
}

#[test]
#[should_panic(expected = "an event came that is older than what is booked")]
fn a_folder_that_looks_weakly_is_found_out() {
    explore(0, model(Stamping::begin, || fence(Ordering::AcqRel)));
}
