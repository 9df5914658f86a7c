//! The overflow buffer: spare segments in a bounded pool that all lanes share.
//!
//! A lane whose ring is full while someone else is folding it takes a spare segment and goes on; when the ring has
//! room again, the segment goes back. The pool is `crossbeam_queue::ArrayQueue`, whose `push` and `pop` neither
//! allocate nor lock. It is made by the aggregator, in an own section, because making it allocates; before that
//! there are no spares, and the lane waits or sheds as its mode says.

use std::sync::atomic::Ordering;

use crossbeam_queue::ArrayQueue;

use super::process::PROCESS;
use crate::ledger::Ledger;
use crate::ring::lane::SEGMENT_PAGES;

/// Segments in the pool.
pub(crate) const SPARE_SEGMENTS: usize = 64;

fn pool() -> Option<&'static ArrayQueue<u32>> {
    // Acquire: pairs with the release in `fill`.
    let pool = PROCESS.control.overflow_pool.load(Ordering::Acquire);
    // SAFETY: the pointer is null or comes from `Box::leak` in `fill`.
    unsafe { pool.as_ref() }
}

/// Makes the pool. Allocates: called by the aggregator's thread, in an own section.
pub(crate) fn fill(ledger: &Ledger) {
    if pool().is_some() {
        return;
    }
    let queue = Box::leak(Box::new(ArrayQueue::new(SPARE_SEGMENTS)));
    for _ in 0..SPARE_SEGMENTS {
        if let Some(page) = ledger.pages.take(SEGMENT_PAGES) {
            let _ = queue.push(page);
        }
    }
    // Release: pairs with the acquire in `pool`.
    PROCESS.control.overflow_pool.store(queue, Ordering::Release);
}

/// Takes a spare segment.
pub(super) fn take() -> Option<u32> {
    pool()?.pop()
}

/// Gives a segment to the pool, or back to the region when the pool has enough.
pub(super) fn give_back(ledger: &Ledger, page: u32) {
    let refused = match pool() {
        Some(pool) => pool.push(page).err(),
        None => Some(page),
    };
    if let Some(page) = refused {
        ledger.pages.give_back(page, SEGMENT_PAGES);
    }
}
