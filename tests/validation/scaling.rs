//! Scalability curves with a known law.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use heapledger::validation::usl::UslModel;
use heapledger::validation::*;

use crate::virtually;
use crate::workloads::{PooledWorkload, SleepWorkload, UslWorkload};

const SEC: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn scale<W: Workload>(
    workload: W,
    config: BenchmarkConfig,
    levels: &[usize],
    time: Duration,
) -> ScalabilityReport {
    let benchmark = ConcurrentBenchmark::new(workload, config).unwrap();
    virtually(benchmark.drive_scalability_test(Levels::List(levels.to_vec()), time)).unwrap()
}

const LEVELS: [usize; 8] = [1, 2, 4, 8, 12, 16, 24, 32];

#[test]
fn the_planted_law_comes_back() {
    let r = scale(UslWorkload::new(10.0, 0.05, 0.005), BenchmarkConfig::bare(), &LEVELS, 100 * SEC);
    let m = r.model.as_ref().expect("eight levels have a law");
    for (what, value, want) in
        [("gamma", m.gamma.value, 10.0), ("sigma", m.sigma.value, 0.05), ("kappa", m.kappa.value, 0.005)]
    {
        assert!((value / want - 1.0).abs() < 0.02, "{what} {value}");
    }
    assert!((m.n_max.unwrap() - 13.8).abs() < 0.3, "{m}");
    assert!((6..=8).contains(&r.optimal_concurrent_users), "knee at {}", r.optimal_concurrent_users);
    assert_eq!(r.linear_scaling_range, (1, 2));
    assert_eq!(r.scalability_breaking_point, Some(24), "{:?}", r.breaking_cause);
    assert!(matches!(r.breaking_cause, Some(BreakingCause::Retrograde { .. })));
    assert!([12, 16].contains(&r.peak_throughput.0));
    assert_eq!(r.efficiency_curve[0], (1, 100.0));
    assert!((r.efficiency_curve[1].1 - 94.3).abs() < 0.5 && (r.efficiency_curve[2].1 - 82.6).abs() < 0.5);
    assert_eq!(r.recommendation, ScalabilityRecommendation::OptimizeCode, "{:?}", r.detail);
}

#[test]
fn a_linear_workload_has_no_peak() {
    let r =
        scale(SleepWorkload { time: 10 * MS, blocking: false }, BenchmarkConfig::bare(), &LEVELS, 10 * SEC);
    let m = r.model.as_ref().unwrap();
    assert_eq!((m.model, m.n_max, m.kappa.value), (UslModel::Linear, None, 0.0));
    assert_eq!((r.scalability_breaking_point, r.linear_scaling_range), (None, (1, 32)));
    assert!(r.efficiency_curve.iter().all(|(_, e)| (e - 100.0).abs() < 0.5));
    assert_eq!(r.recommendation, ScalabilityRecommendation::AcceptablePerformance);
    assert_eq!(r.peak_throughput.0, 32);
}

#[test]
fn a_serial_share_levels_off() {
    // Users that start together finish together, and the window then cuts off a share of a round: a ramp spreads them.
    let config = BenchmarkConfig {
        ramp_up_duration: Duration::from_millis(9_700),
        warm_up: 10 * SEC,
        ..BenchmarkConfig::bare()
    };
    let r = scale(UslWorkload::new(1.0, 0.1, 0.0), config, &LEVELS, 500 * SEC);
    let m = r.model.as_ref().unwrap();
    assert_eq!((m.model, m.n_max), (UslModel::Amdahl, None), "{m}");
    assert!((m.asymptote.unwrap() - 10.0).abs() < 0.1, "{m}");
}

#[test]
fn three_levels_have_a_report_and_no_law() {
    let r = scale(NullWorkload::pausing(MS), BenchmarkConfig::bare(), &[1, 2, 4], SEC);
    assert_eq!(r.model, None);
    assert_eq!(r.levels.len(), 3);
    let r = scale(NullWorkload::pausing(MS), BenchmarkConfig::bare(), &[2], SEC);
    assert_eq!(r.recommendation, ScalabilityRecommendation::Inconclusive);
}

#[test]
fn failing_everything_is_an_efficiency_of_zero() {
    /// A workload that answers one user, and fails more and more with further users.
    struct Fragile(std::sync::atomic::AtomicUsize);
    impl Workload for Fragile {
        type Session = ();
        type Request = ();
        type Conn = ();
        type Error = &'static str;
        fn name(&self) -> &str {
            "fragile"
        }
        async fn open_session(&self, _: UserId) -> Result<(), &'static str> {
            Ok(())
        }
        fn connect(&self, _: usize) -> Result<(), &'static str> {
            Ok(())
        }
        fn next_request(&self, _: &mut (), _: &mut UserRng, _: u64) {}
        async fn execute(&self, _: &mut (), _: Option<&mut ()>, _: &()) -> Result<Outcome, &'static str> {
            self.0.fetch_add(1, Relaxed);
            tokio::time::sleep(MS).await;
            let inside = self.0.load(Relaxed);
            tokio::task::yield_now().await;
            self.0.fetch_sub(1, Relaxed);
            if inside > 1 { Err("too many") } else { Ok(Outcome::default()) }
        }
    }
    let r = scale(Fragile(Default::default()), BenchmarkConfig::bare(), &[1, 2, 4], SEC);
    let e: Vec<_> = r.efficiency_curve.iter().map(|(_, e)| *e).collect();
    assert_eq!(e[0], 100.0);
    assert!(e[2] == 0.0 && r.level(4).unwrap().error_rate == Some(1.0), "{e:?}");
    assert_eq!(
        r.recommendation,
        ScalabilityRecommendation::Inconclusive,
        "a level without answers is no measurement"
    );
}

#[test]
fn a_single_run_has_no_efficiency_and_no_contention() {
    let b = ConcurrentBenchmark::new(NullWorkload::pausing(MS), BenchmarkConfig::bare()).unwrap();
    let r = virtually(b.drive_concurrent_test(LoadModel::closed(4), SEC)).unwrap();
    assert_eq!((r.scalability_efficiency, r.resource_contention_score), (None, None));
    assert!(r.breakdown.is_some());
}

#[test]
fn repetitions_run_in_another_order_each() {
    let config = BenchmarkConfig { repetitions: 3, recovery: SEC, ..BenchmarkConfig::bare() };
    let r = scale(NullWorkload::pausing(MS), config, &[1, 2, 4, 8], SEC);
    assert_eq!(r.test_results.len(), 12);
    assert!(r.levels.iter().all(|l| l.runs == 3));
    let rounds: Vec<_> = r.level_order.chunks(4).collect();
    assert!(rounds[0] != rounds[1] || rounds[1] != rounds[2], "{rounds:?}");
    for round in rounds {
        let mut sorted = round.to_vec();
        sorted.sort_unstable();
        assert_eq!(sorted, [1, 2, 4, 8]);
    }
}

#[test]
fn a_small_pool_is_named_with_the_size_that_would_do() {
    let run = |size| {
        let config = BenchmarkConfig {
            connection_pool_size: Some(size),
            thresholds: vec!["p90(response_ms)<=15".parse().unwrap()],
            ..BenchmarkConfig::bare()
        };
        scale(PooledWorkload::new(10 * MS), config, &[1, 2, 4, 8], 10 * SEC)
    };
    let r = run(2);
    assert_eq!(r.recommendation, ScalabilityRecommendation::IncreaseResources, "{:?}", r.detail);
    assert_eq!(r.scalability_breaking_point, Some(4));
    let level = r.level(4).unwrap();
    assert_eq!(level.contention.unwrap().dominant, Some(ContentionCause::Pool));
    assert!(r.detail.actions[0].contains("from 2 to 4 connections"), "{:?}", r.detail);
    // The size named for the highest level does.
    let r = run(8);
    assert_eq!(r.recommendation, ScalabilityRecommendation::AcceptablePerformance, "{:?}", r.detail);
}

#[test]
fn a_threshold_can_end_a_series() {
    let config = BenchmarkConfig {
        thresholds: vec!["abort:p50(response_ms)<5".parse().unwrap()],
        ..BenchmarkConfig::bare()
    };
    let b = ConcurrentBenchmark::new(NullWorkload::pausing(10 * MS), config).unwrap();
    let e = virtually(b.drive_scalability_test(Levels::Geometric { max: 4 }, SEC)).unwrap_err();
    assert!(matches!(&e, BenchError::Aborted { value, .. } if *value == 10.0), "{e}");
}
