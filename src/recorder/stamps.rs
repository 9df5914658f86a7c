//! A separate time stamp for each event, while a measurement is under way.
//!
//! Usually the events of a window share one time mark. If an address passes from thread to thread within a window, the
//! times of its blocks and frees overlap. A free that is booked before its block can then end another block at the
//! address. Sums over the whole process are right nevertheless, but a measurement of a part of the process would be
//! wrong. So while a measurement is under way, each event opens a window, and its time is exact.
//!
//! # Events of heapledger itself
//!
//! A free that the program made must not end a block of heapledger, and a free by heapledger must not end a block of
//! the program: the program's sums would be wrong until the other free is booked, which may be late. So each event of
//! heapledger has a window to itself, and ends the windows of all threads. The allocator gave the address from one
//! thread to the next, so every event at the address before heapledger's event is in a window that began before its
//! stamp, and every event after it is in a window that began after its stamp. The folder dates no event of a window
//! that began before the stamp at or after the stamp. So the times of the two events at an address are in the true
//! order if heapledger made one of them, as far as the clock distinguishes the two times.
//!
//! The thread announces a stamp before it reads the clock (`ledger::ticks`). While a thread takes a stamp, and where
//! the folder can no longer know the first stamp after a window's mark, it dates all events of the window at the mark.
//! Other events of a window that is cut may have happened after the stamp: the time error of the window includes them.
//!
//! # Measurements
//!
//! Every event of a block of the measurement has such a stamp. The thread that allocates the block, or that receives
//! its address, finds the epoch of [`EachEventStamped::begin`] or a later one. So it closes its window, and then finds
//! the number of measurements above 0.

use super::gate::is_internal;
use super::process::PROCESS;
use super::state;
use crate::ledger::Ledger;
use crate::profile::ClockMode;
use crate::ring::lane::Lane;
use crate::sys::sync::{Ordering, fence};

/// A guard: while a value of this type exists, every event has a separate time stamp. A forked child ends all values of
/// its parent.
#[derive(Debug)]
#[must_use]
pub(crate) struct EachEventStamped(&'static Ledger);

impl EachEventStamped {
    /// Gives each event a stamp from now on. `ledger` is the current ledger.
    pub(crate) fn begin(ledger: &'static Ledger) -> EachEventStamped {
        // relaxed: the fence publishes the number.
        PROCESS.control.stamps.fetch_add(1, Ordering::Relaxed);
        // Release: pairs with the acquire fence in `window`, which follows the read of the epoch.
        fence(Ordering::Release);
        state::tick();
        EachEventStamped(ledger)
    }
}

impl Drop for EachEventStamped {
    fn drop(&mut self) {
        // In a forked child the number was reset to 0, and the ledger is a different one.
        if state::ledger().is_some_and(|now| std::ptr::eq(now, self.0)) {
            // relaxed: a thread that sees the old number only opens a short window.
            PROCESS.control.stamps.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Returns whether each event has a separate time stamp. Called when a window is opened, after the read of the epoch.
/// As long as the program has had only one thread, the ring gives the order of its events, so no stamps are needed.
pub(super) fn is_each_event_stamped(has_had_other_threads: bool) -> bool {
    // relaxed: the acquire fence in `window` orders it.
    let is_asked_for = || PROCESS.control.stamps.load(Ordering::Relaxed) > 0;
    state::options().clock == ClockMode::PerEvent || has_had_other_threads && is_asked_for()
}

/// Whether the event of a lane is separated from the events of other threads: it is an event of heapledger itself. This
/// holds for a program with one thread as well, because a later thread may free the block.
pub(super) fn is_separated(lane: &Lane) -> bool {
    is_internal(lane) && state::ledger().is_some_and(|ledger| !ledger.is_ordered())
}

/// Ends the windows of all threads. Called after a lane was claimed, because the program may have several threads from
/// now on.
pub(super) fn note_claimed_lane() {
    // Release: pairs with the acquire fence in `window`.
    fence(Ordering::Release);
    state::tick();
}
