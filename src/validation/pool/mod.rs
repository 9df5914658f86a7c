//! A connection pool that accounts for every wait and every hold.
//!
//! The pool serves in order of arrival, by a fair semaphore; a list behind it holds the connections. Three laws hold at
//! any moment and are tested:
//!
//! * `started = direct + waited + timed out + cancelled + pending` (bb8's identity). A wait that times out or is
//!   dropped is an outcome; to omit it from the statistics would be coordinated omission again.
//! * The number of connections in use never exceeds the number that exist. Every connection comes back when its handle
//!   is dropped, by a return, a cancelled request or a panic.
//! * Average usage is the time integral of the connections in use over the window, not an average over samples. By
//!   Little's law it equals the rate of acquisition times the mean hold.
//!
//! A handle held for longer than `leak_after` is reported with the source line that acquired it, as HikariCP does. Each
//! pool is a counted resource of the deadlock detector.

mod connections;
mod sizing;
mod usage;

pub use connections::{ConnectionHandle, ConnectionPool};
pub use sizing::{erlang_c, erlang_c_mean_wait, smallest_pool, smallest_unlockable};
pub use usage::{ConnectionPoolStats, LeakReport, PoolConfig, PoolError};
