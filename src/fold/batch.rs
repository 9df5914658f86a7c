//! The sums and high-water marks of a batch, the dates of the current window, and other parts of a fold's state.

use std::ptr::NonNull;

use crate::ledger::entry::Meta;
use crate::ledger::estimate::WeightedSums;
use crate::ledger::fold_state::FoldState;
use crate::ledger::nursery::Places;
use crate::ledger::peak::HighWater;
use crate::ledger::scopes::ScopeSums;
use crate::ledger::site_delta::SiteDelta;
use crate::profile::bucket_of;

/// Number of fractional bits of the time from one word to the next.
pub(super) const STEP_BITS: u32 = 16;
/// Number of intervals of the timeline for which frees are collected at a time. It is 2 in tests, so that tests reach
/// the case in which one interval replaces another.
pub(super) const INTERVALS_HELD: usize = if cfg!(test) { 2 } else { 8 };

/// A part of the words that wait in a lane: the windows that begin within the next `words` words and not after
/// `until_ns` nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    pub(crate) words: u64,
    pub(crate) until_ns: u64,
}

impl Part {
    pub(crate) const NONE: Part = Part { words: 0, until_ns: 0 };
    pub(crate) const ALL: Part = Part { words: u64::MAX, until_ns: u64::MAX };

    /// Returns the part of the first `words` words.
    pub(crate) const fn of_words(words: u64) -> Part {
        Part { words, ..Part::ALL }
    }
}

/// A *partner*: another lane whose latch is held during the fold. See `partners`.
pub(super) struct Partner {
    pub(super) state: NonNull<FoldState>,
    pub(super) places: Places,
    /// Time up to which all events of the lane are booked, in nanoseconds. A later free may belong to a block that is
    /// not in the nursery yet.
    pub(super) booked_until_ns: u64,
    /// Whether a realloc of the lane's thread is half booked. The old block is then still in the nursery, but may have
    /// left its address.
    pub(super) is_reallocating: bool,
}

/// Sums of one batch up to the current word.
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

/// The sums of a batch that are already in the timeline.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Published {
    pub(super) sums: BatchSums,
    pub(super) lost: u64,
}

/// A number of blocks and their bytes.
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

/// A run of frees in which one thread freed blocks of one other thread.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RemoteFreeRun {
    pub(super) allocated_by: u32,
    pub(super) freed_by: u32,
    /// Blocks of the thread `allocated_by` that were freed by the thread `freed_by`.
    pub(super) remote_frees: Amount,
    /// Frees of another lane's thread that this lane books.
    pub(super) for_other: Amount,
    /// The frees of `for_other`, by interval of the timeline. Blocks arrive in the order in which they left a nursery,
    /// so the times of their frees are not in order.
    pub(super) earlier: [PastInterval; INTERVALS_HELD],
}

/// Frees of one past interval of the timeline.
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

/// The selected delta of a site in a scope, with its figures at the time of the selection: see `scopes`.
#[derive(Debug)]
pub(super) struct ScopedDelta {
    pub(super) at: *mut SiteDelta,
    pub(super) before: ScopeSums,
    pub(super) high_water_bytes: i64,
}

/// Sums and high-water marks of the current batch.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) sums: BatchSums,
    pub(super) recorded: u64,
    pub(super) own_events: u64,
    pub(super) reallocs: u64,
    /// Number of events of tracked pointers. These events are in no figure of the heap.
    pub(super) pointer_events: u64,
    pub(super) cross_thread_frees: u64,
    pub(super) lost: u64,
    pub(super) sampled: WeightedSums,
    /// Number of frees in the outbox, which are not in the sums yet.
    pub(super) frees_sent: u32,
    /// Lower bound of the bytes that the frees in the outbox free, if each of them finds its block.
    pub(super) outbox_bytes_min: u64,
    /// Highest live bytes, less `outbox_bytes_min`, at the allocations that `Fold::stays_below` has found to be no
    /// high-water marks.
    pub(super) skipped_high_water: i64,
    /// Number of blocks and frees that were delivered to the shared table.
    pub(super) sent: u64,
    /// Whether the batch has a free of a block that another thread allocated, or a free that did not find its block.
    pub(super) has_remote_frees: bool,
    /// Number of frees that found their block in a partner's nursery.
    pub(super) matched: u64,
    /// Number of frees that were booked for other lanes' threads, and the bytes of these frees.
    pub(super) for_others: (u64, u64),
    /// A run of remote frees that is not in the shared figures yet.
    pub(super) remote_frees: RemoteFreeRun,
    /// Highest live bytes of the current interval of the timeline.
    pub(super) high_water: i64,
    /// Upper bound of the batch's live bytes in earlier intervals. If a free found no block, it also covers the
    /// allocations of `skipped_high_water`.
    pub(super) high_water_at_most: i64,
    /// The highest mark of the batch above the process's peak, if there is such a mark.
    pub(super) top: Option<HighWater>,
    /// Sums that are already in the timeline.
    pub(super) published: Published,
    pub(super) interval_end_ns: u64,
    pub(super) interval_peak: i64,
    pub(super) dates: Dates,
}

/// The dates of the words of the current window. The time of a word increases by `step` from word to word.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Dates {
    pub(super) first: u64,
    pub(super) first_ns: u64,
    /// Nanoseconds from one word to the next, with [`STEP_BITS`] fractional bits.
    pub(super) step: u64,
    pub(super) time_error_ns: u64,
    /// Thread and time error of entries that are made in this window, encoded as in `Meta`.
    pub(super) meta: u64,
}

impl Dates {
    /// Returns the `Meta` of a free in this window.
    #[inline(always)]
    pub(super) fn meta_of_free(&self) -> Meta {
        Meta(self.meta).as_waiting()
    }

    /// Returns the lifetime bucket of a block that is freed directly after its allocation.
    #[inline(always)]
    pub(super) fn bucket_of_pair(&self) -> usize {
        bucket_of((2 * self.step) >> STEP_BITS)
    }

    #[inline(always)]
    pub(super) fn at(&self, index: u64) -> u64 {
        self.first_ns + (((index - self.first) * self.step) >> STEP_BITS)
    }
}

/// Minimum number of words for which the loop of `usual` is worth the cost of its start and its end.
const WORTH_WORDS: u64 = 6;
/// Number of records that the general code books after the loop of `usual` has booked fewer than `WORTH_WORDS` words.
/// The number doubles each time that this happens in succession, up to `REST_RECORDS_MOST`.
const REST_RECORDS: u64 = 4;
const REST_RECORDS_MOST: u64 = 256;

/// A pause of the loop of `usual`, during which the general code books.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// Number of records before the loop is tried again.
    pub(super) records: u64,
    /// Length of the last pause, in records, if the loop had booked fewer than `WORTH_WORDS` words before the pause;
    /// otherwise 0.
    last: u64,
}

impl Rest {
    /// Returns the number of records that the general code books before the loop is tried again, after the loop has
    /// booked `words` words.
    pub(super) fn after(&mut self, words: u64) -> u64 {
        self.last =
            if words < WORTH_WORDS { (2 * self.last).clamp(REST_RECORDS, REST_RECORDS_MOST) } else { 0 };
        self.last.max(1)
    }
}
