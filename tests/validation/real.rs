//! What only real time can show: processor time, locks, threads. Bounds leave room for a busy machine.

use std::time::Duration;

use heapledger::validation::*;

const SEC: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn on_threads() -> BenchmarkConfig {
    BenchmarkConfig { executor: Executor::Threads, warm_up: 50 * MS, ..BenchmarkConfig::bare() }
}

/// One run at one user and one at eight.
fn eight_against_one<W: Workload>(workload: W, config: BenchmarkConfig, time: Duration) -> ScalabilityReport {
    let benchmark = ConcurrentBenchmark::new(workload, config).unwrap();
    benchmark.run_scalability_test(Levels::List(vec![8]), time).unwrap()
}

fn contention(r: &ScalabilityReport) -> ContentionScore {
    r.level(8).unwrap().contention.expect("there is a baseline")
}

#[test]
#[cfg(target_os = "linux")]
fn a_lock_that_all_share_is_seen_as_one() {
    // Several times as long as a scheduler's tick under load: what waits in the run queue must not drown the lock.
    let r = eight_against_one(LockedWorkload::new(0, 1_000_000), on_threads(), SEC);
    let c = contention(&r);
    assert!(c.lock.unwrap() >= 40.0 && c.total >= 60.0, "{c:?}");
    assert_eq!(c.dominant, Some(ContentionCause::Lock));
}

#[test]
#[cfg(target_os = "linux")]
fn too_few_cores_are_not_a_lock() {
    let r = eight_against_one(SpinWorkload { cpu_ns: 200_000 }, on_threads(), SEC);
    let c = contention(&r);
    if MachineInfo::read().cores <= 4 {
        assert_eq!(c.dominant, Some(ContentionCause::Cpu), "{c:?}");
    }
    assert!(c.lock.unwrap() <= 10.0, "{c:?}");
}

#[test]
#[cfg(target_os = "linux")]
fn sleeping_is_no_contention() {
    for blocking in [true, false] {
        let r = eight_against_one(SleepWorkload { time: 5 * MS, blocking }, on_threads(), SEC);
        let c = contention(&r);
        // What other programs take away is waiting for a core, and rightly reported as such.
        assert!(c.lock.unwrap() <= 15.0 && c.total - c.cpu.unwrap() <= 15.0, "{c:?}");
        assert_eq!(r.level(8).unwrap().error_rate, Some(0.0));
    }
}

#[test]
#[cfg(unix)]
fn processor_time_is_not_wall_time() {
    fn one<W: Workload>(workload: W) -> ConcurrentTestResult {
        let config = BenchmarkConfig { executor: Executor::Threads, ..BenchmarkConfig::bare() };
        let b = ConcurrentBenchmark::new(workload, config).unwrap();
        b.run_concurrent_test(LoadModel::closed(1), 150 * MS).unwrap()
    }
    let spin = one(SpinWorkload { cpu_ns: 200_000_000 });
    let (user, n) = (&spin.thread_performance[0], spin.successful_requests as f64);
    let cpu = user.cpu_time_ms.unwrap() / n;
    assert!((160.0..=240.0).contains(&cpu) && user.average_latency_ms.unwrap() >= 199.0, "{user:?}");
    let sleep = one(SleepWorkload { time: 200 * MS, blocking: true });
    let (user, n) = (&sleep.thread_performance[0], sleep.successful_requests as f64);
    assert!(user.cpu_time_ms.unwrap() / n < 20.0 && user.average_latency_ms.unwrap() >= 199.0, "{user:?}");
}

#[test]
fn the_parts_sum_to_the_response_time() {
    for executor in [Executor::Tokio { workers: 2 }, Executor::Threads] {
        let config = BenchmarkConfig { executor, connection_pool_size: Some(2), ..BenchmarkConfig::bare() };
        let b = ConcurrentBenchmark::new(PooledWorkload::new(2 * MS), config).unwrap();
        let r = b.run_concurrent_test(LoadModel::closed(6), 300 * MS).unwrap();
        let parts = r.breakdown.unwrap();
        assert!((parts.parts_ms() - parts.response_ms).abs() < 0.001, "{parts:?}");
        assert!((parts.response_ms - r.average_response_time_ms.unwrap()).abs() < 0.001);
        assert!(parts.pool_wait_ms > parts.idle_ms, "six users on two connections mostly wait: {parts:?}");
    }
}

#[test]
fn an_open_load_keeps_its_rate_in_real_time() {
    let load = LoadModel::Open {
        rate_per_sec: 500.0,
        arrivals: Arrivals::Uniform,
        max_in_flight: 8,
        overload: Overload::Queue,
    };
    for executor in [Executor::Tokio { workers: 2 }, Executor::Threads] {
        let config = BenchmarkConfig { executor, ..BenchmarkConfig::bare() };
        let b = ConcurrentBenchmark::new(NullWorkload::default(), config).unwrap();
        let r = b.run_concurrent_test(load.clone(), SEC).unwrap();
        assert_eq!(
            (r.total_requests, r.successful_requests),
            (500, 500),
            "the plan does not depend on the machine"
        );
        assert!(r.dispatch_lag.n == 500 && r.is_conserved());
        assert!(r.breakdown.unwrap().dispatch_queue_ms >= 0.0);
    }
}

#[test]
fn threads_of_the_run_are_listed_with_their_times() {
    let config = BenchmarkConfig { executor: Executor::Tokio { workers: 2 }, ..BenchmarkConfig::bare() };
    let b = ConcurrentBenchmark::new(SpinWorkload { cpu_ns: 100_000 }, config).unwrap();
    let r = b.run_concurrent_test(LoadModel::closed(4), 200 * MS).unwrap();
    if cfg!(target_os = "linux") {
        let workers: Vec<_> = r.os_threads.iter().filter(|t| t.name.contains("worker")).collect();
        assert_eq!(workers.len(), 2, "{:?}", r.os_threads);
        assert!(workers.iter().all(|t| t.cpu_ms + t.run_queue_ms > 50.0), "{workers:?}");
    }
    assert_eq!(r.abandoned_threads, 0);
}

#[test]
fn a_late_generator_is_seen_and_forbids_conclusions() {
    /// Takes long to choose a request, which is the generator's time and not the system's.
    struct SlowChoice(Duration);
    impl Workload for SlowChoice {
        type Session = ();
        type Request = ();
        type Conn = ();
        type Error = std::convert::Infallible;
        fn name(&self) -> &str {
            "slow choice"
        }
        async fn open_session(&self, _: UserId) -> Result<(), Self::Error> {
            Ok(())
        }
        fn connect(&self, _: usize) -> Result<(), Self::Error> {
            Ok(())
        }
        fn next_request(&self, _: &mut (), _: &mut UserRng, _: u64) {
            std::thread::sleep(self.0);
        }
        async fn execute(&self, _: &mut (), _: Option<&mut ()>, _: &()) -> Result<Outcome, Self::Error> {
            tokio::time::sleep(5 * MS).await;
            Ok(Outcome::default())
        }
        fn connections_per_request(&self) -> usize {
            0
        }
    }
    let late = |choice| {
        let config =
            BenchmarkConfig { executor: Executor::Threads, max_foreign_cpu: 1.0, ..BenchmarkConfig::bare() };
        let load = LoadModel::Open {
            rate_per_sec: 20.0,
            arrivals: Arrivals::Uniform,
            max_in_flight: 8,
            overload: Overload::Queue,
        };
        let b = ConcurrentBenchmark::new(SlowChoice(choice), config).unwrap();
        b.run_concurrent_test(load, SEC).unwrap()
    };
    let r = late(30 * MS);
    assert!(r.validity.iter().any(|v| matches!(v, ValidityIssue::GeneratorLate { .. })), "{:?}", r.validity);
    assert!(!r.valid && !r.passed() && r.dispatch_lag.min_ms.unwrap() >= 30.0);
    assert!(late(Duration::ZERO).dispatch_lag.mean_ms.unwrap() < 30.0);
}

/// Does its work before it returns a future, as a plain function may.
#[derive(Debug)]
struct Eager(u64);

impl Workload for Eager {
    type Session = ();
    type Request = ();
    type Conn = ();
    type Error = std::convert::Infallible;

    fn name(&self) -> &str {
        "eager"
    }
    async fn open_session(&self, _: UserId) -> Result<(), Self::Error> {
        Ok(())
    }
    fn connect(&self, _: usize) -> Result<(), Self::Error> {
        Ok(())
    }
    fn next_request(&self, (): &mut (), _: &mut UserRng, _: u64) {}
    fn execute(
        &self,
        (): &mut (),
        _: Option<&mut ()>,
        (): &(),
    ) -> impl Future<Output = Result<Outcome, Self::Error>> + Send {
        let begin = thread_cpu_ns().unwrap_or(0);
        while thread_cpu_ns().unwrap_or(u64::MAX) - begin < self.0 {}
        std::future::ready(Ok(Outcome::default()))
    }
    fn connections_per_request(&self) -> usize {
        0
    }
}

#[test]
#[cfg(unix)]
fn work_done_before_there_is_a_future_is_the_requests_too() {
    let b = ConcurrentBenchmark::new(Eager(2_000_000), on_threads()).unwrap();
    let parts = b.run_concurrent_test(LoadModel::closed(1), SEC / 2).unwrap().breakdown.unwrap();
    assert!(parts.on_cpu_ms.unwrap() >= 2.0 && parts.idle_ms < 0.5, "{parts:?}");
}
