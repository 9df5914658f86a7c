//! How a benchmark is set up, and what makes a set-up impossible.
//!
//! A bad *result* (errors, a deadlock, a breached threshold) is a result; only a set-up that no run could make sense
//! of, or one that asks to be stopped, is an error.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::report::Threshold;
use super::workload::{Popularity, ThinkTime};

/// What runs the users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Executor {
    /// Tasks on a multi-threaded runtime of its own with this many workers; 0 is one per core.
    Tokio {
        /// Worker threads.
        workers: usize,
    },
    /// One operating-system thread per user, each with a small runtime for its timers.
    Threads,
}

impl Default for Executor {
    fn default() -> Self {
        Self::Tokio { workers: 0 }
    }
}

/// How often a request's processor time is measured. The clocks cost about a microsecond per poll.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Metering {
    /// Each poll of each request.
    #[default]
    EveryPoll,
    /// Each poll of one request in this many.
    OneIn(u32),
    /// Never: the breakdown then has no parts inside a poll.
    Off,
}

/// What happens when a deadlock is proved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeadlockAction {
    /// The window ends at once and the report says why.
    #[default]
    AbortTest,
    /// The youngest wait fails with `WouldDeadlock`, and the test goes on.
    FailVictim,
    /// Only reported.
    ReportOnly,
}

/// The set-up of a benchmark. Every field has a default; unknown fields in a file are refused.
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
    /// The most users or workers that a load may ask for. Default 64.
    pub max_concurrent_users: usize,
    /// Over which the users start, or the rate rises. Not measured. Default 1 s.
    pub ramp_up_duration: Duration,
    /// Full load before measuring begins. Default 2 s.
    pub warm_up: Duration,
    /// Connections in the pool: `None` is the lesser of the users and twice the cores, 0 is no pool.
    pub connection_pool_size: Option<usize>,
    /// How long a request waits for a connection before it is rejected. Default 5 s.
    pub pool_acquire_timeout: Duration,
    /// How long a connection may be held before it is reported as leaked. Default 10 s.
    pub pool_leak_after: Duration,
    /// Without progress for this long, a user is reported as stalled. Default 5 s.
    pub deadlock_timeout: Duration,
    /// After which a request is cancelled; `None`, the default, never cancels.
    pub request_timeout: Option<Duration>,
    /// How long requests may take to finish after the window. Default 5 s.
    pub graceful_stop: Duration,
    /// Pause between an answer and the next request of a closed load.
    pub think: ThinkTime,
    /// Which query comes next.
    pub popularity: Popularity,
    /// What runs the users.
    pub executor: Executor,
    /// Seed of every random choice.
    pub seed: u64,
    /// Runs per level of a scalability test. Default 3.
    pub repetitions: usize,
    /// Pause between two runs of a scalability test. Default 200 ms.
    pub recovery: Duration,
    /// What the result must satisfy.
    pub thresholds: Vec<Threshold>,
    /// What happens when a deadlock is proved.
    pub deadlock_action: DeadlockAction,
    /// How often processor time is measured.
    pub cpu_metering: Metering,
    /// The completeness that a level must reach not to count as broken. Default 1.
    pub target_completeness: f64,
    /// Share of all cores, 0 to 1, that other programs may use before a run allows no conclusions. Default 0.1.
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
    /// Without ramp, warm-up, pool and recovery: what a short deterministic run wants.
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

    /// The pool size for `users` users.
    pub(super) fn pool_size(&self, users: usize) -> usize {
        self.connection_pool_size.unwrap_or_else(|| users.min(2 * super::machine::cores()))
    }

    pub(super) fn check(&self) -> Result<(), BenchError> {
        let think = match self.think {
            ThinkTime::LogNormal { sigma, .. } => sigma,
            _ => 0.0,
        };
        let exponent = if let Popularity::Zipf(s) = self.popularity { s } else { 1.0 };
        if !think.is_finite() || think < 0.0 {
            return Err(BenchError::NonFinite("think sigma"));
        }
        if !exponent.is_finite() || exponent <= 0.0 {
            return Err(BenchError::NonFinite("Zipf exponent"));
        }
        for (value, what) in
            [(self.target_completeness, "target_completeness"), (self.max_foreign_cpu, "max_foreign_cpu")]
        {
            if !(0.0..=1.0).contains(&value) {
                return Err(BenchError::NonFinite(what));
            }
        }
        if self.max_concurrent_users == 0 { Err(BenchError::ZeroUsers) } else { Ok(()) }
    }
}

/// Why a benchmark could not run.
#[derive(Debug)]
#[non_exhaustive]
pub enum BenchError {
    /// A load of no users.
    ZeroUsers,
    /// More users than the configuration allows.
    UsersExceedMax {
        /// Users asked for.
        requested: usize,
        /// The limit.
        max: usize,
    },
    /// Levels that would never rise.
    ZeroStep,
    /// A window of no length.
    ZeroDuration,
    /// A load that never sends anything.
    ZeroRate,
    /// A number that is infinite, not a number, or outside its range.
    NonFinite(&'static str),
    /// A pool that cannot serve even one request.
    PoolTooSmall {
        /// Connections in the pool.
        size: usize,
        /// Connections that one request holds at once.
        per_request: usize,
    },
    /// A workload without queries.
    EmptyQueries,
    /// A user could not start.
    SessionOpen {
        /// Its number.
        user: usize,
        /// What the workload said.
        error: String,
    },
    /// A connection could not be made.
    Connect {
        /// Its number.
        connection: usize,
        /// What the workload said.
        error: String,
    },
    /// The stored baseline cannot be used.
    Baseline(String),
    /// No runtime could be started.
    Runtime(std::io::Error),
    /// The thread that coordinates and watches the run could not be started.
    Watchdog(std::io::Error),
    /// A threshold marked `abort_on_fail` was breached.
    Aborted {
        /// The threshold, as written.
        threshold: String,
        /// The value that breached it.
        value: f64,
    },
}

impl fmt::Display for BenchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZeroUsers => f.write_str("the load has no users: ask for at least 1"),
            Self::UsersExceedMax { requested, max } => {
                write!(
                    f,
                    "{requested} users exceed the limit of {max}: raise max_concurrent_users or ask for fewer"
                )
            }
            Self::ZeroStep => {
                f.write_str("a step of 0 never reaches the highest level: use a step of at least 1")
            }
            Self::ZeroDuration => f.write_str("the measured window has no length: give a duration above 0"),
            Self::ZeroRate => f.write_str("the load never sends a request: give a rate above 0"),
            Self::NonFinite(what) => {
                write!(f, "{what} is not a usable number: give a finite one in its range")
            }
            Self::PoolTooSmall { size, per_request } => write!(
                f,
                "a pool of {size} cannot serve a request that holds {per_request} connections: make it at least that large"
            ),
            Self::EmptyQueries => f.write_str("the workload has no queries: give it at least one"),
            Self::SessionOpen { user, error } => write!(f, "user {user} could not open its session: {error}"),
            Self::Connect { connection, error } => {
                write!(f, "connection {connection} could not be made: {error}")
            }
            Self::Baseline(what) => write!(f, "the baseline cannot be used: {what}"),
            Self::Runtime(e) => write!(f, "no runtime for the users: {e}; ask for fewer workers"),
            Self::Watchdog(e) => write!(f, "no thread to coordinate the run: {e}; close other programs"),
            Self::Aborted { threshold, value } => {
                write!(f, "stopped early: {threshold} was breached with {value}")
            }
        }
    }
}

impl std::error::Error for BenchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Runtime(e) | Self::Watchdog(e) => Some(e),
            _ => None,
        }
    }
}
