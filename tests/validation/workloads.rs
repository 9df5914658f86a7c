//! Workloads with a known answer or a planted fault, against which a report is checked. Each test binary uses some of
//! them.
#![allow(dead_code, reason = "shared by several test binaries")]

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use heapledger::validation::*;
use tokio::time::{Instant, sleep, sleep_until};

/// Defines the items of a workload without session state, connections and request data.
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
/// A workload that uses processor time: `cpu_ns` per request, by the thread's clock.
#[derive(Debug, Clone, Copy)]
pub struct SpinWorkload {
    /// Nanoseconds of processor time per request.
    pub cpu_ns: u64,
}

/// Spins until the thread has used `cpu_ns`, or by the monotonic clock where threads have no clock.
fn burn(cpu_ns: u64) -> u64 {
    let wall = std::time::Instant::now();
    let start = thread_cpu_ns();
    let mut x = 0x9E37_79B9_u64;
    loop {
        for _ in 0..256 {
            x = black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
        let used = match (start, thread_cpu_ns()) {
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

/// A workload that waits for a timer, like a remote service of constant speed.
#[derive(Debug, Clone, Copy)]
pub struct SleepWorkload {
    /// Time of the wait.
    pub time: Duration,
    /// Whether the thread itself sleeps, as blocking code does.
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

/// A workload that uses processor time, part of it under one lock that all users share.
#[derive(Debug, Default)]
pub struct LockedWorkload {
    free_ns: u64,
    held_ns: u64,
    lock: Mutex<u64>,
}

impl LockedWorkload {
    /// Creates a workload with `free_ns` of processor time outside the lock and `held_ns` inside.
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

/// A workload whose response time follows the scalability law for the number of concurrent requests: R(n) = n / X(n).
#[derive(Debug, Default)]
pub struct UslWorkload {
    gamma: f64,
    sigma: f64,
    kappa: f64,
    under_way: AtomicUsize,
}

impl UslWorkload {
    /// Creates a workload with these parameters of the law; γ is in requests per second.
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

/// A workload that serves every request in the time `service`, except during one stall.
#[derive(Debug)]
pub struct StallWorkload {
    service: Duration,
    at: Duration,
    length: Duration,
    only: Option<UserId>,
    began: OnceLock<Instant>,
}

impl StallWorkload {
    /// Creates a workload that stalls for `length`, from `at` after the first session was opened.
    pub const fn new(service: Duration, at: Duration, length: Duration) -> Self {
        Self { service, at, length, only: None, began: OnceLock::new() }
    }

    /// Makes only `user` stall.
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

/// A workload whose requests hold a connection.
#[derive(Debug, Default)]
pub struct PooledWorkload {
    hold: Duration,
    inside: AtomicUsize,
    peak: AtomicUsize,
}

impl PooledWorkload {
    /// Creates a workload whose requests hold their connection for `hold`.
    pub fn new(hold: Duration) -> Self {
        Self { hold, ..Self::default() }
    }

    /// Returns the maximum number of connections in use, as counted by their users.
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

/// A workload that succeeds, fails, takes too long and answers wrongly in these shares, drawn from the user's
/// generator.
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

/// The way in which the users of a [`DeadlockWorkload`] block each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadlockKind {
    /// Users 0 and 1 take two asynchronous locks in opposite order.
    AbBa,
    /// Users 0, 1 and 2 each hold a lock and wait for the next one's.
    Ring,
    /// User 0 reads, then waits to write.
    Upgrade,
    /// User 0 reads twice, and user 1 waits to write in between.
    ReadAgain,
    /// Users 0 and 1 each hold one of two connections and wait for a second.
    PoolHoldAndWait,
    /// As `PoolHoldAndWait`, with an acquire that times out.
    PoolWithTimeout,
    /// Users 0 and 1 take two locks of the standard library in opposite order, which no detector sees.
    Threads,
    /// Users 0 and 1 give way to each other without end.
    Livelock,
}

/// A workload that deadlocks at the first request of the users concerned; the other users continue.
#[derive(Debug)]
pub struct DeadlockWorkload {
    kind: DeadlockKind,
    locks: [TrackedMutex<()>; 3],
    shared: TrackedRwLock<()>,
    pool: ConnectionPool<()>,
    plain: [Mutex<()>; 2],
    turn: [AtomicBool; 2],
    attempts: AtomicU64,
}

/// Time for which a user holds its first lock before it waits for the second, so that the others can take theirs.
const HOLD: Duration = Duration::from_millis(10);

impl DeadlockWorkload {
    /// Creates a workload with a planted deadlock that `detector` watches.
    ///
    /// # Panics
    /// Never panics, because the pool has two connections.
    pub fn new(kind: DeadlockKind, detector: &DeadlockDetector) -> Self {
        let acquire_timeout = (kind == DeadlockKind::PoolWithTimeout).then_some(Duration::from_secs(1));
        let config = PoolConfig { name: "sessions".to_owned(), acquire_timeout, ..PoolConfig::default() };
        Self {
            kind,
            locks: ["accounts", "journal", "index"].map(|name| TrackedMutex::new(name, (), detector)),
            shared: TrackedRwLock::new("catalogue", (), detector),
            pool: ConnectionPool::watched(vec![(), ()], config, detector)
                .expect("a pool of two is not empty"),
            plain: [Mutex::new(()), Mutex::new(())],
            turn: [AtomicBool::new(false), AtomicBool::new(false)],
            attempts: AtomicU64::new(0),
        }
    }

    async fn in_a_ring(&self, user: usize, members: usize) -> Result<(), WouldDeadlock> {
        if user >= members {
            sleep(HOLD).await;
            return Ok(());
        }
        let _first = self.locks[user].lock().await?;
        sleep(HOLD).await;
        let _second = self.locks[(user + 1) % members].lock().await?;
        Ok(())
    }

    async fn read_again(&self, user: usize) -> Result<(), WouldDeadlock> {
        match user {
            0 => {
                let _once = self.shared.read().await?;
                sleep(2 * HOLD).await;
                let _twice = self.shared.read().await?;
            }
            1 => {
                sleep(HOLD).await;
                let _alone = self.shared.write().await?;
            }
            _ => sleep(HOLD).await,
        }
        Ok(())
    }

    async fn upgrade(&self, user: usize) -> Result<(), WouldDeadlock> {
        if user == 0 {
            let _read = self.shared.read().await?;
            sleep(HOLD).await;
            let _write = self.shared.write().await?;
        }
        sleep(HOLD).await;
        Ok(())
    }

    async fn hold_and_wait(&self, user: usize) -> Result<(), PoolError> {
        if user < 2 {
            let _first = self.pool.acquire().await?;
            sleep(HOLD).await;
            let _second = self.pool.acquire().await?;
        }
        sleep(HOLD).await;
        Ok(())
    }

    fn block_threads(&self, user: usize) {
        if user < 2 {
            let _first = self.plain[user].lock().unwrap_or_else(PoisonError::into_inner);
            // Blocks the thread on purpose: this is a fault of synchronous code.
            std::thread::sleep(5 * HOLD);
            let _second = self.plain[1 - user].lock().unwrap_or_else(PoisonError::into_inner);
        }
    }

    async fn give_way(&self, user: usize) {
        if user < 2 {
            self.turn[user].store(true, Relaxed);
            // Each waits for the other to stop wanting, and never stops wanting itself.
            while self.turn[1 - user].load(Relaxed) {
                self.attempts.fetch_add(1, Relaxed);
                tokio::task::yield_now().await;
            }
        }
        sleep(HOLD).await;
    }
}

impl Workload for DeadlockWorkload {
    stateless!("deadlock", String);

    async fn execute(&self, user: &mut UserId, _: Option<&mut ()>, (): &()) -> Result<Outcome, String> {
        let user = user.0;
        let text = |e: WouldDeadlock| e.to_string();
        match self.kind {
            DeadlockKind::AbBa => self.in_a_ring(user, 2).await.map_err(text)?,
            DeadlockKind::Ring => self.in_a_ring(user, 3).await.map_err(text)?,
            DeadlockKind::Upgrade => self.upgrade(user).await.map_err(text)?,
            DeadlockKind::ReadAgain => self.read_again(user).await.map_err(text)?,
            DeadlockKind::PoolHoldAndWait | DeadlockKind::PoolWithTimeout => {
                self.hold_and_wait(user).await.map_err(|e| e.to_string())?;
            }
            DeadlockKind::Threads => self.block_threads(user),
            DeadlockKind::Livelock => self.give_way(user).await,
        }
        Ok(Outcome { items: 1, checksum: 0 })
    }

    fn connections_per_request(&self) -> usize {
        0
    }
}

/// A workload that never returns its first connections.
#[derive(Debug)]
pub struct LeakyConnWorkload {
    pool: ConnectionPool<()>,
    left_to_leak: AtomicU64,
}

impl LeakyConnWorkload {
    /// Creates a workload that leaks the first `leaks` connections of `pool`.
    pub const fn new(pool: ConnectionPool<()>, leaks: u64) -> Self {
        Self { pool, left_to_leak: AtomicU64::new(leaks) }
    }
}

impl Workload for LeakyConnWorkload {
    stateless!("leaky", PoolError);

    async fn execute(&self, _: &mut UserId, _: Option<&mut ()>, (): &()) -> Result<Outcome, PoolError> {
        let connection = self.pool.acquire().await?;
        sleep(Duration::from_millis(1)).await;
        if self.left_to_leak.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1)).is_ok() {
            std::mem::forget(connection);
        }
        Ok(Outcome { items: 1, checksum: 0 })
    }

    fn connections_per_request(&self) -> usize {
        0
    }
}

/// A workload whose user 0 panics at request `at`; all other requests take `service`.
#[derive(Debug, Clone, Copy)]
pub struct PanicWorkload {
    /// The request that panics, from 0.
    pub at: u64,
    /// Time of each request.
    pub service: Duration,
}

impl Workload for PanicWorkload {
    type Session = UserId;
    type Request = u64;
    type Conn = ();
    type Error = Infallible;

    fn name(&self) -> &str {
        "panic"
    }

    async fn open_session(&self, user: UserId) -> Result<UserId, Infallible> {
        Ok(user)
    }

    fn connect(&self, _: usize) -> Result<(), Infallible> {
        Ok(())
    }

    fn next_request(&self, _: &mut UserId, _: &mut UserRng, seq: u64) -> u64 {
        seq
    }

    async fn execute(&self, user: &mut UserId, _: Option<&mut ()>, seq: &u64) -> Result<Outcome, Infallible> {
        assert!(*user != UserId(0) || *seq != self.at, "planted panic");
        sleep(self.service).await;
        Ok(Outcome { items: 1, checksum: *seq })
    }
}
