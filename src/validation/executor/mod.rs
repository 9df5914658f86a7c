//! Runs a load: users, phases, and the guarantee that a run ends.
//!
//! ```text
//!  ramp ─► warm-up ─► measured window [t0, t1) ─► graceful stop ─► results
//!    └──── discarded ───┘        │                    └ open requests end or are cut off
//!                    samples belong here by their intended start
//! ```
//!
//! One coordinator lets the users go, watches for deadlocks, ends the window, and collects what was recorded. It never
//! runs code of the system under test, so a user that blocks its thread for ever costs that thread and nothing else:
//! the run ends after window, graceful stop and a last two seconds, with what is known.
//!
//! The same user code runs in three places: as tasks of a runtime of its own, as threads, or in the runtime of the
//! caller. The last one takes its time from the caller's clock, which may be a virtual one; it is what makes whole
//! runs testable to the digit, and the only one that a blocked user can block.
//!
//! Recording takes no shared lock and no allocation: histograms are made before the users are let go, and each belongs
//! to one user, or to a few when there are more than 64.

mod arrivals;
mod coordinate;
mod record;
mod start;
mod user;

pub(super) use coordinate::{Finished, Gauge};
use record::Shard;
pub(super) use record::{Row, SliceCell, Times};
pub(super) use start::{run_apart, run_here};

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

use self::arrivals::ArrivalQueue;
use super::clock::RunClock;
use super::completeness::TrackerProbe;
use super::config::{BenchError, BenchmarkConfig};
use super::deadlock::{Actor, DeadlockDetector};
use super::live::LiveStatus;
use super::meter::TaskProbe;
use super::plan::{LoadModel, Phases};
use super::pool::{ConnectionPool, PoolConfig};
use super::workload::Workload;

/// Histogram sets at most; users beyond share one.
const SHARDS_MAX: usize = 64;

/// Asks a run to end its window early, from any thread. Clones share one request.
///
/// # Examples
/// ```
/// let stop = heapledger::validation::StopHandle::default();
/// stop.stop();
/// assert!(stop.is_stopped());
/// ```
#[derive(Debug, Clone, Default)]
pub struct StopHandle(Arc<AtomicBool>);

impl StopHandle {
    /// Ends the window now; the run still reports.
    pub fn stop(&self) {
        self.0.store(true, Relaxed);
    }

    /// Whether somebody asked.
    pub fn is_stopped(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// One user of a run.
pub(super) struct User {
    pub actor: Arc<Actor>,
    pub probe: Arc<TaskProbe>,
    pub row: Mutex<Row>,
    pub done: AtomicBool,
}

/// All that one run shares.
pub(super) struct Run<W: Workload> {
    pub workload: Arc<W>,
    pub config: BenchmarkConfig,
    pub load: LoadModel,
    pub clock: RunClock,
    pub phases: Phases,
    pub slice_ns: u64,
    /// Where the window ends: as planned, or earlier when the run was stopped.
    pub window_end_ns: AtomicU64,
    pub users: Vec<User>,
    pub shards: Vec<Mutex<Shard>>,
    pub pool: Option<ConnectionPool<W::Conn>>,
    pub detector: DeadlockDetector,
    pub arrivals: Option<ArrivalQueue>,
    pub probe: Option<Arc<dyn TrackerProbe>>,
    pub stop: StopHandle,
    pub live: LiveStatus,
    /// Set when nothing more is to be recorded.
    pub closed: AtomicBool,
    gate: Semaphore,
    exit: Semaphore,
    /// Closed when the run is over: whoever still waits for anything is let go.
    quit: Semaphore,
    ready: AtomicUsize,
    finished: AtomicUsize,
    changed: Notify,
    failed_session: Mutex<Option<(usize, String)>>,
}

impl<W: Workload> Run<W> {
    pub fn new(
        workload: &Arc<W>,
        config: &BenchmarkConfig,
        load: &LoadModel,
        duration: Duration,
        detector: &DeadlockDetector,
        probe: Option<&Arc<dyn TrackerProbe>>,
        (stop, live): (&StopHandle, &LiveStatus),
    ) -> Result<Self, BenchError> {
        config.check()?;
        load.check()?;
        let workers = load.workers();
        if workers > config.max_concurrent_users {
            return Err(BenchError::UsersExceedMax { requested: workers, max: config.max_concurrent_users });
        }
        let phases = load.phases(config.ramp_up_duration, config.warm_up, duration);
        if phases.measure_end_ns <= phases.measure_start_ns {
            return Err(BenchError::ZeroDuration);
        }
        let pool = build_pool(&**workload, config, workers, detector)?;
        detector.clear_reports();
        detector.reserve(workers);
        let clock = RunClock::new();
        let slice_ns = record::slice_length(phases);
        let users = (0..workers)
            .map(|u| {
                let probe = TaskProbe::new(clock.clone());
                let actor = detector.register_user(u, Arc::clone(&probe));
                User { actor, probe, row: Mutex::default(), done: AtomicBool::new(false) }
            })
            .collect();
        let slices = record::slice_count(phases, slice_ns);
        let shards = (0..workers.min(SHARDS_MAX)).map(|_| Mutex::new(Shard::new(slices))).collect();
        let arrivals = load
            .intended_starts(config.ramp_up_duration, phases.load_end_ns, config.seed)
            .map(|plan| ArrivalQueue::new(plan, load));
        Ok(Self {
            workload: Arc::clone(workload),
            config: config.clone(),
            load: load.clone(),
            clock,
            phases,
            slice_ns,
            window_end_ns: AtomicU64::new(phases.measure_end_ns),
            users,
            shards,
            pool,
            detector: detector.clone(),
            arrivals,
            probe: probe.cloned(),
            stop: stop.clone(),
            live: live.clone(),
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

    /// Whether a request with this intended start counts.
    pub fn in_window(&self, intended_ns: u64) -> bool {
        (self.phases.measure_start_ns..self.window_end_ns.load(Relaxed)).contains(&intended_ns)
    }

    /// Whether no new request may begin.
    pub fn is_over(&self, now_ns: u64) -> bool {
        now_ns >= self.phases.load_end_ns || self.is_cut_short()
    }

    /// Whether the window was ended before its time.
    pub fn is_cut_short(&self) -> bool {
        self.window_end_ns.load(Relaxed) < self.phases.measure_end_ns
    }
}

fn build_pool<W: Workload>(
    workload: &W,
    config: &BenchmarkConfig,
    workers: usize,
    detector: &DeadlockDetector,
) -> Result<Option<ConnectionPool<W::Conn>>, BenchError> {
    let per_request = workload.connections_per_request();
    let size = config.pool_size(workers);
    if per_request == 0 || size == 0 {
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
