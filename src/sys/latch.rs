//! A lock that may lie in raw pages. It is one word, in which zero means open.
//!
//! The crate has this lock because std's mutex may allocate on some platforms, and cannot lie in zeroed pages. It
//! guards a lane's fold state, a shard of the live table, a stripe of sites, and the page directory, among others.
//! Sections under a latch are short, allocate nothing, and cannot panic in release builds.
//!
//! The event of a signal handler never takes a latch. A thread closes its lane's gate before it takes a latch (see
//! `recorder::hot_path`), so the handler's event is counted as `reentrant` instead.
//!
//! Lock order, outermost first: lane, shard, sites, timeline, peak, pages.

use super::sync::{AtomicU32, Ordering, spin_loop};

/// Number of spins before the first yield.
const SPINS: u32 = 64;
/// Number of yields before the first sleep. If the latch is still taken then, its holder is probably off the processor.
const YIELDS: u32 = 64;

/// Number of sleeps of [`Patience::Bounded`]. All spins, yields and sleeps of such a wait together take about a tenth
/// of a second.
#[cfg(not(loom))]
const SLEEPS: u32 = 1500;

const OPEN: u32 = 0;
const TAKEN: u32 = 1;

/// A lock of one word. All zero bytes are a valid, open latch.
#[repr(transparent)]
#[derive(Debug)]
pub(crate) struct Latch {
    word: AtomicU32,
}

/// Maximum time for which a thread waits for a latch.
#[cfg(not(loom))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// The thread does not wait.
    None,
    /// The thread waits about a tenth of a second: as long as a holder may be off the processor on a busy machine.
    Bounded,
    /// The thread waits until the latch is open.
    Endless,
}

/// Token of a taken latch. Dropping it opens the latch.
#[must_use]
pub(crate) struct Taken<'a> {
    latch: &'a Latch,
}

impl Latch {
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Latch { word: AtomicU32::new(OPEN) }
    }

    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Latch { word: AtomicU32::new(OPEN) }
    }

    /// Takes the latch if it is open.
    #[inline]
    pub(crate) fn try_take(&self) -> Option<Taken<'_>> {
        // Acquire: pairs with the release in `Taken::drop`; the new holder sees the writes of the last holder.
        match self.word.compare_exchange(OPEN, TAKEN, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => Some(Taken { latch: self }),
            Err(_) => None,
        }
    }

    /// Takes the latch. Waits for its holder with spins, then yields, then sleeps.
    #[inline]
    pub(crate) fn take(&self) -> Taken<'_> {
        match self.try_take() {
            Some(taken) => taken,
            None => self.take_slowly(),
        }
    }

    /// Takes the latch within `patience`. Returns `None` if the latch stays taken.
    #[cfg(not(loom))]
    pub(crate) fn take_within(&self, patience: Patience) -> Option<Taken<'_>> {
        let rounds = match patience {
            Patience::None => 0,
            Patience::Bounded => SPINS + YIELDS + SLEEPS,
            Patience::Endless => return Some(self.take()),
        };
        self.take_in_rounds(rounds).or_else(|| self.try_take())
    }

    /// Takes the latch within `rounds` steps of waiting, of which the first 128 are short (spins and yields). Returns
    /// `None` if the latch stays taken.
    #[cfg(not(loom))]
    pub(crate) fn take_in_rounds(&self, rounds: u32) -> Option<Taken<'_>> {
        for round in 0..rounds {
            if let Some(taken) = self.try_take() {
                return Some(taken);
            }
            wait(round);
        }
        None
    }

    #[cold]
    fn take_slowly(&self) -> Taken<'_> {
        let mut round = 0u32;
        loop {
            if let Some(taken) = self.try_take() {
                return taken;
            }
            wait(round);
            round = round.saturating_add(1);
        }
    }
}

impl Latch {
    /// Opens the latch. Used by a holder that has passed its [`Taken`] to `std::mem::forget`.
    pub(crate) fn open(&self) {
        // Release: pairs with the acquire in `try_take`.
        self.word.store(OPEN, Ordering::Release);
    }

    /// Returns whether the latch is held. In a copy of memory, returns whether it was held when the copy was made.
    pub(crate) fn is_taken(&self) -> bool {
        // relaxed: no data is read after it.
        self.word.load(Ordering::Relaxed) != OPEN
    }
}

impl<'a> Taken<'a> {
    /// Returns the token of a latch that the caller already holds.
    ///
    /// # Safety
    /// The caller holds the latch, and has passed its token to `std::mem::forget`. The returned token or another one
    /// must be forgotten again, so that the latch is opened only once.
    pub(crate) unsafe fn assume(latch: &'a Latch) -> Taken<'a> {
        Taken { latch }
    }
}

impl Drop for Taken<'_> {
    #[inline]
    fn drop(&mut self) {
        // Release: pairs with the acquire in `try_take`.
        self.latch.word.store(OPEN, Ordering::Release);
    }
}

#[cfg(loom)]
impl Latch {
    /// Weakened copy of [`Latch::try_take`], whose ordering is too weak; the models must detect it.
    pub(crate) fn try_take_weakly(&self) -> Option<Taken<'_>> {
        match self.word.compare_exchange(OPEN, TAKEN, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => Some(Taken { latch: self }),
            Err(_) => None,
        }
    }

    /// Weakened copy of the drop of a [`Taken`]: the ordering of its store is too weak.
    pub(crate) fn open_weakly(taken: Taken<'_>) {
        taken.latch.word.store(OPEN, Ordering::Relaxed);
        std::mem::forget(taken);
    }
}

/// Waits one step for something that another thread will do soon. `round` counts the steps from 0.
pub(crate) fn wait(round: u32) {
    if round < SPINS {
        spin_loop();
    } else if round < SPINS + YIELDS {
        yield_now();
    } else {
        sleep_briefly();
    }
}

#[cfg(loom)]
fn yield_now() {
    loom::thread::yield_now();
}

#[cfg(loom)]
fn sleep_briefly() {
    loom::thread::yield_now();
}

#[cfg(all(not(loom), unix))]
fn yield_now() {
    // SAFETY: the call has no arguments, and always succeeds on the supported systems.
    unsafe { libc::sched_yield() };
}

#[cfg(all(not(loom), unix))]
fn sleep_briefly() {
    let pause = libc::timespec { tv_sec: 0, tv_nsec: 50_000 };
    // SAFETY: `pause` is valid for reads, and the remainder may be null. An interrupted sleep is allowed.
    unsafe { libc::nanosleep(&pause, std::ptr::null_mut()) };
}

#[cfg(all(not(loom), not(unix)))]
fn yield_now() {
    std::thread::yield_now();
}

#[cfg(all(not(loom), not(unix)))]
fn sleep_briefly() {
    std::thread::sleep(std::time::Duration::from_micros(50));
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_wait_that_is_bounded_ends_without_the_latch() {
        let latch = Latch::new();
        let taken = latch.take();
        for patience in [Patience::None, Patience::Bounded] {
            assert!(latch.take_within(patience).is_none());
        }
        drop(taken);
        for patience in [Patience::None, Patience::Bounded, Patience::Endless] {
            assert!(latch.take_within(patience).is_some());
        }
    }
}
