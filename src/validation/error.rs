//! Errors that keep a benchmark from running.
//!
//! A bad *result* (failed requests, a deadlock, a breached threshold) is no error. An error means that the
//! configuration is invalid, that a session, connection, thread or baseline could not be prepared, or that a threshold
//! that starts with `abort:` was breached.

use thiserror::Error;

/// The reason why a benchmark could not run or was stopped.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BenchError {
    /// The load has no users.
    #[error("the load has no users: ask for at least 1")]
    ZeroUsers,
    /// The load has more users than the configuration allows.
    #[error("{requested} users exceed the limit of {max}: raise max_concurrent_users or ask for fewer")]
    UsersExceedMax {
        /// Requested users.
        requested: usize,
        /// The configured limit.
        max: usize,
    },
    /// The step between two levels (numbers of users) is 0.
    #[error("a step of 0 never reaches the highest level: use a step of at least 1")]
    ZeroStep,
    /// The measured window is empty.
    #[error("the measured window has no length: give a duration above 0")]
    ZeroDuration,
    /// The load never sends a request.
    #[error("the load never sends a request: give a rate above 0")]
    ZeroRate,
    /// A number in the configuration or the load is infinite, NaN or out of range.
    #[error("{0} is not a usable number: give a finite one in its range")]
    NonFinite(&'static str),
    /// The pool has fewer connections than one request holds.
    #[error(
        "a pool of {size} cannot serve a request that holds {per_request} connections: make it at least that large"
    )]
    PoolTooSmall {
        /// Connections in the pool.
        size: usize,
        /// Connections that one request holds at once.
        per_request: usize,
    },
    /// The workload has no queries.
    #[error("the workload has no queries: give it at least one")]
    EmptyQueries,
    /// A command to run under load is empty.
    #[error("there is no command to run: give a program and its arguments")]
    NoCommand,
    /// A user's session could not be opened.
    #[error("user {user} could not open its session: {error}")]
    SessionOpen {
        /// Number of the user, from 0.
        user: usize,
        /// Error that the workload returned, as text.
        error: String,
    },
    /// A connection of the pool could not be opened.
    #[error("connection {connection} could not be opened: {error}")]
    Connect {
        /// Number of the connection, from 0.
        connection: usize,
        /// Error that the workload returned, as text.
        error: String,
    },
    /// The baseline cannot be used.
    #[error("the baseline cannot be used: {0}")]
    Baseline(String),
    /// No runtime or thread for the users could be started.
    #[error("no runtime for the users: {0}; ask for fewer workers")]
    Runtime(#[source] std::io::Error),
    /// The coordinator's thread could not be started.
    #[error("no thread to coordinate the run: {0}; close other programs")]
    Watchdog(#[source] std::io::Error),
    /// A threshold that starts with `abort:` was breached.
    #[error("stopped early: {threshold} was breached with {value}")]
    Aborted {
        /// The threshold, as written.
        threshold: String,
        /// The value that breached it.
        value: f64,
    },
}
