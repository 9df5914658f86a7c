//! Runs with and without the tracker, side by side, in processes of their own.
//!
//! A process has one global allocator, and heapledger cannot be switched off under way. So what it costs is measured
//! between two processes of the same program, one started with `HEAPLEDGER=always` and one with `HEAPLEDGER=off`. Both set
//! up the workload once and then wait; the parent has one of them run a load while the other rests.
//!
//! ```text
//!             ┌─► child, on  ── load 1 ────────── load 2 ────────►
//!  parent ────┤                        ╲         ╱                     one pair; the next has children of its own
//!             └─► child, off ──────────── load 1 ── load 2 ──────►
//! ```
//!
//! The two runs of a load lie next to each other, and which comes first changes from load to load and from pair to pair
//! (A B B A), so that a machine that warms up or slows down weighs on both alike. Each pair has processes of its own
//! and its own order of loads: where memory came to lie, which no repetition within a process changes, then is part of
//! the interval.
//!
//! Parent and child speak in lines (module `protocol`). A child whose parent is gone sees the end of its input, ends
//! its window and exits.

mod apart;
mod assemble;
mod child;
mod interrupt;
mod parent;
mod protocol;

pub use apart::child_command;
pub use assemble::PairedRuns;
pub use child::{is_child, serve};
pub use interrupt::stop_on_interrupt;
pub use parent::{PairedError, Progress, run_paired};

use std::time::Duration;

use super::config::BenchmarkConfig;
use super::plan::LoadModel;

/// What to run in pairs.
#[derive(Debug, Clone, PartialEq)]
pub struct PairedPlan {
    /// The loads. Closed ones are the levels of a series; others are reported one by one.
    pub loads: Vec<LoadModel>,
    /// Length of each measured window.
    pub duration: Duration,
    /// How often each load is run with the tracker, and as often without it.
    pub rounds: usize,
    /// Whether to run without the tracker at all. If not, its cost stays unknown.
    pub compares: bool,
    /// The set-up of both.
    pub config: BenchmarkConfig,
}

impl PairedPlan {
    /// Runs in all.
    pub const fn runs(&self) -> usize {
        self.loads.len() * self.rounds * if self.compares { 2 } else { 1 }
    }

    /// How long all runs take by plan, without set-up.
    pub fn planned(&self) -> Duration {
        let c = &self.config;
        let one = c.ramp_up_duration + c.warm_up + self.duration + c.recovery;
        one.saturating_mul(u32::try_from(self.runs()).unwrap_or(u32::MAX))
    }
}
