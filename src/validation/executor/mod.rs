//! The executor: it runs a load with its users and phases, and guarantees an end.
//!
//! ```text
//!  ramp ─► warm-up ─► measured window [t0, t1) ─► graceful stop ─► results
//!    └──── discarded ───┘        │                    └ open requests end or are cut off
//!                    samples belong to the window by their intended start
//! ```
//!
//! One coordinator starts the users, watches for deadlocks, ends the window, and collects the records. It never runs
//! code of the system under test. A user that blocks its thread forever therefore costs only that thread: the run ends
//! two seconds after window and graceful stop, with the results so far.
//!
//! The same user code runs as tasks of a separate runtime, on threads, or in the caller's runtime. The caller's runtime
//! has the caller's clock. If that clock is virtual, whole runs are reproducible to the digit. A blocked user then
//! blocks the caller.
//!
//! Recording takes no shared lock and makes no allocation. The histograms are created before the users start, and each
//! belongs to one user, or to a few users if more than 64 users run.

mod coordinate;
mod dispatch;
mod finished;
mod queue;
mod record;
mod row;
mod run;
mod start;
mod stop;
mod user;

pub(super) use finished::{Finished, Gauge};
pub(super) use row::{Row, SliceCell, Times};
pub(super) use run::{Handles, Run};
pub(super) use start::{run_apart, run_here};
pub use stop::StopHandle;
