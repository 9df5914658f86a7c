//! The pool against Erlang's formula, and its laws under cancellation, leaks and panics.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use heapledger::validation::*;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::virtually;
use crate::workloads::{LeakyConnWorkload, MixedOutcomes, PooledWorkload};

const MS: Duration = Duration::from_millis(1);
const SEC: Duration = Duration::from_secs(1);

fn pool<R>(resources: Vec<R>, acquire_timeout: Option<Duration>) -> ConnectionPool<R> {
    ConnectionPool::new(resources, PoolConfig { acquire_timeout, leak_after: SEC, ..PoolConfig::default() })
        .unwrap()
}

#[test]
fn a_queue_with_four_servers_waits_as_erlang_says() {
    const REQUESTS: usize = 200_000;
    let (rate, hold, servers) = (0.032, 100.0, 4);
    let stats = virtually(async {
        let pool = pool(vec![(); servers], None);
        let mut rng = UserRng::new(1, 0, Popularity::Uniform);
        let (begin, mut due) = (Instant::now(), 0.0);
        let mut last = None;
        for _ in 0..REQUESTS {
            due += rng.exponential() / rate;
            let time = Duration::from_secs_f64(hold * rng.exponential());
            sleep_until(begin + Duration::from_secs_f64(due)).await;
            let pool = pool.clone();
            last = Some(tokio::spawn(async move {
                let _connection = pool.acquire().await.unwrap();
                sleep(time).await;
            }));
        }
        let stats = pool.get_stats();
        last.unwrap().await.unwrap();
        stats
    });
    let expected = 1000.0 * erlang_c_mean_wait(servers, rate * hold, hold).unwrap();
    assert!(
        (stats.wait_time_ms / expected - 1.0).abs() < 0.05,
        "{} ms, expected {expected}",
        stats.wait_time_ms
    );
    let waited = stats.acquires_waited as f64 / (stats.acquires_waited + stats.acquires_direct) as f64;
    assert!((waited - erlang_c(servers, rate * hold).unwrap()).abs() < 0.01, "{waited}");
    assert!((stats.average_usage / 3.2 - 1.0).abs() < 0.01, "{}", stats.average_usage);
    // Little's law: connections in use = rate of acquisition × mean hold.
    let seconds = REQUESTS as f64 / rate;
    let little = stats.usage.n as f64 / seconds * stats.usage.mean_ms.unwrap() / 1000.0;
    assert!((stats.average_usage / little - 1.0).abs() < 0.01, "{} and {little}", stats.average_usage);
    assert!(stats.is_conserved());
}

#[test]
fn fifty_users_never_hold_more_than_five() {
    let config = BenchmarkConfig {
        connection_pool_size: Some(5),
        pool_acquire_timeout: 60 * SEC,
        ..BenchmarkConfig::bare()
    };
    let b = ConcurrentBenchmark::new(PooledWorkload::new(10 * MS), config).unwrap();
    let r = virtually(b.drive_concurrent_test(LoadModel::closed(50), 10 * SEC)).unwrap();
    let p = &r.connection_pool_usage;
    assert_eq!((b.workload().concurrent_peak(), p.peak_usage, p.pool_size), (5, 5, 5));
    assert!((p.average_usage - 5.0).abs() < 0.01 && (p.utilization_percent - 100.0).abs() < 0.2, "{p:?}");
    assert!((r.requests_per_second - 500.0).abs() < 1.0);
    assert!((p.pending_average - 45.0).abs() < 0.1 && p.pending_peak >= 45);
    assert!(p.is_conserved(), "{p:?}");
}

#[test]
fn the_default_pool_throttles_no_load() {
    // Half as many connections as users, and no more, would be a pool for the number of cores: 178 requests a second.
    let b = ConcurrentBenchmark::new(
        PooledWorkload::new(20 * MS),
        BenchmarkConfig { connection_pool_size: None, ..BenchmarkConfig::bare() },
    );
    let r = virtually(b.unwrap().drive_concurrent_test(LoadModel::closed(32), 10 * SEC)).unwrap();
    let p = &r.connection_pool_usage;
    assert_eq!((p.pool_size, p.peak_usage, p.acquires_waited), (64, 32, 0));
    assert!((r.requests_per_second - 1600.0).abs() < 4.0, "{}", r.requests_per_second);
}

#[test]
fn a_workload_without_connections_has_no_pool_by_default() {
    let workload = || MixedOutcomes { fail: 0.0, hang: 0.0, wrong: 0.0, service: 20 * MS };
    let run = |connection_pool_size| {
        let config = BenchmarkConfig { connection_pool_size, ..BenchmarkConfig::bare() };
        let b = ConcurrentBenchmark::new(workload(), config).unwrap();
        virtually(b.drive_concurrent_test(LoadModel::closed(32), 10 * SEC)).unwrap()
    };
    let r = run(None);
    assert_eq!((r.connection_pool_usage.pool_size, r.connection_pool_usage.acquires_started), (0, 0));
    assert!((r.requests_per_second - 1600.0).abs() < 4.0, "{}", r.requests_per_second);
    // A pool that the configuration asks for is simulated with any connection.
    let r = run(Some(4));
    assert_eq!(r.connection_pool_usage.peak_usage, 4);
    assert!((r.requests_per_second - 200.0).abs() < 2.0, "{}", r.requests_per_second);
}

#[test]
fn enough_connections_mean_no_wait() {
    let config = BenchmarkConfig { connection_pool_size: Some(8), ..BenchmarkConfig::bare() };
    let b = ConcurrentBenchmark::new(PooledWorkload::new(10 * MS), config).unwrap();
    let r = virtually(b.drive_concurrent_test(LoadModel::closed(8), SEC)).unwrap();
    let p = &r.connection_pool_usage;
    assert_eq!((p.acquires_waited, p.wait_time_ms, p.wait.max_ms), (0, 0.0, Some(0.0)));
}

#[test]
fn a_constant_wait_has_that_mean() {
    // The seed's moving average gives 5, 7.5, 8.75 … for a constant wait of 10.
    let stats = virtually(async {
        let pool = pool(vec![()], None);
        for _ in 0..10 {
            let held = pool.acquire().await.unwrap();
            let (a, ()) = tokio::join!(pool.acquire(), async {
                sleep(10 * MS).await;
                drop(held);
            });
            drop(a.unwrap());
        }
        pool.get_stats()
    });
    assert_eq!((stats.acquires_direct, stats.acquires_waited, stats.wait_time_ms), (10, 10, 5.0));
}

#[test]
fn a_forgotten_connection_is_reported_with_its_line() {
    virtually(async {
        let pool = pool(vec![1, 2], Some(100 * MS));
        let line = line!() + 1;
        std::mem::forget(pool.acquire().await.unwrap());
        let late = pool.acquire().await.unwrap();
        let refused = pool.acquire().await.unwrap_err();
        assert!(matches!(refused, PoolError::Timeout { active: 2, pending: 0, .. }), "{refused}");
        sleep(2 * SEC).await;
        drop(late);
        let stats = pool.get_stats();
        assert_eq!(stats.connection_timeouts, 1);
        assert_eq!((stats.wait.censored, stats.wait.censored_from_ms), (1, Some(100.0)));
        let (back, lost): (Vec<_>, Vec<_>) = stats.leaks.iter().partition(|l| l.returned_later);
        assert_eq!((back.len(), lost.len()), (1, 1));
        assert_eq!(lost[0].location, format!("{}:{line}", file!()));
        assert!(lost[0].held_for_ms >= 2000.0);
        assert!(stats.is_conserved());
    });
}

#[test]
fn a_leaky_workload_times_out_and_says_why() {
    let (r, stats) = virtually(async {
        let pool = pool(vec![(); 4], Some(50 * MS));
        let workload = LeakyConnWorkload::new(pool.clone(), 4);
        let b = ConcurrentBenchmark::new(workload, BenchmarkConfig::bare()).unwrap();
        let r = b.drive_concurrent_test(LoadModel::closed(2), 10 * SEC).await.unwrap();
        (r, pool.get_stats())
    });
    assert!(r.failed_requests > 0 && r.is_conserved());
    assert_eq!(stats.leaks.iter().filter(|l| !l.returned_later).count(), 4);
    assert!(stats.connection_timeouts > 0 && stats.leaks[0].location.contains("workloads.rs:"));
    let by_a_user = |leak: &LeakReport| leak.user.as_deref().is_some_and(|user| user.starts_with("user "));
    assert!(stats.leaks.iter().all(by_a_user), "{:?}", stats.leaks);
}

#[test]
fn cancelled_acquires_lose_nothing() {
    virtually(async {
        let pool = pool(vec![(); 3], None);
        let inside = Arc::new(AtomicUsize::new(0));
        let mut tasks = tokio::task::JoinSet::new();
        for user in 0..100 {
            let (pool, inside) = (pool.clone(), Arc::clone(&inside));
            tasks.spawn(async move {
                let mut rng = UserRng::new(9, user, Popularity::Uniform);
                for _ in 0..100 {
                    let patience = Duration::from_micros(rng.below(40_000));
                    if let Ok(c) = timeout(patience, pool.acquire()).await {
                        let _c = c.unwrap();
                        assert!(inside.fetch_add(1, Relaxed) < 3);
                        sleep(Duration::from_micros(rng.below(2_000))).await;
                        inside.fetch_sub(1, Relaxed);
                    }
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        let stats = pool.get_stats();
        assert!(stats.acquires_cancelled > 1000 && stats.acquires_waited > 100, "{stats:?}");
        assert!(stats.is_conserved() && stats.pending == 0 && stats.peak_usage == 3);
        // Full capacity is back.
        let all = pool.acquire_many(3).await.unwrap();
        assert_eq!(all.len(), 3);
        assert!(matches!(pool.acquire_many(4).await, Err(PoolError::TooMany { asked: 4, size: 3 })));
    });
}

#[test]
fn a_panic_gives_the_connection_back() {
    virtually(async {
        let pool = pool(vec![7], None);
        let p = pool.clone();
        let panicked = tokio::spawn(async move {
            let c = p.acquire().await.unwrap();
            assert_eq!(*c, 8, "planted panic");
        });
        assert!(panicked.await.is_err());
        assert_eq!(*pool.acquire().await.unwrap(), 7);
        pool.close();
        assert!(matches!(pool.acquire().await, Err(PoolError::Closed)));
    });
}

#[test]
fn the_conservation_checker_can_fail() {
    let mut stats = virtually(async {
        let pool = pool(vec![()], None);
        drop(pool.acquire().await.unwrap());
        pool.get_stats()
    });
    assert!(stats.is_conserved());
    stats.acquires_direct += 1;
    assert!(!stats.is_conserved());
}
