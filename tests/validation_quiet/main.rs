//! The harness does not measure itself: it allocates nothing between the start of the users and the end of the last
//! user. A separate global allocator without heapledger counts.
#![cfg(feature = "validation")]

#[path = "../validation/workloads.rs"]
mod workloads;

use std::alloc::System;
use std::sync::Arc;
use std::time::Duration;

use heapledger::validation::*;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use workloads::PooledWorkload;

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A tracker that observes every allocation and free and loses none.
struct Counter;

impl TrackerProbe for Counter {
    fn snapshot(&self) -> TrackerSnapshot {
        let s = HEAP.stats();
        let events = (s.allocations + s.deallocations + s.reallocations) as u64;
        TrackerSnapshot { observed: events, aggregated: events, ..TrackerSnapshot::default() }
    }

    fn quiesce(&self, _: Duration) -> Result<(), QuiesceError> {
        Ok(())
    }
}

fn counted<W: Workload>(workload: W, config: BenchmarkConfig, load: LoadModel) -> ConcurrentTestResult {
    let benchmark = ConcurrentBenchmark::new(workload, config).unwrap().with_probe(Arc::new(Counter));
    benchmark.run_concurrent_test(load, Duration::from_millis(300)).unwrap()
}

fn setups() -> Vec<(BenchmarkConfig, LoadModel)> {
    let open = LoadModel::Open {
        rate_per_sec: 2000.0,
        arrivals: Arrivals::Poisson,
        max_in_flight: 8,
        overload: Overload::Queue,
    };
    let drop = LoadModel::Open {
        rate_per_sec: 5000.0,
        arrivals: Arrivals::Uniform,
        max_in_flight: 2,
        overload: Overload::Drop,
    };
    let mut setups = Vec::new();
    for executor in [Executor::Tokio { workers: 2 }, Executor::Threads] {
        for load in [LoadModel::closed(1), LoadModel::closed(8), open.clone(), drop.clone()] {
            setups.push((BenchmarkConfig { executor, ..BenchmarkConfig::bare() }, load));
        }
    }
    setups
}

/// The only test of this process, because the counts include all its threads, and a test runner starts threads at any
/// time.
#[test]
fn the_harness_is_quiet_and_the_oracle_is_exact() {
    a_request_of_the_harness_allocates_nothing();
    waiting_for_timers_and_connections_allocates_nothing();
    the_oracle_is_exact_and_one_allocation_too_many_is_seen();
}

fn a_request_of_the_harness_allocates_nothing() {
    for (config, load) in setups() {
        let r = counted(NullWorkload::default(), config.clone(), load.clone());
        let c = r.completeness.unwrap();
        assert_eq!((c.oracle_expected, c.observed), (Some(0), 0), "{:?} {load:?}", config.executor);
        assert!(r.total_requests > 50, "{} requests", r.total_requests);
    }
}

fn waiting_for_timers_and_connections_allocates_nothing() {
    for executor in [Executor::Tokio { workers: 2 }, Executor::Threads] {
        let config = BenchmarkConfig {
            executor,
            connection_pool_size: Some(2),
            request_timeout: Some(Duration::from_secs(5)),
            think: ThinkTime::Exponential(Duration::from_micros(200)),
            ..BenchmarkConfig::bare()
        };
        let r = counted(PooledWorkload::new(Duration::from_millis(1)), config, LoadModel::closed(6));
        assert!(r.connection_pool_usage.acquires_waited > 20);
        assert_eq!(r.completeness.unwrap().observed, 0, "{executor:?}");
    }
}

fn the_oracle_is_exact_and_one_allocation_too_many_is_seen() {
    /// A workload that reports one event less than it makes, once.
    struct OneTooMany(AllocWorkload, std::sync::atomic::AtomicBool);
    impl Workload for OneTooMany {
        type Session = <AllocWorkload as Workload>::Session;
        type Request = u64;
        type Conn = ();
        type Error = std::convert::Infallible;
        fn name(&self) -> &str {
            "one too many"
        }
        async fn open_session(&self, user: UserId) -> Result<Self::Session, Self::Error> {
            self.0.open_session(user).await
        }
        fn connect(&self, _: usize) -> Result<(), Self::Error> {
            Ok(())
        }
        fn next_request(&self, s: &mut Self::Session, rng: &mut UserRng, seq: u64) -> u64 {
            if !self.1.swap(true, std::sync::atomic::Ordering::Relaxed) {
                std::mem::forget(Box::new(7));
            }
            self.0.next_request(s, rng, seq)
        }
        async fn execute(
            &self,
            s: &mut Self::Session,
            c: Option<&mut ()>,
            r: &u64,
        ) -> Result<Outcome, Self::Error> {
            self.0.execute(s, c, r).await
        }
        fn expected_alloc_events(&self, r: &u64) -> Option<u64> {
            self.0.expected_alloc_events(r)
        }
        fn connections_per_request(&self) -> usize {
            0
        }
    }
    let workload = AllocWorkload { allocs: 100, size: 512, lifetime: 16 };
    for (config, load) in setups() {
        let c = counted(workload, config, load).completeness.unwrap();
        assert!(c.oracle_expected.unwrap() > 10_000);
        assert_eq!(c.oracle_error, Some(0), "{c:?}");
    }
    let c = counted(OneTooMany(workload, false.into()), BenchmarkConfig::bare(), LoadModel::closed(4));
    assert_eq!(c.completeness.unwrap().oracle_error, Some(1));
}
