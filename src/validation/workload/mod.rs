//! Workloads: the trait that a system under load implements, two workloads without a system under test, a workload that
//! runs a given program, and a workload that plants faults in another workload.
//!
//! A workload creates requests and executes them; it takes no measurements. The time to create a request and to check
//! its answer is not measured. `execute` returns an unboxed future, because a box per request would be an allocation of
//! the harness inside the window.

mod answers;
mod builtin;
mod command;
mod definition;
mod faulty;

pub use answers::{Answers, checksum_of};
pub use builtin::{AllocWorkload, NullWorkload};
pub use command::{CommandSession, CommandStyle, CommandWorkload};
pub use definition::{Blocking, Outcome, SyncWorkload, UserId, Workload};
pub use faulty::{Fault, FaultError, Faulty, FaultyError, parse_time};
