//! Lets the users go, watches, ends the window, and collects.

use std::collections::HashMap;
use std::fs::{self, File};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant as WallInstant, SystemTime, UNIX_EPOCH};

use super::super::completeness::{QuiesceError, TrackerSnapshot};
use super::super::config::{BenchError, DeadlockAction};
use super::super::deadlock::{Actor, DeadlockReport, StallReport};
use super::super::live::Live;
use super::super::machine;
use super::super::meter::{Schedstat, process_cpu_ns, read_schedstat};
use super::super::pool::ConnectionPoolStats;
use super::super::result::OsThreadStats;
use super::super::stats::{BUCKETS, Latencies};
use super::super::workload::Workload;
use super::Run;
use super::record::{Row, Shard};

/// How long opening the sessions may take altogether.
const OPENING_LIMIT: Duration = Duration::from_secs(60);
/// How long requests may take to finish after a deadlock ended the window: those not part of it are soon done.
const GRACE_AFTER_DEADLOCK: Duration = Duration::from_millis(200);
/// How long the tracker gets to book what is in flight.
const QUIESCE_LIMIT: Duration = Duration::from_secs(10);
/// Looks at the tracker kept at most.
const SIGHTS_MAX: usize = 20_000;

/// What the tracker said over one run.
#[derive(Debug, Clone)]
pub(in super::super) struct TrackerRun {
    pub before: TrackerSnapshot,
    pub after: TrackerSnapshot,
    /// Looks during the run, with their times on the run's clock.
    pub sights: Vec<(u64, TrackerSnapshot)>,
    pub elapsed_ns: u64,
    pub quiesced: Result<(), QuiesceError>,
    /// What the workload says it must be, when it knows and every request ended.
    pub expected_events: Option<u64>,
}

/// What one run left behind.
#[derive(Debug)]
pub(in super::super) struct Finished {
    pub rows: Vec<Row>,
    pub all: Shard,
    /// What was going on, look by look.
    pub gauges: Vec<Gauge>,
    /// The beginning of the window on the run's clock.
    pub window_start_ns: u64,
    pub window_ns: u64,
    pub slice_ns: u64,
    /// Arrivals let in and never taken up.
    pub unserved: u64,
    pub dropped: u64,
    pub arrivals_in_window: Option<u64>,
    pub pool: ConnectionPoolStats,
    pub deadlocks: Vec<DeadlockReport>,
    pub stalls: Vec<StallReport>,
    pub os_threads: Vec<OsThreadStats>,
    pub abandoned_threads: usize,
    pub tracker: Option<TrackerRun>,
    /// Share of all cores that others used, 0 to 1.
    pub foreign_cpu: Option<f64>,
    pub clock_is_virtual: bool,
    pub stopped_early: bool,
    pub started_at_unix_ms: u64,
}

/// Processor times of the threads of one run.
struct ThreadWatch {
    threads: HashMap<u64, (String, File, Schedstat, Switches)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Switches {
    voluntary: u64,
    involuntary: u64,
}

impl ThreadWatch {
    fn begin(prefix: &str) -> Self {
        let mut threads = HashMap::new();
        for entry in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
            let Some(tid) = entry.file_name().to_str().and_then(|s| s.parse().ok()) else { continue };
            let name = comm(tid).unwrap_or_default();
            if !name.starts_with(prefix) {
                continue;
            }
            let Ok(file) = File::open(entry.path().join("schedstat")) else { continue };
            let now = read_schedstat(&file).unwrap_or_default();
            threads.insert(tid, (name, file, now, switches(tid)));
        }
        Self { threads }
    }

    fn end(self) -> Vec<OsThreadStats> {
        let mut all: Vec<OsThreadStats> = self
            .threads
            .into_iter()
            .filter_map(|(tid, (name, file, before, switched))| {
                let now = read_schedstat(&file)?;
                let after = switches(tid);
                // A thread that had only just begun still bore the name of the one that started it.
                let name = comm(tid).unwrap_or(name);
                Some(OsThreadStats {
                    tid,
                    name,
                    cpu_ms: now.cpu_ns.saturating_sub(before.cpu_ns) as f64 / 1e6,
                    run_queue_ms: now.run_delay_ns.saturating_sub(before.run_delay_ns) as f64 / 1e6,
                    voluntary_switches: after.voluntary.saturating_sub(switched.voluntary),
                    involuntary_switches: after.involuntary.saturating_sub(switched.involuntary),
                })
            })
            .collect();
        all.sort_by_key(|t| t.tid);
        all
    }
}

fn comm(tid: u64) -> Option<String> {
    Some(fs::read_to_string(format!("/proc/self/task/{tid}/comm")).ok()?.trim().to_owned())
}

fn switches(tid: u64) -> Switches {
    let text = fs::read_to_string(format!("/proc/self/task/{tid}/status")).unwrap_or_default();
    let field = |name: &str| {
        text.lines().find_map(|l| l.strip_prefix(name)).and_then(|v| v.trim().parse().ok()).unwrap_or(0)
    };
    Switches {
        voluntary: field("voluntary_ctxt_switches:"),
        involuntary: field("nonvoluntary_ctxt_switches:"),
    }
}

/// The state of the watch over one run.
struct Watch {
    actors: Vec<Arc<Actor>>,
    window_began: bool,
    pool_at_end: Option<ConnectionPoolStats>,
    deadline_ns: u64,
    known_deadlocks: usize,
    idle_looks: u32,
    sights: Vec<(u64, TrackerSnapshot)>,
    gauges: Vec<Gauge>,
    next_sight_ns: u64,
}

/// What was going on at one look.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Gauge {
    /// On the run's clock.
    pub at_ns: u64,
    /// Requests under way.
    pub active: u64,
    /// Waits for a connection or a worker.
    pub pending: u64,
}

impl<W: Workload> Run<W> {
    /// Runs all phases; the users have been spawned, the dispatcher begins with `dispatch`.
    pub(super) async fn coordinate(
        &self,
        thread_prefix: &str,
        dispatch: impl FnOnce() -> Result<(), BenchError>,
    ) -> Result<Finished, BenchError> {
        self.all_sessions_open().await?;
        let mut watch = Watch {
            actors: self.users.iter().map(|u| Arc::clone(&u.actor)).collect(),
            window_began: false,
            pool_at_end: None,
            deadline_ns: self.phases.load_end_ns + self.config.graceful_stop.as_nanos() as u64,
            known_deadlocks: 0,
            idle_looks: 0,
            sights: Vec::new(),
            gauges: Vec::new(),
            next_sight_ns: 0,
        };
        let looks = ((self.phases.load_end_ns / self.slice_ns + 64) as usize).min(SIGHTS_MAX);
        watch.gauges.reserve_exact(looks);
        if self.probe.is_some() {
            watch.sights.reserve_exact(looks);
        }
        let threads = ThreadWatch::begin(thread_prefix);
        let before_cpu = machine::busy_ns().zip(process_cpu_ns());
        let started_at_unix_ms =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
        // The dispatcher waits for the clock. All that comes before the first look at the tracker is booked by then, and
        // nothing but the users comes after it.
        dispatch()?;
        self.quiesce().ok();
        let before = self.probe.as_ref().map(|p| p.snapshot());
        let wall = WallInstant::now();
        self.clock.start();
        self.gate.add_permits(self.users.len());

        self.watch_until_the_end(&mut watch).await;

        let ended_ns = self.clock.now_ns();
        let all_done = self.nothing_under_way();
        let tracker = before.map(|before| {
            let quiesced = self.quiesce();
            let after = self.probe.as_ref().map_or(before, |p| p.snapshot());
            let sights = std::mem::take(&mut watch.sights);
            let expected_events = if all_done { self.expected_events() } else { None };
            TrackerRun { before, after, sights, elapsed_ns: ended_ns, quiesced, expected_events }
        });
        let wall = wall.elapsed().as_secs_f64();
        let foreign_cpu =
            before_cpu.zip(machine::busy_ns().zip(process_cpu_ns())).map(|((b0, c0), (b1, c1))| {
                let others = b1.saturating_sub(b0).saturating_sub(c1.saturating_sub(c0)) as f64 / 1e9;
                (others / (wall * machine::cores() as f64)).clamp(0.0, 1.0)
            });
        let pool = watch.pool_at_end.take().or_else(|| self.pool.as_ref().map(|p| p.get_stats()));
        self.show(ended_ns);
        let finished = self.collect(ended_ns);
        Ok(Finished {
            gauges: std::mem::take(&mut watch.gauges),
            pool: pool.unwrap_or_default(),
            os_threads: threads.end(),
            tracker,
            foreign_cpu,
            started_at_unix_ms,
            ..finished
        })
    }

    async fn all_sessions_open(&self) -> Result<(), BenchError> {
        let all = async {
            loop {
                let failed = self.failed_session.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some((user, error)) = failed {
                    return Err(BenchError::SessionOpen { user, error });
                }
                let panicked = self.users.iter().position(|u| u.done.load(Relaxed));
                if let Some(user) = panicked {
                    return Err(BenchError::SessionOpen { user, error: "it panicked".to_owned() });
                }
                if self.ready.load(Relaxed) == self.users.len() {
                    return Ok(());
                }
                self.changed.notified().await;
            }
        };
        match tokio::time::timeout(OPENING_LIMIT, all).await {
            Ok(result) => result,
            Err(_) => {
                let error = format!("not all sessions were open after {OPENING_LIMIT:?}");
                Err(BenchError::SessionOpen { user: self.ready.load(Relaxed), error })
            }
        }
    }

    fn quiesce(&self) -> Result<(), QuiesceError> {
        self.probe.as_ref().map_or(Ok(()), |p| p.quiesce(QUIESCE_LIMIT))
    }

    async fn watch_until_the_end(&self, watch: &mut Watch) {
        loop {
            let now_ns = self.clock.now_ns();
            if self.finished.load(Relaxed) == self.users.len() || now_ns >= watch.deadline_ns {
                return;
            }
            // Users that think, or wait for arrivals, need not be waited for. Two looks, since one may fall between a
            // user's decision to send and its sending.
            let idle = now_ns >= self.phases.load_end_ns && self.nothing_under_way();
            watch.idle_looks = if idle { watch.idle_looks + 1 } else { 0 };
            if watch.idle_looks > 1 {
                return;
            }
            let wait = self.one_look(watch, now_ns);
            let marks = [self.phases.measure_start_ns, self.window_end_ns.load(Relaxed), watch.deadline_ns];
            let next_ns =
                marks.into_iter().filter(|&m| m > now_ns).fold(now_ns + wait.as_nanos() as u64, u64::min);
            tokio::select! {
                () = tokio::time::sleep_until(self.clock.at(next_ns)) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    /// One look at everything. Nothing here allocates while all is well. Gives the time until the next look.
    fn one_look(&self, watch: &mut Watch, now_ns: u64) -> Duration {
        if !watch.window_began && now_ns >= self.phases.measure_start_ns {
            watch.window_began = true;
            if let Some(pool) = &self.pool {
                pool.reset_window();
            }
        }
        if watch.pool_at_end.is_none() && now_ns >= self.window_end_ns.load(Relaxed) {
            watch.pool_at_end = self.pool.as_ref().map(|p| p.get_stats());
        }
        if now_ns >= watch.next_sight_ns {
            watch.next_sight_ns = now_ns + self.slice_ns;
            let gauge = self.show(now_ns);
            if watch.gauges.len() < watch.gauges.capacity() {
                watch.gauges.push(gauge);
            }
            if let Some(probe) = &self.probe
                && watch.sights.len() < watch.sights.capacity()
            {
                watch.sights.push((now_ns, probe.snapshot()));
            }
        }
        let (wait, deadlocks) = self.detector.tick(&watch.actors);
        if deadlocks > watch.known_deadlocks {
            watch.known_deadlocks = deadlocks;
            match self.config.deadlock_action {
                DeadlockAction::AbortTest => {
                    self.cut_short(now_ns);
                    let grace = now_ns + GRACE_AFTER_DEADLOCK.as_nanos() as u64;
                    watch.deadline_ns = watch.deadline_ns.min(grace);
                }
                DeadlockAction::FailVictim => self.detector.fail_victims(),
                DeadlockAction::ReportOnly => {}
            }
        }
        if self.stop.is_stopped() && !self.is_cut_short() {
            self.cut_short(now_ns);
            let grace = now_ns + self.config.graceful_stop.as_nanos() as u64;
            watch.deadline_ns = watch.deadline_ns.min(grace);
        }
        wait
    }

    /// Looks at what is going on, and shows it to whoever watches the run.
    fn show(&self, now_ns: u64) -> Gauge {
        let (mut executed, mut answered, mut active) = (0, 0, 0);
        for user in &self.users {
            let row = user.row.lock().unwrap_or_else(PoisonError::into_inner);
            executed += row.executed;
            answered += row.answered;
            active += u64::from(row.under_way != 0);
        }
        let waiting = self.arrivals.as_ref().map_or(0, |queue| queue.waiting());
        let pending = waiting + self.pool.as_ref().map_or(0, |pool| pool.pending() as u64);
        self.live.write(&Live {
            users: self.users.len(),
            planned: Duration::from_nanos(self.phases.load_end_ns),
            elapsed: Duration::from_nanos(now_ns),
            answered,
            failed: executed - answered,
            active,
            pending,
        });
        Gauge { at_ns: now_ns, active, pending }
    }

    fn cut_short(&self, now_ns: u64) {
        let end = now_ns.max(self.phases.measure_start_ns);
        self.window_end_ns.fetch_min(end, Relaxed);
        if let Some(queue) = &self.arrivals {
            queue.close();
        }
    }

    fn nothing_under_way(&self) -> bool {
        let idle =
            self.users.iter().all(|u| u.row.lock().unwrap_or_else(PoisonError::into_inner).under_way == 0);
        idle && self.arrivals.as_ref().is_none_or(|q| q.is_drained())
    }

    fn expected_events(&self) -> Option<u64> {
        self.users
            .iter()
            .map(|u| {
                let row = u.row.lock().unwrap_or_else(PoisonError::into_inner);
                if row.executed == 0 { Some(0) } else { row.expected_events }
            })
            .sum()
    }

    /// Closes the books: what is still open is interrupted, with the time that it has taken so far.
    fn collect(&self, ended_ns: u64) -> Finished {
        self.closed.store(true, Relaxed);
        let mut all = Shard::new(0);
        let mut cut_off = Latencies::new();
        let mut rows = Vec::with_capacity(self.users.len());
        for user in &self.users {
            let mut row = user.row.lock().unwrap_or_else(PoisonError::into_inner);
            let intended = std::mem::take(&mut row.under_way);
            if intended != 0 && self.in_window(intended - 1) {
                row.started += 1;
                row.interrupted += 1;
                cut_off.record_censored(ended_ns.saturating_sub(intended - 1));
            }
            rows.push(row.clone());
        }
        for (i, shard) in self.shards.iter().enumerate() {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            if i == 0 { all = shard.clone() } else { all.merge(&shard) }
        }
        let mut unserved = 0;
        if let Some(queue) = &self.arrivals {
            queue.close();
            for intended_ns in queue.left_over().into_iter().filter(|&t| self.in_window(t)) {
                unserved += 1;
                cut_off.record_censored(ended_ns.saturating_sub(intended_ns));
            }
        }
        all.response.merge(&cut_off);
        all.failures.merge(&cut_off);
        let window_ns = self.window_end_ns.load(Relaxed).saturating_sub(self.phases.measure_start_ns);
        let slices = window_ns.div_ceil(self.slice_ns) as usize;
        all.slices.truncate(slices);
        all.slice_times.truncate(slices * BUCKETS);
        let in_window = |n: &std::sync::atomic::AtomicU64| n.load(Relaxed);
        Finished {
            rows,
            all,
            gauges: Vec::new(),
            window_start_ns: self.phases.measure_start_ns,
            window_ns,
            slice_ns: self.slice_ns,
            unserved,
            dropped: self.arrivals.as_ref().map_or(0, |q| in_window(&q.dropped_in_window)),
            arrivals_in_window: self.arrivals.as_ref().map(|q| in_window(&q.arrivals_in_window)),
            pool: ConnectionPoolStats::default(),
            deadlocks: self.detector.reports(),
            stalls: self.detector.stalls(),
            os_threads: Vec::new(),
            abandoned_threads: 0,
            tracker: None,
            foreign_cpu: None,
            clock_is_virtual: false,
            stopped_early: self.is_cut_short(),
            started_at_unix_ms: 0,
        }
    }

    /// Lets everybody go: those who are finished, and those who wait for something that will not come.
    pub(super) fn let_go(&self) {
        self.closed.store(true, Relaxed);
        self.gate.close();
        self.exit.close();
        self.quit.close();
        if let Some(queue) = &self.arrivals {
            queue.close();
        }
    }

    /// Resolves when the run is over.
    pub(super) async fn until_let_go(&self) {
        // Nobody ever gives a permit: the wait ends when the semaphore is closed.
        let _ = self.quit.acquire().await;
    }
}
