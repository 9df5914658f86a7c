//! Contention: the part of the response time that appears only with more users.
//!
//! Waiting alone is not contention: a request that waits a millisecond for a remote answer does so at any load.
//! Contention is the increase Δ of each part of the response time over the run of one user. It is given as a share of
//! the response time T at the level:
//!
//! ```text
//! lock      = max(0, Δ(blocked + idle)) / T            waits for other users: locks, queues behind I/O
//! cpu       = max(0, Δ(run_queue + sched_delay)) / T   not enough cores or workers
//! coherency = max(0, Δ on_cpu) / T                     the same work takes more cycles: cache lines, spinning
//! pool      = max(0, Δ pool_wait) / T
//! backlog   = max(0, Δ dispatch_queue) / T             the load exceeds the capacity
//! ```
//!
//! Each numerator is at most a part of T, so the shares sum to no more than 100 %. A comparison of users with each
//! other would miss a lock that slows all users alike. The comparison with the run of one user finds such a lock.

use serde::{Deserialize, Serialize};

/// Parts of the mean response time, in milliseconds. The parts sum to `response_ms`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TimeBreakdown {
    /// Number of measured requests.
    pub requests: u64,
    /// Mean response time of these requests.
    pub response_ms: f64,
    /// Time from the intended start until a worker was free.
    pub dispatch_queue_ms: f64,
    /// Time of the wait for a connection.
    pub pool_wait_ms: f64,
    /// Time from a wake-up to the next poll.
    pub sched_delay_ms: f64,
    /// Processor time. `None` if it is not measured; `off_cpu_ms` then includes it.
    pub on_cpu_ms: Option<f64>,
    /// Time during which the thread was runnable without a core; `None` if the system does not report it.
    pub run_queue_ms: Option<f64>,
    /// Time asleep inside polls; `None` if the system does not separate it from the time in the run queue.
    pub blocked_ms: Option<f64>,
    /// Time inside polls off the processor: run queue and sleep together.
    pub off_cpu_ms: f64,
    /// Time between polls before a wake-up: waits for timers, I/O and asynchronous locks.
    pub idle_ms: f64,
}

impl TimeBreakdown {
    /// Returns the sum of all parts, which equals `response_ms`.
    pub fn parts_ms(&self) -> f64 {
        self.dispatch_queue_ms
            + self.pool_wait_ms
            + self.sched_delay_ms
            + self.on_cpu_ms.unwrap_or(0.0)
            + self.off_cpu_ms
            + self.idle_ms
    }
}

/// The cause of contention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContentionCause {
    /// The users wait for each other.
    Lock,
    /// The users wait for a core or a worker.
    Cpu,
    /// The same work takes more processor time.
    Coherency,
    /// The users wait for a connection.
    Pool,
    /// The arrivals exceed the capacity.
    Backlog,
}

/// Increase of each part of the response time over the run of one user, in percent of the response time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ContentionScore {
    /// Share of waits for other users; `None` if sleep and the run queue were not measured separately.
    pub lock: Option<f64>,
    /// Share of waits for a core or a worker; `None` if `lock` is `None`.
    pub cpu: Option<f64>,
    /// Share of additional processor time for the same work; `None` if processor time is not measured.
    pub coherency: Option<f64>,
    /// Share of waits for a connection.
    pub pool: f64,
    /// Share of waits of arrivals for a free worker.
    pub backlog: f64,
    /// Sum of the known shares; its maximum is 100.
    pub total: f64,
    /// Cause of the largest share; `None` if that share is below 5 %.
    pub dominant: Option<ContentionCause>,
}

/// Minimum share of a dominant cause, in percent.
const DOMINANT_FROM: f64 = 5.0;

impl ContentionScore {
    /// Returns the contention of a level compared with the run of one user, `baseline`; `None` without answers.
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
        let lock = level
            .blocked_ms
            .zip(baseline.blocked_ms)
            .map(|(now, then)| share(now + level.idle_ms, then + baseline.idle_ms));
        let cpu = level
            .run_queue_ms
            .zip(baseline.run_queue_ms)
            .map(|(now, then)| share(now + level.sched_delay_ms, then + baseline.sched_delay_ms));
        let coherency = level.on_cpu_ms.zip(baseline.on_cpu_ms).map(|(now, then)| share(now, then));
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
