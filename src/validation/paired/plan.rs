//! The plan of runs in pairs.

use std::time::Duration;

use super::super::config::BenchmarkConfig;
use super::super::error::BenchError;
use super::super::plan::LoadModel;

/// The process whose allocations are recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Recorded {
    /// The child, which executes the workload.
    #[default]
    Child,
    /// The programs that the child starts. The child passes them `HEAPLEDGER=always` or `HEAPLEDGER=off`, as
    /// [`recording_of_commands`](super::recording_of_commands) says. Their completeness is in their own dumps.
    Commands,
    /// Neither the child nor a process that it starts, for example if the load goes to a service that already ran.
    Nothing,
}

/// The plan of runs in pairs.
#[derive(Debug, Clone, PartialEq)]
pub struct PairedPlan {
    /// Loads of the plan. The closed loads are the levels of a scalability test; the others are single loads.
    pub loads: Vec<LoadModel>,
    /// Length of each measured window.
    pub duration: Duration,
    /// Number of runs of each load with the tracker; also the number of runs without it.
    pub rounds: usize,
    /// Whether to run without the tracker as well. If not, the cost of the tracker stays unknown.
    pub compares: bool,
    /// The process whose allocations are recorded.
    pub recorded: Recorded,
    /// Configuration of the runs with and without the tracker.
    pub config: BenchmarkConfig,
}

impl PairedPlan {
    /// Returns the total number of runs.
    pub const fn runs(&self) -> usize {
        self.loads.len() * self.rounds * if self.compares { 2 } else { 1 }
    }

    /// Returns the planned time of all runs, without set-up.
    pub fn planned(&self) -> Duration {
        let c = &self.config;
        let one = c.ramp_up_duration + c.warm_up + self.duration + c.recovery;
        one.saturating_mul(u32::try_from(self.runs()).unwrap_or(u32::MAX))
    }

    /// Validates the plan.
    pub(super) fn check(&self) -> Result<(), BenchError> {
        self.config.check()?;
        let max = self.config.max_concurrent_users;
        for load in &self.loads {
            load.check()?;
            if load.workers() > max {
                return Err(BenchError::UsersExceedMax { requested: load.workers(), max });
            }
        }
        if self.loads.is_empty() || self.rounds == 0 {
            return Err(BenchError::ZeroUsers);
        }
        if self.duration.is_zero() { Err(BenchError::ZeroDuration) } else { Ok(()) }
    }
}
