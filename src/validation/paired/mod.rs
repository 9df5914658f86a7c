//! Runs with and without the tracker, in pairs of processes.
//!
//! A process has one global allocator, and heapledger cannot be switched off at run time. Its cost is therefore
//! measured between two processes of the same program, one with `HEAPLEDGER=always` and one with `HEAPLEDGER=off`. Each
//! process sets up the workload once and then waits. The parent lets one process run a load while the other is idle.
//!
//! ```text
//!             ┌─► child, on  ── load 1 ────────── load 2 ────────►
//!  parent ────┤                        ╲         ╱                     one pair; the next one has new children
//!             └─► child, off ──────────── load 1 ── load 2 ──────►
//! ```
//!
//! The two runs of a load are consecutive, and their order alternates from load to load and from pair to pair. A
//! machine that warms up or slows down then affects both runs in the same way. Each pair has new processes and a new
//! order of loads. The confidence interval thus includes effects such as memory placement, which no repetition within a
//! process changes.
//!
//! Parent and child exchange lines (module `protocol`). A child whose parent has exited sees the end of its input, ends
//! its window and exits.

mod child;
mod interrupt;
mod parent;
mod plan;
mod protocol;
mod runs;
mod spawn;

pub use child::{is_child, recording_of_commands, serve};
pub use interrupt::stop_on_interrupt;
pub use parent::{PairedError, Progress, run_paired};
pub use plan::{PairedPlan, Recorded};
pub use runs::PairedRuns;
pub use spawn::child_command;
