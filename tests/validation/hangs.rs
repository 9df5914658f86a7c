//! Real hangs, each planted in a separate process with a hard limit: a run returns in spite of its users.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use heapledger::validation::*;

use crate::workloads::{DeadlockKind, DeadlockWorkload};

const MS: Duration = Duration::from_millis(1);
const MARK: &str = "VALIDATION_HANG_CHILD";

/// Runs `body` in a child process, and kills the child if it takes longer than `limit`.
pub(crate) fn apart(test: &str, limit: Duration, body: fn()) {
    if std::env::var_os(MARK).is_some() {
        body();
        println!("the child is done");
        // Threads that hang are left behind; the process must be able to end all the same.
        std::process::exit(0);
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(MARK, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begin.elapsed() > limit {
            child.kill().unwrap();
            panic!("{test} did not return within {limit:?}");
        }
        std::thread::sleep(5 * MS);
    }
    let out = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && text.contains("the child is done"), "{text}");
}

fn planted(kind: DeadlockKind, executor: Executor) -> (ConcurrentTestResult, Duration) {
    let config = BenchmarkConfig {
        executor,
        deadlock_timeout: 300 * MS,
        graceful_stop: 500 * MS,
        ..BenchmarkConfig::bare()
    };
    let detector = DeadlockDetector::new(config.deadlock_timeout);
    let workload = DeadlockWorkload::new(kind, &detector);
    let benchmark = ConcurrentBenchmark::new(workload, config).unwrap().with_detector(detector);
    let begin = Instant::now();
    let result = benchmark.run_concurrent_test(LoadModel::closed(3), Duration::from_secs(1)).unwrap();
    (result, begin.elapsed())
}

/// Window, graceful stop and three seconds, doubled for a busy machine.
const RETURNS_WITHIN: Duration = Duration::from_millis(2 * 4500);
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn locks_of_the_standard_library() {
    apart("hangs::locks_of_the_standard_library", LIMIT, || {
        for executor in [Executor::Threads, Executor::Tokio { workers: 3 }] {
            let (r, took) = planted(DeadlockKind::Threads, executor);
            assert!(took < RETURNS_WITHIN, "{took:?}");
            assert!(!r.deadlock_detected, "locks that nobody registered prove nothing");
            assert_eq!((r.interrupted_requests, r.abandoned_threads), (2, 2), "{executor:?}: {r:?}");
            let blocked: Vec<_> =
                r.stalls.iter().filter(|s| s.class == StallClass::Blocked && !s.ended).collect();
            assert_eq!(blocked.len(), 2, "{:?}", r.stalls);
            let mut tids: Vec<_> = blocked.iter().filter_map(|s| Some(s.kernel.as_ref()?.tid)).collect();
            tids.dedup();
            assert!(tids.len() == 2 && tids.iter().all(|t| *t > 0), "both threads are named: {:?}", r.stalls);
            assert!(r.thread_performance[2].requests_completed > 0 && r.is_conserved());
        }
    });
}

#[test]
fn asynchronous_locks_on_every_executor() {
    apart("hangs::asynchronous_locks_on_every_executor", LIMIT, || {
        for executor in [Executor::Threads, Executor::Tokio { workers: 1 }] {
            let (r, took) = planted(DeadlockKind::AbBa, executor);
            assert!(took < RETURNS_WITHIN && r.deadlock_detected, "{took:?} {:?}", r.deadlocks);
            assert!(r.stopped_early && r.abandoned_threads == 0, "waiting tasks can be let go: {r:?}");
            assert!(r.deadlocks[0].cycle.contains("journal") && r.is_conserved());
        }
    });
}

#[test]
#[cfg(target_os = "linux")]
fn a_livelock_spins() {
    apart("hangs::a_livelock_spins", LIMIT, || {
        // Who gets no core between two looks cannot be seen spinning: then once more.
        let seen = (0..8).any(|_| {
            let (r, took) = planted(DeadlockKind::Livelock, Executor::Tokio { workers: 2 });
            assert!(took < RETURNS_WITHIN, "{took:?}");
            assert!(!r.deadlock_detected);
            r.stalls.iter().filter(|s| s.class == StallClass::Spinning).count() == 2
        });
        assert!(seen, "both users are seen spinning");
    });
}

#[test]
fn a_blocked_executor_starves_the_others() {
    apart("hangs::a_blocked_executor_starves_the_others", LIMIT, || {
        /// A workload whose user 0 blocks the only worker forever at its third request.
        struct Blocker;
        impl Workload for Blocker {
            type Session = UserId;
            type Request = u64;
            type Conn = ();
            type Error = std::convert::Infallible;
            fn name(&self) -> &str {
                "blocker"
            }
            async fn open_session(&self, user: UserId) -> Result<UserId, Self::Error> {
                Ok(user)
            }
            fn connect(&self, _: usize) -> Result<(), Self::Error> {
                Ok(())
            }
            fn next_request(&self, _: &mut UserId, _: &mut UserRng, seq: u64) -> u64 {
                seq
            }
            async fn execute(
                &self,
                user: &mut UserId,
                _: Option<&mut ()>,
                seq: &u64,
            ) -> Result<Outcome, Self::Error> {
                tokio::time::sleep(MS).await;
                if user.0 == 0 && *seq == 3 {
                    std::thread::sleep(Duration::from_secs(3600));
                }
                Ok(Outcome::default())
            }
        }
        let config = BenchmarkConfig {
            executor: Executor::Tokio { workers: 1 },
            deadlock_timeout: 300 * MS,
            graceful_stop: 500 * MS,
            ..BenchmarkConfig::bare()
        };
        let b = ConcurrentBenchmark::new(Blocker, config).unwrap();
        let begin = Instant::now();
        let r = b.run_concurrent_test(LoadModel::closed(3), Duration::from_secs(1)).unwrap();
        assert!(begin.elapsed() < RETURNS_WITHIN);
        assert_eq!(r.interrupted_requests, 3, "{r:?}");
        assert!(
            r.stalls.iter().any(|s| s.class == StallClass::Blocked && s.actor == "user 0"),
            "{:?}",
            r.stalls
        );
        assert!(r.abandoned_threads >= 1 && r.is_conserved());
    });
}

#[test]
fn the_limit_itself_works() {
    if std::env::var_os(MARK).is_some() {
        return std::thread::sleep(Duration::from_secs(3600));
    }
    let caught = std::panic::catch_unwind(|| apart("hangs::the_limit_itself_works", 300 * MS, || ()));
    let message = *caught.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("did not return"), "{message}");
}
