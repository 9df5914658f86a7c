//! Tests of conservation and order for every strategy, and of faulty collectors that the checks must find.

use std::time::Duration;

use super::*;
use crate::profile::ConcurrencyConfig;

fn limits() -> Limits {
    Limits {
        producers: 8,
        queue_events: 64,
        history_events: 1_000,
        overflow_events: 32,
        interval: Duration::from_millis(1),
        ..Limits::default()
    }
}

/// Returns event `number`. The kind of an event changes irregularly from number to number.
fn event(number: u64) -> Event {
    let address = number * 64;
    match number * 7 % 11 {
        0..5 => Event::alloc(address, number),
        5..8 => Event::free(address, number),
        8..10 => Event::pointer_cloned(address),
        _ => Event::pointer_dropped(address),
    }
}

/// Runs `threads` producers of `events` events each. Returns the number of events recorded or in flight, and the number
/// of lost events.
fn drive(collector: &dyn Collector, threads: usize, events: u64) -> (u64, u64) {
    let produce = || {
        let mut handle = collector.register().expect("a place");
        let outcomes = (0..events).map(|number| collector.record(&mut handle, event(number)));
        let lost = outcomes.filter(|outcome| matches!(outcome, Outcome::Lost(_))).count() as u64;
        (events - lost, lost)
    };
    std::thread::scope(|scope| {
        let producers: Vec<_> = (0..threads).map(|_| scope.spawn(produce)).collect();
        let told = producers.into_iter().map(|producer| producer.join().expect("a producer"));
        told.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    })
}

#[test]
fn every_strategy_conserves_events_and_their_order_at_every_thread_count() {
    for threads in [1, 2, 4, 8] {
        for collector in all(&limits()) {
            let (kept, lost) = drive(collector.as_ref(), threads, 20_000);
            collector.finish();
            let account = collector.account();
            let what = format!("{}, {threads} threads: {account:?}", collector.name());
            assert_eq!(account.check(), Ok(()), "{what}");
            // The outcomes agree with the counters.
            assert_eq!((account.recorded, account.lost.total()), (kept, lost), "{what}");
            assert_eq!((account.attempted, account.in_flight), (threads as u64 * 20_000, 0), "{what}");
            assert_eq!(account.retained, account.recorded.min(1_000), "{what}");
        }
    }
}

#[test]
fn ring_with_help_loses_nothing() {
    for threads in [1, 8] {
        let collector = RingWithHelp::new(&limits());
        drive(&collector, threads, 50_000);
        collector.finish();
        assert_eq!(collector.account().completeness_floor(), 100_000);
        assert_eq!(collector.recorded(), threads as u64 * 50_000);
    }
}

#[test]
fn events_in_flight_are_part_of_the_account() {
    let collector = RingWithHelp::new(&limits());
    let mut handle = collector.register().expect("a place");
    for number in 0..100 {
        collector.record(&mut handle, event(number));
    }
    let account = collector.account();
    assert_eq!(account.check(), Ok(()));
    assert_eq!((account.recorded, account.in_flight), (65, 35));
}

#[test]
fn a_contended_lock_drops_events_or_uses_the_overflow_buffer() {
    let lock = SharedLock::new(&limits());
    let backoff = AdaptiveBackoff::new(&limits());
    let without =
        ConcurrencyConfig { enable_overflow_buffer: false, max_retries: 0, ..ConcurrencyConfig::DEFAULT };
    let bare = AdaptiveBackoff::new(&Limits { concurrency: without, ..limits() });
    for (collector, expected) in [
        (&lock as &dyn Collector, Losses { counts: [40, 0, 0] }),
        (&backoff, Losses { counts: [0, 8, 0] }),
        (&bare, Losses { counts: [40, 0, 0] }),
    ] {
        let mut handle = collector.register().expect("a place");
        let held = collector.books().open();
        for number in 0..40 {
            collector.record(&mut handle, event(number));
        }
        drop(held);
        // This event is booked after the older events in the overflow buffer.
        assert_eq!(collector.record(&mut handle, event(40)), Outcome::Recorded);
        assert_eq!(collector.lost_by_reason(), expected, "{}", collector.name());
        assert_eq!(collector.account().check(), Ok(()), "{}", collector.name());
    }
}

#[test]
fn a_full_queue_drops_and_counts_events() {
    let slow = Limits { interval: Duration::from_secs(3600), ..limits() };
    let collector = ThreadLocalBuffers::new(&slow);
    let mut handle = collector.register().expect("a place");
    for number in 0..100 {
        let expected = if number < 64 { Outcome::InFlight } else { Outcome::Lost(LossCause::QueueFull) };
        assert_eq!(collector.record(&mut handle, event(number)), expected);
    }
    assert_eq!((collector.in_flight(), collector.lost_by_reason().get(LossCause::QueueFull)), (64, 36));
    collector.finish();
    assert_eq!((collector.account().check(), collector.recorded()), (Ok(()), 64));
}

#[test]
fn the_history_keeps_the_newest_events_oldest_first() {
    let collector = SharedLock::new(&Limits { history_events: 10, ..limits() });
    let mut handle = collector.register().expect("a place");
    for number in 0..25 {
        collector.record(&mut handle, event(number));
    }
    let numbers: Vec<u64> = collector.books().retained().iter().map(|event| event.sequence).collect();
    assert_eq!(numbers, (16..=25).collect::<Vec<_>>());
    assert_eq!((collector.account().retained, collector.account().evicted), (10, 15));
}

#[test]
fn no_producer_registers_beyond_the_limit() {
    let collector = SharedLock::new(&Limits { producers: 2, ..limits() });
    let places = [(); 3].map(|()| collector.register().map(|handle| handle.index()));
    assert_eq!(places, [Some(0), Some(1), None]);
}

/// A faulty collector that drops every seventh event without counting it.
struct Forgetful(Books);

impl Collector for Forgetful {
    fn name(&self) -> &'static str {
        "forgetful"
    }

    fn books(&self) -> &Books {
        &self.0
    }

    fn record(&self, handle: &mut Handle, event: Event) -> Outcome {
        let event = self.0.attempt(handle, event);
        if !event.sequence.is_multiple_of(7) {
            self.0.open().book(event);
        }
        Outcome::Recorded
    }

    fn in_flight(&self) -> u64 {
        0
    }

    fn finish(&self) {}
}

#[test]
fn a_loss_that_is_not_counted_is_found() {
    let collector = Forgetful(Books::new(&limits()));
    drive(&collector, 2, 700);
    let broken = Broken::Conservation { attempted: 1_400, accounted: 1_200 };
    assert_eq!(collector.account().check(), Err(broken));
    assert_eq!(broken.to_string(), "1400 events were attempted and 1200 are accounted for");
}

#[test]
fn a_reordered_and_a_duplicate_event_are_found() {
    let books = Books::new(&limits());
    let mut handle = books.register().expect("a place");
    let (first, second) = (books.attempt(&mut handle, event(0)), books.attempt(&mut handle, event(1)));
    books.open().book(second);
    books.open().book(first);
    assert_eq!(books.booked().out_of_order, 1);
    books.open().book(second);
    assert_eq!(books.booked().out_of_order, 2);
}

#[test]
fn completeness_is_never_rounded_up() {
    let account = |recorded, attempted| Account { recorded, attempted, ..Account::default() };
    assert_eq!(account(999_999_999, 1_000_000_000).completeness_floor(), 99_999);
    assert_eq!(account(u64::MAX, u64::MAX).completeness_floor(), 100_000);
    assert_eq!(account(0, 0).completeness_floor(), 100_000);
}

/// Checks that each round begins with another producer. With a fixed order, the queues of the last producer would
/// always be drained last.
#[test]
fn rounds_of_the_distributed_collector_begin_with_each_producer_in_turn() {
    let limits = Limits { producers: 3, interval: Duration::from_secs(3_600), ..limits() };
    let collector = DistributedCollector::new(&limits);
    assert_eq!(collector.queue_selector(), 0);
    let mut producers: Vec<_> = (0..3).map(|_| collector.register().expect("a place")).collect();
    let mut seen = Vec::new();
    for _ in 0..4 {
        let first = collector.queue_selector();
        for producer in &mut producers {
            collector.record(producer, Event::alloc(64, 1));
        }
        let before = collector.books().retained().len();
        collector.drain_now();
        seen.push((first, collector.books().retained()[before].producer as usize));
    }
    assert!(seen.iter().all(|(selected, drained)| selected == drained), "{seen:?}");
    assert_eq!(seen.iter().map(|(first, _)| *first).collect::<Vec<_>>(), [0, 1, 2, 0]);
    collector.finish();
    assert_eq!(collector.account().check(), Ok(()));
}

/// `true` means that the event is in the history. `false` means that it is in the overflow buffer or lost.
#[test]
fn tracking_with_backoff_says_whether_the_event_is_in_the_history() {
    let concurrency = ConcurrencyConfig { max_retries: 1, ..ConcurrencyConfig::DEFAULT };
    let collector = AdaptiveBackoff::new(&Limits { concurrency, overflow_events: 1, ..limits() });
    let mut producer = collector.register().expect("a place");
    assert!(collector.track_with_backoff(&mut producer, AllocationInfo::alloc(64, 8)));
    {
        let _held = collector.books().open();
        assert!(!collector.track_with_backoff(&mut producer, AllocationInfo::alloc(128, 8)), "in the buffer");
        assert!(!collector.track_with_backoff(&mut producer, AllocationInfo::alloc(192, 8)), "lost");
    }
    assert_eq!(collector.in_flight(), 1);
    assert!(collector.track_with_backoff(&mut producer, SmartPointerInfo::pointer_cloned(64)));
    let account = collector.account();
    assert_eq!(
        (account.recorded, account.lost.get(LossCause::OverflowFull), account.check()),
        (3, 1, Ok(()))
    );
}
