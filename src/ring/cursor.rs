//! The three cursors of a lane, with every ordering between the thread and the folder. A cursor is the index of a word;
//! this module does not access the words.

use crate::sys::latch::wait;
use crate::sys::sync::{AtomicU64, Ordering, fence};

/// The end of the written words. Only the thread moves it.
#[repr(transparent)]
#[derive(Debug)]
pub(crate) struct Head(AtomicU64);

/// The end of the folded words. Only the holder of the lane's latch moves it.
#[repr(transparent)]
#[derive(Debug)]
pub(crate) struct Tail(AtomicU64);

/// The first word that has not been reused. Only the thread moves it.
#[repr(transparent)]
#[derive(Debug)]
pub(crate) struct Oldest(AtomicU64);

impl Head {
    /// Returns the head, for the thread, which is its only writer.
    #[inline(always)]
    pub(crate) fn own(&self) -> u64 {
        // relaxed: read by its only writer.
        self.0.load(Ordering::Relaxed)
    }

    /// Publishes the words below `head`, for the thread.
    #[inline(always)]
    pub(crate) fn publish(&self, head: u64) {
        // Release: pairs with `observe`.
        self.0.store(head, Ordering::Release);
    }

    /// Returns the head, for the folder, which may read the words below it.
    #[inline]
    pub(crate) fn observe(&self) -> u64 {
        // Acquire: pairs with `publish`.
        self.0.load(Ordering::Acquire)
    }
}

impl Tail {
    /// Returns the tail, for the holder of the latch.
    #[inline]
    pub(crate) fn own(&self) -> u64 {
        // relaxed: the latch orders the folders.
        self.0.load(Ordering::Relaxed)
    }

    /// Releases the words below `tail` for reuse, for the holder of the latch. After this call no folder reads these
    /// words.
    #[inline]
    pub(crate) fn release(&self, tail: u64) {
        // Release: pairs with `observe`; the folder's reads come before it.
        self.0.store(tail, Ordering::Release);
    }

    /// Returns the tail, for the thread, which may overwrite the words below it.
    #[inline]
    pub(crate) fn observe(&self) -> u64 {
        // Acquire: pairs with `release`.
        self.0.load(Ordering::Acquire)
    }
}

impl Oldest {
    /// Returns the first word that has not been reused, for the thread, which is the cursor's only writer.
    #[inline]
    pub(crate) fn own(&self) -> u64 {
        // relaxed: read by its only writer.
        self.0.load(Ordering::Relaxed)
    }

    /// Advances the cursor to `oldest`, for the thread, before the thread overwrites words below `oldest`.
    #[inline]
    pub(crate) fn pass(&self, oldest: u64) {
        // relaxed: the fence orders it before the stores of new words.
        self.0.store(oldest, Ordering::Relaxed);
        // Release: pairs with the fence in `still_whole`; a reader that sees a new word sees this cursor.
        fence(Ordering::Release);
    }

    /// A fence before a thread's first write into a segment that may have belonged to another lane. A reader of the
    /// other lane's history may still be copying the segment. If the reader copies a new word, [`Oldest::still_whole`]
    /// of the other lane then returns an index above the old words, so the reader drops the new word.
    #[inline]
    pub(crate) fn enter_after_others() {
        // Release: pairs with the fence in `still_whole`. The other lane's `pass` came before; the pool of segments
        // orders it.
        fence(Ordering::Release);
    }

    /// Returns the first word that has not been reused. A reader of the history calls this after its reads, and drops
    /// the words below the returned index, because they may have been overwritten during the reads.
    #[inline]
    pub(crate) fn still_whole(&self) -> u64 {
        // Acquire: pairs with the fence in `pass`; the reader's loads come before it.
        fence(Ordering::Acquire);
        // relaxed: the fence orders it.
        self.0.load(Ordering::Relaxed)
    }
}

/// Maximum number of rounds that the folder waits for a thread to publish a stamped event.
const STAMPING_ROUNDS: u32 = if cfg!(loom) { 2 } else { 96 };

/// A flag that is set between the reading of a time stamp and the publication of its event. Used if all lanes are
/// folded in the order of their stamps (`fold::ordered`).
#[repr(transparent)]
#[derive(Debug)]
pub(crate) struct Stamping(AtomicU64);

impl Stamping {
    /// Sets the flag, for the thread, before the thread reads the clock.
    pub(crate) fn begin(&self) {
        // relaxed: the fence orders it.
        self.0.store(1, Ordering::Relaxed);
        // SeqCst: pairs with the folder's fence in `fold::ordered`, which gives the reason.
        fence(Ordering::SeqCst);
    }

    /// Clears the flag, for the thread, after the thread has published the event.
    pub(crate) fn end(&self) {
        // Release: pairs with the acquire in `is_over`; a folder that sees the zero sees the head.
        self.0.store(0, Ordering::Release);
    }

    /// Returns whether every event that is older than the folder's last clock reading is published. The folder calls
    /// this after its fence.
    pub(crate) fn is_over(&self) -> bool {
        for round in 0..STAMPING_ROUNDS {
            // Acquire: pairs with the release in `end`.
            if self.0.load(Ordering::Acquire) == 0 {
                return true;
            }
            wait(round);
        }
        false
    }
}

#[cfg(loom)]
impl Stamping {
    pub(crate) fn new() -> Self {
        Stamping(AtomicU64::new(0))
    }

    /// Weakened copy of [`Stamping::begin`], whose fence is too weak.
    pub(crate) fn begin_weakly(&self) {
        self.0.store(1, Ordering::Relaxed);
        fence(Ordering::AcqRel);
    }
}

#[cfg(loom)]
impl Head {
    pub(crate) fn new() -> Self {
        Head(AtomicU64::new(0))
    }

    /// Weakened copy of [`Head::publish`], whose ordering is too weak; the models must detect it.
    pub(crate) fn publish_weakly(&self, head: u64) {
        self.0.store(head, Ordering::Relaxed);
    }
}

#[cfg(loom)]
impl Tail {
    pub(crate) fn new() -> Self {
        Tail(AtomicU64::new(0))
    }

    /// Weakened copy of [`Tail::release`], whose ordering is too weak.
    pub(crate) fn release_weakly(&self, tail: u64) {
        self.0.store(tail, Ordering::Relaxed);
    }
}

#[cfg(loom)]
impl Oldest {
    pub(crate) fn new() -> Self {
        Oldest(AtomicU64::new(0))
    }

    /// Weakened copy of [`Oldest::pass`], without the fence.
    pub(crate) fn pass_weakly(&self, oldest: u64) {
        self.0.store(oldest, Ordering::Relaxed);
    }

    /// Weakened copy of [`Oldest::still_whole`], without the fence.
    pub(crate) fn still_whole_weakly(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
