//! What users wait for when there are more of them.
//!
//! Time spent waiting is no contention by itself: a request that sleeps a millisecond for a remote answer sleeps as
//! long when it is alone. Contention is what a request costs *more* than at one user, as a share of its response time
//! T at this level, by the part of the time that grew:
//!
//! ```text
//! lock      = max(0, Δ(blocked + idle)) / T            waits for other users: locks, queues behind I/O
//! cpu       = max(0, Δ(run_queue + sched_delay)) / T   not enough cores or workers
//! coherency = max(0, Δ on_cpu) / T                     the same work costs more cycles: cache lines, spinning
//! pool      = max(0, Δ pool_wait) / T
//! backlog   = max(0, Δ dispatch_queue) / T             the load is beyond capacity
//! ```
//!
//! Each numerator is a part of T, so the shares sum to at most 100 %. Unlike a spread between users, this sees a lock
//! that slows all users alike.

use serde::{Deserialize, Serialize};

use super::executor::Row;

/// Where the mean request spent its time. Milliseconds; the parts sum to `response_ms`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TimeBreakdown {
    /// Requests measured.
    pub requests: u64,
    /// Mean response time of these requests.
    pub response_ms: f64,
    /// Due, and no worker was free.
    pub dispatch_queue_ms: f64,
    /// Waiting for a connection.
    pub pool_wait_ms: f64,
    /// Woken, and not polled yet.
    pub sched_delay_ms: f64,
    /// Using the processor; `None` where that is not measured, and then part of `off_cpu_ms`.
    pub on_cpu_ms: Option<f64>,
    /// Could have run and had no core; `None` where the system does not tell.
    pub run_queue_ms: Option<f64>,
    /// Asleep inside a poll; `None` where the system does not tell it from the run queue.
    pub blocked_ms: Option<f64>,
    /// Inside a poll and not using the processor: run queue and blocked together.
    pub off_cpu_ms: f64,
    /// Between polls and not woken.
    pub idle_ms: f64,
}

impl TimeBreakdown {
    pub(super) fn of(rows: &[Row], cpu_known: bool) -> Option<Self> {
        let mut t = super::executor::Times::default();
        rows.iter().for_each(|r| t.add(&r.times));
        if t.n == 0 {
            return None;
        }
        let mean = |ns: u64| ns as f64 / t.n as f64 / 1e6;
        let split = t.split == t.n;
        Some(Self {
            requests: t.n,
            response_ms: mean(t.response),
            dispatch_queue_ms: mean(t.dispatch_queue),
            pool_wait_ms: mean(t.pool_wait),
            sched_delay_ms: mean(t.sched_delay),
            on_cpu_ms: cpu_known.then(|| mean(t.on_cpu)),
            run_queue_ms: split.then(|| mean(t.run_queue)),
            blocked_ms: split.then(|| mean(t.blocked)),
            off_cpu_ms: mean(t.run_queue + t.blocked),
            idle_ms: mean(t.idle),
        })
    }

    /// The sum of all parts, which is `response_ms`.
    pub fn parts_ms(&self) -> f64 {
        self.dispatch_queue_ms
            + self.pool_wait_ms
            + self.sched_delay_ms
            + self.on_cpu_ms.unwrap_or(0.0)
            + self.off_cpu_ms
            + self.idle_ms
    }
}

/// What grew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContentionCause {
    /// Waits for other users.
    Lock,
    /// Waits for a core or a worker.
    Cpu,
    /// More cycles for the same work.
    Coherency,
    /// Waits for a connection.
    Pool,
    /// Arrivals beyond capacity.
    Backlog,
}

/// Shares of the response time that were not there at one user. Percent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ContentionScore {
    /// Waits for other users; `None` where blocked time is not told from the run queue.
    pub lock: Option<f64>,
    /// Waits for a core or a worker; `None` as `lock`.
    pub cpu: Option<f64>,
    /// More cycles for the same work; `None` where processor time is not measured.
    pub coherency: Option<f64>,
    /// Waits for a connection.
    pub pool: f64,
    /// Arrivals beyond capacity.
    pub backlog: f64,
    /// All shares that are known, at most 100.
    pub total: f64,
    /// The largest share, if it is at least 5 %.
    pub dominant: Option<ContentionCause>,
}

/// The least share that can be a cause.
const DOMINANT_FROM: f64 = 5.0;

impl ContentionScore {
    /// The score of a level against the baseline of one user; `None` when nothing was answered.
    ///
    /// # Examples
    /// ```
    /// use heapledger::validation::{ContentionCause, ContentionScore, TimeBreakdown};
    /// let alone = TimeBreakdown { response_ms: 1.0, idle_ms: 1.0, ..Default::default() };
    /// let eight = TimeBreakdown { response_ms: 4.0, idle_ms: 1.0, pool_wait_ms: 3.0, ..Default::default() };
    /// let score = ContentionScore::against(&eight, &alone).unwrap();
    /// assert_eq!((score.pool, score.dominant), (75.0, Some(ContentionCause::Pool)));
    /// ```
    pub fn against(level: &TimeBreakdown, baseline: &TimeBreakdown) -> Option<Self> {
        let whole = level.response_ms;
        if whole <= 0.0 {
            return None;
        }
        let share = |now: f64, then: f64| 100.0 * (now - then).max(0.0) / whole;
        let both = |now: Option<f64>, then: Option<f64>| now.zip(then);
        let lock = both(level.blocked_ms, baseline.blocked_ms)
            .map(|(now, then)| share(now + level.idle_ms, then + baseline.idle_ms));
        let cpu = both(level.run_queue_ms, baseline.run_queue_ms)
            .map(|(now, then)| share(now + level.sched_delay_ms, then + baseline.sched_delay_ms));
        let coherency = both(level.on_cpu_ms, baseline.on_cpu_ms).map(|(now, then)| share(now, then));
        let pool = share(level.pool_wait_ms, baseline.pool_wait_ms);
        let backlog = share(level.dispatch_queue_ms, baseline.dispatch_queue_ms);
        let known = [
            (lock, ContentionCause::Lock),
            (cpu, ContentionCause::Cpu),
            (coherency, ContentionCause::Coherency),
            (Some(pool), ContentionCause::Pool),
            (Some(backlog), ContentionCause::Backlog),
        ];
        let total = known.iter().filter_map(|(s, _)| *s).sum::<f64>().min(100.0);
        let dominant = known
            .iter()
            .filter_map(|(s, cause)| Some(((*s)?, *cause)))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .filter(|(s, _)| *s >= DOMINANT_FROM)
            .map(|(_, cause)| cause);
        Some(Self { lock, cpu, coherency, pool, backlog, total, dominant })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breakdown(on_cpu: f64, run_queue: f64, blocked: f64) -> TimeBreakdown {
        TimeBreakdown {
            requests: 1,
            response_ms: on_cpu + run_queue + blocked,
            on_cpu_ms: Some(on_cpu),
            run_queue_ms: Some(run_queue),
            blocked_ms: Some(blocked),
            off_cpu_ms: run_queue + blocked,
            ..TimeBreakdown::default()
        }
    }

    #[test]
    fn causes_are_told_apart() {
        let alone = breakdown(0.2, 0.0, 0.0);
        for (level, cause) in [
            (breakdown(0.2, 0.1, 1.3), ContentionCause::Lock),
            (breakdown(0.2, 1.3, 0.1), ContentionCause::Cpu),
            (breakdown(1.4, 0.1, 0.1), ContentionCause::Coherency),
        ] {
            let s = ContentionScore::against(&level, &alone).unwrap();
            assert_eq!(s.dominant, Some(cause));
            assert!((s.total - 87.5).abs() < 1e-9 && (level.parts_ms() - level.response_ms).abs() < 1e-12);
        }
    }

    #[test]
    fn a_wait_that_was_there_before_is_no_contention() {
        let level = breakdown(0.01, 0.0, 1.0);
        let s = ContentionScore::against(&level, &level).unwrap();
        assert_eq!((s.total, s.dominant), (0.0, None));
    }

    #[test]
    fn unknown_parts_stay_unknown() {
        let mut level = breakdown(0.2, 0.5, 0.5);
        (level.run_queue_ms, level.blocked_ms) = (None, None);
        let s = ContentionScore::against(&level, &breakdown(0.2, 0.0, 0.0)).unwrap();
        assert_eq!((s.lock, s.cpu), (None, None));
        assert_eq!(ContentionScore::against(&TimeBreakdown::default(), &level), None);
    }
}
