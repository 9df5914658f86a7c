//! Where the users run: in a runtime of their own, on threads, or in the caller's runtime.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

use super::super::config::{BenchError, Executor};
use super::super::machine;
use super::super::workload::Workload;
use super::{Finished, Run};

/// How long threads get to end after everybody was let go; those that do not are left behind and counted.
const ABANDON_AFTER: Duration = Duration::from_secs(2);
/// Stack of a user's thread. The default of 2 MiB is only reserved, not used; a thousand users fit.
const USER_STACK: usize = 2 * 1024 * 1024;

/// Runs in the caller's runtime and on its clock. A user that blocks its thread blocks the run.
pub(in super::super) async fn run_here<W: Workload>(run: Arc<Run<W>>) -> Result<Finished, BenchError> {
    let clock_is_virtual = clock_is_virtual();
    let mut tasks = tokio::task::JoinSet::new();
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
    run.let_go();
    // Dropping the set aborts the users that are left, and with them whatever they hold.
    tasks.shutdown().await;
    retire(&run);
    finished.map(|f| Finished { clock_is_virtual, ..f })
}

/// Whether the runtime's clock is a paused one: while this spins, a real clock goes on, and a paused one does not.
fn clock_is_virtual() -> bool {
    const SPIN: Duration = Duration::from_micros(50);
    let (begin, seen) = (Instant::now(), tokio::time::Instant::now());
    while begin.elapsed() < SPIN {
        std::hint::spin_loop();
    }
    tokio::time::Instant::now() == seen
}

/// Runs apart from the caller: on a coordinator's thread, with users on a runtime or on threads of their own. Returns
/// whatever the users do.
pub(in super::super) fn run_apart<W: Workload>(run: &Arc<Run<W>>) -> Result<Finished, BenchError> {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let prefix = format!("hl{}-", RUNS.fetch_add(1, Relaxed));
    let run = Arc::clone(run);
    let coordinator = std::thread::Builder::new()
        .name(format!("{prefix}coord"))
        .spawn(move || {
            let runtime =
                Builder::new_current_thread().enable_time().build().map_err(BenchError::Watchdog)?;
            let crew = Crew::start(&run, &prefix).inspect_err(|_| run.let_go())?;
            let finished = runtime.block_on(conduct(&run, &prefix));
            // Not inside the runtime: waiting for another runtime to end is blocking.
            let abandoned_threads = crew.disband();
            if abandoned_threads == 0 {
                wait_until_gone(&prefix);
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
    let finished = run
        .coordinate(prefix, || {
            if run.arrivals.is_some() {
                let run = Arc::clone(run);
                let begun = Arc::new(AtomicBool::new(false));
                let says = Arc::clone(&begun);
                let thread = std::thread::Builder::new().name(format!("{prefix}dispatch"));
                let thread =
                    thread.spawn(move || run.dispatch_blocking(&says)).map_err(BenchError::Watchdog)?;
                dispatcher = Some(thread);
                while !begun.load(Relaxed) {
                    std::thread::sleep(Duration::from_micros(100));
                }
            }
            Ok(())
        })
        .await;
    run.let_go();
    if let Some(thread) = dispatcher {
        // It runs no code of the system under test, so it ends within one nap.
        let _ = thread.join();
    }
    finished
}

/// How long threads that have ended may take to disappear.
const GONE_WITHIN: Duration = Duration::from_millis(200);

/// Waits until the system has no thread of this run but the calling one. A thread frees its last block after whoever
/// joined it was told, and that would fall into the account of the next run.
fn wait_until_gone(prefix: &str) {
    let deadline = Instant::now() + GONE_WITHIN;
    let remaining = || {
        let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        let names = tasks.filter_map(|t| std::fs::read_to_string(t.path().join("comm")).ok());
        names.filter(|name| name.starts_with(prefix)).count()
    };
    while remaining() > 1 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn retire<W: Workload>(run: &Run<W>) {
    let actors: Vec<_> = run.users.iter().map(|u| Arc::clone(&u.actor)).collect();
    run.detector.retire(&actors);
}

type TaskHandle = tokio::task::JoinHandle<()>;

/// What the warm-up of the workers allocated. It is kept until the run is over, so that nothing of it is freed inside
/// the account.
type WarmUp = (Arc<AtomicUsize>, Vec<TaskHandle>);

/// The users' threads.
enum Crew {
    Tasks { runtime: Runtime, users: Vec<TaskHandle>, _warm_up: WarmUp },
    Threads(Vec<JoinHandle<()>>),
}

impl Crew {
    fn start<W: Workload>(run: &Arc<Run<W>>, prefix: &str) -> Result<Self, BenchError> {
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
                let users = (0..run.users.len()).map(|u| runtime.spawn(Arc::clone(run).live(u))).collect();
                Ok(Self::Tasks { runtime, users, _warm_up: warm_up })
            }
            Executor::Threads => {
                let user = |user: usize| {
                    let run = Arc::clone(run);
                    std::thread::Builder::new()
                        .name(format!("{prefix}user{user}"))
                        .stack_size(USER_STACK)
                        .spawn(move || live_on_a_thread(&run, user))
                        .map_err(BenchError::Runtime)
                };
                (0..run.users.len()).map(user).collect::<Result<Vec<_>, _>>().map(Self::Threads)
            }
        }
    }

    /// Waits for the threads for a while and gives how many did not end.
    fn disband(self) -> usize {
        match self {
            Self::Tasks { runtime, users, .. } => {
                // Tasks between polls are dropped; one inside a poll keeps its worker.
                let deadline = Instant::now() + ABANDON_AFTER;
                while !users.iter().all(TaskHandle::is_finished) && Instant::now() < deadline {
                    users.iter().for_each(TaskHandle::abort);
                    std::thread::sleep(Duration::from_millis(2));
                }
                // Waits for the workers, so that what they free at their end is not freed inside the next run.
                runtime.shutdown_timeout(deadline.saturating_duration_since(Instant::now()));
                users.iter().filter(|u| !u.is_finished()).count()
            }
            Self::Threads(users) => {
                let deadline = Instant::now() + ABANDON_AFTER;
                while !users.iter().all(JoinHandle::is_finished) && Instant::now() < deadline {
                    std::thread::sleep(Duration::from_millis(2));
                }
                users.iter().filter(|u| !u.is_finished()).count()
            }
        }
    }
}

/// Returns when every worker has run something and has room to put off the tasks of all users, or after a second: a worker that
/// only begins inside the window would bring its own start into the account.
fn warm_up_workers(runtime: &Runtime, workers: usize, users: usize) -> WarmUp {
    let (begun, limit) = (Arc::new(AtomicUsize::new(0)), Instant::now() + Duration::from_secs(1));
    let task = |_| {
        let begun = Arc::clone(&begun);
        // Each of these keeps its worker until all have one.
        runtime.spawn(async move {
            begun.fetch_add(1, Relaxed);
            while begun.load(Relaxed) < workers && Instant::now() < limit {
                std::thread::sleep(Duration::from_micros(100));
            }
            make_room_to_put_off(users).await;
        })
    };
    let tasks: Vec<TaskHandle> = (0..workers).map(task).collect();
    while !tasks.iter().all(TaskHandle::is_finished) && Instant::now() < limit {
        std::thread::sleep(Duration::from_micros(100));
    }
    (begun, tasks)
}

/// Puts so many tasks off that the scheduler of this thread has room for them from now on. It keeps those that yield, or have used
/// up their turn, in a list that grows: the first time, otherwise, in the midst of the run.
async fn make_room_to_put_off(tasks: usize) {
    std::future::poll_fn(|own| {
        // Two by turns, as one that was just put off is not put off again.
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
    // Without a runtime the user cannot open its session, and the coordinator says so.
    let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
    runtime.block_on(async {
        make_room_to_put_off(1).await;
        tokio::select! {
            () = Arc::clone(run).live(user) => {}
            () = run.until_let_go() => {}
        }
    });
}
