//! Each row of the table of advice, from figures made for it; causes that real runs can have, from real runs.

use std::time::Duration;

use heapledger::validation::*;

use crate::virtually;
use crate::workloads::{LockedWorkload, SpinWorkload};

const MS: Duration = Duration::from_millis(1);
const SEC: Duration = Duration::from_secs(1);

/// Returns results at 1, 2, 4 and 8 users with these mean throughputs, and with the parts of the response time that
/// `parts` sets.
fn made(throughputs: [f64; 4], parts: impl Fn(usize, &mut TimeBreakdown)) -> Vec<ConcurrentTestResult> {
    let b = ConcurrentBenchmark::new(NullWorkload::pausing(MS), BenchmarkConfig::bare()).unwrap();
    let run = |(users, throughput): (usize, f64)| {
        let mut r = virtually(b.drive_concurrent_test(LoadModel::closed(users), SEC)).unwrap();
        r.requests_per_second = throughput;
        r.rps_ci95 = Some((throughput, throughput));
        r.average_response_time_ms = Some(1000.0 * users as f64 / throughput);
        let mut t = TimeBreakdown {
            requests: 1000,
            response_ms: 1000.0 * users as f64 / throughput,
            on_cpu_ms: Some(1.0),
            run_queue_ms: Some(0.0),
            blocked_ms: Some(0.0),
            ..TimeBreakdown::default()
        };
        parts(users, &mut t);
        r.breakdown = Some(t);
        r
    };
    [1, 2, 4, 8].into_iter().zip(throughputs).map(run).collect()
}

fn advised(results: Vec<ConcurrentTestResult>) -> ScalabilityReport {
    ScalabilityReport::from_runs(results, &BenchmarkConfig::bare())
}

/// Throughputs that are flat from two users on: a half, a quarter and an eighth of linear.
const FLAT: [f64; 4] = [1000.0, 1010.0, 1005.0, 1000.0];

#[test]
fn waiting_for_each_other_is_for_the_code() {
    let r = advised(made(FLAT, |users, t| t.blocked_ms = Some(users as f64 - 1.0)));
    assert_eq!(r.recommendation, ScalabilityRecommendation::OptimizeCode, "{:?}", r.detail);
    assert!(r.detail.headline.contains("waiting for other users"), "{:?}", r.detail);
    assert!(r.detail.reasons.iter().any(|x| x.metric == "contention.lock" && x.value > 80.0));
    assert!(r.detail.reasons.iter().any(|x| x.metric == "sigma"));
}

#[test]
fn more_cycles_for_the_same_work_are_for_the_code() {
    let r = advised(made(FLAT, |users, t| t.on_cpu_ms = Some(users as f64)));
    assert_eq!(r.recommendation, ScalabilityRecommendation::OptimizeCode);
    assert!(r.detail.headline.contains("extra work"), "{:?}", r.detail);
}

#[test]
fn waiting_for_cores_asks_for_cores_only_if_all_were_used() {
    let cores = MachineInfo::read().cores;
    let waiting = |users: usize, t: &mut TimeBreakdown| t.run_queue_ms = Some(users as f64 - 1.0);
    // Linear up to the cores, flat beyond.
    let capped = [1, 2, 4, 8].map(|n: usize| 1000.0 * n.min(cores) as f64);
    let r = advised(made(capped, waiting));
    if cores < 4 {
        assert_eq!(r.recommendation, ScalabilityRecommendation::IncreaseResources, "{:?}", r.detail);
        assert!(r.detail.actions[0].contains(&format!("all {cores} are busy")), "{:?}", r.detail);
    }
    // The same wait, but two users were already no faster than one: cores would not help.
    let mut early = made([1000.0, 600.0, 600.0, 600.0], waiting);
    early.iter_mut().for_each(|r| r.machine.cores = 4);
    assert_ne!(advised(early).recommendation, ScalabilityRecommendation::IncreaseResources);
}

#[test]
fn an_overload_is_for_the_load() {
    let mut runs = made([1000.0, 1900.0, 3000.0, 3000.0], |users, t| {
        t.dispatch_queue_ms = if users == 8 { 2.0 } else { 0.0 };
    });
    runs[3].response.p99_ms = Some(500.0);
    runs[..3].iter_mut().for_each(|r| r.response.p99_ms = Some(2.0));
    let config = BenchmarkConfig {
        thresholds: vec!["p99(response_ms)<50".parse().unwrap()],
        ..BenchmarkConfig::bare()
    };
    let r = ScalabilityReport::from_runs(runs, &config);
    assert_eq!(r.recommendation, ScalabilityRecommendation::ReduceLoad, "{:?}", r.detail);
    assert!(r.detail.actions[0].contains("3000"), "{:?}", r.detail);
}

#[test]
fn good_enough_is_acceptable_and_doubt_is_inconclusive() {
    let fine = made([1000.0, 1950.0, 3700.0, 6800.0], |_, _| ());
    assert_eq!(advised(fine.clone()).recommendation, ScalabilityRecommendation::AcceptablePerformance);
    let mut doubtful = fine.clone();
    doubtful[2].validity = vec![ValidityIssue::ForeignCpu { share: 0.5 }];
    doubtful[2].valid = false;
    let r = advised(doubtful);
    assert_eq!(r.recommendation, ScalabilityRecommendation::Inconclusive);
    assert!(r.detail.actions[0].contains("50 % of the machine"), "{:?}", r.detail);
    assert_eq!(advised(fine[..2].to_vec()).recommendation, ScalabilityRecommendation::Inconclusive);
}

#[test]
fn a_deadlock_outweighs_good_figures() {
    let mut runs = made([1000.0, 1950.0, 3700.0, 6800.0], |_, _| ());
    runs[1].deadlocks = vec![DeadlockReport {
        actors: Vec::new(),
        class: DeadlockClass::Permanent,
        detected_after_ms: 75.0,
        cycle: "user 0 holds a and waits for b".to_owned(),
    }];
    let r = advised(runs);
    assert_eq!(
        (r.recommendation, r.scalability_breaking_point),
        (ScalabilityRecommendation::OptimizeCode, Some(2))
    );
    assert!(r.detail.actions[0].contains("user 0 holds a"), "{:?}", r.detail);
}

#[test]
#[cfg(target_os = "linux")]
fn planted_causes_lead_to_their_advice_in_real_time() {
    let run = |workload: Box<dyn Fn(BenchmarkConfig) -> ScalabilityReport>| {
        workload(BenchmarkConfig {
            executor: Executor::Threads,
            max_foreign_cpu: 0.4,
            ..BenchmarkConfig::bare()
        })
    };
    let levels = || Levels::List(vec![1, 2, 8]);
    let locked = run(Box::new(move |config| {
        let b = ConcurrentBenchmark::new(LockedWorkload::new(0, 1_000_000), config).unwrap();
        b.run_scalability_test(levels(), SEC / 2).unwrap()
    }));
    let spin = run(Box::new(move |config| {
        let b = ConcurrentBenchmark::new(SpinWorkload { cpu_ns: 500_000 }, config).unwrap();
        b.run_scalability_test(levels(), SEC / 2).unwrap()
    }));
    // A busy machine may drift, or lack the second core, or have made the one user slow; then the advice must be to
    // measure again, never a wrong cause.
    let inconclusive = ScalabilityRecommendation::Inconclusive;
    let of = |r: &ScalabilityReport| (r.recommendation, r.detail.clone());
    let (what, why) = of(&locked);
    assert!([ScalabilityRecommendation::OptimizeCode, inconclusive].contains(&what), "{why:?}");
    if MachineInfo::read().cores < 8 {
        let (what, why) = of(&spin);
        assert!([ScalabilityRecommendation::IncreaseResources, inconclusive].contains(&what), "{why:?}");
    }
}
