//! Workloads without a system under test: one measures the harness, one has a known number of allocations.

use std::convert::Infallible;
use std::future::Future;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::sleep;

use super::super::random::UserRng;
use super::definition::{Outcome, UserId, Workload};

/// A workload that answers at once, to measure the harness itself.
#[derive(Debug, Default)]
pub struct NullWorkload {
    inside: AtomicUsize,
    peak: AtomicUsize,
    pause: Duration,
}

impl NullWorkload {
    /// Creates a workload whose requests sleep for `pause`.
    pub fn pausing(pause: Duration) -> Self {
        Self { pause, ..Self::default() }
    }

    /// Returns the maximum number of concurrent requests so far.
    pub fn concurrent_peak(&self) -> usize {
        self.peak.load(Relaxed)
    }
}

impl Workload for NullWorkload {
    type Session = ();
    type Request = ();
    type Conn = ();
    type Error = Infallible;

    fn name(&self) -> &str {
        "null"
    }

    async fn open_session(&self, _: UserId) -> Result<(), Infallible> {
        Ok(())
    }

    fn connect(&self, _: usize) -> Result<(), Infallible> {
        Ok(())
    }

    fn next_request(&self, (): &mut (), _: &mut UserRng, _: u64) {}

    async fn execute(&self, (): &mut (), _: Option<&mut ()>, (): &()) -> Result<Outcome, Infallible> {
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

/// A workload that allocates and frees an exactly known number of blocks.
///
/// Each step replaces one block of the session, by one allocation and one free. Each block lives for `lifetime` steps.
#[derive(Debug, Clone, Copy)]
pub struct AllocWorkload {
    /// Number of allocations per request; the number of frees is the same.
    pub allocs: u32,
    /// Maximum block size in bytes; the minimum is half of it.
    pub size: usize,
    /// Number of live blocks per user.
    pub lifetime: usize,
}

/// The live blocks of one user.
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
