//! The interface of a system under load.

use std::fmt::Display;
use std::future::Future;

use serde::{Deserialize, Serialize};

use super::super::random::UserRng;

/// A simulated user's number, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UserId(pub usize);

/// The answer to a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Number of items in the answer, such as rows or hits.
    pub items: u64,
    /// Checksum of the answer, for comparison with the answer of a single thread.
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
    /// The state of a user, kept from request to request.
    type Session: Send + 'static;
    /// One request.
    type Request: Send + Sync + 'static;
    /// A connection of the pool; `()` without a pool.
    type Conn: Send + 'static;
    /// The error of a failed request.
    type Error: Display + Send + 'static;

    /// Returns the name for reports.
    fn name(&self) -> &str;

    /// Opens a user's session, before the measured window.
    fn open_session(&self, user: UserId) -> impl Future<Output = Result<Self::Session, Self::Error>> + Send;

    /// Opens connection `index` of the pool, before the measured window.
    ///
    /// # Errors
    /// Returns the workload's error if the connection cannot be opened; the run then does not start.
    fn connect(&self, index: usize) -> Result<Self::Conn, Self::Error>;

    /// Returns the next request, which must depend only on session, generator and `seq`. The call is not measured.
    fn next_request(&self, session: &mut Self::Session, rng: &mut UserRng, seq: u64) -> Self::Request;

    /// Executes one request. The call is measured.
    fn execute(
        &self,
        session: &mut Self::Session,
        conn: Option<&mut Self::Conn>,
        request: &Self::Request,
    ) -> impl Future<Output = Result<Outcome, Self::Error>> + Send;

    /// Whether the answer is right. The call is not measured.
    fn check(&self, _request: &Self::Request, _outcome: &Outcome) -> bool {
        true
    }

    /// Returns the exact number of allocations plus frees of this request; `None` if unknown.
    fn expected_alloc_events(&self, _request: &Self::Request) -> Option<u64> {
        None
    }

    /// Returns the number of connections that one request holds at once; 0 uses no pool. A workload whose
    /// [`Conn`](Self::Conn) is `()` uses a pool only if the configuration gives its size.
    fn connections_per_request(&self) -> usize {
        1
    }
}

/// A system under load whose requests block their thread. [`Blocking`] converts the system to a [`Workload`], which
/// should run on `Executor::Threads`, with one thread per user.
pub trait SyncWorkload: Send + Sync + 'static {
    /// The state of a user, kept from request to request.
    type Session: Send + 'static;
    /// One request.
    type Request: Send + Sync + 'static;
    /// The error of a failed request.
    type Error: Display + Send + 'static;

    /// Returns the name for reports.
    fn name(&self) -> &str;

    /// Opens a user's session.
    ///
    /// # Errors
    /// Returns the workload's error if the session cannot be opened; the run then does not start.
    fn open_session(&self, user: UserId) -> Result<Self::Session, Self::Error>;

    /// Returns the next request.
    fn next_request(&self, session: &mut Self::Session, rng: &mut UserRng, seq: u64) -> Self::Request;

    /// Executes one request.
    ///
    /// # Errors
    /// Returns the workload's error if the request fails. The request then counts as failed.
    fn execute(&self, session: &mut Self::Session, request: &Self::Request) -> Result<Outcome, Self::Error>;

    /// Whether the answer is right.
    fn check(&self, _request: &Self::Request, _outcome: &Outcome) -> bool {
        true
    }

    /// Returns the exact number of allocations plus frees of this request; `None` if unknown.
    fn expected_alloc_events(&self, _request: &Self::Request) -> Option<u64> {
        None
    }
}

/// A [`Workload`] made of a [`SyncWorkload`]. The workload uses no connections.
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
