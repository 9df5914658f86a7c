//! Deadlock detection by proof, and classification of stalls.
//!
//! No time-out decides whether there is a deadlock: a slow request is no deadlock, and a deadlock exists before any
//! time-out. Instead, instrumented locks, pools and any code of the system under test report waits and holds
//! ([`DeadlockDetector::waiting`], [`DeadlockDetector::acquired`]). A scan proves by graph reduction (module `graph`)
//! that no order of releases can free some actors. A scan of a running system could mix two moments. So every actor has
//! an epoch, a number that each change of its waits and holds increments. A finding counts only if two scans at least
//! 20 ms from each other agree on actors and epochs, because a real deadlock does not change.
//!
//! An actor is a user of the benchmark. Outside a request, the actor is the current task, or else the current thread.
//!
//! | observation | report |
//! | --- | --- |
//! | no order of releases frees the actors | [`DeadlockReport`], class `Permanent` |
//! | the same, but one of the waits has a deadline | [`DeadlockReport`], class `Transient`: a time-out ends it |
//! | no progress for `deadlock_timeout`, asleep or waiting for a registered resource | [`StallReport`], `Blocked` |
//! | no progress, with the processor in use or polls without end | `Spinning`: a livelock |
//! | no progress, woken but never polled | `Starved`: the executor is blocked |
//! | no progress, waiting for an unregistered resource | `Unknown`: a slow request, or an uninstrumented lock |

mod actor;
mod detector;
mod graph;
mod locks;
mod report;
mod scan;
mod stall;
mod token;

pub(super) use actor::{Actor, enter, entered};
pub use actor::{ActorId, ResourceId};
pub use detector::DeadlockDetector;
pub use locks::{
    TrackedGuard, TrackedMutex, TrackedMutexGuard, TrackedReadGuard, TrackedRwLock, TrackedWriteGuard,
};
pub use report::{
    DeadlockClass, DeadlockReport, Hold, StallClass, StallReport, ThreadEvidence, WaitEdge, WouldDeadlock,
};
pub use token::{HoldToken, WaitToken};
