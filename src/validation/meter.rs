//! The parts of a request's response time.
//!
//! The parts sum exactly to the response time:
//!
//! ```text
//! response = dispatch_queue + pool_wait + sched_delay + on_cpu + run_queue + blocked + idle
//! ```
//!
//! * *sched_delay* is the time from a wake-up to the next poll. The request's waker is wrapped to record the wake-up.
//! * *on_cpu* is the thread's processor time inside a poll. The rest of the poll's wall time was off the processor. It
//!   is *run_queue* while the thread was runnable without a core (the kernel's run delay, field 2 of `schedstat`).
//!   Otherwise it is *blocked*, by a futex, I/O or a page fault.
//! * *idle* is the time between polls before a wake-up: waits for timers, I/O and asynchronous locks.
//!
//! Each part is limited to the time that the other parts leave. A clock error can move time between parts, but the sum
//! stays exact. If the kernel does not report the run delay, *run_queue* and *blocked* stay one part, off-processor
//! time.
//!
//! Reading a processor clock costs about half a microsecond, and reading the run delay twice that. The run delay is
//! therefore read before a poll only if the last poll took over 20 µs. It is read after a poll only if the poll was off
//! the processor for over 20 µs.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};

use super::clock::RunClock;
use super::probe::{TaskProbe, run_delay_gained_ns, thread_cpu_ns};

/// Limit of a short poll, in nanoseconds. Off-processor time up to this limit counts as blocked, because it is shorter
/// than a time slice of the scheduler. After a poll that took longer, the run delay is read before the next poll.
const LONG_POLL_NS: u64 = 20_000;

/// The parts of the response time that the execution of one request took, in nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Parts {
    pub sched_delay: u64,
    pub on_cpu: u64,
    pub run_queue: u64,
    pub blocked: u64,
    pub idle: u64,
    /// Measured processor time in nanoseconds, not clamped to the wall time.
    pub cpu_raw: u64,
    pub polls: u64,
    /// Whether all off-processor time was split into `run_queue` and `blocked`.
    pub split: bool,
}

/// Measures the execution of one user's requests.
#[derive(Debug)]
pub(super) struct Meter {
    probe: Arc<TaskProbe>,
    waker: Waker,
    clock: RunClock,
    last_poll_ns: u64,
}

impl Meter {
    pub fn new(probe: Arc<TaskProbe>, clock: RunClock) -> Self {
        Self { waker: Waker::from(Arc::clone(&probe)), probe, clock, last_poll_ns: 0 }
    }

    /// Runs `future` with a guard from `during` around each poll. Reads the processor clocks if `metered`.
    pub async fn run<F: Future, G>(
        &mut self,
        future: F,
        metered: bool,
        during: impl Fn() -> G,
    ) -> (F::Output, Parts) {
        let mut future = pin!(future);
        let start = self.clock.now_ns();
        let mut parts = Parts { split: true, ..Parts::default() };
        self.probe.woken_at.store(0, Relaxed);
        let mut in_polls = 0;
        let output = poll_fn(|cx| {
            let _entered = during();
            let (poll, wall) = self.poll(future.as_mut(), cx, metered, &mut parts);
            in_polls += wall;
            poll
        })
        .await;
        let span = self.clock.now_ns().saturating_sub(start);
        parts.idle = span.saturating_sub(in_polls + parts.sched_delay);
        (output, parts)
    }

    fn poll<F: Future>(
        &mut self,
        future: Pin<&mut F>,
        cx: &Context<'_>,
        metered: bool,
        parts: &mut Parts,
    ) -> (Poll<F::Output>, u64) {
        let begin = self.clock.now_ns();
        let woken = self.probe.woken_at.swap(0, Relaxed);
        if woken != 0 {
            parts.sched_delay += begin.saturating_sub(woken);
        }
        self.probe.forward_to(cx.waker());
        let polling = self.probe.enter_poll(begin);
        if metered && self.last_poll_ns > LONG_POLL_NS {
            run_delay_gained_ns();
        }
        let cpu_before = if metered { thread_cpu_ns() } else { None };
        let poll = future.poll(&mut Context::from_waker(&self.waker));
        drop(polling);
        let cpu = cpu_before.and_then(|b| Some(thread_cpu_ns()?.saturating_sub(b)));
        let wall = self.clock.now_ns().saturating_sub(begin);
        self.last_poll_ns = wall;
        parts.polls += 1;
        parts.split(wall, cpu);
        (poll, wall)
    }
}

impl Parts {
    /// Adds a poll of `wall` nanoseconds, with `cpu` nanoseconds of processor time. `cpu` is `None` if the processor
    /// time was not measured.
    fn split(&mut self, wall: u64, cpu: Option<u64>) {
        let on_cpu = cpu.map_or(0, |cpu| cpu.min(wall));
        let off = wall - on_cpu;
        self.cpu_raw += cpu.unwrap_or(0);
        self.on_cpu += on_cpu;
        // Off-processor time this short does not come from the scheduler, but from clock error, cache misses and
        // faults.
        let run_queue = match cpu {
            Some(_) if off <= LONG_POLL_NS => Some(0),
            Some(_) => run_delay_gained_ns(),
            None => None,
        };
        self.split &= run_queue.is_some();
        let run_queue = run_queue.map_or(0, |gained| gained.min(off));
        self.run_queue += run_queue;
        self.blocked += off - run_queue;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn measure<F: Future>(future: F) -> (Duration, Parts) {
        let clock = RunClock::default();
        clock.start();
        let mut meter = Meter::new(TaskProbe::new(clock.clone()), clock);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let begin = Instant::now();
        let (_, parts) = runtime.block_on(meter.run(future, true, || ()));
        (begin.elapsed(), parts)
    }

    fn sum(p: &Parts) -> u64 {
        p.sched_delay + p.on_cpu + p.run_queue + p.blocked + p.idle
    }

    #[test]
    #[cfg(unix)]
    fn spinning_is_processor_time() {
        let (wall, parts) = measure(async {
            let begin = thread_cpu_ns().unwrap();
            while thread_cpu_ns().unwrap() - begin < 200_000_000 {}
        });
        assert!((160_000_000..240_000_000).contains(&parts.on_cpu), "{parts:?}");
        assert!(wall >= Duration::from_millis(200));
        assert!(sum(&parts).abs_diff(wall.as_nanos() as u64) < 5_000_000, "{parts:?} in {wall:?}");
    }

    #[test]
    #[cfg(unix)]
    fn sleeping_is_not() {
        for asynchronous in [true, false] {
            let pause = Duration::from_millis(200);
            let (wall, parts) = measure(async move {
                if asynchronous { tokio::time::sleep(pause).await } else { std::thread::sleep(pause) }
            });
            assert!(parts.on_cpu < 20_000_000 && wall >= pause, "{parts:?}");
            let (idle, blocked) = (parts.idle + parts.sched_delay, parts.blocked + parts.run_queue);
            let expected = if asynchronous { idle } else { blocked };
            assert!(expected >= 180_000_000, "{parts:?}");
            assert!(sum(&parts).abs_diff(wall.as_nanos() as u64) < 5_000_000, "{parts:?} in {wall:?}");
        }
    }

    #[test]
    fn a_late_poll_after_a_wake_up_is_scheduling_delay() {
        let (_, parts) = measure(async {
            // The other task holds the only worker after it woke this task.
            let notify = Arc::new(tokio::sync::Notify::new());
            let other = Arc::clone(&notify);
            tokio::task::LocalSet::new()
                .run_until(async move {
                    tokio::task::spawn_local(async move {
                        other.notify_one();
                        std::thread::sleep(Duration::from_millis(50));
                    });
                    notify.notified().await;
                })
                .await;
        });
        let all = sum(&parts);
        assert!(all >= 45_000_000, "{parts:?}");
    }

    #[test]
    fn unmetered_time_is_kept_whole() {
        let clock = RunClock::default();
        clock.start();
        let mut meter = Meter::new(TaskProbe::new(clock.clone()), clock);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let ((), parts) =
            runtime.block_on(meter.run(async { std::thread::sleep(Duration::from_millis(5)) }, false, || ()));
        assert!(!parts.split && parts.on_cpu == 0 && parts.blocked >= 5_000_000);
    }
}
