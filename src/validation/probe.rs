//! Figures of a user's task: processor clocks and scheduler statistics from the system, wake-ups and polls from the
//! executor. Only this file of the module `validation` has platform calls and `unsafe`.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};

use super::clock::RunClock;
use super::sync::lock;

#[cfg(unix)]
fn clock_ns(clock: libc::clockid_t) -> Option<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writes, and the call keeps no pointer to it.
    let failed = unsafe { libc::clock_gettime(clock, &mut time) };
    (failed == 0).then(|| time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// Returns the processor time of the calling thread in nanoseconds; `None` if the system has no such clock.
///
/// # Examples
/// ```
/// use heapledger::validation::thread_cpu_ns;
/// if let (Some(before), Some(after)) = (thread_cpu_ns(), thread_cpu_ns()) {
///     assert!(after >= before);
/// }
/// ```
pub fn thread_cpu_ns() -> Option<u64> {
    #[cfg(unix)]
    return clock_ns(libc::CLOCK_THREAD_CPUTIME_ID);
    #[cfg(not(unix))]
    None
}

/// Returns the processor time of the process in nanoseconds; `None` if the system has no such clock.
pub(super) fn process_cpu_ns() -> Option<u64> {
    #[cfg(unix)]
    return clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID);
    #[cfg(not(unix))]
    None
}

fn kernel_thread_id() -> u64 {
    #[cfg(target_os = "linux")]
    // SAFETY: the call takes no arguments and cannot fail.
    return unsafe { libc::gettid() as u64 };
    #[cfg(not(target_os = "linux"))]
    {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        NEXT.fetch_add(1, Relaxed)
    }
}

thread_local! {
    static THREAD_ID: Cell<u64> = const { Cell::new(0) };
    static RUN_DELAY: RefCell<RunDelay> = const { RefCell::new(RunDelay::Unopened) };
}

/// Returns the kernel's thread id, or a process-wide number if the system has none. The id is never 0.
pub(super) fn thread_id() -> u64 {
    THREAD_ID.with(|id| {
        if id.get() == 0 {
            id.set(kernel_thread_id());
        }
        id.get()
    })
}

/// A thread's open file of scheduler statistics, with the run delay at the last read. The run delay is the time during
/// which the thread was runnable without a core.
enum RunDelay {
    Unopened,
    Missing,
    Open { file: File, last_ns: u64 },
}

impl RunDelay {
    /// Returns the run delay since the last read, in nanoseconds; `None` if the kernel does not report it.
    fn gained(&mut self) -> Option<u64> {
        if matches!(self, Self::Unopened) {
            *self = File::open("/proc/thread-self/schedstat")
                .map_or(Self::Missing, |file| Self::Open { file, last_ns: 0 });
        }
        let Self::Open { file, last_ns } = self else { return None };
        let now = read_schedstat(file)?.run_delay_ns;
        Some(now.saturating_sub(std::mem::replace(last_ns, now)))
    }
}

/// Returns the run delay of the calling thread since the last call, in nanoseconds; `None` if the kernel does not
/// report it.
pub(super) fn run_delay_gained_ns() -> Option<u64> {
    RUN_DELAY.with(|r| r.try_borrow_mut().ok()?.gained())
}

/// The first two fields of `/proc/…/schedstat`: processor time and run delay.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Schedstat {
    pub cpu_ns: u64,
    pub run_delay_ns: u64,
}

/// Reads scheduler statistics without allocating; `None` if the system does not report them.
pub(super) fn read_schedstat(file: &File) -> Option<Schedstat> {
    let mut text = [0; 80];
    #[cfg(unix)]
    let len = std::os::unix::fs::FileExt::read_at(file, &mut text, 0).ok()?;
    #[cfg(not(unix))]
    let len = std::io::Read::read(&mut &*file, &mut text).ok()?;
    let mut fields = std::str::from_utf8(&text[..len]).ok()?.split_ascii_whitespace();
    Some(Schedstat { cpu_ns: fields.next()?.parse().ok()?, run_delay_ns: fields.next()?.parse().ok()? })
}

/// The state of a user's task, readable from other threads: its last wake-up, and the thread that polls it.
///
/// The probe is also the waker of the task's futures: it records each wake-up and passes it on to the executor's waker.
/// All requests of a user share one probe, so a request costs no allocation, only changes of a reference count.
#[derive(Debug)]
pub(super) struct TaskProbe {
    clock: RunClock,
    inner: Mutex<Waker>,
    pub woken_at: AtomicU64,
    polled_since: AtomicU64,
    polls: AtomicU64,
    thread: AtomicU64,
}

/// The state of a [`TaskProbe`]. Times are in nanoseconds on the run's clock; 0 means none.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TaskState {
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

    pub fn state(&self) -> TaskState {
        TaskState {
            woken_at: self.woken_at.load(Relaxed),
            polled_since: self.polled_since.load(Relaxed),
            polls: self.polls.load(Relaxed),
            thread: self.thread.load(Relaxed),
        }
    }

    fn forward_wake(&self) {
        // Only the first wake-up before a poll counts, because later wake-ups find the task already scheduled.
        let _ = self.woken_at.compare_exchange(0, self.clock.now_ns().max(1), Relaxed, Relaxed);
        let inner = lock(&self.inner).clone();
        inner.wake();
    }

    /// Marks the start of a poll on the calling thread. Dropping the guard marks the end of the poll, also on
    /// unwinding.
    pub fn enter_poll(&self, now_ns: u64) -> Polling<'_> {
        self.thread.store(thread_id(), Relaxed);
        self.polled_since.store(now_ns.max(1), Relaxed);
        Polling(self)
    }

    pub fn forward_to(&self, waker: &Waker) {
        let mut inner = lock(&self.inner);
        if !inner.will_wake(waker) {
            inner.clone_from(waker);
        }
    }
}

impl Wake for TaskProbe {
    fn wake(self: Arc<Self>) {
        self.forward_wake();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.forward_wake();
    }
}

/// A guard of a poll in progress. Dropping the guard ends the poll.
pub(super) struct Polling<'a>(&'a TaskProbe);

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        self.0.polled_since.store(0, Relaxed);
        self.0.polls.fetch_add(1, Relaxed);
    }
}
