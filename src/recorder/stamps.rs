//! A time stamp for each event, while a measurement is under way.
//!
//! Usually the events of a window share one time mark. If an address passes from thread to thread within a window, the
//! times of its blocks and frees overlap, and a free that is booked before its block can end another block at the
//! address. All sums over the process are right nevertheless, but a measurement of a part of the process would not be.
//! So while a measurement is under way, each event opens a window: its time is exact.
//!
//! Every event of a block of the measurement has a stamp: the thread that makes the block, or that receives its
//! address, finds the epoch of [`EachEventStamped::begin`] or a later one, closes its window, and finds the number
//! above 0.

use super::process::PROCESS;
use super::state;
use crate::ledger::Ledger;
use crate::profile::ClockMode;
use crate::sys::sync::{Ordering, fence};

/// While a value of this type lives, every event has its own time stamp. A forked child ends all values of its parent.
#[derive(Debug)]
#[must_use]
pub(crate) struct EachEventStamped(&'static Ledger);

impl EachEventStamped {
    /// Gives each event a stamp from now on. `ledger` is the ledger in force.
    pub(crate) fn begin(ledger: &'static Ledger) -> EachEventStamped {
        // relaxed: the fence publishes it.
        PROCESS.control.stamps.fetch_add(1, Ordering::Relaxed);
        // Release: pairs with the acquire in `window`, which follows the read of the epoch.
        fence(Ordering::Release);
        state::tick();
        EachEventStamped(ledger)
    }
}

impl Drop for EachEventStamped {
    fn drop(&mut self) {
        // In a forked child the number is 0, and the ledger another one.
        if state::ledger().is_some_and(|now| std::ptr::eq(now, self.0)) {
            // relaxed: a window that finds it late is short.
            PROCESS.control.stamps.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Returns whether each event has its own time stamp. Asked when a window is opened, after the epoch. While the program has
/// had one thread, the order of its events is known without.
pub(super) fn is_each_event_stamped(has_had_other_threads: bool) -> bool {
    // relaxed: see the fence in `window`.
    let is_asked_for = || PROCESS.control.stamps.load(Ordering::Relaxed) > 0;
    state::options().clock == ClockMode::PerEvent || has_had_other_threads && is_asked_for()
}

/// Ends the windows of all threads after a lane was claimed: from now on the program has several threads.
pub(super) fn note_claimed_lane() {
    // Release: pairs with the acquire in `window`.
    fence(Ordering::Release);
    state::tick();
}
