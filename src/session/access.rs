//! Access to the ledger, for the public functions.

use crate::aggregator::snapshot::Snapshot;
use crate::aggregator::{counters, snapshot};
use crate::ledger::Ledger;
use crate::profile::Profile;
use crate::recorder::internal::InternalScope;
use crate::recorder::{background_thread, state};
use crate::tracked::{self, TrackedReport};

/// Runs `work` in an internal scope (see the [parent module](super)), for a public function. Starts the background
/// thread if an event has noted a reason for it. Returns `None` if there is no ledger.
pub(super) fn with_ledger<T>(work: impl FnOnce(&'static Ledger, &InternalScope) -> T) -> Option<T> {
    background_thread::start_if_due();
    background_thread::request();
    internally(work)
}

/// Runs `work` in an internal scope, without starting a thread. Called within an event, in a thread of heapledger, or
/// at the end of the process. Returns `None` if there is no ledger.
pub(super) fn internally<T>(work: impl FnOnce(&'static Ledger, &InternalScope) -> T) -> Option<T> {
    let ledger = state::ledger()?;
    let scope = InternalScope::enter();
    Some(work(ledger, &scope))
}

/// Returns the whole profile, including the tracked pointers.
pub(super) fn whole_profile(ledger: &'static Ledger, scope: &InternalScope, reason: &str) -> Profile {
    whole_snapshot(ledger, scope, reason).into_profile()
}

/// Takes a snapshot, including the tracked pointers.
pub(super) fn whole_snapshot<'a>(
    ledger: &'static Ledger,
    scope: &'a InternalScope,
    reason: &str,
) -> Snapshot<'a> {
    let mut snapshot = snapshot::snapshot(ledger, scope, reason);
    let tracked = tracked_report(ledger);
    if !tracked.is_empty() {
        snapshot.profile.tracked = tracked;
    }
    snapshot
}

/// Returns the figures of the tracked pointers, including the number of their events that were booked.
pub(super) fn tracked_report(ledger: &Ledger) -> TrackedReport {
    TrackedReport { events_recorded: counters::pointer_events(ledger), ..tracked::report() }
}
