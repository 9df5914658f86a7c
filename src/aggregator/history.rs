//! The bounded history: the last events, decoded from the booked words that the rings still hold.

use super::counters::pointer_events;
use crate::ledger::Ledger;
use crate::ledger::history::{LANE_WORDS_MAX, LaneWords};
use crate::profile::{Event, EventKind};
use crate::recorder::internal::{InternalScope, RecordingPaused};
use crate::recorder::state;
use crate::ring::lane::Lane;

/// Returns the last events, oldest first. Events of heapledger's blocks are omitted.
pub(crate) fn history(ledger: &Ledger, scope: &InternalScope) -> Vec<Event> {
    let limits = state::options().history;
    let mut events = Vec::new();
    for lane in ledger.lanes() {
        copy_of(ledger, lane, scope).events(|event| events.push(event));
    }
    events.sort_by_key(|event| event.at_ns);
    let oldest_ns = limits.age_ns.map_or(0, |age_ns| ledger.clock.now_ns().saturating_sub(age_ns));
    let too_old = events.partition_point(|event| event.at_ns < oldest_ns);
    let too_many = events.len().saturating_sub(usize::try_from(limits.events).unwrap_or(usize::MAX));
    events.drain(..too_old.max(too_many));
    events
}

/// Whether an event is an allocation, a free or a realloc. `recorded` counts exactly these events.
pub(crate) fn is_of_the_heap(event: &Event) -> bool {
    !matches!(event.kind, EventKind::Tracked { .. })
}

/// Returns the number of heap events that [`history`] would return. The function is cheaper than `history`: it does not
/// sort, and stops when the limit is reached.
pub(crate) fn retained(ledger: &Ledger, scope: &InternalScope) -> u64 {
    let limits = state::options().history;
    // Events of tracked pointers also count towards the limit of the history, so they must be decoded.
    if limits.age_ns.is_some() || pointer_events(ledger) > 0 {
        return history(ledger, scope).iter().filter(|event| is_of_the_heap(event)).count() as u64;
    }
    let mut found = 0;
    for lane in ledger.lanes() {
        if found >= limits.events {
            break;
        }
        copy_of(ledger, lane, scope).events(|_| found += 1);
    }
    found.min(limits.events)
}

/// Returns a copy of the booked words of a lane.
fn copy_of(ledger: &Ledger, lane: &Lane, scope: &InternalScope) -> LaneWords {
    let words = {
        let _paused = RecordingPaused::enter(scope);
        LaneWords::folded(lane)
    };
    let mut copy = LaneWords::with_room(words.min(LANE_WORDS_MAX));
    {
        let _paused = RecordingPaused::enter(scope);
        copy.copy(ledger, lane);
    }
    copy
}
