//! Reports of deadlocks and stalls.

use serde::{Deserialize, Serialize};

/// The error of a wait that was made to fail, to break a deadlock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this wait was part of a deadlock and was failed to break it: release all resources and try again")]
pub struct WouldDeadlock;

/// The class of a deadlock, which tells whether a time-out will end the deadlock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeadlockClass {
    /// No time-out will end the deadlock.
    Permanent,
    /// One of the waits has a deadline, which will end the deadlock.
    Transient,
}

/// A resource held by an actor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hold {
    /// Name of the resource.
    pub resource: String,
    /// Number of units held.
    pub units: u32,
    /// Source line of the acquisition, as `file:line`.
    pub at: String,
    /// Time since the acquisition, in milliseconds.
    pub held_ms: f64,
}

/// One actor of a deadlock, with its wait and its holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WaitEdge {
    /// Name of the waiting actor.
    pub actor: String,
    /// Name of the resource that the actor waits for.
    pub wants: String,
    /// Number of units that the actor waits for.
    pub units: u32,
    /// Source line of the wait, as `file:line`.
    pub at: String,
    /// Time since the start of the wait, in milliseconds.
    pub waited_ms: f64,
    /// Resources that the actor holds.
    pub holds: Vec<Hold>,
}

/// A deadlock: actors that no order of releases can free.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadlockReport {
    /// The deadlocked actors.
    pub actors: Vec<WaitEdge>,
    /// Class of the deadlock, which tells whether a time-out will end the deadlock.
    pub class: DeadlockClass,
    /// Time from the start of the last wait to the report, in milliseconds.
    pub detected_after_ms: f64,
    /// The cycle of waits in words.
    pub cycle: String,
}

/// The kind of a stall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StallClass {
    /// The thread sleeps inside a poll, or the request waits for a registered resource.
    Blocked,
    /// The request uses the processor, or is polled repeatedly, without end.
    Spinning,
    /// The request was woken but is not polled.
    Starved,
    /// The request waits for an unregistered resource.
    Unknown,
}

/// The state of a stalled thread, from `/proc`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ThreadEvidence {
    /// The kernel's thread id.
    pub tid: u64,
    /// State letter: R is running, S sleeping, D in uninterruptible sleep.
    pub state: Option<char>,
    /// Kernel function in which the thread sleeps.
    pub wchan: Option<String>,
    /// System call that the thread executes, as the kernel prints it.
    pub syscall: Option<String>,
    /// Processor time between the two observations, in milliseconds.
    pub cpu_delta_ms: Option<f64>,
}

/// A request without progress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StallReport {
    /// Name of the user.
    pub actor: String,
    /// Age of the request at the report, in milliseconds.
    pub since_ms: f64,
    /// Kind of the stall.
    pub class: StallClass,
    /// Name of the registered resource that the user waits for.
    pub waiting_on: Option<String>,
    /// State of the thread that polls the request, from the kernel. `None` if the request was not inside the same poll
    /// at both observations.
    pub kernel: Option<ThreadEvidence>,
    /// Whether the request ended later.
    pub ended: bool,
}
