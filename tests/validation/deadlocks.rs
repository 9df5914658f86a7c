//! Planted deadlocks are proved and named, and slow requests are not reported as deadlocks.

use std::sync::Arc;
use std::time::Duration;

use heapledger::validation::*;
use tokio::time::{sleep, timeout};

use crate::virtually;
use crate::workloads::{DeadlockKind, DeadlockWorkload, SleepWorkload};

const MS: Duration = Duration::from_millis(1);
const SEC: Duration = Duration::from_secs(1);

fn planted(kind: DeadlockKind, users: usize, config: BenchmarkConfig) -> ConcurrentTestResult {
    let detector = DeadlockDetector::new(config.deadlock_timeout);
    let workload = DeadlockWorkload::new(kind, &detector);
    let benchmark = ConcurrentBenchmark::new(workload, config).unwrap().with_detector(detector);
    virtually(benchmark.drive_concurrent_test(LoadModel::closed(users), 10 * SEC)).unwrap()
}

fn found(kind: DeadlockKind, users: usize, names: &[&str]) -> DeadlockReport {
    let r = planted(kind, users, BenchmarkConfig::bare());
    assert!(r.deadlock_detected && r.deadlocks.len() == 1, "{kind:?}: {:?}", r.deadlocks);
    let d = r.deadlocks[0].clone();
    assert!(d.detected_after_ms <= 150.0, "{kind:?} after {} ms", d.detected_after_ms);
    assert_eq!(d.class, DeadlockClass::Permanent);
    for name in names {
        assert!(d.cycle.contains(name), "{kind:?}: {} lacks {name}", d.cycle);
    }
    assert!(d.cycle.contains("workloads.rs:"), "{}", d.cycle);
    assert!(r.stopped_early && r.is_conserved() && r.interrupted_requests >= d.actors.len());
    d
}

#[test]
fn two_locks_in_opposite_order() {
    let d = found(DeadlockKind::AbBa, 2, &["user 0", "user 1", "accounts", "journal"]);
    assert_eq!(d.actors.len(), 2);
    assert_eq!(d.actors[0].holds[0].resource, "accounts");
    assert_eq!(d.actors[0].wants, "journal");
}

#[test]
fn others_that_go_on_change_nothing() {
    found(DeadlockKind::AbBa, 8, &["user 0", "user 1"]);
}

#[test]
fn three_in_a_ring() {
    let d = found(DeadlockKind::Ring, 3, &["user 0", "user 1", "user 2", "accounts", "journal", "index"]);
    assert_eq!(d.actors.len(), 3);
}

#[test]
fn a_reader_that_wants_to_write() {
    let d = found(DeadlockKind::Upgrade, 1, &["user 0", "catalogue"]);
    assert_eq!(d.actors[0].units, u32::MAX);
}

#[test]
fn a_reader_behind_a_queued_writer() {
    found(DeadlockKind::ReadAgain, 2, &["user 0", "user 1", "catalogue"]);
}

#[test]
fn two_users_with_one_of_two_connections_each() {
    let d = found(DeadlockKind::PoolHoldAndWait, 2, &["user 0", "user 1", "sessions"]);
    assert_eq!(d.actors.len(), 2);
}

#[test]
fn a_wait_with_a_deadline_is_transient() {
    let r = planted(DeadlockKind::PoolWithTimeout, 2, BenchmarkConfig::bare());
    assert!(!r.deadlock_detected && r.deadlocks.is_empty());
    assert!(!r.transient_deadlocks.is_empty());
    assert_eq!(r.transient_deadlocks[0].class, DeadlockClass::Transient);
    assert!(r.failed_requests > 0 && !r.stopped_early, "the time-out broke it, over and over");
}

#[test]
fn failing_one_wait_lets_the_run_go_on() {
    let config = BenchmarkConfig { deadlock_action: DeadlockAction::FailVictim, ..BenchmarkConfig::bare() };
    let r = planted(DeadlockKind::AbBa, 2, config);
    assert!(r.deadlock_detected && !r.stopped_early);
    assert!(r.failed_requests > 10 && r.successful_requests > 10, "{r:?}");
    assert!(r.is_conserved());
}

#[test]
fn a_thousand_slow_requests_are_no_deadlock() {
    let config =
        BenchmarkConfig { max_concurrent_users: 1000, deadlock_timeout: 100 * MS, ..BenchmarkConfig::bare() };
    let b = ConcurrentBenchmark::new(SleepWorkload { time: SEC, blocking: false }, config).unwrap();
    let r = virtually(b.drive_concurrent_test(LoadModel::closed(1000), SEC / 2)).unwrap();
    assert_eq!((r.deadlock_detected, r.successful_requests), (false, 1000));
    assert!(r.stalls.iter().all(|s| s.class == StallClass::Unknown));
}

#[test]
fn a_minute_of_heavy_contention_is_no_deadlock() {
    let detector = DeadlockDetector::new(SEC);
    let lock = Arc::new(TrackedMutex::new("hot", 0u64, &detector));
    let (seen, count) = virtually(async {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let lock = Arc::clone(&lock);
            tasks.spawn(async move {
                loop {
                    let mut value = lock.lock().await.unwrap();
                    *value += 1;
                    sleep(10 * MS).await;
                }
            });
        }
        let mut seen = 0;
        for _ in 0..600 {
            sleep(100 * MS).await;
            seen += detector.scan_now().len();
        }
        (seen, *timeout(60 * SEC, lock.lock()).await.unwrap().unwrap())
    });
    assert_eq!((seen, detector.deadlock_detected()), (0, false));
    assert!(count >= 5990, "{count}");
}

#[test]
fn a_pool_circle_that_a_third_holder_frees_is_no_deadlock() {
    let detector = DeadlockDetector::new(SEC);
    let config = PoolConfig { acquire_timeout: None, ..PoolConfig::default() };
    let pool = ConnectionPool::watched(vec![(); 3], config, &detector).unwrap();
    virtually(async {
        let third = pool.acquire().await.unwrap();
        let users: Vec<_> = (0..2)
            .map(|_| {
                let pool = pool.clone();
                tokio::spawn(async move {
                    let _one = pool.acquire().await.unwrap();
                    sleep(10 * MS).await;
                    let _two = pool.acquire().await.unwrap();
                })
            })
            .collect();
        sleep(SEC).await;
        assert!(detector.scan_now().is_empty(), "the third holder works and will give back");
        drop(third);
        for user in users {
            timeout(SEC, user).await.expect("it was no deadlock").unwrap();
        }
    });
}

#[test]
fn code_outside_the_benchmark_can_say_what_it_waits_for() {
    let detector = DeadlockDetector::new(SEC);
    let (a, b) = (detector.resource("left", 1), detector.resource("right", 1));
    let (me, you) = std::thread::scope(|s| {
        let d = &detector;
        let other =
            s.spawn(move || (d.current_actor(), d.acquired(d.waiting(d.current_actor(), b, 1, None))));
        ((d.current_actor(), d.acquired(d.waiting(d.current_actor(), a, 1, None))), other.join().unwrap())
    });
    assert!(detector.scan_now().is_empty());
    let first = detector.waiting(me.0, b, 1, None);
    assert!(detector.scan_now().is_empty(), "one wait is no circle");
    let second = detector.waiting(you.0, a, 1, None);
    let reports = detector.scan_now();
    assert_eq!(reports.len(), 1);
    assert!(
        reports[0].cycle.contains("left")
            && reports[0].cycle.contains("right")
            && reports[0].cycle.contains("thread")
    );
    drop((first, second));
    assert!(detector.scan_now().is_empty());
}
