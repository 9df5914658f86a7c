//! Proved deadlocks, and what only looks like one.
//!
//! A request that takes long is not deadlocked, and two users that wait for each other are, after a millisecond as
//! much as after a minute. So no time-out decides here. Instrumented locks, pools and any code of the system under
//! test say who waits for what and who holds what ([`DeadlockDetector::waiting`], [`DeadlockDetector::acquired`]); a
//! scan proves by graph reduction (module `graph`) that no order of releases can free some of them. A scan on a moving
//! target could mix two moments, so every actor carries an epoch that each change bumps, and a finding counts only if
//! two scans at least 20 ms apart agree on actors and epochs: a real deadlock does not change.
//!
//! An actor is a user of the benchmark, or else the task or the thread that asks.
//!
//! | seen | reported as |
//! | --- | --- |
//! | no order of releases frees them | [`DeadlockReport`], class `Permanent` |
//! | the same, but one of the waits has a deadline | [`DeadlockReport`], class `Transient`: a fault of design that a time-out hides |
//! | a request without an end for `deadlock_timeout`, its thread asleep or waiting for something registered | [`StallReport`], `Blocked` |
//! | the same, burning processor time or being polled without end | `Spinning`: a livelock |
//! | the same, woken but never polled | `Starved`: the executor is blocked |
//! | the same, waiting for something that nobody registered | `Unknown`: a slow request, or a lock that we cannot see |

mod graph;
mod locks;
mod registry;
mod scan;
mod stall;
mod token;

pub use locks::{TrackedMutex, TrackedMutexGuard, TrackedReadGuard, TrackedRwLock, TrackedWriteGuard};
pub use registry::DeadlockDetector;
pub(super) use registry::{Actor, enter};
pub use token::{HoldToken, WaitToken};

use std::fmt;

use serde::{Deserialize, Serialize};

/// The number of an actor within a detector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ActorId(pub u64);

/// The number of a resource within a detector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ResourceId(pub u64);

/// The wait was chosen to break a deadlock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WouldDeadlock;

impl fmt::Display for WouldDeadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this wait was part of a deadlock and was failed to break it: release what you hold and try again")
    }
}

impl std::error::Error for WouldDeadlock {}

/// Whether something will end a deadlock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeadlockClass {
    /// Nothing will.
    Permanent,
    /// A wait with a deadline is part of it.
    Transient,
}

/// Something held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hold {
    /// The resource's name.
    pub resource: String,
    /// Units held.
    pub units: u32,
    /// Where it was acquired, as `file:line`.
    pub at: String,
    /// For how long.
    pub held_ms: f64,
}

/// One actor of a deadlock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WaitEdge {
    /// Who waits.
    pub actor: String,
    /// For which resource.
    pub wants: String,
    /// For how many units of it.
    pub units: u32,
    /// Where, as `file:line`.
    pub at: String,
    /// For how long.
    pub waited_ms: f64,
    /// What it holds meanwhile.
    pub holds: Vec<Hold>,
}

/// Actors that no order of releases can free.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadlockReport {
    /// All of them.
    pub actors: Vec<WaitEdge>,
    /// Whether a deadline will break it.
    pub class: DeadlockClass,
    /// Time from the last wait's beginning to the report.
    pub detected_after_ms: f64,
    /// The circle of waits in words.
    pub cycle: String,
}

/// Why a request makes no progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StallClass {
    /// Its thread sleeps inside a poll, or it waits for a registered resource.
    Blocked,
    /// It uses the processor, or is polled over and over, without an end.
    Spinning,
    /// It was woken and nothing polls it.
    Starved,
    /// It waits for something that was not registered.
    Unknown,
}

/// What the system says about a stalled thread.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ThreadEvidence {
    /// Its number.
    pub tid: u64,
    /// The state letter: R running, S sleeping, D waiting for a disk.
    pub state: Option<char>,
    /// The kernel function it sleeps in.
    pub wchan: Option<String>,
    /// The system call it is in.
    pub syscall: Option<String>,
    /// Processor time between the two looks.
    pub cpu_delta_ms: Option<f64>,
}

/// A request without an end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StallReport {
    /// Whose.
    pub actor: String,
    /// For how long when it was reported.
    pub since_ms: f64,
    /// What it looks like.
    pub class: StallClass,
    /// The registered resource it waits for.
    pub waiting_on: Option<String>,
    /// The thread that was polling it.
    pub kernel: Option<ThreadEvidence>,
    /// Whether the request ended after all.
    pub ended: bool,
}
