//! How much a fold books, and what it has come to in its present batch: sums, heights, and how the words of the window are dated.

use crate::ledger::estimate::WeightedSums;
use crate::ledger::peak::HighWater;

/// Fraction bits of the time that passes from one word to the next.
pub(super) const STEP_BITS: u32 = 16;
/// Intervals of the timeline for which frees are gathered at one time. Two in tests, so that they take turns there.
pub(super) const INTERVALS_HELD: usize = if cfg!(test) { 2 } else { 8 };

/// How much of what waits in a lane is booked: the windows that begin in the next `words` words, and not after `until_ns`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    pub(crate) words: u64,
    pub(crate) until_ns: u64,
}

impl Part {
    pub(crate) const ALL: Part = Part { words: u64::MAX, until_ns: u64::MAX };

    /// The first so many words.
    pub(crate) const fn of_words(words: u64) -> Part {
        Part { words, ..Part::ALL }
    }
}

/// Sums of one batch, so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct BatchSums {
    pub(super) total_blocks: u64,
    pub(super) total_bytes: u64,
    pub(super) freed_blocks: u64,
    pub(super) freed_bytes: u64,
}

impl BatchSums {
    #[inline(always)]
    pub(super) fn live_bytes(&self) -> i64 {
        self.total_bytes.wrapping_sub(self.freed_bytes) as i64
    }

    pub(super) fn live_blocks(&self) -> i64 {
        self.total_blocks.wrapping_sub(self.freed_blocks) as i64
    }
}

/// What of a batch the timeline has been told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Published {
    pub(super) sums: BatchSums,
    pub(super) lost: u64,
}

/// Blocks and their bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Amount {
    pub(super) blocks: u64,
    pub(super) bytes: u64,
}

impl Amount {
    pub(super) fn add(&mut self, bytes: u64) {
        self.blocks += 1;
        self.bytes += bytes;
    }
}

/// A run of frees of one thread's blocks by another one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RemoteFreeRun {
    pub(super) allocated_by: u32,
    pub(super) freed_by: u32,
    /// What crossed from the one to the other.
    pub(super) remote_frees: Amount,
    /// What is booked here for a thread whose lane this is not.
    pub(super) for_other: Amount,
    /// When that was freed: blocks come in the order in which they left a nursery, so that their frees lie a little here and a
    /// little there.
    pub(super) earlier: [PastInterval; INTERVALS_HELD],
}

/// What was freed in one interval of the timeline.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PastInterval {
    pub(super) from_ns: u64,
    pub(super) until_ns: u64,
    pub(super) freed: Amount,
}

impl RemoteFreeRun {
    pub(super) fn is_empty(&self) -> bool {
        self.remote_frees.blocks | self.for_other.blocks == 0
    }
}

/// What the present batch has come to.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) sums: BatchSums,
    pub(super) recorded: u64,
    pub(super) own_events: u64,
    pub(super) reallocs: u64,
    /// What happened to tracked pointers: in no figure of the heap.
    pub(super) pointer_events: u64,
    pub(super) cross_thread_frees: u64,
    pub(super) lost: u64,
    pub(super) sampled: WeightedSums,
    /// Frees in the outbox, which the sums do not know yet.
    pub(super) frees_sent: u32,
    /// Bytes that these take at least, if each finds its block.
    pub(super) outbox_bytes_min: u64,
    /// Highest live bytes, less what was pledged, at an allocation that was taken for no new height because of that.
    pub(super) skipped_high_water: i64,
    /// Blocks and frees that were brought to the shared table.
    pub(super) sent: u64,
    /// Blocks and bytes whose free belongs to another thread.
    pub(super) for_others: (u64, u64),
    /// A run of frees of other threads' blocks, which the shared figures do not know yet.
    pub(super) remote_frees: RemoteFreeRun,
    /// Highest live bytes in the interval at hand.
    pub(super) high_water: i64,
    /// The same of the intervals before it, and where a pledge was not kept and an allocation may have been higher.
    pub(super) high_water_at_most: i64,
    pub(super) top: Option<HighWater>,
    /// What the timeline has been told.
    pub(super) published: Published,
    pub(super) interval_end_ns: u64,
    pub(super) interval_peak: i64,
    pub(super) dates: Dates,
}

/// How words of the present window are dated.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Dates {
    pub(super) first: u64,
    pub(super) first_ns: u64,
    /// Nanoseconds from one word to the next, with [`STEP_BITS`] bits behind the point.
    pub(super) step: u64,
    pub(super) time_error_ns: u64,
    /// Thread and doubt of the entries that are made in this window.
    pub(super) meta: u64,
}

impl Dates {
    #[inline(always)]
    pub(super) fn at(&self, index: u64) -> u64 {
        self.first_ns + (((index - self.first) * self.step) >> STEP_BITS)
    }
}
