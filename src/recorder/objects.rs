//! The upkeep of the list of loaded objects (`stack::unwind`): when it is read again.

use super::process::PROCESS;
use super::state;
use crate::ledger::Ledger;
use crate::stack::rules::Rules;
use crate::stack::unwind;
use crate::sys::errno::KeptErrno;
use crate::sys::sync::Ordering;

/// Value of `Control::stack_walk` while a thread prepares the walk of stacks; see `stacks`.
pub(super) const OPENING: u32 = 1;

/// Time between two checks for unloaded objects, in nanoseconds.
pub(crate) const WATCH_NS: u64 = 16_000_000;

/// Returns whether any object was loaded after the start of the program. Only such an object may be unloaded.
pub(crate) fn watches_objects() -> bool {
    unwind::reused() != 0
}

/// Scans the loaded objects again if a walk met unknown code, or if an object was unloaded. Returns whether the objects
/// changed. The check for unloaded objects is made once per [`WATCH_NS`]; `watched_ns` is the time of the last check in
/// nanoseconds. Allocates, so it is called inside an internal scope.
pub(crate) fn refresh(ledger: &Ledger, watched_ns: &mut u64) -> bool {
    // relaxed: a hint.
    let is_open = PROCESS.control.stack_walk.load(Ordering::Relaxed) > OPENING;
    let mut has_reason = is_open && PROCESS.counters.unknown_code.swap(0, Ordering::Relaxed) != 0;
    let now_ns = ledger.clock.now_ns();
    if is_open && watches_objects() && now_ns.saturating_sub(*watched_ns) >= WATCH_NS {
        *watched_ns = now_ns;
        has_reason |= unwind::has_lost_object(now_ns);
    }
    let have_changed = has_reason && rescan_objects(ledger);
    if has_reason {
        request_scan_until_found();
    }
    have_changed
}

/// Returns whether a walk met code that lies in no known object.
pub(super) fn has_unknown_code() -> bool {
    // relaxed: a hint.
    PROCESS.counters.unknown_code.load(Ordering::Relaxed) != 0
}

/// Looks at the watched objects, if there are any (`stack::noted`). Called before a thread compares its cache with the
/// number of changes.
#[inline(always)]
pub(super) fn watch_if_due() {
    if unwind::watches_noted() {
        watch();
    }
}

#[cold]
#[inline(never)]
fn watch() {
    if let Some(ledger) = state::ledger() {
        let _errno = KeptErrno::keep();
        unwind::watch_noted(ledger.clock.now_ns());
    }
}

/// Requests another scan if no object is known: the system had no memory or no file descriptor for the last scan.
pub(super) fn request_scan_until_found() {
    if !unwind::knows_objects() {
        // relaxed: a hint.
        PROCESS.counters.unknown_code.store(1, Ordering::Relaxed);
    }
}

/// Lists the loaded objects with their unwind tables. Returns whether the objects changed.
pub(super) fn list(ledger: &Ledger) -> bool {
    let have_changed = unwind::refresh(ledger.clock.now_ns());
    ledger.facts.set_copied_bytes(unwind::copied_bytes());
    have_changed
}

/// Scans the loaded objects. Returns whether they changed. Allocates, so it is called inside an internal scope.
pub(crate) fn rescan_objects(ledger: &Ledger) -> bool {
    let have_changed = list(ledger);
    if have_changed && let Some((_, rules)) = ledger.facts.stacks().filter(|(_, rules)| *rules != 0) {
        Rules::at(&ledger.pages, rules).clear();
    }
    have_changed
}
