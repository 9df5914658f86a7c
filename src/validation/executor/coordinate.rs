//! The coordinator of a run: it lets the users start, watches them, ends the window, and collects the records.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::super::completeness::{QuiesceError, TrackerSnapshot};
use super::super::config::DeadlockAction;
use super::super::deadlock::Actor;
use super::super::error::BenchError;
use super::super::live::Live;
use super::super::machine;
use super::super::pool::ConnectionPoolStats;
use super::super::probe::process_cpu_ns;
use super::super::stats::{BUCKETS, Latencies};
use super::super::sync::lock;
use super::super::threads::ThreadTimes;
use super::super::workload::Workload;
use super::finished::{Finished, Gauge, TrackerRun};
use super::row::Shard;
use super::run::Run;

/// Maximum time for opening all sessions.
const OPENING_LIMIT: Duration = Duration::from_secs(60);
/// Time for open requests to finish after a deadlock ended the window. The time is short, because requests outside the
/// deadlock end soon.
const GRACE_AFTER_DEADLOCK: Duration = Duration::from_millis(200);
/// Maximum time for the tracker to book the events in flight.
const QUIESCE_LIMIT: Duration = Duration::from_secs(10);
/// Maximum number of samples during a run.
const SAMPLES_MAX: usize = 20_000;

/// The coordinator's state during one run.
struct Watch {
    actors: Vec<Arc<Actor>>,
    window_began: bool,
    pool_at_end: Option<ConnectionPoolStats>,
    deadline_ns: u64,
    known_deadlocks: usize,
    idle_steps: u32,
    samples: Vec<(u64, TrackerSnapshot)>,
    gauges: Vec<Gauge>,
    next_sample_ns: u64,
}

/// Pushes an item only if the list has room for it, because the harness must not allocate during the window.
fn push_within<T>(list: &mut Vec<T>, item: impl FnOnce() -> T) {
    if list.len() < list.capacity() {
        list.push(item());
    }
}

impl<W: Workload> Run<W> {
    /// Runs all phases of a run whose users have been spawned. `dispatch` starts the dispatcher.
    pub(super) async fn coordinate(
        &self,
        thread_prefix: &str,
        dispatch: impl FnOnce() -> Result<(), BenchError>,
    ) -> Result<Finished, BenchError> {
        self.all_sessions_open().await?;
        let room = ((self.phases.load_end_ns / self.slice_ns + 64) as usize).min(SAMPLES_MAX);
        let mut watch = Watch {
            actors: self.users.iter().map(|u| Arc::clone(&u.actor)).collect(),
            window_began: false,
            pool_at_end: None,
            deadline_ns: self.phases.load_end_ns + self.config.graceful_stop.as_nanos() as u64,
            known_deadlocks: 0,
            idle_steps: 0,
            samples: Vec::with_capacity(if self.handles.probe.is_some() { room } else { 0 }),
            gauges: Vec::with_capacity(room),
            next_sample_ns: 0,
        };
        let threads = ThreadTimes::begin(thread_prefix);
        let cpu = || machine::busy_ns().zip(process_cpu_ns());
        let cpu_before = cpu();
        let started_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // The dispatcher starts before the tracker's first snapshot and then waits for the clock. So the snapshot
        // includes the allocations of its start, and after the snapshot only the users allocate.
        dispatch()?;
        self.quiesce().ok();
        let before = self.handles.probe.as_ref().map(|p| p.snapshot());
        let wall = Instant::now();
        self.clock.start();
        self.gate.add_permits(self.users.len());

        self.watch_until_the_end(&mut watch).await;

        let elapsed_ns = self.clock.now_ns();
        let expected_events = if self.is_idle() { self.expected_events() } else { None };
        let tracker = self.handles.probe.as_ref().zip(before).map(|(probe, before)| {
            let quiesced = self.quiesce();
            let (after, samples) = (probe.snapshot(), std::mem::take(&mut watch.samples));
            TrackerRun { before, after, samples, elapsed_ns, quiesced, expected_events }
        });
        let wall = wall.elapsed().as_secs_f64();
        let foreign_cpu = cpu_before.zip(cpu()).map(|((busy, own), (busy_now, own_now))| {
            let others =
                busy_now.saturating_sub(busy).saturating_sub(own_now.saturating_sub(own)) as f64 / 1e9;
            (others / (wall * machine::cores() as f64)).clamp(0.0, 1.0)
        });
        let pool = watch.pool_at_end.or_else(|| self.pool.as_ref().map(|p| p.get_stats()));
        self.show(elapsed_ns);
        let finished = self.collect(elapsed_ns);
        Ok(Finished {
            gauges: watch.gauges,
            pool: pool.unwrap_or_default(),
            os_threads: threads.end(),
            tracker,
            foreign_cpu,
            started_at_unix_ms: started_at.as_millis() as u64,
            ..finished
        })
    }

    async fn all_sessions_open(&self) -> Result<(), BenchError> {
        let all = async {
            loop {
                if let Some((user, error)) = lock(&self.failed_session).take() {
                    return Err(BenchError::SessionOpen { user, error });
                }
                if let Some(user) = self.users.iter().position(|u| u.done.load(Relaxed)) {
                    return Err(BenchError::SessionOpen { user, error: "it panicked".to_owned() });
                }
                if self.ready.load(Relaxed) == self.users.len() {
                    return Ok(());
                }
                self.changed.notified().await;
            }
        };
        tokio::time::timeout(OPENING_LIMIT, all).await.unwrap_or_else(|_| {
            let error = format!("not all sessions were open after {OPENING_LIMIT:?}");
            Err(BenchError::SessionOpen { user: self.ready.load(Relaxed), error })
        })
    }

    fn quiesce(&self) -> Result<(), QuiesceError> {
        self.handles.probe.as_ref().map_or(Ok(()), |p| p.quiesce(QUIESCE_LIMIT))
    }

    async fn watch_until_the_end(&self, watch: &mut Watch) {
        loop {
            let now_ns = self.clock.now_ns();
            if self.finished.load(Relaxed) == self.users.len() || now_ns >= watch.deadline_ns {
                return;
            }
            // A user in its think time, or waiting for an arrival, does not delay the end. The run must be idle at two
            // consecutive steps, because one step may fall between a user's decision to send and the start of the
            // request.
            let idle = now_ns >= self.phases.load_end_ns && self.is_idle();
            watch.idle_steps = if idle { watch.idle_steps + 1 } else { 0 };
            if watch.idle_steps > 1 {
                return;
            }
            let wait = self.step(watch, now_ns);
            let marks = [self.phases.measure_start_ns, self.window_end_ns.load(Relaxed), watch.deadline_ns];
            let next_ns =
                marks.into_iter().filter(|&m| m > now_ns).fold(now_ns + wait.as_nanos() as u64, u64::min);
            tokio::select! {
                () = tokio::time::sleep_until(self.clock.at(next_ns)) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    /// Makes one step of the coordinator, and returns the time until the next step. Allocates only to report a deadlock
    /// or a stall.
    fn step(&self, watch: &mut Watch, now_ns: u64) -> Duration {
        if let Some(pool) = &self.pool {
            if !watch.window_began && now_ns >= self.phases.measure_start_ns {
                pool.reset_window();
                watch.window_began = true;
            }
            if watch.pool_at_end.is_none() && now_ns >= self.window_end_ns.load(Relaxed) {
                watch.pool_at_end = Some(pool.get_stats());
            }
        }
        if now_ns >= watch.next_sample_ns {
            watch.next_sample_ns = now_ns + self.slice_ns;
            let gauge = self.show(now_ns);
            push_within(&mut watch.gauges, || gauge);
            if let Some(probe) = &self.handles.probe {
                push_within(&mut watch.samples, || (now_ns, probe.snapshot()));
            }
        }
        let mut end_early = |grace: Duration| {
            self.cut_short(now_ns);
            watch.deadline_ns = watch.deadline_ns.min(now_ns + grace.as_nanos() as u64);
        };
        let (wait, deadlocks) = self.handles.detector.tick(&watch.actors);
        if deadlocks > watch.known_deadlocks {
            watch.known_deadlocks = deadlocks;
            match self.config.deadlock_action {
                DeadlockAction::AbortTest => end_early(GRACE_AFTER_DEADLOCK),
                DeadlockAction::FailVictim => self.handles.detector.fail_victims(),
                DeadlockAction::ReportOnly => {}
            }
        }
        if self.handles.stop.is_stopped() && !self.is_cut_short() {
            end_early(self.config.graceful_stop);
        }
        wait
    }

    /// Publishes the progress of the run, and returns the numbers of requests in progress and of waits.
    fn show(&self, now_ns: u64) -> Gauge {
        let (mut executed, mut answered, mut active) = (0, 0, 0);
        for user in &self.users {
            let row = lock(&user.row);
            executed += row.executed;
            answered += row.answered;
            active += u64::from(row.under_way != 0);
        }
        let waiting = self.arrivals.as_ref().map_or(0, |queue| queue.waiting());
        let pending = waiting + self.pool.as_ref().map_or(0, |pool| pool.pending() as u64);
        self.handles.live.write(Live {
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

    /// Whether no request is in progress and no arrival waits.
    fn is_idle(&self) -> bool {
        self.users.iter().all(|u| lock(&u.row).under_way == 0)
            && self.arrivals.as_ref().is_none_or(|q| q.is_drained())
    }

    fn expected_events(&self) -> Option<u64> {
        let of_user = |row: &super::row::Row| if row.executed == 0 { Some(0) } else { row.expected_events };
        self.users.iter().map(|u| of_user(&lock(&u.row))).sum()
    }

    /// Closes the run and collects its records. Open requests count as interrupted, with the time elapsed so far.
    fn collect(&self, ended_ns: u64) -> Finished {
        self.closed.store(true, Relaxed);
        let mut cut_off = Latencies::default();
        let mut rows = Vec::with_capacity(self.users.len());
        for user in &self.users {
            let mut row = lock(&user.row);
            let intended = std::mem::take(&mut row.under_way);
            if intended != 0 && self.in_window(intended - 1) {
                row.started += 1;
                row.interrupted += 1;
                cut_off.record_censored(ended_ns.saturating_sub(intended - 1));
            }
            rows.push(row.clone());
        }
        let mut unserved = 0;
        if let Some(queue) = &self.arrivals {
            queue.close();
            for intended_ns in queue.take_rest().into_iter().filter(|&t| self.in_window(t)) {
                unserved += 1;
                cut_off.record_censored(ended_ns.saturating_sub(intended_ns));
            }
        }
        let window_ns = self.window_end_ns.load(Relaxed).saturating_sub(self.phases.measure_start_ns);
        let slices = window_ns.div_ceil(self.slice_ns) as usize;
        let mut all = Shard::new(lock(&self.shards[0]).slices.len());
        self.shards.iter().for_each(|shard| all.merge(&lock(shard)));
        all.response.merge(&cut_off);
        all.failures.merge(&cut_off);
        all.slices.truncate(slices);
        all.slice_times.truncate(slices * BUCKETS);
        let arrivals = self.arrivals.as_ref();
        Finished {
            rows,
            all,
            window_start_ns: self.phases.measure_start_ns,
            window_ns,
            slice_ns: self.slice_ns,
            unserved,
            dropped: arrivals.map_or(0, |q| q.dropped_in_window.load(Relaxed)),
            arrivals_in_window: arrivals.map(|q| q.arrivals_in_window.load(Relaxed)),
            deadlocks: self.handles.detector.reports(),
            stalls: self.handles.detector.stalls(),
            stopped_early: self.is_cut_short(),
            ..Finished::default()
        }
    }
}
