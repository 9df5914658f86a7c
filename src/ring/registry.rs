//! The registry of all lanes, used and free.
//!
//! ```text
//!            fresh ──publish──► in use ◄──reuse── free
//!   (index)                       │                ▲
//!                                 └──── retire ────┘
//! ```
//!
//! A lane is never destroyed. A thread that ends folds its lane to the end and retires it, and the next thread claims
//! the lane. The free lanes form a stack, linked by index. The head of this stack counts its changes, so an exchange
//! fails if a lane was popped and pushed again since the load. No function here waits. When the table is full, the
//! caller counts the loss.

use crate::sys::sync::{AtomicU32, AtomicU64, Ordering};

/// Maximum number of lanes.
pub(crate) const LANES_MAX: usize = 16_384;

/// The table of lanes. All zero bytes are a valid, empty registry.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Registry<const N: usize = LANES_MAX> {
    /// Head of the stack of free lanes. High half: number of changes. Low half: index of the top lane plus one; 0 if
    /// the stack is empty.
    free: AtomicU64,
    count: AtomicU32,
    /// Page of each lane; 0 until the lane is published.
    pages: [AtomicU32; N],
    /// For each free lane, the index of the free lane below it in the stack, plus one.
    next: [AtomicU32; N],
}

/// The outcome of a claim.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Claimed {
    /// The index of a lane that another thread has retired.
    Reused(u32),
    /// An index for a lane that the caller has to make and publish.
    Fresh(u32),
    /// All lanes are in use.
    Full,
}

impl<const N: usize> Registry<N> {
    /// Claims a free lane, or an index for a new lane.
    pub(crate) fn claim(&self) -> Claimed {
        if let Some(index) = self.pop() {
            return Claimed::Reused(index);
        }
        // relaxed: the index is only a number; the lane itself is published by `publish`.
        let mut count = self.count.load(Ordering::Relaxed);
        while (count as usize) < N {
            match self.count.compare_exchange_weak(count, count + 1, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Claimed::Fresh(count),
                Err(now) => count = now,
            }
        }
        Claimed::Full
    }

    /// Makes a fresh lane visible to all threads.
    pub(crate) fn publish(&self, index: u32, page: u32) {
        // Release: pairs with the acquire in `page`; a thread that sees the page number sees the lane.
        self.pages[index as usize].store(page, Ordering::Release);
    }

    /// Returns the page of a lane, or `None` if the lane has not been published.
    pub(crate) fn page(&self, index: u32) -> Option<u32> {
        // Acquire: pairs with the release in `publish`.
        let page = self.pages[index as usize].load(Ordering::Acquire);
        (page != 0).then_some(page)
    }

    /// Returns the pages of all published lanes. Used on a copy of the registry, such as that in a black box.
    pub(crate) fn published(&self) -> impl Iterator<Item = u32> + '_ {
        let count = (self.count() as usize).min(N);
        (0..count as u32).filter_map(|index| self.page(index))
    }

    /// Returns the number of indices that were given out. The number may grow while the caller iterates over the lanes.
    pub(crate) fn count(&self) -> u32 {
        // relaxed: a lower bound at any time; the lane itself is found by `page`.
        self.count.load(Ordering::Relaxed)
    }

    /// Retires a lane, with its words and counters, for the next thread.
    pub(crate) fn retire(&self, index: u32) {
        // relaxed: the exchange below fails if the value has changed.
        let mut top = self.free.load(Ordering::Relaxed);
        loop {
            // relaxed: published by the exchange.
            self.next[index as usize].store(top as u32, Ordering::Relaxed);
            // Release: pairs with the acquire in `pop`.
            match self.free.compare_exchange_weak(
                top,
                changed(top, index + 1),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => top = now,
            }
        }
    }

    fn pop(&self) -> Option<u32> {
        // Acquire: pairs with the release in `retire`; a thread that sees the index sees the lane's state.
        let mut top = self.free.load(Ordering::Acquire);
        loop {
            let index = (top as u32).checked_sub(1)?;
            // relaxed: if the value is outdated, the head has changed and the exchange fails.
            let next = self.next[index as usize].load(Ordering::Relaxed);
            match self.free.compare_exchange_weak(
                top,
                changed(top, next),
                Ordering::Acquire,
                Ordering::Acquire,
            ) {
                Ok(_) => return Some(index),
                Err(now) => top = now,
            }
        }
    }
}

/// Returns the head of the stack with a new top and an incremented number of changes.
fn changed(top: u64, index_plus_one: u32) -> u64 {
    ((top >> 32).wrapping_add(1) << 32) | u64::from(index_plus_one)
}

#[cfg(loom)]
impl<const N: usize> Registry<N> {
    pub(crate) fn new() -> Self {
        Registry {
            free: AtomicU64::new(0),
            count: AtomicU32::new(0),
            pages: std::array::from_fn(|_| AtomicU32::new(0)),
            next: std::array::from_fn(|_| AtomicU32::new(0)),
        }
    }

    /// Weakened copy of [`Registry::publish`], whose ordering is too weak.
    pub(crate) fn publish_weakly(&self, index: u32, page: u32) {
        self.pages[index as usize].store(page, Ordering::Relaxed);
    }

    /// Weakened copy of [`Registry::retire`], whose ordering is too weak.
    pub(crate) fn retire_weakly(&self, index: u32) {
        let mut top = self.free.load(Ordering::Relaxed);
        loop {
            self.next[index as usize].store(top as u32, Ordering::Relaxed);
            match self.free.compare_exchange_weak(
                top,
                changed(top, index + 1),
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => top = now,
            }
        }
    }

    /// Weakened copy of [`Registry::retire`] that does not count the change.
    pub(crate) fn retire_uncounted(&self, index: u32) {
        let mut top = self.free.load(Ordering::Relaxed);
        loop {
            self.next[index as usize].store(top as u32, Ordering::Relaxed);
            match self.free.compare_exchange_weak(
                top,
                u64::from(index + 1),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => top = now,
            }
        }
    }

    /// Weakened copy of [`Registry::claim`] that gives out only free lanes and does not count the change.
    pub(crate) fn claim_uncounted(&self) -> Claimed {
        let mut top = self.free.load(Ordering::Acquire);
        loop {
            let Some(index) = (top as u32).checked_sub(1) else { return Claimed::Full };
            let next = self.next[index as usize].load(Ordering::Relaxed);
            match self.free.compare_exchange_weak(top, u64::from(next), Ordering::Acquire, Ordering::Acquire)
            {
                Ok(_) => return Claimed::Reused(index),
                Err(now) => top = now,
            }
        }
    }
}
