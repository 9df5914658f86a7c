//! The benchmark under a heapledger that loses events: nobody may empty the rings, so they overflow. The completeness,
//! which is 100 % in other tests, must fall by exactly the missing events.
#![cfg(feature = "validation")]

use std::sync::Arc;
use std::time::Duration;

use heapledger::validation::*;
use heapledger::{DataQualityMode, DumpTarget, HeapLedger};

#[global_allocator]
static HEAP: HeapLedger =
    HeapLedger::system().mode(DataQualityMode::BestEffort).background(false).dump(DumpTarget::Off);

/// The only test of this process, because the counters include all its threads.
#[test]
fn full_rings_are_seen_and_counted_to_the_event() {
    let probe: Arc<dyn TrackerProbe> =
        Arc::new(LedgerProbe::installed().expect("it is the global allocator"));
    for executor in [Executor::Threads, Executor::Tokio { workers: 2 }] {
        let thresholds = vec!["completeness>=1".parse().unwrap()];
        let config =
            BenchmarkConfig { executor, thresholds, max_foreign_cpu: 1.0, ..BenchmarkConfig::bare() };
        // Every block outlives the ring that its allocation is written to.
        let workload = AllocWorkload { allocs: 2000, size: 256, lifetime: 20_000 };
        let b = ConcurrentBenchmark::new(workload, config).unwrap().with_probe(Arc::clone(&probe));
        let r = b.run_scalability_test(Levels::List(vec![1, 4]), Duration::from_millis(200)).unwrap();
        for run in &r.test_results {
            let c = run.completeness.as_ref().unwrap();
            assert!(c.dropped.ring_full > 1000, "{c:?}");
            assert_eq!(c.observed, c.aggregated + c.dropped.ring_full, "{c:?}");
            assert_eq!(c.dropped.total(), c.dropped.ring_full, "{c:?}");
            assert_eq!(c.oracle_error, Some(0), "all of them were made, and seen: {c:?}");
            assert!(c.conserved && c.completeness.unwrap() < 1.0 && !c.is_perfect(), "{c:?}");
            assert!(!run.threshold_results[0].passed);
        }
        assert!(matches!(r.breaking_cause, Some(BreakingCause::Incomplete { .. })), "{:?}", r.breaking_cause);
    }
}
