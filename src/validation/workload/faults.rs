//! Workloads with a planted fault: what a detector must find.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::sleep;

use super::builtin::stateless;
use super::{Outcome, UserId, UserRng, Workload};
use crate::validation::deadlock::{DeadlockDetector, TrackedMutex, TrackedRwLock, WouldDeadlock};
use crate::validation::pool::{ConnectionPool, PoolConfig, PoolError};

/// How the users of a [`DeadlockWorkload`] lock each other up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadlockKind {
    /// Users 0 and 1 take two asynchronous locks in opposite order.
    AbBa,
    /// Users 0, 1 and 2 each hold a lock and want the next one's.
    Ring,
    /// User 0 reads, then wants to write.
    Upgrade,
    /// User 0 reads and reads again, with user 1 waiting to write in between.
    ReadAgain,
    /// Users 0 and 1 hold one of two connections each and want a second.
    PoolHoldAndWait,
    /// As `PoolHoldAndWait`, with an acquire that gives up after a while.
    PoolWithTimeout,
    /// Users 0 and 1 take two locks of the standard library in opposite order, which no detector sees.
    Threads,
    /// Users 0 and 1 keep giving way to each other.
    Livelock,
}

/// Deadlocks at the first request of the users concerned; all other users keep going.
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

/// How long a user holds its first lock before it wants the second: long enough for the others to take theirs.
const HOLD: Duration = Duration::from_millis(10);

impl DeadlockWorkload {
    /// A planted deadlock that `detector` watches.
    ///
    /// # Panics
    /// Never: the pool has two connections.
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

/// Never gives its first connections back.
#[derive(Debug)]
pub struct LeakyConnWorkload {
    pool: ConnectionPool<()>,
    left_to_leak: AtomicU64,
}

impl LeakyConnWorkload {
    /// Forgets the first `leaks` connections of `pool`.
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

/// User 0 panics at its `at`-th request; the others take `service` each.
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
