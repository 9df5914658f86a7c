//! Where a request's time went.
//!
//! A request's response time is split into parts that sum to it exactly:
//!
//! ```text
//! response = dispatch_queue + pool_wait + sched_delay + on_cpu + run_queue + blocked + idle
//! ```
//!
//! * *sched_delay*: from the wake-up to the next poll. The request's waker is wrapped to note the wake-up.
//! * inside a poll, *on_cpu* is what the thread's processor clock says. The rest of the poll's wall time was spent off
//!   the processor: *run_queue* while the thread could have run but had no core (the kernel's run delay, field 2 of
//!   `schedstat`), *blocked* otherwise: a futex, I/O, a page fault.
//! * *idle*: between polls and not woken: timers, I/O and asynchronous locks.
//!
//! Each part is clamped to what is left of the whole, so clock error can shift time between parts but never break the
//! sum. Where the kernel does not tell the run delay, run_queue and blocked stay together as off-processor time.
//!
//! A processor clock read costs about half a microsecond and a run-delay read twice that, so the run delay is read only
//! around polls that may be long (the last one took over 20 µs) or that turn out to have been off the processor.
//!
//! This file is the module's only one with platform calls and `unsafe`.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use super::clock::RunClock;

/// Processor time of the calling thread in nanoseconds; `None` where the system has no such clock.
///
/// # Examples
/// ```
/// use heapledger::validation::thread_cpu_ns;
/// if let (Some(before), Some(after)) = (thread_cpu_ns(), thread_cpu_ns()) {
///     assert!(after >= before);
/// }
/// ```
#[cfg(unix)]
pub fn thread_cpu_ns() -> Option<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the result, and the call keeps no pointer to it.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    (failed == 0).then(|| time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// Processor time of the calling thread; unknown on this system.
#[cfg(not(unix))]
pub fn thread_cpu_ns() -> Option<u64> {
    None
}

/// Processor time of the whole process in nanoseconds.
#[cfg(unix)]
pub(super) fn process_cpu_ns() -> Option<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: as in `thread_cpu_ns`.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    (failed == 0).then(|| time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// Processor time of the whole process; unknown on this system.
#[cfg(not(unix))]
pub(super) fn process_cpu_ns() -> Option<u64> {
    None
}

#[cfg(target_os = "linux")]
fn kernel_thread_id() -> u64 {
    // SAFETY: the call takes nothing and cannot fail.
    unsafe { libc::gettid() as u64 }
}

#[cfg(not(target_os = "linux"))]
fn kernel_thread_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Relaxed)
}

thread_local! {
    static THREAD_ID: Cell<u64> = const { Cell::new(0) };
    static RUN_DELAY: RefCell<RunDelay> = const { RefCell::new(RunDelay::Unopened) };
}

/// The kernel's number for this thread, or one of our own where there is none. Never 0.
pub(super) fn thread_id() -> u64 {
    THREAD_ID.with(|id| {
        if id.get() == 0 {
            id.set(kernel_thread_id());
        }
        id.get()
    })
}

/// A thread's open file of scheduler statistics, and the run delay read last.
enum RunDelay {
    Unopened,
    Missing,
    Open { file: File, last_ns: u64 },
}

impl RunDelay {
    /// Run delay gained since the read before, in nanoseconds.
    fn gained(&mut self) -> Option<u64> {
        if matches!(self, Self::Unopened) {
            *self = File::open("/proc/thread-self/schedstat")
                .map_or(Self::Missing, |file| Self::Open { file, last_ns: 0 });
        }
        let Self::Open { file, last_ns } = self else { return None };
        let now = read_schedstat(file)?.run_delay_ns;
        let gained = now.saturating_sub(*last_ns);
        *last_ns = now;
        Some(gained)
    }
}

/// Run delay of the calling thread since it last asked; `None` where the kernel does not tell.
fn run_delay_gained_ns() -> Option<u64> {
    RUN_DELAY.with(|r| r.try_borrow_mut().ok()?.gained())
}

/// One line of `/proc/…/schedstat`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Schedstat {
    pub cpu_ns: u64,
    pub run_delay_ns: u64,
}

/// Reads the two first fields without allocating.
#[cfg(unix)]
pub(super) fn read_schedstat(file: &File) -> Option<Schedstat> {
    use std::os::unix::fs::FileExt;
    let mut text = [0; 80];
    let len = file.read_at(&mut text, 0).ok()?;
    let mut fields = std::str::from_utf8(&text[..len]).ok()?.split_ascii_whitespace();
    Some(Schedstat { cpu_ns: fields.next()?.parse().ok()?, run_delay_ns: fields.next()?.parse().ok()? })
}

/// There is no such file on this system.
#[cfg(not(unix))]
pub(super) fn read_schedstat(_: &File) -> Option<Schedstat> {
    None
}

/// What can be seen of a task from outside: when it was woken, whether and where it is being polled.
///
/// It is also the waker that the task's futures get: it notes the wake-up and passes it on. One is made per user, so
/// a request costs reference counts and no allocation.
#[derive(Debug)]
pub(super) struct TaskProbe {
    clock: RunClock,
    inner: Mutex<Waker>,
    woken_at: AtomicU64,
    polled_since: AtomicU64,
    polls: AtomicU64,
    thread: AtomicU64,
}

/// A look at a [`TaskProbe`]. Times in nanoseconds on the run's clock, 0 when not so.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TaskSight {
    pub woken_at: u64,
    pub polled_since: u64,
    pub polls: u64,
    pub thread: u64,
}

impl TaskProbe {
    pub fn new(clock: RunClock) -> Arc<Self> {
        Arc::new(Self {
            clock,
            inner: Mutex::new(Waker::noop().clone()),
            woken_at: AtomicU64::new(0),
            polled_since: AtomicU64::new(0),
            polls: AtomicU64::new(0),
            thread: AtomicU64::new(0),
        })
    }

    pub fn look(&self) -> TaskSight {
        TaskSight {
            woken_at: self.woken_at.load(Relaxed),
            polled_since: self.polled_since.load(Relaxed),
            polls: self.polls.load(Relaxed),
            thread: self.thread.load(Relaxed),
        }
    }

    fn wake(&self) {
        // The first wake-up counts; later ones find the task already due.
        let _ = self.woken_at.compare_exchange(0, self.clock.now_ns().max(1), Relaxed, Relaxed);
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner).clone();
        inner.wake();
    }

    fn pass_on_to(&self, waker: &Waker) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if !inner.will_wake(waker) {
            inner.clone_from(waker);
        }
    }
}

impl Wake for TaskProbe {
    fn wake(self: Arc<Self>) {
        Self::wake(&self);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        Self::wake(self);
    }
}

/// A poll shorter than this needs no split of its off-processor time.
const LONG_POLL_NS: u64 = 20_000;

/// The parts of one execution, in nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Parts {
    pub sched_delay: u64,
    pub on_cpu: u64,
    pub run_queue: u64,
    pub blocked: u64,
    pub idle: u64,
    /// Processor time as measured, without the clamp to the wall time.
    pub cpu_raw: u64,
    pub polls: u64,
    /// Whether every off-processor stretch could be split into run queue and blocked.
    pub split: bool,
}

/// Measures the executions of one user.
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

    /// Runs `future`; `metered` says whether the processor clocks are read. `during` is entered around each poll.
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
        future: std::pin::Pin<&mut F>,
        cx: &Context<'_>,
        metered: bool,
        parts: &mut Parts,
    ) -> (Poll<F::Output>, u64) {
        let begin = self.clock.now_ns();
        let woken = self.probe.woken_at.swap(0, Relaxed);
        if woken != 0 {
            parts.sched_delay += begin.saturating_sub(woken);
        }
        self.probe.pass_on_to(cx.waker());
        self.probe.thread.store(thread_id(), Relaxed);
        self.probe.polled_since.store(begin.max(1), Relaxed);
        if metered && self.last_poll_ns > LONG_POLL_NS {
            run_delay_gained_ns();
        }
        let cpu_before = if metered { thread_cpu_ns() } else { None };
        let leave = LeavePoll(&self.probe);
        let poll = future.poll(&mut Context::from_waker(&self.waker));
        drop(leave);
        let cpu = cpu_before.and_then(|b| Some(thread_cpu_ns()?.saturating_sub(b)));
        let wall = self.clock.now_ns().saturating_sub(begin);
        self.last_poll_ns = wall;
        parts.polls += 1;
        match cpu {
            Some(cpu) => self.split(wall, cpu, parts),
            // Without the clock the whole poll is off-processor time that cannot be split.
            None => {
                parts.blocked += wall;
                parts.split = false;
            }
        }
        (poll, wall)
    }

    fn split(&self, wall: u64, cpu: u64, parts: &mut Parts) {
        parts.cpu_raw += cpu;
        let on_cpu = cpu.min(wall);
        let off = wall - on_cpu;
        parts.on_cpu += on_cpu;
        if off <= LONG_POLL_NS {
            // Too short to be worth a read, and too short for a time slice: clock error, cache misses, faults.
            parts.blocked += off;
            return;
        }
        let run_queue = match run_delay_gained_ns() {
            Some(gained) => gained.min(off),
            None => {
                parts.split = false;
                0
            }
        };
        parts.run_queue += run_queue;
        parts.blocked += off - run_queue;
    }
}

/// Notes the end of a poll, by return or by unwinding.
struct LeavePoll<'a>(&'a TaskProbe);

impl Drop for LeavePoll<'_> {
    fn drop(&mut self) {
        self.0.polled_since.store(0, Relaxed);
        self.0.polls.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn measure<F: Future>(future: F) -> (Duration, Parts) {
        let clock = RunClock::new();
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
            // The other task holds the only worker after this one was woken.
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
        let clock = RunClock::new();
        clock.start();
        let mut meter = Meter::new(TaskProbe::new(clock.clone()), clock);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let ((), parts) =
            runtime.block_on(meter.run(async { std::thread::sleep(Duration::from_millis(5)) }, false, || ()));
        assert!(!parts.split && parts.on_cpu == 0 && parts.blocked >= 5_000_000);
    }
}
