//! What the users do: the trait that a system under test implements, and ready-made workloads.
//!
//! A workload is asked for requests and made to execute them; it never learns what was measured. Choosing a request
//! and checking its answer happen outside the measured time. `execute` gives a plain future, not a boxed one: a box
//! for each request would be an allocation of the harness inside the window.

mod builtin;
mod faults;
mod rng;

pub use builtin::{
    AllocWorkload, LockedWorkload, MixedOutcomes, NullWorkload, PooledWorkload, SleepWorkload, SpinWorkload,
    StallWorkload, UslWorkload,
};
pub use faults::{DeadlockKind, DeadlockWorkload, LeakyConnWorkload, PanicWorkload};
pub use rng::{Popularity, ThinkTime, UserRng};

use std::fmt::Display;
use std::future::Future;

use serde::{Deserialize, Serialize};

/// The number of a simulated user, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UserId(pub usize);

/// What came of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Items answered, rows or hits.
    pub items: u64,
    /// A checksum of the answer, for comparing it with the single-threaded one.
    pub checksum: u64,
}

/// A system under load.
///
/// # Examples
/// ```
/// use heapledger::validation::{Outcome, UserId, UserRng, Workload};
/// struct Square;
/// impl Workload for Square {
///     type Session = ();
///     type Request = u64;
///     type Conn = ();
///     type Error = std::convert::Infallible;
///     fn name(&self) -> &str { "square" }
///     async fn open_session(&self, _: UserId) -> Result<(), Self::Error> { Ok(()) }
///     fn connect(&self, _: usize) -> Result<(), Self::Error> { Ok(()) }
///     fn next_request(&self, _: &mut (), rng: &mut UserRng, _: u64) -> u64 { rng.below(1000) }
///     async fn execute(&self, _: &mut (), _: Option<&mut ()>, n: &u64) -> Result<Outcome, Self::Error> {
///         Ok(Outcome { items: 1, checksum: n * n })
///     }
///     fn check(&self, n: &u64, out: &Outcome) -> bool { out.checksum == n * n }
/// }
/// ```
pub trait Workload: Send + Sync + 'static {
    /// What one user keeps from request to request.
    type Session: Send + 'static;
    /// One request.
    type Request: Send + Sync + 'static;
    /// What the connection pool hands out; `()` when it is not used.
    type Conn: Send + 'static;
    /// Why a request failed.
    type Error: Display + Send + 'static;

    /// The name in reports.
    fn name(&self) -> &str;

    /// Prepares a user. Outside the measured window.
    fn open_session(&self, user: UserId) -> impl Future<Output = Result<Self::Session, Self::Error>> + Send;

    /// Makes connection number `index` of the pool. Outside the measured window.
    ///
    /// # Errors
    /// The workload's own; the run then does not start.
    fn connect(&self, index: usize) -> Result<Self::Conn, Self::Error>;

    /// The next request: the same for the same session, generator and `seq`. Before the request's clock starts.
    fn next_request(&self, session: &mut Self::Session, rng: &mut UserRng, seq: u64) -> Self::Request;

    /// Executes one request. All of it is measured.
    fn execute(
        &self,
        session: &mut Self::Session,
        conn: Option<&mut Self::Conn>,
        request: &Self::Request,
    ) -> impl Future<Output = Result<Outcome, Self::Error>> + Send;

    /// Whether the answer is right. After the request's clock stopped.
    fn check(&self, _request: &Self::Request, _outcome: &Outcome) -> bool {
        true
    }

    /// How many allocations plus frees this request makes, when that is known exactly.
    fn expected_alloc_events(&self, _request: &Self::Request) -> Option<u64> {
        None
    }

    /// Connections that one request holds at once; 0 is no pool.
    fn connections_per_request(&self) -> usize {
        1
    }
}

/// A system under load whose requests are plain calls that block their thread. Made a [`Workload`] by [`Blocking`];
/// run it with `Executor::Threads`, one thread per user.
pub trait SyncWorkload: Send + Sync + 'static {
    /// What one user keeps from request to request.
    type Session: Send + 'static;
    /// One request.
    type Request: Send + Sync + 'static;
    /// Why a request failed.
    type Error: Display + Send + 'static;

    /// The name in reports.
    fn name(&self) -> &str;

    /// Prepares a user.
    ///
    /// # Errors
    /// The workload's own; the run then does not start.
    fn open_session(&self, user: UserId) -> Result<Self::Session, Self::Error>;

    /// The next request.
    fn next_request(&self, session: &mut Self::Session, rng: &mut UserRng, seq: u64) -> Self::Request;

    /// Executes one request.
    ///
    /// # Errors
    /// The workload's own; the request counts as failed.
    fn execute(&self, session: &mut Self::Session, request: &Self::Request) -> Result<Outcome, Self::Error>;

    /// Whether the answer is right.
    fn check(&self, _request: &Self::Request, _outcome: &Outcome) -> bool {
        true
    }

    /// How many allocations plus frees this request makes, when that is known exactly.
    fn expected_alloc_events(&self, _request: &Self::Request) -> Option<u64> {
        None
    }
}

/// A [`SyncWorkload`] as a [`Workload`] without connections.
#[derive(Debug, Clone, Default)]
pub struct Blocking<S>(pub S);

impl<S: SyncWorkload> Workload for Blocking<S> {
    type Session = S::Session;
    type Request = S::Request;
    type Conn = ();
    type Error = S::Error;

    fn name(&self) -> &str {
        self.0.name()
    }

    async fn open_session(&self, user: UserId) -> Result<S::Session, S::Error> {
        self.0.open_session(user)
    }

    fn connect(&self, _: usize) -> Result<(), S::Error> {
        Ok(())
    }

    fn next_request(&self, session: &mut S::Session, rng: &mut UserRng, seq: u64) -> S::Request {
        self.0.next_request(session, rng, seq)
    }

    async fn execute(
        &self,
        session: &mut S::Session,
        _: Option<&mut ()>,
        request: &S::Request,
    ) -> Result<Outcome, S::Error> {
        self.0.execute(session, request)
    }

    fn check(&self, request: &S::Request, outcome: &Outcome) -> bool {
        self.0.check(request, outcome)
    }

    fn expected_alloc_events(&self, request: &S::Request) -> Option<u64> {
        self.0.expected_alloc_events(request)
    }

    fn connections_per_request(&self) -> usize {
        0
    }
}
