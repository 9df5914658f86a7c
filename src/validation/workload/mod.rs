//! Workloads: the trait that a system under load implements, and two workloads without a system.
//!
//! A workload creates requests and executes them; it has no part in the measurement. Creating a request and checking
//! its answer are not measured. `execute` returns an unboxed future, because a box per request would be an allocation
//! of the harness inside the window.

mod builtin;
mod definition;

pub use builtin::{AllocWorkload, NullWorkload};
pub use definition::{Blocking, Outcome, SyncWorkload, UserId, Workload};
