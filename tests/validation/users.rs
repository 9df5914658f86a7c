//! The requested number of users, none of which affects another.

use std::time::Duration;

use heapledger::validation::*;

use crate::virtually;
use crate::workloads::{PanicWorkload, StallWorkload};

const SEC: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn drive<W: Workload>(
    workload: W,
    config: BenchmarkConfig,
    load: LoadModel,
    time: Duration,
) -> (ConcurrentTestResult, ConcurrentBenchmark<W>) {
    let benchmark = ConcurrentBenchmark::new(workload, config).unwrap();
    let result = virtually(benchmark.drive_concurrent_test(load, time)).unwrap();
    (result, benchmark)
}

#[test]
fn seven_users_are_seven() {
    let (r, b) = drive(NullWorkload::pausing(MS), BenchmarkConfig::bare(), LoadModel::closed(7), SEC);
    assert_eq!((r.concurrent_users, r.thread_performance.len(), b.workload().concurrent_peak()), (7, 7, 7));
    assert!(r.thread_performance.iter().all(|u| u.requests_completed == 1000));
    assert_eq!((r.total_requests, r.requests_per_second), (7000, 7000.0));
    assert!(r.is_conserved());
}

#[test]
fn a_thousand_users_are_a_thousand() {
    let config = BenchmarkConfig { max_concurrent_users: 1000, ..BenchmarkConfig::bare() };
    let (r, b) = drive(NullWorkload::pausing(10 * MS), config, LoadModel::closed(1000), SEC);
    assert_eq!((r.concurrent_users, b.workload().concurrent_peak(), r.total_requests), (1000, 1000, 100_000));
}

#[test]
fn impossible_loads_are_refused_by_name() {
    let b = ConcurrentBenchmark::new(NullWorkload::default(), BenchmarkConfig::bare()).unwrap();
    let refused = |load| b.run_concurrent_test(load, SEC).unwrap_err();
    assert!(matches!(refused(LoadModel::closed(0)), BenchError::ZeroUsers));
    let e = refused(LoadModel::closed(65));
    assert!(matches!(e, BenchError::UsersExceedMax { requested: 65, max: 64 }), "{e}");
    assert!(matches!(refused(LoadModel::open(f64::INFINITY)), BenchError::NonFinite(_)));
    assert!(matches!(
        b.run_concurrent_test(LoadModel::closed(1), Duration::ZERO),
        Err(BenchError::ZeroDuration)
    ));
    assert!(matches!(
        b.run_scalability_test(Levels::Arithmetic { max: 8, step: 0 }, SEC),
        Err(BenchError::ZeroStep)
    ));
    let config = BenchmarkConfig { connection_pool_size: Some(1), ..BenchmarkConfig::bare() };
    struct Two;
    impl Workload for Two {
        type Session = ();
        type Request = ();
        type Conn = ();
        type Error = std::convert::Infallible;
        fn name(&self) -> &str {
            "two"
        }
        async fn open_session(&self, _: UserId) -> Result<(), Self::Error> {
            Ok(())
        }
        fn connect(&self, _: usize) -> Result<(), Self::Error> {
            Ok(())
        }
        fn next_request(&self, _: &mut (), _: &mut UserRng, _: u64) {}
        async fn execute(&self, _: &mut (), _: Option<&mut ()>, _: &()) -> Result<Outcome, Self::Error> {
            Ok(Outcome::default())
        }
        fn connections_per_request(&self) -> usize {
            2
        }
    }
    let b = ConcurrentBenchmark::new(Two, config).unwrap();
    let e = b.run_concurrent_test(LoadModel::closed(1), SEC).unwrap_err();
    assert!(matches!(e, BenchError::PoolTooSmall { size: 1, per_request: 2 }), "{e}");
}

#[test]
fn one_stalled_user_leaves_the_others_as_they_were() {
    let run = |workload| drive(workload, BenchmarkConfig::bare(), LoadModel::closed(4), 4 * SEC).0;
    let alone = run(StallWorkload::new(MS, Duration::ZERO, Duration::ZERO));
    let stalled = run(StallWorkload::new(MS, SEC, 2 * SEC).only(UserId(2)));
    for user in [0, 1, 3] {
        let (a, b) = (&alone.thread_performance[user], &stalled.thread_performance[user]);
        assert_eq!(a.requests_completed, b.requests_completed);
        assert_eq!(a.max_latency_ms, b.max_latency_ms);
    }
    assert_eq!(stalled.thread_performance[2].max_latency_ms, Some(2001.0));
    assert!(stalled.user_unfairness.unwrap() > alone.user_unfairness.unwrap());
}

#[test]
fn a_panicking_user_is_booked_and_the_others_go_on() {
    let config =
        BenchmarkConfig { thresholds: vec!["panics==0".parse().unwrap()], ..BenchmarkConfig::bare() };
    let (r, _) = drive(PanicWorkload { at: 10, service: MS }, config, LoadModel::closed(3), SEC);
    assert_eq!((r.panicked_users, r.failed_requests), (1, 1));
    assert!(r.thread_performance[0].panicked);
    assert_eq!(
        r.thread_performance.iter().map(|u| u.requests_completed).collect::<Vec<_>>(),
        [10, 1000, 1000]
    );
    assert!(r.is_conserved() && !r.passed());
}

#[test]
fn a_session_that_cannot_open_is_an_error() {
    struct Closed;
    impl SyncWorkload for Closed {
        type Session = ();
        type Request = ();
        type Error = &'static str;
        fn name(&self) -> &str {
            "closed"
        }
        fn open_session(&self, user: UserId) -> Result<(), &'static str> {
            if user.0 == 2 { Err("no seat left") } else { Ok(()) }
        }
        fn next_request(&self, _: &mut (), _: &mut UserRng, _: u64) {}
        fn execute(&self, _: &mut (), _: &()) -> Result<Outcome, &'static str> {
            Ok(Outcome::default())
        }
    }
    let b = ConcurrentBenchmark::new(Blocking(Closed), BenchmarkConfig::bare()).unwrap();
    for executor in [Executor::Tokio { workers: 1 }, Executor::Threads] {
        let b =
            ConcurrentBenchmark::new(Blocking(Closed), BenchmarkConfig { executor, ..b.config().clone() })
                .unwrap();
        match b.run_concurrent_test(LoadModel::closed(4), SEC) {
            Err(BenchError::SessionOpen { user: 2, error }) => assert_eq!(error, "no seat left"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn ramp_and_warm_up_are_not_measured() {
    let config = BenchmarkConfig { ramp_up_duration: SEC, warm_up: SEC, ..BenchmarkConfig::bare() };
    // The stall lies in the warm-up: nothing of it may show.
    let (r, _) = drive(StallWorkload::new(MS, SEC, SEC / 2), config, LoadModel::closed(4), SEC);
    assert_eq!((r.total_requests, r.max_response_time_ms, r.window_s), (4000, Some(1.0), 1.0));
}

#[test]
fn staged_users_come_and_go() {
    let stage = |secs, target| Stage { duration: Duration::from_secs(secs), target, shape: StageShape::Step };
    let load = LoadModel::Staged {
        start: 0.0,
        stages: vec![stage(2, 2.0), stage(4, 6.0), stage(2, 1.0)],
        unit: StageUnit::Users,
        max_in_flight: 6,
    };
    let (r, b) = drive(NullWorkload::pausing(MS), BenchmarkConfig::bare(), load, SEC);
    // The window is the longest flat stage: four seconds of six users.
    assert_eq!((r.window_s, b.workload().concurrent_peak()), (4.0, 6));
    assert!((23_800..=24_000).contains(&r.total_requests), "{}", r.total_requests);
}

#[test]
fn think_time_lowers_the_load_and_not_the_latency() {
    let config = BenchmarkConfig { think: ThinkTime::Fixed(9 * MS), ..BenchmarkConfig::bare() };
    let (r, _) = drive(NullWorkload::pausing(MS), config, LoadModel::closed(5), SEC);
    assert_eq!((r.total_requests, r.max_response_time_ms), (500, Some(1.0)));
}

#[test]
fn a_run_can_be_stopped_early_and_still_reports() {
    let b = ConcurrentBenchmark::new(NullWorkload::pausing(MS), BenchmarkConfig::bare()).unwrap();
    let stop = b.stop_handle();
    let r = virtually(async {
        let run = b.drive_concurrent_test(LoadModel::closed(2), 3600 * SEC);
        let (r, ()) = tokio::join!(run, async {
            tokio::time::sleep(2 * SEC).await;
            stop.stop();
        });
        r.unwrap()
    });
    assert!(r.stopped_early && (2.0..2.2).contains(&r.window_s), "{}", r.window_s);
    assert!((r.requests_per_second - 2000.0).abs() < 20.0 && r.is_conserved());
}
