//! heapledger under its own benchmark: complete at every level, with the event count of the workload.
#![cfg(feature = "validation")]

use std::sync::Arc;
use std::time::Duration;

use heapledger::validation::*;

#[global_allocator]
static HEAP: heapledger::HeapLedger = heapledger::HeapLedger::system().dump(heapledger::DumpTarget::Off);

fn config(executor: Executor) -> BenchmarkConfig {
    BenchmarkConfig { executor, repetitions: 1, ..BenchmarkConfig::bare() }
}

fn probe() -> Arc<LedgerProbe> {
    Arc::new(LedgerProbe::installed().expect("it is the global allocator"))
}

/// The only test of this process, because the counters include all its threads.
#[test]
fn heapledger_sees_and_books_everything() {
    complete_at_every_level_and_exact_against_the_oracle();
    the_harness_makes_no_event_of_its_own();
}

fn complete_at_every_level_and_exact_against_the_oracle() {
    for executor in [Executor::Threads, Executor::Tokio { workers: 2 }] {
        let workload = AllocWorkload { allocs: 1000, size: 1024, lifetime: 64 };
        let b = ConcurrentBenchmark::new(workload, config(executor)).unwrap().with_probe(probe());
        let report =
            b.run_scalability_test(Levels::List(vec![1, 2, 4, 8, 16]), Duration::from_millis(300)).unwrap();
        assert_eq!(report.completeness_curve.len(), 5);
        for r in &report.test_results {
            let c = r.completeness.as_ref().unwrap();
            assert!(c.oracle_expected.unwrap() > 10_000, "{} users: {c:?}", r.concurrent_users);
            assert!(c.conserved && c.quiesced, "{} users: {c:?}", r.concurrent_users);
            assert_eq!(
                (c.completeness, c.dropped.total()),
                (Some(1.0), 0),
                "{} users: {c:?}",
                r.concurrent_users
            );
            assert_eq!(c.oracle_error, Some(0), "{} users: {c:?}", r.concurrent_users);
            assert!(c.is_perfect() && c.min_slice.is_none_or(|s| s == 1.0));
        }
        assert!(!matches!(report.breaking_cause, Some(BreakingCause::Incomplete { .. })));
    }
}

fn the_harness_makes_no_event_of_its_own() {
    let b = ConcurrentBenchmark::new(NullWorkload::default(), config(Executor::Threads))
        .unwrap()
        .with_probe(probe());
    let r = b.run_concurrent_test(LoadModel::closed(4), Duration::from_millis(300)).unwrap();
    let c = r.completeness.unwrap();
    assert_eq!((c.observed, c.oracle_expected, c.completeness), (0, Some(0), None));
    assert!(r.total_requests > 1000);
}
