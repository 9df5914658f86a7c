//! The peak: the moment with the most live bytes.
//!
//! A fold books the events of one thread in batches, and follows the thread's live bytes within a batch event by event.
//! Events of other threads reach the sums only when they are folded. So the peak is exact to the event while only one
//! thread allocates. With several threads, the error of the peak is at most the bytes that the other threads had not
//! booked. This bound is published with the peak.
//!
//! The figures of each site at the peak need no scan of all sites at each new peak. When the figures of a site change,
//! the site stores the number of the latest peak. If there is a newer peak at the site's next change, the figures
//! *before* that change are the figures at the newer peak. The cost is a comparison for each event (the idea of
//! memray's high-water-mark aggregator).

use crate::sys::latch::Latch;
use crate::sys::sync::{AtomicU64, Ordering};

/// Booked live bytes and blocks, over all lanes, in one cache line that is written once per fold.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Booked {
    bytes: AtomicU64,
    blocks: AtomicU64,
}

impl Booked {
    /// Adds the change of a batch. A batch that frees all its blocks writes nothing, so the cache line stays shared
    /// between processors.
    pub(crate) fn add(&self, bytes: i64, blocks: i64) {
        if bytes != 0 || blocks != 0 {
            // relaxed, both: sums of independent changes. In two's complement, negative changes are added like positive
            // ones.
            self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            self.blocks.fetch_add(blocks as u64, Ordering::Relaxed);
        }
    }

    /// Returns the booked live bytes. The number is negative for a moment when one thread books the free of a block
    /// before another thread books its allocation.
    pub(crate) fn bytes(&self) -> i64 {
        // relaxed: as above.
        self.bytes.load(Ordering::Relaxed) as i64
    }

    pub(crate) fn blocks(&self) -> i64 {
        // relaxed: as above.
        self.blocks.load(Ordering::Relaxed) as i64
    }
}

/// The highest peak. All zero bytes are a valid start.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct PeakCell {
    latch: Latch,
    bytes: AtomicU64,
    blocks: AtomicU64,
    at_ns: AtomicU64,
    /// Number of the peak. A new peak has a new number, which makes the sites' figures of older peaks stale.
    number: AtomicU64,
}

/// A moment that may be the new peak.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HighWater {
    pub(crate) bytes: i64,
    pub(crate) blocks: i64,
    pub(crate) at_ns: u64,
}

impl PeakCell {
    /// Returns the bytes of the highest peak.
    pub(crate) fn bytes(&self) -> u64 {
        // relaxed: a lower bound; `raise` compares again under the latch.
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn number(&self) -> u64 {
        // relaxed: compared for equality under the latch of the site that uses it.
        self.number.load(Ordering::Relaxed)
    }

    /// Makes a moment the peak if it has more live bytes than the present peak. Returns the number of the new peak.
    pub(crate) fn raise(&self, high_water: HighWater) -> Option<u64> {
        let _taken = self.latch.take();
        // relaxed, all of it: the latch orders the accesses.
        if high_water.bytes <= self.bytes.load(Ordering::Relaxed) as i64 {
            return None;
        }
        self.bytes.store(high_water.bytes as u64, Ordering::Relaxed);
        self.blocks.store(high_water.blocks.max(0) as u64, Ordering::Relaxed);
        self.at_ns.store(high_water.at_ns, Ordering::Relaxed);
        let number = self.number.load(Ordering::Relaxed) + 1;
        self.number.store(number, Ordering::Relaxed);
        Some(number)
    }

    /// Opens the latch in a copy of a killed process's region, where no thread is left to open it.
    pub(crate) fn take_over(&self) {
        self.latch.open();
    }

    /// Returns the bytes, the blocks, and the time of the peak in nanoseconds.
    pub(crate) fn get(&self) -> (u64, u64, u64) {
        let _taken = self.latch.take();
        // relaxed: the latch orders the accesses.
        let read = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        (read(&self.bytes), read(&self.blocks), read(&self.at_ns))
    }
}
