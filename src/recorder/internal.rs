//! Sections in which a thread works for heapledger.

use super::gate::{enter, leave};
use crate::ring::lane::Lane;

/// While this lives, the thread's events are recorded as heapledger's own. Sections may nest.
#[derive(Debug)]
pub(crate) struct InternalScope {
    lane: Option<&'static Lane>,
}

/// While this lives, the thread holds a latch: its events could not be recorded and are counted as `reentrant`.
/// Nothing in such a section allocates; only signal handlers can.
#[derive(Debug)]
pub(crate) struct RecordingPaused {
    lane: Option<&'static Lane>,
}

impl InternalScope {
    /// Begins a section of the thread whose lane this is.
    pub(super) fn on(lane: &'static Lane) -> InternalScope {
        enter(lane, &lane.cold.own_depth);
        InternalScope { lane: Some(lane) }
    }

    /// Begins a section of a thread that has no lane and is not given one: there is nothing to mark.
    pub(super) fn without_lane() -> InternalScope {
        InternalScope { lane: None }
    }

    /// The thread's lane.
    pub(crate) fn lane(&self) -> Option<&'static Lane> {
        self.lane
    }
}

impl RecordingPaused {
    pub(crate) fn enter(own: &InternalScope) -> RecordingPaused {
        if let Some(lane) = own.lane {
            enter(lane, &lane.cold.quiet_depth);
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
            leave(lane, &lane.cold.quiet_depth);
        }
    }
}
