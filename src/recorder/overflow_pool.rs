//! The overflow pool: a bounded pool of segments that all lanes share.
//!
//! A lane takes a segment from the pool if its ring is full and another thread is folding the ring. Once the ring has
//! room, the segment goes back. The pool is a `crossbeam_queue::ArrayQueue`, whose `push` and `pop` neither allocate
//! nor lock. The background thread creates the queue, because this allocates; until then the pool counts as empty. If
//! the pool is empty, the mode decides whether the lane waits or drops the event.

use std::sync::atomic::Ordering;

use crossbeam_queue::ArrayQueue;

use super::process::PROCESS;
use crate::ledger::Ledger;
use crate::ring::lane::SEGMENT_PAGES;
use crate::sys::pages::For;

/// Number of segments in the pool.
pub(crate) const POOL_SEGMENTS: usize = 64;

/// Returns the pool, or `None` if it has not been created.
fn pool() -> Option<&'static ArrayQueue<u32>> {
    // Acquire: pairs with the release in `fill`.
    let pool = PROCESS.control.overflow_pool.load(Ordering::Acquire);
    // SAFETY: the pointer is null or comes from `Box::leak` in `fill`.
    unsafe { pool.as_ref() }
}

/// Creates the pool. Allocates, so the background thread calls it, inside an internal scope.
pub(crate) fn fill(ledger: &Ledger) {
    if pool().is_some() {
        return;
    }
    let queue = Box::leak(Box::new(ArrayQueue::new(POOL_SEGMENTS)));
    for _ in 0..POOL_SEGMENTS {
        if let Some(page) = ledger.pages.take(SEGMENT_PAGES, For::Rings) {
            let _ = queue.push(page);
        }
    }
    // Release: pairs with the acquire in `pool`.
    PROCESS.control.overflow_pool.store(queue, Ordering::Release);
}

/// Takes a segment from the pool. Returns the segment's page.
pub(super) fn take() -> Option<u32> {
    pool()?.pop()
}

/// Returns a segment to the pool, or to the region if the pool is full.
pub(super) fn give_back(ledger: &Ledger, page: u32) {
    let refused = match pool() {
        Some(pool) => pool.push(page).err(),
        None => Some(page),
    };
    if let Some(page) = refused {
        ledger.pages.give_back(page, SEGMENT_PAGES, For::Rings);
    }
}
