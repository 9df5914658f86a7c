//! The books of a lane: everything that a fold needs and only a fold touches, next to the lane itself.
//!
//! ```text
//! page 0                                             page 1
//! ┌──────┬─────────┬───────┬───────────────────────┬─┴───────────────┬───────────────────┐
//! │ Lane │ LaneCounters │ state │ tally of one site     │ blocks on their │ first nursery     │
//! │      │         │       │                       │ way to shards   │                   │
//! └──────┴─────────┴───────┴───────────────────────┴─────────────────┴───────────────────┘
//! ```
//!
//! Invariants: **B1** a page number from the registry is that of a `LaneWithState`. **B2** every `&Lane` that is
//! passed around points to the lane of one. **B3** the books are touched under the latch of their lane only.

use std::ptr::NonNull;

use super::entry::Entry;
use super::estimate::SharedSums;
use super::nursery::{Nursery, YOUNGEST};
use super::site_deltas::SiteDeltas;
use super::sites::SiteDelta;
use crate::profile::LossReason;
use crate::ring::lane::Lane;
use crate::sys::pages::{PAGE_BYTES, Pages};
use crate::sys::sync::{AtomicU64, Ordering};

/// Blocks and frees that are gathered before they go to the shards.
pub(crate) const OUTBOX: usize = 48;
/// Reallocs that can be under way at one time in one thread: one, and those of signal handlers on top of it.
pub(crate) const REALLOCS_UNDER_WAY: usize = 4;
/// Pages of a lane with its books.
pub(crate) const LANE_PAGES: u32 = 2;

const _: () = assert!(size_of::<LaneWithState>() <= LANE_PAGES as usize * PAGE_BYTES);

/// A lane and its books, as they lie in a run of pages. All zero bytes are a valid start.
#[repr(C)]
pub(crate) struct LaneWithState {
    pub(crate) lane: Lane,
    pub(crate) counters: LaneCounters,
    pub(crate) state: FoldState,
}

/// Cumulative figures of a lane, over all threads that have had it. Written by the holder of the latch, read by all.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct LaneCounters {
    pub(crate) recorded: AtomicU64,
    pub(crate) own_events: AtomicU64,
    /// What happened to tracked pointers.
    pub(crate) pointer_events: AtomicU64,
    pub(crate) table_full: AtomicU64,
    pub(crate) total_blocks: AtomicU64,
    pub(crate) total_bytes: AtomicU64,
    pub(crate) freed_blocks: AtomicU64,
    pub(crate) freed_bytes: AtomicU64,
    pub(crate) reallocs: AtomicU64,
    pub(crate) cross_thread_frees: AtomicU64,
    /// Part of the freed figures that is due to other threads, whose free had waited.
    pub(crate) freed_for_others_blocks: AtomicU64,
    pub(crate) freed_for_others_bytes: AtomicU64,
    /// Blocks that were sampled, and what they stand for.
    pub(crate) sampled: SharedSums,
    /// The highest rise of live bytes inside one batch.
    pub(crate) high_water_bytes: AtomicU64,
    /// The longest span between two readings of the clock, in nanoseconds.
    pub(crate) longest_span_ns: AtomicU64,
    /// Up to when everything is booked, in nanoseconds.
    pub(crate) booked_until_ns: AtomicU64,
}

/// The cumulative figures of a lane at one moment, over all threads that have had it.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LaneFigures {
    pub(crate) attempted: u64,
    pub(crate) recorded: u64,
    pub(crate) total_blocks: u64,
    pub(crate) total_bytes: u64,
    pub(crate) freed_blocks: u64,
    pub(crate) freed_bytes: u64,
    pub(crate) cross_thread_frees: u64,
    pub(crate) freed_for_others_blocks: u64,
    pub(crate) freed_for_others_bytes: u64,
    pub(crate) lost: [u64; LossReason::COUNT],
}

/// The state of the folds of one lane. Touched under the lane's latch only.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct FoldState {
    /// The thread's row.
    pub(crate) row: u32,
    /// Allocations booked, as a running number.
    pub(crate) allocs: u32,
    /// Where the mark of the window lies that the tail is in.
    pub(crate) mark_index: u64,
    /// The head as an ordered fold observed it.
    pub(crate) order_head: u64,
    /// Up to when the words below the tail are dated.
    pub(crate) span_ns: u64,
    /// Events lost on the lane of which the timeline has been told.
    pub(crate) lost_told: u64,
    /// The figures at which the present thread took the lane over.
    pub(crate) inherited: LaneFigures,
    pub(crate) under_way: [Entry; REALLOCS_UNDER_WAY],
    pub(crate) nursery: Nursery,
    pub(crate) deltas: SiteDeltas,
    pub(crate) delta: SiteDelta,
    pub(crate) outbox_len: usize,
    /// 1 once a block that is in no total of the program has gone to the shared table.
    pub(crate) has_sent_excluded: u32,
    /// Live bytes by which the words that were booked since the lane was last booked to its head have raised the sums, at their
    /// highest since they were lowest.
    pub(crate) behind_bytes: i64,
    /// What of the outbox is just being handed on: up to where, and how far that has come. For whoever finds the books
    /// of a process that was killed; 0 and 0 at rest.
    pub(crate) handing: usize,
    pub(crate) handed: usize,
    /// Words below this are in the tables of the lane and in the shared one, though maybe not in the sums. For the same.
    pub(crate) applied_up_to: AtomicU64,
    pub(crate) outbox: [Entry; OUTBOX],
    pub(crate) youngest: [Entry; YOUNGEST],
}

/// The lane at the start of a run.
///
/// # Safety
/// A lane was made at `page`, and the region is never unmapped.
pub(crate) unsafe fn lane_at(pages: &Pages, page: u32) -> &'static Lane {
    // SAFETY: B1, the caller's promise; all zero bytes are a valid lane and all its fields are atomics.
    unsafe { &(*pages.at(page).cast::<LaneWithState>().cast_const()).lane }
}

/// The account next to a lane.
pub(crate) fn lane_counters_of(lane: &Lane) -> &LaneCounters {
    // SAFETY: B2, a lane lies at the start of a `LaneWithState`; the account's fields are atomics.
    unsafe { &(*std::ptr::from_ref(lane).cast::<LaneWithState>()).counters }
}

/// The books next to a lane, for the holder of its latch.
pub(crate) fn fold_state_of(lane: &Lane) -> NonNull<FoldState> {
    let both = std::ptr::from_ref(lane).cast::<LaneWithState>().cast_mut();
    // SAFETY: B2, as above; only an address is computed.
    unsafe { NonNull::new_unchecked(&raw mut (*both).state) }
}

impl LaneFigures {
    /// Reads the figures of a lane. Those of a killed process may have any value.
    pub(crate) fn read(lane: &Lane) -> LaneFigures {
        let counters = lane_counters_of(lane);
        let mut lost = LossReason::ALL.map(|reason| lane.lost(reason));
        let table_full = &mut lost[LossReason::TableFull as usize];
        *table_full = table_full.wrapping_add(LaneCounters::read(&counters.table_full));
        LaneFigures {
            recorded: LaneCounters::read(&counters.recorded),
            total_blocks: LaneCounters::read(&counters.total_blocks),
            total_bytes: LaneCounters::read(&counters.total_bytes),
            freed_blocks: LaneCounters::read(&counters.freed_blocks),
            freed_bytes: LaneCounters::read(&counters.freed_bytes),
            cross_thread_frees: LaneCounters::read(&counters.cross_thread_frees),
            freed_for_others_blocks: LaneCounters::read(&counters.freed_for_others_blocks),
            freed_for_others_bytes: LaneCounters::read(&counters.freed_for_others_bytes),
            lost,
            // Last: an event is attempted before it is anything else.
            attempted: lane.attempted(),
        }
    }

    /// What the lane's own thread has added since `before`: frees that were booked here for other threads are subtracted.
    pub(crate) fn since(&self, before: &LaneFigures) -> LaneFigures {
        let blocks = self.freed_for_others_blocks.wrapping_sub(before.freed_for_others_blocks);
        let bytes = self.freed_for_others_bytes.wrapping_sub(before.freed_for_others_bytes);
        LaneFigures {
            attempted: self.attempted.wrapping_sub(before.attempted),
            recorded: self.recorded.wrapping_sub(before.recorded),
            total_blocks: self.total_blocks.wrapping_sub(before.total_blocks),
            total_bytes: self.total_bytes.wrapping_sub(before.total_bytes),
            freed_blocks: self.freed_blocks.wrapping_sub(before.freed_blocks).wrapping_sub(blocks),
            freed_bytes: self.freed_bytes.wrapping_sub(before.freed_bytes).wrapping_sub(bytes),
            cross_thread_frees: self.cross_thread_frees.wrapping_sub(before.cross_thread_frees),
            lost: std::array::from_fn(|reason| self.lost[reason].saturating_sub(before.lost[reason])),
            ..LaneFigures::default()
        }
    }
}

impl LaneCounters {
    /// Reads one figure.
    pub(crate) fn read(figure: &AtomicU64) -> u64 {
        // relaxed: monotone counters with one writer at a time.
        figure.load(Ordering::Relaxed)
    }

    /// Raises a maximum.
    pub(crate) fn raise(figure: &AtomicU64, value: u64) {
        // relaxed: one writer at a time.
        if value > figure.load(Ordering::Relaxed) {
            figure.store(value, Ordering::Relaxed);
        }
    }
}
