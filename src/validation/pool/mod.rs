//! A connection pool that accounts for every wait and every hold.
//!
//! First come, first served, on a fair semaphore; the connections are in a list behind it. Three laws hold at any moment and are
//! tested:
//!
//! * `started = direct + waited + timed out + cancelled + pending` (bb8's identity): a wait that times out or is dropped is an
//!   outcome. Omitting it from the statistics would be coordinated omission again.
//! * No more connections are in use than exist, and all come back when their handle is dropped: by a return, a cancelled
//!   request or a panic.
//! * Average usage is the time integral of the connections in use over the window (by Little's law, the rate of acquisition
//!   times the mean hold), not an average over samples.
//!
//! A handle held for longer than `leak_after` is reported with the source line that acquired it, as HikariCP does. Each pool
//! is a counted resource of the deadlock detector.

mod connections;
mod sizing;
mod usage;

pub use connections::{ConnectionHandle, ConnectionPool};
pub use sizing::{erlang_c, erlang_c_mean_wait, smallest_pool, smallest_unlockable};
pub use usage::{ConnectionPoolStats, LeakReport, PoolConfig, PoolError};
