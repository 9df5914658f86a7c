//! The executor: it runs the users of a load through all phases, and guarantees that the run ends.
//!
//! ```text
//!  ramp ─► warm-up ─► measured window [t0, t1) ─► graceful stop ─► results
//!    └──── discarded ───┘        │                    └ open requests end or are cut off
//!                    samples belong to the window by their intended start
//! ```
//!
//! One coordinator starts the users, watches for deadlocks, ends the window, and collects the records. The coordinator
//! never runs code of the system under test, so a user that blocks its thread forever cannot block the coordinator. The
//! run then ends two seconds after window and graceful stop, with the results so far.
//!
//! The same user code runs as tasks of a separate runtime, on threads, or in the caller's runtime. In the caller's
//! runtime, a user that blocks its thread blocks the caller. The runtime's clock may be virtual; whole runs are then
//! reproducible to the digit.
//!
//! Recording allocates nothing and takes no lock that all users share. The histograms are created before the users
//! start. Each histogram belongs to one user, or to a few users if more than 64 users run.

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
