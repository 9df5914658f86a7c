//! The three cursors of a lane and every ordering between the thread and the folder. Knows indices, not storage.

use crate::sys::latch::wait;
use crate::sys::sync::{AtomicU64, Ordering, fence};

/// The end of the written words. Moved by the thread only.
#[repr(transparent)]
#[derive(Debug)]
pub(crate) struct Head(AtomicU64);

/// The end of the folded words. Moved by the holder of the lane's latch only.
#[repr(transparent)]
#[derive(Debug)]
pub(crate) struct Tail(AtomicU64);

/// The first word that has not been reused. Moved by the thread only.
#[repr(transparent)]
#[derive(Debug)]
pub(crate) struct Oldest(AtomicU64);

impl Head {
    /// For the thread: its own cursor.
    #[inline(always)]
    pub(crate) fn own(&self) -> u64 {
        // relaxed: read by its only writer.
        self.0.load(Ordering::Relaxed)
    }

    /// For the thread: publishes the words below `head`.
    #[inline(always)]
    pub(crate) fn publish(&self, head: u64) {
        // Release: pairs with `observe`.
        self.0.store(head, Ordering::Release);
    }

    /// For the folder: the head; words below it may be read.
    #[inline]
    pub(crate) fn observe(&self) -> u64 {
        // Acquire: pairs with `publish`.
        self.0.load(Ordering::Acquire)
    }
}

impl Tail {
    /// For the holder of the latch: its own cursor.
    #[inline]
    pub(crate) fn own(&self) -> u64 {
        // relaxed: the latch orders the folders.
        self.0.load(Ordering::Relaxed)
    }

    /// For the holder of the latch: releases the words below `tail`, which no folder reads again.
    #[inline]
    pub(crate) fn release(&self, tail: u64) {
        // Release: pairs with `observe`; the folder's reads come before it.
        self.0.store(tail, Ordering::Release);
    }

    /// For the thread: the tail; words below it may be overwritten.
    #[inline]
    pub(crate) fn observe(&self) -> u64 {
        // Acquire: pairs with `release`.
        self.0.load(Ordering::Acquire)
    }
}

impl Oldest {
    /// For the thread: its own cursor.
    #[inline]
    pub(crate) fn own(&self) -> u64 {
        // relaxed: read by its only writer.
        self.0.load(Ordering::Relaxed)
    }

    /// For the thread, before it overwrites the words below `oldest`.
    #[inline]
    pub(crate) fn pass(&self, oldest: u64) {
        // relaxed: the fence orders it before the words that follow.
        self.0.store(oldest, Ordering::Relaxed);
        // Release: pairs with the fence in `still_whole`; a reader that sees a new word sees this cursor.
        fence(Ordering::Release);
    }

    /// For a thread, before it writes into a segment that another lane may have passed and given back: a reader that sees the
    /// new words sees that the other lane had passed the old ones.
    #[inline]
    pub(crate) fn enter_after_others() {
        // Release: pairs with the fence in `still_whole`. `pass` came before: the pool of segments orders it.
        fence(Ordering::Release);
    }

    /// For a reader of the history, after it has read: words below the returned number may have been overwritten meanwhile, and
    /// are dropped.
    #[inline]
    pub(crate) fn still_whole(&self) -> u64 {
        // Acquire: pairs with the fence in `pass`; the reader's loads come before it.
        fence(Ordering::Acquire);
        // relaxed: the fence orders it.
        self.0.load(Ordering::Relaxed)
    }
}

/// Rounds that the folder waits for a thread to publish a stamped event.
const STAMPING_ROUNDS: u32 = if cfg!(loom) { 2 } else { 96 };

/// Whether a thread is between taking a stamp and publishing its event.
#[repr(transparent)]
#[derive(Debug)]
pub(crate) struct Stamping(AtomicU64);

impl Stamping {
    /// For the thread, before it reads the clock.
    pub(crate) fn begin(&self) {
        // relaxed: the fence orders it.
        self.0.store(1, Ordering::Relaxed);
        // SeqCst: pairs with the folder's in `fold::ordered`, where the argument is.
        fence(Ordering::SeqCst);
    }

    /// For the thread, after it has published.
    pub(crate) fn end(&self) {
        // Release: a folder that sees the zero sees the head.
        self.0.store(0, Ordering::Release);
    }

    /// For the folder, after its fence: whether no event older than its reading of the clock is still to come.
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

    /// A twin of [`Stamping::begin`] whose fence is too weak.
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

    /// A twin of [`Head::publish`] that is too weak: the models must find it out.
    pub(crate) fn publish_weakly(&self, head: u64) {
        self.0.store(head, Ordering::Relaxed);
    }
}

#[cfg(loom)]
impl Tail {
    pub(crate) fn new() -> Self {
        Tail(AtomicU64::new(0))
    }

    /// A twin of [`Tail::release`] that is too weak.
    pub(crate) fn release_weakly(&self, tail: u64) {
        self.0.store(tail, Ordering::Relaxed);
    }
}

#[cfg(loom)]
impl Oldest {
    pub(crate) fn new() -> Self {
        Oldest(AtomicU64::new(0))
    }

    /// A twin of [`Oldest::pass`] without its fence.
    pub(crate) fn pass_weakly(&self, oldest: u64) {
        self.0.store(oldest, Ordering::Relaxed);
    }

    /// A twin of [`Oldest::still_whole`] without its fence.
    pub(crate) fn still_whole_weakly(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
