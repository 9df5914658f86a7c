//! Workloads with a known answer: each plants one cause, so that a report can be checked against it.

use std::convert::Infallible;
use std::future::Future;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::{Outcome, UserId, UserRng, Workload};
use crate::validation::meter;

/// The parts of a workload that needs neither session nor connection nor request data.
macro_rules! stateless {
    ($name:literal, $error:ty) => {
        type Session = UserId;
        type Request = ();
        type Conn = ();
        type Error = $error;

        fn name(&self) -> &str {
            $name
        }

        async fn open_session(&self, user: UserId) -> Result<UserId, $error> {
            Ok(user)
        }

        fn connect(&self, _: usize) -> Result<(), $error> {
            Ok(())
        }

        fn next_request(&self, _: &mut UserId, _: &mut UserRng, _: u64) {}
    };
}
pub(super) use stateless;

/// Answers at once. `concurrent_peak` says how many were inside `execute` together.
#[derive(Debug, Default)]
pub struct NullWorkload {
    inside: AtomicUsize,
    peak: AtomicUsize,
    pause: Duration,
}

impl NullWorkload {
    /// One that takes `pause` of sleep per request: on a virtual clock, time must pass somewhere.
    pub fn pausing(pause: Duration) -> Self {
        Self { pause, ..Self::default() }
    }

    /// The most requests that were executing at once.
    pub fn concurrent_peak(&self) -> usize {
        self.peak.load(Relaxed)
    }
}

impl Workload for NullWorkload {
    stateless!("null", Infallible);

    async fn execute(&self, _: &mut UserId, _: Option<&mut ()>, _: &()) -> Result<Outcome, Infallible> {
        let inside = self.inside.fetch_add(1, Relaxed) + 1;
        self.peak.fetch_max(inside, Relaxed);
        if !self.pause.is_zero() {
            sleep(self.pause).await;
        }
        self.inside.fetch_sub(1, Relaxed);
        Ok(Outcome::default())
    }

    fn expected_alloc_events(&self, (): &()) -> Option<u64> {
        Some(0)
    }

    fn connections_per_request(&self) -> usize {
        0
    }
}

/// Burns processor time: `cpu_ns` of it by the thread's own clock, however long that takes.
#[derive(Debug, Clone, Copy)]
pub struct SpinWorkload {
    /// Nanoseconds of processor time per request.
    pub cpu_ns: u64,
}

/// Spins until the thread has used `cpu_ns`; by the wall clock where threads have no clock of their own.
fn burn(cpu_ns: u64) -> u64 {
    let wall = std::time::Instant::now();
    let start = meter::thread_cpu_ns();
    let mut x = 0x9E37_79B9_u64;
    loop {
        for _ in 0..256 {
            x = black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
        let used = match (start, meter::thread_cpu_ns()) {
            (Some(a), Some(b)) => b - a,
            _ => wall.elapsed().as_nanos() as u64,
        };
        if used >= cpu_ns {
            return x;
        }
    }
}

impl Workload for SpinWorkload {
    stateless!("spin", Infallible);

    async fn execute(&self, _: &mut UserId, _: Option<&mut ()>, _: &()) -> Result<Outcome, Infallible> {
        Ok(Outcome { items: 1, checksum: burn(self.cpu_ns) & 1 })
    }

    fn connections_per_request(&self) -> usize {
        0
    }
}

/// Waits for a timer, as for a remote service that never gets slower.
#[derive(Debug, Clone, Copy)]
pub struct SleepWorkload {
    /// How long.
    pub time: Duration,
    /// Whether the thread itself sleeps, as in blocking code.
    pub blocking: bool,
}

impl Workload for SleepWorkload {
    stateless!("sleep", Infallible);

    async fn execute(&self, _: &mut UserId, _: Option<&mut ()>, _: &()) -> Result<Outcome, Infallible> {
        if self.blocking {
            std::thread::sleep(self.time);
        } else {
            sleep(self.time).await;
        }
        Ok(Outcome { items: 1, checksum: 0 })
    }

    fn connections_per_request(&self) -> usize {
        0
    }
}

/// Burns processor time, part of it inside one lock that all users share.
#[derive(Debug, Default)]
pub struct LockedWorkload {
    free_ns: u64,
    held_ns: u64,
    lock: Mutex<u64>,
}

impl LockedWorkload {
    /// `free_ns` of processor time outside the lock, `held_ns` inside.
    pub const fn new(free_ns: u64, held_ns: u64) -> Self {
        Self { free_ns, held_ns, lock: Mutex::new(0) }
    }
}

impl Workload for LockedWorkload {
    stateless!("locked", Infallible);

    async fn execute(&self, _: &mut UserId, _: Option<&mut ()>, _: &()) -> Result<Outcome, Infallible> {
        burn(self.free_ns);
        let mut total = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        burn(self.held_ns);
        *total += 1;
        Ok(Outcome { items: 1, checksum: 0 })
    }

    fn connections_per_request(&self) -> usize {
        0
    }
}

/// Takes as long as the scalability law says for the number of requests under way: R(n) = n / X(n).
#[derive(Debug, Default)]
pub struct UslWorkload {
    gamma: f64,
    sigma: f64,
    kappa: f64,
    under_way: AtomicUsize,
}

impl UslWorkload {
    /// The law with these parameters; γ in requests a second.
    pub fn new(gamma: f64, sigma: f64, kappa: f64) -> Self {
        Self { gamma, sigma, kappa, under_way: AtomicUsize::new(0) }
    }
}

impl Workload for UslWorkload {
    stateless!("usl", Infallible);

    async fn execute(&self, _: &mut UserId, _: Option<&mut ()>, _: &()) -> Result<Outcome, Infallible> {
        let n = (self.under_way.fetch_add(1, Relaxed) + 1) as f64;
        // A request that starts first on an idle system would see n = 1; yielding lets its companions start too.
        tokio::task::yield_now().await;
        let n = n.max(self.under_way.load(Relaxed) as f64);
        let seconds = (1.0 + self.sigma * (n - 1.0) + self.kappa * n * (n - 1.0)) / self.gamma;
        sleep(Duration::from_secs_f64(seconds)).await;
        self.under_way.fetch_sub(1, Relaxed);
        Ok(Outcome { items: 1, checksum: 0 })
    }

    fn connections_per_request(&self) -> usize {
        0
    }
}

/// Serves every request in `service`, but stands still for a while.
#[derive(Debug)]
pub struct StallWorkload {
    service: Duration,
    at: Duration,
    length: Duration,
    only: Option<UserId>,
    began: OnceLock<Instant>,
}

impl StallWorkload {
    /// Stands still for `length`, beginning `at` after the first session was opened.
    pub const fn new(service: Duration, at: Duration, length: Duration) -> Self {
        Self { service, at, length, only: None, began: OnceLock::new() }
    }

    /// Only `user` stands still.
    #[must_use]
    pub const fn only(mut self, user: UserId) -> Self {
        self.only = Some(user);
        self
    }
}

impl Workload for StallWorkload {
    type Session = UserId;
    type Request = ();
    type Conn = ();
    type Error = Infallible;

    fn name(&self) -> &str {
        "stall"
    }

    async fn open_session(&self, user: UserId) -> Result<UserId, Infallible> {
        self.began.get_or_init(Instant::now);
        Ok(user)
    }

    fn connect(&self, _: usize) -> Result<(), Infallible> {
        Ok(())
    }

    fn next_request(&self, _: &mut UserId, _: &mut UserRng, _: u64) {}

    async fn execute(&self, user: &mut UserId, _: Option<&mut ()>, (): &()) -> Result<Outcome, Infallible> {
        let began = *self.began.get_or_init(Instant::now);
        let (from, to) = (began + self.at, began + self.at + self.length);
        if (from..to).contains(&Instant::now()) && self.only.is_none_or(|only| only == *user) {
            sleep_until(to).await;
        }
        sleep(self.service).await;
        Ok(Outcome { items: 1, checksum: 0 })
    }

    fn connections_per_request(&self) -> usize {
        0
    }
}

/// Holds a connection for a while.
#[derive(Debug, Default)]
pub struct PooledWorkload {
    hold: Duration,
    inside: AtomicUsize,
    peak: AtomicUsize,
}

impl PooledWorkload {
    /// Each request holds its connection for `hold`.
    pub fn new(hold: Duration) -> Self {
        Self { hold, ..Self::default() }
    }

    /// The most connections that were in use at once, counted by their users.
    pub fn concurrent_peak(&self) -> usize {
        self.peak.load(Relaxed)
    }
}

impl Workload for PooledWorkload {
    type Session = ();
    type Request = ();
    type Conn = usize;
    type Error = &'static str;

    fn name(&self) -> &str {
        "pooled"
    }

    async fn open_session(&self, _: UserId) -> Result<(), &'static str> {
        Ok(())
    }

    fn connect(&self, index: usize) -> Result<usize, &'static str> {
        Ok(index)
    }

    fn next_request(&self, (): &mut (), _: &mut UserRng, _: u64) {}

    async fn execute(&self, (): &mut (), conn: Option<&mut usize>, (): &()) -> Result<Outcome, &'static str> {
        if conn.is_none() {
            return Err("the request came without a connection");
        }
        let inside = self.inside.fetch_add(1, Relaxed) + 1;
        self.peak.fetch_max(inside, Relaxed);
        sleep(self.hold).await;
        self.inside.fetch_sub(1, Relaxed);
        Ok(Outcome { items: 1, checksum: 0 })
    }
}

/// Makes an exactly known number of allocations and frees.
///
/// Each step frees one block of the session's window and allocates another in its place, so every step is two events,
/// and blocks live for `lifetime` steps.
#[derive(Debug, Clone, Copy)]
pub struct AllocWorkload {
    /// Allocations per request; as many frees.
    pub allocs: u32,
    /// Size of the largest block in bytes; sizes are drawn from half of it up.
    pub size: usize,
    /// Blocks that a user keeps alive.
    pub lifetime: usize,
}

/// The blocks that one user keeps alive.
#[derive(Debug)]
pub struct AllocSession {
    blocks: Vec<Vec<u8>>,
    next: usize,
}

impl Workload for AllocWorkload {
    type Session = AllocSession;
    type Request = u64;
    type Conn = ();
    type Error = Infallible;

    fn name(&self) -> &str {
        "alloc"
    }

    async fn open_session(&self, _: UserId) -> Result<AllocSession, Infallible> {
        let blocks = (0..self.lifetime.max(1)).map(|_| Vec::with_capacity(self.size.max(1))).collect();
        Ok(AllocSession { blocks, next: 0 })
    }

    fn connect(&self, _: usize) -> Result<(), Infallible> {
        Ok(())
    }

    fn next_request(&self, _: &mut AllocSession, rng: &mut UserRng, _: u64) -> u64 {
        rng.next_u64()
    }

    fn execute(
        &self,
        session: &mut AllocSession,
        _: Option<&mut ()>,
        request: &u64,
    ) -> impl Future<Output = Result<Outcome, Infallible>> + Send {
        let mut size = *request;
        let half = self.size.max(2) / 2;
        for _ in 0..self.allocs {
            size = size.rotate_left(7).wrapping_add(0x9E37_79B9_7F4A_7C15);
            let block = Vec::with_capacity(half + size as usize % half + 1);
            session.blocks[session.next] = black_box(block);
            session.next = (session.next + 1) % session.blocks.len();
        }
        std::future::ready(Ok(Outcome { items: u64::from(self.allocs), checksum: *request }))
    }

    fn check(&self, request: &u64, outcome: &Outcome) -> bool {
        outcome.checksum == *request
    }

    fn expected_alloc_events(&self, _: &u64) -> Option<u64> {
        Some(2 * u64::from(self.allocs))
    }

    fn connections_per_request(&self) -> usize {
        0
    }
}

/// Succeeds, fails, takes too long and answers wrongly in the given shares, drawn from the user's generator.
#[derive(Debug, Clone, Copy)]
pub struct MixedOutcomes {
    /// Share of requests that fail.
    pub fail: f64,
    /// Share of requests that take a minute.
    pub hang: f64,
    /// Share of answers that are wrong.
    pub wrong: f64,
    /// Time of all other requests.
    pub service: Duration,
}

impl Workload for MixedOutcomes {
    type Session = ();
    type Request = f64;
    type Conn = ();
    type Error = &'static str;

    fn name(&self) -> &str {
        "mixed"
    }

    async fn open_session(&self, _: UserId) -> Result<(), &'static str> {
        Ok(())
    }

    fn connect(&self, _: usize) -> Result<(), &'static str> {
        Ok(())
    }

    fn next_request(&self, (): &mut (), rng: &mut UserRng, _: u64) -> f64 {
        rng.unit()
    }

    async fn execute(&self, (): &mut (), _: Option<&mut ()>, draw: &f64) -> Result<Outcome, &'static str> {
        if *draw < self.hang {
            sleep(Duration::from_secs(60)).await;
        }
        sleep(self.service).await;
        if *draw < self.hang + self.fail { Err("planted failure") } else { Ok(Outcome::default()) }
    }

    fn check(&self, draw: &f64, _: &Outcome) -> bool {
        *draw >= self.hang + self.fail + self.wrong
    }
}
