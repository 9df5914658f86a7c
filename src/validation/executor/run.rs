//! The shared state of one run.

use std::any::TypeId;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

use super::super::clock::RunClock;
use super::super::completeness::TrackerProbe;
use super::super::config::BenchmarkConfig;
use super::super::deadlock::{Actor, DeadlockDetector};
use super::super::error::BenchError;
use super::super::live::LiveStatus;
use super::super::plan::{LoadModel, Phases};
use super::super::pool::{ConnectionPool, PoolConfig};
use super::super::probe::TaskProbe;
use super::super::workload::Workload;
use super::queue::ArrivalQueue;
use super::row::{Row, Shard};
use super::stop::StopHandle;

/// Maximum number of histogram sets. If there are more users, several users share a set.
const SHARDS_MAX: usize = 64;
/// Usual length of a slice of the timeline, in nanoseconds. A window has from 20 to 600 slices.
const SLICE_NS: u64 = 100_000_000;
const SLICES_MIN: u64 = 20;
const SLICES_MAX: u64 = 600;

/// One user of a run.
pub(super) struct User {
    pub actor: Arc<Actor>,
    pub probe: Arc<TaskProbe>,
    pub row: Mutex<Row>,
    pub done: AtomicBool,
}

/// The parts of a benchmark that all its runs share.
#[derive(Clone)]
pub(in super::super) struct Handles {
    pub detector: DeadlockDetector,
    pub probe: Option<Arc<dyn TrackerProbe>>,
    pub stop: StopHandle,
    pub live: LiveStatus,
}

/// The shared state of one run.
pub(in super::super) struct Run<W: Workload> {
    pub(super) workload: Arc<W>,
    pub(super) config: BenchmarkConfig,
    pub(super) load: LoadModel,
    pub(super) clock: RunClock,
    pub(super) phases: Phases,
    pub(super) slice_ns: u64,
    /// End of the window in nanoseconds: as planned, or earlier if the run was stopped.
    pub(super) window_end_ns: AtomicU64,
    pub(super) users: Vec<User>,
    pub(super) shards: Vec<Mutex<Shard>>,
    pub(super) pool: Option<ConnectionPool<W::Conn>>,
    pub(super) arrivals: Option<ArrivalQueue>,
    pub(super) handles: Handles,
    /// Whether the run is closed. A closed run records nothing more.
    pub(super) closed: AtomicBool,
    /// Semaphore of the permits to start, one per user.
    pub(super) gate: Semaphore,
    /// Semaphore that is closed when finished users may drop their sessions.
    pub(super) exit: Semaphore,
    /// Semaphore that is closed when the run is over, which ends all waits.
    pub(super) quit: Semaphore,
    pub(super) ready: AtomicUsize,
    pub(super) finished: AtomicUsize,
    pub(super) changed: Notify,
    pub(super) failed_session: Mutex<Option<(usize, String)>>,
}

impl<W: Workload> Run<W> {
    pub fn new(
        workload: &Arc<W>,
        config: BenchmarkConfig,
        load: &LoadModel,
        duration: Duration,
        handles: Handles,
    ) -> Result<Self, BenchError> {
        config.check()?;
        load.check()?;
        let (workers, max) = (load.workers(), config.max_concurrent_users);
        if workers > max {
            return Err(BenchError::UsersExceedMax { requested: workers, max });
        }
        let phases = load.phases(config.ramp_up_duration, config.warm_up, duration);
        let window_ns = phases.measure_end_ns.saturating_sub(phases.measure_start_ns);
        if window_ns == 0 {
            return Err(BenchError::ZeroDuration);
        }
        let detector = &handles.detector;
        let pool = build_pool(&**workload, &config, workers, detector)?;
        detector.clear_reports();
        detector.reserve(workers);
        let clock = RunClock::default();
        let user = |u| {
            let probe = TaskProbe::new(clock.clone());
            let actor = detector.register_user(u, Arc::clone(&probe));
            User { actor, probe, row: Mutex::default(), done: AtomicBool::new(false) }
        };
        let users = (0..workers).map(user).collect();
        let slice_ns = SLICE_NS.min(window_ns / SLICES_MIN).max(window_ns.div_ceil(SLICES_MAX)).max(1);
        let slices = window_ns.div_ceil(slice_ns) as usize;
        let plan = load.intended_starts(config.ramp_up_duration, phases.load_end_ns, config.seed);
        Ok(Self {
            workload: Arc::clone(workload),
            config,
            load: load.clone(),
            clock,
            phases,
            slice_ns,
            window_end_ns: AtomicU64::new(phases.measure_end_ns),
            users,
            shards: (0..workers.min(SHARDS_MAX)).map(|_| Mutex::new(Shard::new(slices))).collect(),
            pool,
            arrivals: plan.map(|plan| ArrivalQueue::new(plan, load)),
            handles,
            closed: AtomicBool::new(false),
            gate: Semaphore::new(0),
            exit: Semaphore::new(0),
            quit: Semaphore::new(0),
            ready: AtomicUsize::new(0),
            finished: AtomicUsize::new(0),
            changed: Notify::new(),
            failed_session: Mutex::default(),
        })
    }

    /// Whether a request with this intended start belongs to the window.
    pub(super) fn in_window(&self, intended_ns: u64) -> bool {
        (self.phases.measure_start_ns..self.window_end_ns.load(Relaxed)).contains(&intended_ns)
    }

    /// Whether no new request may start.
    pub(super) fn is_over(&self, now_ns: u64) -> bool {
        now_ns >= self.phases.load_end_ns || self.is_cut_short()
    }

    /// Whether the window was ended early.
    pub(super) fn is_cut_short(&self) -> bool {
        self.window_end_ns.load(Relaxed) < self.phases.measure_end_ns
    }

    /// Ends the window early.
    pub(super) fn cut_short(&self, now_ns: u64) {
        self.window_end_ns.fetch_min(now_ns.max(self.phases.measure_start_ns), Relaxed);
        if let Some(queue) = &self.arrivals {
            queue.close();
        }
    }

    /// Ends the waits of all users, including waits that would never end.
    pub(super) fn release_all(&self) {
        self.closed.store(true, Relaxed);
        self.gate.close();
        self.exit.close();
        self.quit.close();
        if let Some(queue) = &self.arrivals {
            queue.close();
        }
    }

    /// Resolves when the run is over.
    pub(super) async fn until_released(&self) {
        // No permit is ever added; the wait ends when the semaphore is closed.
        let _ = self.quit.acquire().await;
    }
}

fn build_pool<W: Workload>(
    workload: &W,
    config: &BenchmarkConfig,
    workers: usize,
    detector: &DeadlockDetector,
) -> Result<Option<ConnectionPool<W::Conn>>, BenchError> {
    let per_request = workload.connections_per_request();
    let size = config.pool_size(workers, per_request);
    let simulates = config.connection_pool_size.is_some() || TypeId::of::<W::Conn>() != TypeId::of::<()>();
    if per_request == 0 || size == 0 || !simulates {
        return Ok(None);
    }
    if size < per_request {
        return Err(BenchError::PoolTooSmall { size, per_request });
    }
    let connect = |connection| {
        workload.connect(connection).map_err(|e| BenchError::Connect { connection, error: e.to_string() })
    };
    let connections = (0..size).map(connect).collect::<Result<Vec<_>, _>>()?;
    let pool = PoolConfig {
        name: "connection pool".to_owned(),
        acquire_timeout: Some(config.pool_acquire_timeout),
        leak_after: config.pool_leak_after,
    };
    ConnectionPool::watched(connections, pool, detector).map(Some)
}
