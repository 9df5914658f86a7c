//! Every request has exactly one outcome, and the check of that law can fail.

use std::time::Duration;

use heapledger::validation::*;

use crate::virtually;
use crate::workloads::MixedOutcomes;

const MS: Duration = Duration::from_millis(1);

fn mixed(seed: u64, load: LoadModel) -> ConcurrentTestResult {
    let config = BenchmarkConfig {
        seed,
        connection_pool_size: Some(3),
        pool_acquire_timeout: 40 * MS,
        request_timeout: Some(100 * MS),
        graceful_stop: 50 * MS,
        ..BenchmarkConfig::bare()
    };
    let workload = MixedOutcomes { fail: 0.1, hang: 0.02, wrong: 0.05, service: 7 * MS };
    let benchmark = ConcurrentBenchmark::new(workload, config).unwrap();
    virtually(benchmark.drive_concurrent_test(load, Duration::from_secs(5))).unwrap()
}

#[test]
fn every_request_has_one_fate_whatever_happens() {
    let mut seen = [0; 6];
    for seed in 0..20 {
        let open = LoadModel::Open {
            rate_per_sec: 300.0 + 40.0 * seed as f64,
            arrivals: Arrivals::Poisson,
            max_in_flight: 20,
            overload: if seed % 4 == 1 { Overload::Drop } else { Overload::Queue },
        };
        let r = mixed(seed, if seed % 2 == 0 { LoadModel::closed(8) } else { open });
        assert!(r.is_conserved(), "seed {seed}: {r:?}");
        let fates = [
            r.successful_requests,
            r.failed_requests,
            r.timeout_requests,
            r.rejected_requests,
            r.interrupted_requests,
            r.check_failures,
        ];
        seen.iter_mut().zip(fates).for_each(|(sum, n)| *sum += n);
        assert!(r.connection_pool_usage.is_conserved(), "{:?}", r.connection_pool_usage);
        assert!(
            r.failures.n > 0
                && r.response.n as usize
                    == r.successful_requests + r.timeout_requests + r.interrupted_requests
        );
    }
    assert!(seen.iter().all(|n| *n > 0), "every fate was met: {seen:?}");
}

#[test]
fn the_law_fails_when_one_count_is_wrong() {
    let good = mixed(3, LoadModel::closed(8));
    let faults: [fn(&mut ConcurrentTestResult); 7] = [
        |r| r.successful_requests -= 1,
        |r| r.failed_requests -= 1,
        |r| r.timeout_requests -= 1,
        |r| r.rejected_requests += 1,
        |r| r.total_requests += 1,
        |r| r.thread_performance[2].requests_completed += 1,
        |r| r.thread_performance[0].errors_encountered += 1,
    ];
    for (i, plant) in faults.iter().enumerate() {
        let mut bad = good.clone();
        plant(&mut bad);
        assert!(!bad.is_conserved(), "fault {i} was not seen");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let (a, b, c) =
        (mixed(5, LoadModel::closed(4)), mixed(5, LoadModel::closed(4)), mixed(6, LoadModel::closed(4)));
    assert_eq!(
        a.thread_performance.iter().map(|u| u.requests_completed).collect::<Vec<_>>(),
        b.thread_performance.iter().map(|u| u.requests_completed).collect::<Vec<_>>()
    );
    assert_eq!((a.failed_requests, &a.response), (b.failed_requests, &b.response));
    assert_ne!(a.response, c.response);
}

/// Whether no figure is infinite or NaN. The debug form shows every field, optional ones included.
fn is_finite(r: &ConcurrentTestResult) -> bool {
    let text = format!("{r:?}");
    !text.split(|c: char| !c.is_alphanumeric()).any(|word| word == "NaN" || word == "inf")
}

#[test]
fn no_figure_is_infinite_or_not_a_number() {
    let runs = [
        mixed(1, LoadModel::closed(1)),
        mixed(
            2,
            LoadModel::Replay { offsets_ns: (0..200).map(|k| k * 1_000_000).collect(), max_in_flight: 5 },
        ),
        {
            let b = ConcurrentBenchmark::new(
                MixedOutcomes { fail: 1.0, hang: 0.0, wrong: 0.0, service: MS },
                BenchmarkConfig::bare(),
            )
            .unwrap();
            virtually(b.drive_concurrent_test(LoadModel::closed(2), 100 * MS)).unwrap()
        },
    ];
    for r in runs {
        assert!(is_finite(&r));
        // JSON has no way to write a number that is not finite: it becomes null, which no number field reads back.
        let text = serde_json::to_string(&r).unwrap();
        assert!(serde_json::from_str::<ConcurrentTestResult>(&text).is_ok());
    }
    let mut bad = mixed(1, LoadModel::closed(1));
    bad.requests_per_second = f64::NAN;
    let text = serde_json::to_string(&bad).unwrap();
    assert!(serde_json::from_str::<ConcurrentTestResult>(&text).is_err(), "the check itself sees a NaN");
    bad.requests_per_second = 1.0;
    bad.co_exposure = Some(f64::INFINITY);
    assert!(!is_finite(&bad), "also one inside an option");
}
