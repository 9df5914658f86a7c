//! Latency includes the delay of stalls, and arrivals follow their plan.

use std::time::Duration;

use heapledger::validation::*;

use crate::virtually;
use crate::workloads::{SleepWorkload, StallWorkload};

const SEC: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn drive<W: Workload>(
    workload: W,
    config: BenchmarkConfig,
    load: LoadModel,
    time: Duration,
) -> ConcurrentTestResult {
    let config = BenchmarkConfig { max_concurrent_users: 2000, ..config };
    let benchmark = ConcurrentBenchmark::new(workload, config).unwrap();
    virtually(benchmark.drive_concurrent_test(load, time)).unwrap()
}

fn one_server(overload: Overload) -> LoadModel {
    LoadModel::Open { rate_per_sec: 100.0, arrivals: Arrivals::Uniform, max_in_flight: 1, overload }
}

#[test]
fn an_open_load_shows_the_requests_that_a_stall_delayed() {
    let r = drive(
        StallWorkload::new(MS, 10 * SEC, 2 * SEC),
        BenchmarkConfig::bare(),
        one_server(Overload::Queue),
        20 * SEC,
    );
    assert_eq!((r.total_requests, r.successful_requests), (2000, 2000));
    let p99 = r.response.p99_ms.unwrap();
    assert!((1700.0..1900.0).contains(&p99), "response p99 {p99}");
    assert!(r.service.p99_ms.unwrap() <= 2.0, "service p99 {:?}", r.service.p99_ms);
    assert!(r.co_gap.unwrap() > 500.0, "gap {:?}", r.co_gap);
    // Two seconds of arrivals, and those that came while the backlog drained.
    let affected: u32 = r.timeline.iter().filter(|s| s.mean_ms.is_some_and(|m| m > 2.0)).map(|s| s.ok).sum();
    assert!((215..=240).contains(&affected), "{affected} answers in slices that a delay shows in");
    // The generator was on time all along: the queueing is the system's.
    assert!(r.dispatch_lag.max_ms.unwrap() <= 1.0, "{:?}", r.dispatch_lag);
    assert!(!r.validity.iter().any(|v| matches!(v, ValidityIssue::GeneratorLate { .. })));
}

#[test]
fn without_a_stall_response_is_service() {
    let r = drive(
        StallWorkload::new(MS, Duration::ZERO, Duration::ZERO),
        BenchmarkConfig::bare(),
        one_server(Overload::Queue),
        20 * SEC,
    );
    assert!(r.co_gap.unwrap() < 1.1, "gap {:?}", r.co_gap);
    assert_eq!(r.total_requests, 2000);
}

#[test]
fn a_closed_loop_hides_them_and_says_how_much() {
    let config = BenchmarkConfig { think: ThinkTime::Fixed(9 * MS), ..BenchmarkConfig::bare() };
    let r = drive(StallWorkload::new(MS, 10 * SEC, 2 * SEC), config, LoadModel::closed(1), 20 * SEC);
    assert!((1798..=1802).contains(&r.total_requests), "{}", r.total_requests);
    assert!(r.response.p99_ms.unwrap() <= 2.0, "the closed loop saw one slow request");
    assert!(r.co_exposure.unwrap() >= 0.09, "exposure {:?}", r.co_exposure);
    assert_eq!(r.co_gap, None);
    let calm = drive(NullWorkload::pausing(MS), BenchmarkConfig::bare(), LoadModel::closed(1), 20 * SEC);
    assert!(calm.co_exposure.unwrap() < 0.001);
}

#[test]
fn dropped_arrivals_are_all_accounted_for() {
    let r = drive(
        StallWorkload::new(MS, 10 * SEC, 2 * SEC),
        BenchmarkConfig::bare(),
        one_server(Overload::Drop),
        20 * SEC,
    );
    assert_eq!(r.dropped_arrivals as usize + r.total_requests, 2000);
    assert!((195..=200).contains(&r.dropped_arrivals), "{} dropped", r.dropped_arrivals);
    assert_eq!(r.offered_rate, Some(100.0));
    // One request is caught in the stall, all others find a free worker.
    assert!(r.response.p90_ms.unwrap() < 1.01, "{:?}", r.response);
}

#[test]
fn poisson_arrivals_keep_their_rate() {
    let load = LoadModel::Open {
        rate_per_sec: 200.0,
        arrivals: Arrivals::Poisson,
        max_in_flight: 1000,
        overload: Overload::Queue,
    };
    let config = BenchmarkConfig { ramp_up_duration: SEC, warm_up: SEC, ..BenchmarkConfig::bare() };
    let r = drive(NullWorkload::pausing(MS), config, load, 100 * SEC);
    // Poisson with mean 20,000: four standard deviations.
    assert!((19_434..=20_566).contains(&r.total_requests), "{}", r.total_requests);
    assert_eq!(r.successful_requests, r.total_requests);
}

#[test]
fn a_replay_repeats_its_trace() {
    let offsets_ns = vec![0, 5_000_000, 5_000_000, 900_000_000];
    let r = drive(
        NullWorkload::pausing(10 * MS),
        BenchmarkConfig::bare(),
        LoadModel::Replay { offsets_ns, max_in_flight: 4 },
        SEC,
    );
    assert_eq!((r.total_requests, r.max_response_time_ms), (4, Some(10.0)));
}

#[test]
fn a_slow_request_is_cut_off_and_counted_as_censored() {
    let config = BenchmarkConfig { request_timeout: Some(50 * MS), ..BenchmarkConfig::bare() };
    let r = drive(SleepWorkload { time: SEC, blocking: false }, config, LoadModel::closed(2), SEC);
    assert_eq!((r.successful_requests, r.timeout_requests), (0, 40));
    assert_eq!((r.response.n, r.response.censored, r.response.censored_from_ms), (40, 40, Some(50.0)));
    assert_eq!((r.average_response_time_ms, r.error_rate), (None, Some(1.0)));
    assert!(r.validity.contains(&ValidityIssue::ZeroSuccess) && !r.valid);
}

#[test]
fn requests_that_never_end_are_interrupted() {
    let config = BenchmarkConfig { graceful_stop: SEC, ..BenchmarkConfig::bare() };
    let r = drive(SleepWorkload { time: 3600 * SEC, blocking: false }, config, LoadModel::closed(3), SEC);
    assert_eq!((r.total_requests, r.interrupted_requests), (3, 3));
    assert_eq!((r.response.censored, r.response.max_ms), (3, Some(2000.0)));
    assert!(r.is_conserved());
    // Of an open load, arrivals that no worker took up count too.
    let config = BenchmarkConfig { graceful_stop: SEC, ..BenchmarkConfig::bare() };
    let r =
        drive(SleepWorkload { time: 3600 * SEC, blocking: false }, config, one_server(Overload::Queue), SEC);
    assert_eq!((r.total_requests, r.interrupted_requests), (100, 100));
    assert!(r.is_conserved());
}

#[test]
fn the_timeline_says_when_it_was_slow_and_who_waited() {
    let load = LoadModel::Open {
        rate_per_sec: 20_000.0,
        arrivals: Arrivals::Uniform,
        max_in_flight: 40,
        overload: Overload::Queue,
    };
    let r = drive(StallWorkload::new(MS, 2 * SEC, SEC), BenchmarkConfig::bare(), load, 5 * SEC);
    assert_eq!(r.timeline.len(), 50);
    let (calm, after) = (&r.timeline[10], &r.timeline[31]);
    // Two thousand answers in each slice are enough for a p99 of it; a timer's grain is a millisecond.
    assert!((0.9..2.1).contains(&calm.p99_ms.unwrap()) && calm.pending == Some(0.0), "{calm:?}");
    assert!(calm.active.is_some_and(|active| active > 10.0), "{calm:?}");
    assert!(after.p99_ms.unwrap() > 500.0 && after.p99_ms <= after.max_ms, "{after:?}");
    // One of forty workers stands still; arrivals that the others cannot take wait, and are seen waiting.
    assert!(r.timeline.iter().all(|s| s.completeness.is_none()), "nothing watched a tracker");
}

#[test]
fn a_slice_with_few_answers_has_no_p99() {
    let r = drive(NullWorkload::pausing(MS), BenchmarkConfig::bare(), LoadModel::closed(1), 5 * SEC);
    assert!(r.timeline.iter().all(|s| s.ok > 90 && s.p99_ms.is_none() && s.mean_ms.is_some()));
    assert!(r.response.p99_ms.is_some());
}

#[test]
fn what_a_run_is_doing_can_be_seen_and_adds_up_at_its_end() {
    let config = BenchmarkConfig { warm_up: SEC, ..BenchmarkConfig::bare() };
    let b = ConcurrentBenchmark::new(NullWorkload::pausing(MS), config).unwrap();
    let live = b.live();
    let seen = virtually(async {
        let run = b.drive_concurrent_test(LoadModel::closed(3), 2 * SEC);
        let look = async {
            tokio::time::sleep(2 * SEC).await;
            live.read()
        };
        let (result, seen) = tokio::join!(run, look);
        assert_eq!(result.unwrap().total_requests, 6000);
        seen
    });
    let whole = live.read();
    assert!((1..=3).contains(&seen.elapsed.as_secs()) && seen.users == 3 && seen.active <= 3, "{seen:?}");
    assert!((3000..9000).contains(&seen.answered), "{seen:?}");
    assert_eq!((whole.answered, whole.failed, whole.active), (9000, 0, 0), "warm-up and window");
    assert_eq!(whole.planned, 3 * SEC);
}
