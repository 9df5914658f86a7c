//! The deadlock detector against another detector, deloxide, on the same locks at the same time.
//!
//! Threads take deloxide's mutexes, which keep a separate wait-for graph, and report each wait and hold to our
//! detector. Both detectors must find the same threads waiting for the same locks. Each case runs in a separate
//! process, because deloxide has one detector per process, and deadlocked threads never end.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use deloxide::{DeadlockInfo, DeadlockSource, Deloxide, Mutex, thread};
use heapledger::validation::*;

use crate::hangs::apart;

const LIMIT: Duration = Duration::from_secs(60);

/// Pairs of a thread and the lock that it waits for, by number.
type Waits = BTreeSet<(usize, usize)>;

/// The first lock that a thread takes, if any, and the second one, for which it waits once all threads have their
/// first.
type Order = (Option<usize>, usize);

/// The findings of both detectors on one deadlock.
struct Findings {
    theirs: Waits,
    ours: DeadlockReport,
}

impl Findings {
    /// Returns the waits that our detector found. The holder of lock 2 is thread 2: each holder has the number of its
    /// lock.
    fn waits(&self) -> Waits {
        let number = |name: &str| name.strip_prefix("lock ").unwrap().parse::<usize>().unwrap();
        let of = |edge: &WaitEdge| {
            let held: Vec<usize> = edge.holds.iter().map(|hold| number(&hold.resource)).collect();
            assert!(held.len() <= 1, "{held:?}");
            (held.first().copied().unwrap_or(usize::MAX), number(&edge.wants))
        };
        let names: BTreeSet<&str> = self.ours.actors.iter().map(|edge| edge.actor.as_str()).collect();
        assert_eq!(names.len(), self.ours.actors.len(), "an actor is a thread: {names:?}");
        self.ours.actors.iter().map(of).collect()
    }
}

/// Locks that both detectors know.
struct Watched {
    detector: DeadlockDetector,
    locks: Vec<(Mutex<()>, ResourceId)>,
}

impl Watched {
    /// Creates the locks. Also returns a receiver of deloxide's findings.
    fn new(locks: usize) -> (Arc<Self>, Receiver<DeadlockInfo>) {
        let (send, found) = channel();
        Deloxide::new().callback(move |info| drop(send.send(info))).start().unwrap();
        let detector = DeadlockDetector::new(Duration::from_secs(1));
        let lock = |i: usize| (Mutex::new(()), detector.resource(&format!("lock {i}"), 1));
        let locks = (0..locks).map(lock).collect();
        (Arc::new(Self { detector, locks }), found)
    }
}

/// Starts threads that take locks in these orders. Returns deloxide's number of each thread.
fn start(
    watched: &Arc<Watched>,
    orders: &'static [Order],
    done: impl Fn() + Clone + Send + 'static,
) -> Vec<usize> {
    let (send, numbers) = channel();
    let together = Arc::new(Barrier::new(orders.len()));
    for (number, order) in orders.iter().enumerate() {
        let (watched, together, send, done) =
            (Arc::clone(watched), Arc::clone(&together), send.clone(), done.clone());
        thread::spawn(move || {
            send.send((number, Mutex::new(()).creator_thread_id())).unwrap();
            let waiting = |lock: usize| {
                let d = &watched.detector;
                d.waiting(d.current_actor(), watched.locks[lock].1, 1, None)
            };
            let first = order.0.map(|lock| {
                let token = waiting(lock);
                (watched.locks[lock].0.lock(), watched.detector.acquired(token))
            });
            together.wait();
            let token = waiting(order.1);
            // Each says that it waits before any does, so that a scan sees all waits or a deadlock does not stand yet.
            together.wait();
            let second = watched.locks[order.1].0.lock();
            let hold = watched.detector.acquired(token);
            drop((second, hold, first));
            done();
        });
    }
    drop(send);
    let mut numbers: Vec<(usize, usize)> = numbers.iter().take(orders.len()).collect();
    numbers.sort_unstable();
    numbers.into_iter().map(|(_, theirs)| theirs).collect()
}

fn findings(locks: usize, orders: &'static [Order]) -> Findings {
    let (watched, theirs) = Watched::new(locks);
    let threads = start(&watched, orders, || ());
    // The limit of the process is the limit of both waits.
    let info = theirs.recv().unwrap();
    assert_eq!(info.source, DeadlockSource::WaitForGraph, "{info:?}");
    let thread = |theirs: usize| threads.iter().position(|t| *t == theirs).unwrap();
    let lock = |theirs: usize| watched.locks.iter().position(|(m, _)| m.id() == theirs).unwrap();
    let theirs: Waits = info.thread_waiting_for_locks.iter().map(|(t, l)| (thread(*t), lock(*l))).collect();
    let circle: BTreeSet<usize> = info.thread_cycle.iter().map(|t| thread(*t)).collect();
    assert_eq!(circle, theirs.iter().map(|(t, _)| *t).collect(), "its circle and its waits agree: {info:?}");
    loop {
        if let Some(ours) = watched.detector.scan_now().into_iter().next() {
            assert_eq!(watched.detector.reports().len(), 1);
            return Findings { theirs, ours };
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn both_find_two_locks_in_opposite_order() {
    apart("other_detector::both_find_two_locks_in_opposite_order", LIMIT, || {
        let found = findings(2, &[(Some(0), 1), (Some(1), 0)]);
        assert_eq!(found.theirs, BTreeSet::from([(0, 1), (1, 0)]));
        assert_eq!(found.waits(), found.theirs, "{}", found.ours.cycle);
        assert_eq!(found.ours.class, DeadlockClass::Permanent);
    });
}

#[test]
fn both_find_three_in_a_ring() {
    apart("other_detector::both_find_three_in_a_ring", LIMIT, || {
        let found = findings(3, &[(Some(0), 1), (Some(1), 2), (Some(2), 0)]);
        assert_eq!(found.theirs, BTreeSet::from([(0, 1), (1, 2), (2, 0)]));
        assert_eq!(found.waits(), found.theirs, "{}", found.ours.cycle);
        assert_eq!(found.ours.cycle.matches(" → ").count(), 2, "{}", found.ours.cycle);
    });
}

/// A difference between the detectors: a thread that waits behind a circle is no part of it, and never freed either.
#[test]
fn one_that_waits_behind_the_circle_is_named_by_ours_alone() {
    apart("other_detector::one_that_waits_behind_the_circle_is_named_by_ours_alone", LIMIT, || {
        let found = findings(2, &[(Some(0), 1), (Some(1), 0), (None, 0)]);
        assert_eq!(found.theirs, BTreeSet::from([(0, 1), (1, 0)]));
        let behind: Vec<_> = found.waits().difference(&found.theirs).copied().collect();
        assert_eq!(behind, [(usize::MAX, 0)], "{}", found.ours.cycle);
        assert!(found.theirs.is_subset(&found.waits()));
        assert_eq!(
            found.ours.cycle.matches("waits for").count(),
            2,
            "the circle itself: {}",
            found.ours.cycle
        );
    });
}

/// Threads that wait at one lock in order: neither detector reports a deadlock, and all threads finish.
#[test]
fn neither_finds_any_where_locks_are_taken_in_order() {
    apart("other_detector::neither_finds_any_where_locks_are_taken_in_order", LIMIT, || {
        static ORDERS: [Order; 4] = [(Some(0), 3), (Some(1), 3), (Some(2), 3), (None, 3)];
        let (watched, theirs) = Watched::new(4);
        let (send, ended) = channel();
        start(&watched, &ORDERS, move || send.send(()).unwrap());
        let mut found = 0;
        for _ in &ORDERS {
            found += watched.detector.scan_now().len();
            ended.recv().unwrap();
        }
        assert_eq!((found, watched.detector.reports().len(), theirs.try_iter().count()), (0, 0, 0));
    });
}
