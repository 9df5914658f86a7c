//! The concurrent benchmark.
//!
//! The benchmark sends realistic load to a workload. It reports throughput, latency, the parts of the response time,
//! contention, deadlocks and scalability. Under a tracker of allocations, such as heapledger, it also reports the
//! tracker's completeness and cost at each load.
//!
//! ```text
//!  plan ─► executor ─► workload ─► result ─► scalability ─► recommendation
//!           │  │  └ meter: the parts of each response time     │
//!           │  └ pool, deadlock: the waits of users            └ usl: the law behind the levels
//!           └ completeness: the counts of the tracker
//! ```
//!
//! A *user* is a simulated client that sends one request at a time. The *window* is the measured part of a run, after
//! ramp and warm-up. A *slice* is one of the short parts into which the window is divided. A *level* is one number of
//! users in a scalability test. A *probe* reads the counters of the tracker.
//!
//! Three rules shape the benchmark:
//!
//! * Latency counts from the *intended* start of a request, so that a stall cannot hide the requests it delayed.
//! * An undefined figure is `None`, never NaN and never 0.
//! * The harness must not disturb the figures: inside the window it allocates nothing and takes no lock that users
//!   share.

mod assemble;
mod baseline;
mod changes;
mod checks;
mod clock;
mod completeness;
mod config;
mod contention;
mod deadlock;
mod error;
mod executor;
pub mod hybrid;
mod ledger_probe;
mod live;
mod machine;
mod meter;
mod paired;
mod performance;
mod plan;
mod pool;
#[allow(unsafe_code, reason = "the clocks of threads and processes are C calls")]
mod probe;
mod random;
mod recommend;
mod report;
mod result;
mod scalability;
mod series;
mod stats;
mod sync;
mod threads;
mod threshold;
pub mod usl;
mod validity;
mod workload;

pub use baseline::read_baseline;
pub use changes::*;
pub use completeness::*;
pub use config::*;
pub use contention::*;
pub use deadlock::*;
pub use error::BenchError;
pub use executor::StopHandle;
pub use ledger_probe::LedgerProbe;
pub use live::{Live, LiveStatus};
pub use machine::MachineInfo;
pub use paired::*;
pub use performance::ConcurrentBenchmark;
pub use plan::*;
pub use pool::*;
pub use probe::thread_cpu_ns;
pub use random::*;
pub use report::*;
pub use result::*;
pub use series::*;
pub use stats::*;
pub use threads::OsThreadStats;
pub use threshold::{Threshold, ThresholdError};
pub use validity::ValidityIssue;
pub use workload::*;
