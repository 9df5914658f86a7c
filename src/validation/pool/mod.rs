//! A connection pool that records every wait and every hold.
//!
//! A fair semaphore serves the acquires in order of arrival; a list has the idle connections. Three laws hold at any
//! moment and are tested:
//!
//! * `started = direct + waited + timed out + cancelled + pending`, as in the pool bb8. A wait that times out or is
//!   dropped is part of the statistics. To omit such waits would hide the longest waits (coordinated omission).
//! * The number of connections in use never exceeds the number that exist. Every connection comes back when its handle
//!   is dropped, by a return, a cancelled request or a panic.
//! * Average usage is the time integral of the connections in use over the window, not an average over samples. By
//!   Little's law the average equals the rate of acquisition times the mean hold time.
//!
//! A handle held for longer than `leak_after` is reported with the source line that acquired the connection, as the
//! pool HikariCP does. For the deadlock detector, each pool is a resource with as many units as connections.

mod connections;
mod sizing;
mod usage;

pub use connections::{ConnectionHandle, ConnectionPool};
pub use sizing::{erlang_c, erlang_c_mean_wait, smallest_pool, smallest_unlockable};
pub use usage::{ConnectionPoolStats, LeakReport, PoolConfig, PoolError};
