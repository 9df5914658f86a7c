//! The latest ticks of the background thread. A tick is the time of one of its rounds. A window (a run of words behind
//! one time stamp) that stayed open while its thread paused is dated to end at the next tick.

use crate::sys::sync::{AtomicU64, Ordering};

/// Number of ticks that are kept; a power of two.
const TICKS: usize = 256;

/// The latest ticks. All zero bytes are a valid, empty list.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Ticks {
    count: AtomicU64,
    at_ns: [AtomicU64; TICKS],
}

impl Ticks {
    /// Appends a tick. Only one thread calls this.
    pub(crate) fn push(&self, at_ns: u64) {
        // relaxed: one writer; a reader that misses the newest tick takes a later end for a window, which is also
        // correct.
        let count = self.count.load(Ordering::Relaxed);
        self.at_ns[count as usize % TICKS].store(at_ns, Ordering::Relaxed);
        self.count.store(count + 1, Ordering::Release);
    }

    /// Returns the first kept tick after `ns`, or `u64::MAX`.
    pub(crate) fn next_after(&self, ns: u64) -> u64 {
        // Acquire: pairs with the release in `push`.
        let count = self.count.load(Ordering::Acquire);
        let mut next = u64::MAX;
        for back in 1..=count.min(TICKS as u64) {
            // relaxed: read after the count.
            let tick = self.at_ns[(count - back) as usize % TICKS].load(Ordering::Relaxed);
            if tick <= ns {
                break;
            }
            next = tick;
        }
        next
    }
}
