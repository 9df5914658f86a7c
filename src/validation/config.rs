//! The configuration of a benchmark.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::BenchError;
use super::random::{Popularity, ThinkTime};
use super::threshold::Threshold;

/// The kind of threads that run the simulated users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Executor {
    /// Users are tasks on a multi-threaded runtime with this many workers; 0 is one worker per core.
    Tokio {
        /// Number of worker threads.
        workers: usize,
    },
    /// Each user is one operating-system thread, with a small runtime for its timers.
    Threads,
}

impl Default for Executor {
    fn default() -> Self {
        Self::Tokio { workers: 0 }
    }
}

/// The choice of polls whose processor time is measured. Reading the clocks costs about a microsecond per poll.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Metering {
    /// The processor time of every poll of every request is measured.
    #[default]
    EveryPoll,
    /// One request out of this number is measured, in each of its polls.
    OneIn(u32),
    /// No poll is measured. The breakdown of the response time then does not divide the time inside polls.
    Off,
}

/// The reaction to a proved deadlock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeadlockAction {
    /// The measured window ends at once.
    #[default]
    AbortTest,
    /// The youngest wait fails with `WouldDeadlock`, and the run continues.
    FailVictim,
    /// The deadlock is only reported.
    ReportOnly,
}

/// The configuration of a benchmark. Every field has a default; unknown fields in a file are an error.
///
/// # Examples
/// ```
/// use heapledger::validation::BenchmarkConfig;
/// let config: BenchmarkConfig = serde_json::from_str(r#"{ "seed": 7 }"#)?;
/// assert_eq!((config.seed, config.max_concurrent_users), (7, 64));
/// assert!(serde_json::from_str::<BenchmarkConfig>(r#"{ "sed": 7 }"#).is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BenchmarkConfig {
    /// Maximum number of users or workers of a load. Default 64.
    pub max_concurrent_users: usize,
    /// Time during which the users start, or the rate rises. Not measured. Default 1 s.
    pub ramp_up_duration: Duration,
    /// Time of full load before the measured window. Default 2 s.
    pub warm_up: Duration,
    /// Number of connections in the pool; 0 is no pool. `None`, the default, is twice the number that all users can
    /// hold at once, so that no user waits for a connection. With `None`, a workload whose connections are `()` has no
    /// pool.
    pub connection_pool_size: Option<usize>,
    /// Time-out of a wait for a connection, after which the request is rejected. Default 5 s.
    pub pool_acquire_timeout: Duration,
    /// Hold time above which a connection is reported as leaked. Default 10 s.
    pub pool_leak_after: Duration,
    /// Time without progress after which a user is reported as stalled. Default 5 s.
    pub deadlock_timeout: Duration,
    /// Time-out of a request, after which it is cancelled. With `None`, the default, no request is cancelled.
    pub request_timeout: Option<Duration>,
    /// Time for open requests to finish after the window. Default 5 s.
    pub graceful_stop: Duration,
    /// Pause between an answer and the next request of a closed load.
    pub think: ThinkTime,
    /// Rule by which a user picks its queries.
    pub popularity: Popularity,
    /// Threads that run the users.
    pub executor: Executor,
    /// Seed of every random choice.
    pub seed: u64,
    /// Number of runs per level of a scalability test. Default 3.
    pub repetitions: usize,
    /// Pause between two runs of a scalability test. Default 200 ms.
    pub recovery: Duration,
    /// Conditions that each result must meet.
    pub thresholds: Vec<Threshold>,
    /// Reaction to a proved deadlock.
    pub deadlock_action: DeadlockAction,
    /// Sampling of processor time.
    pub cpu_metering: Metering,
    /// Completeness of the tracker, from 0 to 1, below which a level of a scalability test counts as broken. Default 1.
    pub target_completeness: f64,
    /// Share of all cores that other programs may use, from 0 to 1. Above this share, a run is inconclusive. Default
    /// 0.1.
    pub max_foreign_cpu: f64,
}

impl Default for BenchmarkConfig {
    fn default() -> Self {
        Self {
            max_concurrent_users: 64,
            ramp_up_duration: Duration::from_secs(1),
            warm_up: Duration::from_secs(2),
            connection_pool_size: None,
            pool_acquire_timeout: Duration::from_secs(5),
            pool_leak_after: Duration::from_secs(10),
            deadlock_timeout: Duration::from_secs(5),
            request_timeout: None,
            graceful_stop: Duration::from_secs(5),
            think: ThinkTime::None,
            popularity: Popularity::default(),
            executor: Executor::default(),
            seed: 1,
            repetitions: 3,
            recovery: Duration::from_millis(200),
            thresholds: Vec::new(),
            deadlock_action: DeadlockAction::default(),
            cpu_metering: Metering::default(),
            target_completeness: 1.0,
            max_foreign_cpu: 0.1,
        }
    }
}

impl BenchmarkConfig {
    /// Returns the defaults without ramp, warm-up, pool and recovery and with one repetition, for short deterministic
    /// runs.
    pub fn bare() -> Self {
        Self {
            ramp_up_duration: Duration::ZERO,
            warm_up: Duration::ZERO,
            connection_pool_size: Some(0),
            recovery: Duration::ZERO,
            repetitions: 1,
            ..Self::default()
        }
    }

    /// Returns the configured pool size. The default is twice the number of connections that `users` users can hold, if
    /// each user holds up to `per_request`.
    pub(super) fn pool_size(&self, users: usize, per_request: usize) -> usize {
        self.connection_pool_size.unwrap_or_else(|| users.saturating_mul(per_request).saturating_mul(2))
    }

    /// Validates the configuration.
    pub(super) fn check(&self) -> Result<(), BenchError> {
        let sigma = if let ThinkTime::LogNormal { sigma, .. } = self.think { sigma } else { 0.0 };
        let exponent = if let Popularity::Zipf(s) = self.popularity { s } else { 1.0 };
        let share = |v: f64| (0.0..=1.0).contains(&v);
        for (usable, what) in [
            (sigma.is_finite() && sigma >= 0.0, "think sigma"),
            (exponent.is_finite() && exponent > 0.0, "Zipf exponent"),
            (share(self.target_completeness), "target_completeness"),
            (share(self.max_foreign_cpu), "max_foreign_cpu"),
        ] {
            if !usable {
                return Err(BenchError::NonFinite(what));
            }
        }
        if self.max_concurrent_users == 0 { Err(BenchError::ZeroUsers) } else { Ok(()) }
    }
}
