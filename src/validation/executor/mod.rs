//! Runs a load: users, phases, and a guaranteed end.
//!
//! ```text
//!  ramp ─► warm-up ─► measured window [t0, t1) ─► graceful stop ─► results
//!    └──── discarded ───┘        │                    └ open requests end or are cut off
//!                    samples belong to the window by their intended start
//! ```
//!
//! One coordinator starts the users, watches for deadlocks, ends the window, and collects the records. It never runs code of
//! the system under test, so a user that blocks its thread forever costs that thread and nothing else: the run ends two
//! seconds after window and graceful stop, with the results so far.
//!
//! The same user code runs as tasks of a separate runtime, on threads, or in the caller's runtime. The last one uses the
//! caller's clock, which may be virtual: whole runs are then reproducible to the digit, and a blocked user blocks the caller.
//!
//! Recording takes no shared lock and no allocation: histograms are created before the users start, and each belongs to one
//! user, or to a few when there are more than 64.

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
