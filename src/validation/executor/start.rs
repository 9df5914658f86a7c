//! The start of the users: in a separate runtime, on threads, or in the caller's runtime.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinHandle as TaskHandle, JoinSet};

use super::super::config::Executor;
use super::super::error::BenchError;
use super::super::machine;
use super::super::threads;
use super::super::workload::Workload;
use super::finished::Finished;
use super::run::Run;

/// Maximum time for threads to end after the run; the remaining threads are abandoned and counted.
const ABANDON_AFTER: Duration = Duration::from_secs(2);
/// Maximum time for ended threads to disappear from the system's list of threads.
const GONE_WITHIN: Duration = Duration::from_millis(200);
/// Maximum time of the warm-up of a runtime's workers.
const WARM_UP_LIMIT: Duration = Duration::from_secs(1);
/// Stack size of a user's thread, in bytes. Only touched pages take memory, so a thousand stacks fit.
const USER_STACK: usize = 2 * 1024 * 1024;

/// Runs the load in the caller's runtime and on its clock. A user that blocks its thread blocks the run.
pub(in super::super) async fn run_here<W: Workload>(run: Arc<Run<W>>) -> Result<Finished, BenchError> {
    let clock_is_virtual = clock_is_virtual();
    let mut tasks = JoinSet::new();
    for user in 0..run.users.len() {
        tasks.spawn(Arc::clone(&run).live(user));
    }
    let dispatcher = Arc::clone(&run);
    let finished = run
        .coordinate("no thread of ours", || {
            tokio::spawn(async move { dispatcher.dispatch_here().await });
            Ok(())
        })
        .await;
    run.release_all();
    // The shutdown aborts the remaining users and drops the values that they hold.
    tasks.shutdown().await;
    retire(&run);
    finished.map(|f| Finished { clock_is_virtual, ..f })
}

/// Whether the runtime's clock is paused. A real clock advances during the spin; a paused one does not.
fn clock_is_virtual() -> bool {
    const SPIN: Duration = Duration::from_micros(50);
    let (begin, seen) = (Instant::now(), tokio::time::Instant::now());
    while begin.elapsed() < SPIN {
        std::hint::spin_loop();
    }
    tokio::time::Instant::now() == seen
}

/// Runs the load with a coordinator on a separate thread, and users on a separate runtime or on threads. The call
/// returns even if users never end.
pub(in super::super) fn run_apart<W: Workload>(run: Arc<Run<W>>) -> Result<Finished, BenchError> {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let prefix = format!("hl{}-", RUNS.fetch_add(1, Relaxed));
    let coordinator = thread::Builder::new()
        .name(format!("{prefix}coord"))
        .spawn(move || {
            let runtime =
                Builder::new_current_thread().enable_time().build().map_err(BenchError::Watchdog)?;
            let crew = Crew::start(&run, &prefix).inspect_err(|_| run.release_all())?;
            let finished = runtime.block_on(conduct(&run, &prefix));
            // This call is outside the coordinator's runtime, because it blocks until the other runtime has ended.
            let abandoned_threads = crew.disband();
            // A thread may free its last block after its join, and the free would count in the next run. So the
            // coordinator waits until it is the only thread whose name has the prefix.
            let deadline = Instant::now() + GONE_WITHIN;
            while abandoned_threads == 0 && threads::running(&prefix) > 1 && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(1));
            }
            retire(&run);
            finished.map(|f| Finished { abandoned_threads, ..f })
        })
        .map_err(BenchError::Watchdog)?;
    coordinator
        .join()
        .unwrap_or_else(|_| Err(BenchError::Watchdog(std::io::Error::other("the coordinator panicked"))))
}

async fn conduct<W: Workload>(run: &Arc<Run<W>>, prefix: &str) -> Result<Finished, BenchError> {
    let mut dispatcher = None;
    let dispatch = || {
        if run.arrivals.is_none() {
            return Ok(());
        }
        let (run, begun) = (Arc::clone(run), Arc::new(AtomicBool::new(false)));
        let says = Arc::clone(&begun);
        let thread = thread::Builder::new().name(format!("{prefix}dispatch"));
        let thread = thread.spawn(move || run.dispatch_blocking(&says)).map_err(BenchError::Watchdog)?;
        dispatcher = Some(thread);
        while !begun.load(Relaxed) {
            thread::sleep(Duration::from_micros(100));
        }
        Ok(())
    };
    let finished = run.coordinate(prefix, dispatch).await;
    run.release_all();
    if let Some(thread) = dispatcher {
        // The dispatcher runs no code of the system under test, so it ends within 20 ms.
        let _ = thread.join();
    }
    finished
}

fn retire<W: Workload>(run: &Run<W>) {
    let actors: Vec<_> = run.users.iter().map(|u| Arc::clone(&u.actor)).collect();
    run.handles.detector.retire(&actors);
}

/// The allocations of the workers' warm-up. They are kept until the run is over, so that they are not freed in the
/// window.
type WarmUp = (Arc<AtomicUsize>, Vec<TaskHandle<()>>);

/// The threads that run the users.
enum Crew {
    Tasks { runtime: Runtime, users: Vec<TaskHandle<()>>, _warm_up: WarmUp },
    Threads(Vec<JoinHandle<()>>),
}

impl Crew {
    fn start<W: Workload>(run: &Arc<Run<W>>, prefix: &str) -> Result<Self, BenchError> {
        let all = 0..run.users.len();
        match run.config.executor {
            Executor::Tokio { workers } => {
                let workers = if workers == 0 { machine::cores() } else { workers };
                let runtime = Builder::new_multi_thread()
                    .worker_threads(workers)
                    .thread_name(format!("{prefix}worker"))
                    .enable_all()
                    .build()
                    .map_err(BenchError::Runtime)?;
                let warm_up = warm_up_workers(&runtime, workers, run.users.len());
                let users = all.map(|user| runtime.spawn(Arc::clone(run).live(user))).collect();
                Ok(Self::Tasks { runtime, users, _warm_up: warm_up })
            }
            Executor::Threads => {
                let user = |user: usize| {
                    let run = Arc::clone(run);
                    let thread = thread::Builder::new().name(format!("{prefix}user{user}"));
                    thread.stack_size(USER_STACK).spawn(move || live_on_a_thread(&run, user))
                };
                let users = all.map(user).collect::<Result<_, _>>();
                users.map(Self::Threads).map_err(BenchError::Runtime)
            }
        }
    }

    /// Waits for the users' threads, but not beyond a limit. Returns the number of abandoned threads.
    fn disband(self) -> usize {
        let deadline = Instant::now() + ABANDON_AFTER;
        let wait_until = |all_ended: &dyn Fn() -> bool| {
            while !all_ended() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(2));
            }
        };
        match self {
            Self::Tasks { runtime, users, .. } => {
                // An aborted task is dropped if it is between polls; a task that blocks inside a poll keeps its worker.
                wait_until(&|| users.iter().filter(|u| !u.is_finished()).map(TaskHandle::abort).count() == 0);
                // The shutdown waits for the workers, so that their last frees do not count in the next run.
                runtime.shutdown_timeout(deadline.saturating_duration_since(Instant::now()));
                users.iter().filter(|u| !u.is_finished()).count()
            }
            Self::Threads(users) => {
                wait_until(&|| users.iter().all(JoinHandle::is_finished));
                users.iter().filter(|u| !u.is_finished()).count()
            }
        }
    }
}

/// Waits, at most [`WARM_UP_LIMIT`], until every worker has run a task and its list of deferred tasks has room for all
/// users. Otherwise a worker could start or grow its list during the window, and its allocations would count.
fn warm_up_workers(runtime: &Runtime, workers: usize, users: usize) -> WarmUp {
    let (begun, limit) = (Arc::new(AtomicUsize::new(0)), Instant::now() + WARM_UP_LIMIT);
    let task = |_| {
        let begun = Arc::clone(&begun);
        // Each task occupies its worker until every worker has a task.
        runtime.spawn(async move {
            begun.fetch_add(1, Relaxed);
            while begun.load(Relaxed) < workers && Instant::now() < limit {
                thread::sleep(Duration::from_micros(100));
            }
            make_room_to_defer(users).await;
        })
    };
    let tasks: Vec<_> = (0..workers).map(task).collect();
    while !tasks.iter().all(TaskHandle::is_finished) && Instant::now() < limit {
        thread::sleep(Duration::from_micros(100));
    }
    (begun, tasks)
}

/// Defers `tasks` tasks, so that the scheduler's list of deferred tasks does not grow during the run. The scheduler of
/// a thread puts a task into this list if the task yields, or has used up its budget.
async fn make_room_to_defer(tasks: usize) {
    std::future::poll_fn(|own| {
        // Two wakers alternate, because a task that was just deferred is not deferred again.
        let mut other = Context::from_waker(Waker::noop());
        for task in 0..tasks {
            let context = if task % 2 == 0 { &mut *own } else { &mut other };
            let _ = pin!(tokio::task::yield_now()).poll(context);
        }
        Poll::Ready(())
    })
    .await;
}

fn live_on_a_thread<W: Workload>(run: &Arc<Run<W>>, user: usize) {
    // Without a runtime the user opens no session, and the coordinator reports an error.
    let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
    runtime.block_on(async {
        make_room_to_defer(1).await;
        tokio::select! {
            () = Arc::clone(run).live(user) => {}
            () = run.until_released() => {}
        }
    });
}
