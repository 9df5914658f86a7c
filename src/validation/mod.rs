//! The concurrent benchmark.
//!
//! Drives realistic load through a workload and reports throughput, latency, where the time went, contention, deadlocks,
//! how it scales, and, when the program runs under a tracker, how complete and how costly the tracker was at each load.
//!
//! ```text
//!  plan ─► executor ─► workload ─► result ─► scalability ─► recommendation
//!           │  │  └ meter: where each request's time went      │
//!           │  └ pool, deadlock: what users wait for           └ usl: the law behind the levels
//!           └ completeness: did the tracker see it all?
//! ```
//!
//! Three decisions shape it. Latency counts from when a request was *meant* to start, so that a stall cannot hide the
//! requests it delayed. What is undefined is `None`: no figure is NaN, and no zero stands for "unknown". And the harness
//! does not measure itself: inside the window it allocates nothing and takes no lock that users share.

mod baseline;
mod clock;
mod completeness;
mod config;
mod contention;
mod deadlock;
mod executor;
pub mod hybrid;
mod ledger_probe;
mod live;
mod machine;
#[allow(unsafe_code, reason = "the clocks of threads and processes are C calls")]
mod meter;
mod paired;
mod performance;
mod plan;
mod pool;
mod recommend;
mod report;
mod result;
mod scalability;
mod stats;
pub mod usl;
mod validity;
mod workload;

pub use baseline::{BaselineComparison, Figure, FigureChange, LoadChange, Verdict, read_baseline};
pub use completeness::{
    DropBreakdown, LevelCompleteness, Overhead, OverheadPair, QuiesceError, TrackerProbe, TrackerSnapshot,
    interleaved,
};
pub use config::{BenchError, BenchmarkConfig, DeadlockAction, Executor, Metering};
pub use contention::{ContentionCause, ContentionScore, TimeBreakdown};
pub use deadlock::{
    ActorId, DeadlockClass, DeadlockDetector, DeadlockReport, Hold, HoldToken, ResourceId, StallClass,
    StallReport, ThreadEvidence, TrackedMutex, TrackedMutexGuard, TrackedReadGuard, TrackedRwLock,
    TrackedWriteGuard, WaitEdge, WaitToken, WouldDeadlock,
};
pub use executor::StopHandle;
pub use ledger_probe::LedgerProbe;
pub use live::{Live, LiveStatus};
pub use machine::MachineInfo;
pub use meter::thread_cpu_ns;
pub use paired::{
    PairedError, PairedPlan, PairedRuns, Progress, child_command, is_child, run_paired, serve,
    stop_on_interrupt,
};
pub use performance::ConcurrentBenchmark;
pub use plan::{Arrivals, Levels, LoadModel, Overload, Shape, Stage, Unit};
pub use pool::{
    ConnectionHandle, ConnectionPool, ConnectionPoolStats, LeakReport, PoolConfig, PoolError, erlang_c,
    erlang_c_mean_wait, smallest_pool, smallest_unlockable,
};
pub use recommend::{Confidence, Reason, RecommendationDetail, ScalabilityRecommendation};
pub use report::{
    ExitCode, Latency, Metric, Part, SCHEMA_VERSION, Threshold, ThresholdError, ThresholdResult,
    ValidationReport, runs_text, scalability_svg, scalability_text, validation_html,
};
pub use result::{ConcurrentTestResult, OsThreadStats, Slice, ThreadPerformance};
pub use scalability::{BreakingCause, LevelSummary, ScalabilityReport};
pub use stats::{
    BatchMeans, LatencySummary, MeanDifference, Trend, batch_means, mann_kendall, mean_interval, normal_tail,
    t_quantile, welch,
};
pub use validity::ValidityIssue;
pub use workload::{
    AllocWorkload, Blocking, DeadlockKind, DeadlockWorkload, LeakyConnWorkload, LockedWorkload,
    MixedOutcomes, NullWorkload, Outcome, PanicWorkload, PooledWorkload, Popularity, SleepWorkload,
    SpinWorkload, StallWorkload, SyncWorkload, ThinkTime, UserId, UserRng, UslWorkload, Workload,
};
