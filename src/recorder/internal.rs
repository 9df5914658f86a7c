//! Scopes in which a thread works for heapledger.
//!
//! | scope | an event of the thread | for |
//! | --- | --- | --- |
//! | [`InternalScope`] | recorded as internal, in no total of the program | queries, dumps, the background thread |
//! | [`RecordingPaused`] | lost, reason `reentrant` | code that holds a latch and does not allocate |

use super::gate::{self, enter, leave};
use super::slot;
use crate::ring::lane::Lane;
use crate::sys::tls;

/// A scope in which the thread's events are marked as internal, until the scope is dropped. Scopes nest.
#[derive(Debug)]
pub(crate) struct InternalScope {
    lane: Option<&'static Lane>,
}

/// A scope in which recording is paused, in a thread that holds a latch, until the scope is dropped. Only signal
/// handlers may allocate in this scope; their events are counted as `reentrant`.
#[derive(Debug)]
pub(crate) struct RecordingPaused {
    lane: Option<&'static Lane>,
}

/// Returns whether the calling thread works for heapledger, so that its allocations are in no total of the program. An
/// inner allocator that counts calls can use this to tell heapledger's calls from the program's.
#[doc(hidden)]
pub fn is_internal() -> bool {
    let slot = tls::get();
    slot == slot::LOADING || slot::lane_of_slot(slot).is_some_and(gate::is_internal)
}

impl InternalScope {
    /// Enters a scope on the lane of the calling thread.
    pub(super) fn on(lane: &'static Lane) -> InternalScope {
        enter(lane, &lane.cold.own_depth);
        InternalScope { lane: Some(lane) }
    }

    /// Returns a scope without effect, for a thread that has no lane and cannot get one.
    pub(super) fn without_lane() -> InternalScope {
        InternalScope { lane: None }
    }

    /// Returns the lane of the scope's thread.
    pub(crate) fn lane(&self) -> Option<&'static Lane> {
        self.lane
    }
}

impl RecordingPaused {
    /// Pauses recording in the thread of an internal scope.
    pub(crate) fn enter(own: &InternalScope) -> RecordingPaused {
        if let Some(lane) = own.lane {
            enter(lane, &lane.cold.paused_depth);
        }
        RecordingPaused { lane: own.lane }
    }
}

impl Drop for InternalScope {
    fn drop(&mut self) {
        if let Some(lane) = self.lane {
            leave(lane, &lane.cold.own_depth);
        }
    }
}

impl Drop for RecordingPaused {
    fn drop(&mut self) {
        if let Some(lane) = self.lane {
            leave(lane, &lane.cold.paused_depth);
        }
    }
}
