//! A lane (the ring of one thread) with its counters and the state of its folds. A fold books events of the lane. Only
//! the holder of the lane's latch changes the counters and the state.
//!
//! ```text
//! page 0                                                   page 1
//! ┌──────┬───────────────┬────────────┬────────────────────┴──┬─────────┬───────────────┐
//! │ Lane │ lane counters │ fold state │ site delta of stack 0 │ outbox  │ first nursery │
//! └──────┴───────────────┴────────────┴───────────────────────┴─────────┴───────────────┘
//! ```
//!
//! Invariants: **B1** every page number in the registry is the page of a `LaneWithState`. **B2** every `&Lane` that is
//! passed around points to the lane of a `LaneWithState`. **B3** the fold state is accessed under the latch of its lane
//! only.

use std::ptr::NonNull;

use super::entry::Entry;
use super::estimate::SharedSums;
use super::nursery::{Nursery, YOUNGEST};
use super::pushed_out::PushedOut;
use super::site_delta::SiteDelta;
use super::site_deltas::SiteDeltas;
use crate::profile::LossReason;
use crate::ring::lane::Lane;
use crate::sys::compiler_barrier::compiler_barrier;
use crate::sys::pages::{PAGE_BYTES, Pages};
use crate::sys::sync::{AtomicU64, Ordering};

/// Number of entries of the outbox, which collects blocks and frees for the shared table.
pub(crate) const OUTBOX: usize = 48;
/// Maximum number of reallocs of one thread whose second half is not booked yet. One of them belongs to the thread's
/// normal code, the others belong to signal handlers that interrupted it.
pub(crate) const REALLOCS_UNDER_WAY: usize = 4;
/// Pages of a lane with its counters and state.
pub(crate) const LANE_PAGES: u32 = 2;

const _: () = assert!(size_of::<LaneWithState>() <= LANE_PAGES as usize * PAGE_BYTES);

/// A lane with its counters and state, as they are laid out in a run of pages. All zero bytes are a valid start.
#[repr(C)]
pub(crate) struct LaneWithState {
    pub(crate) lane: Lane,
    pub(crate) counters: LaneCounters,
    pub(crate) state: FoldState,
}

/// Cumulative counters of a lane, over all threads that have used it. Written by the holder of the latch, read by any
/// thread.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct LaneCounters {
    pub(crate) recorded: AtomicU64,
    pub(crate) own_events: AtomicU64,
    /// Number of events of tracked pointers.
    pub(crate) pointer_events: AtomicU64,
    pub(crate) table_full: AtomicU64,
    pub(crate) total_blocks: AtomicU64,
    pub(crate) total_bytes: AtomicU64,
    pub(crate) freed_blocks: AtomicU64,
    pub(crate) freed_bytes: AtomicU64,
    pub(crate) reallocs: AtomicU64,
    pub(crate) cross_thread_frees: AtomicU64,
    /// Number of frees by threads of other lanes that folds of this lane paired with their blocks. The free or the
    /// block had waited in the shared table before. `freed_blocks` includes these frees.
    pub(crate) freed_for_others_blocks: AtomicU64,
    pub(crate) freed_for_others_bytes: AtomicU64,
    /// Sums of the sampled blocks, and the estimates from them.
    pub(crate) sampled: SharedSums,
    /// Highest number of live bytes within one batch.
    pub(crate) high_water_bytes: AtomicU64,
    /// Longest time between two readings of the clock, in nanoseconds.
    pub(crate) longest_span_ns: AtomicU64,
    /// Time up to which all events are booked, in nanoseconds.
    pub(crate) booked_until_ns: AtomicU64,
}

/// The cumulative figures of a lane at one moment, over all threads that have used it.
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

/// The state of the folds of one lane. It is accessed under the lane's latch only.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct FoldState {
    /// Row of the lane's thread.
    pub(crate) row: u32,
    /// Number of booked allocations of the lane. The number wraps.
    pub(crate) allocs: u32,
    /// Index of the time mark of the window that holds the tail, and the time of this mark in nanoseconds.
    pub(crate) mark_index: u64,
    pub(crate) mark_ns: u64,
    /// The head of the ring, as the current ordered fold observed it.
    pub(crate) order_head: u64,
    /// Latest time of a word below the tail, in nanoseconds.
    pub(crate) span_ns: u64,
    /// Number of the lane's lost events that are already in the timeline.
    pub(crate) lost_told: u64,
    /// The lane's figures at the moment when the present thread claimed the lane.
    pub(crate) inherited: LaneFigures,
    /// First halves of reallocs whose second halves are not booked yet.
    pub(crate) under_way: [Entry; REALLOCS_UNDER_WAY],
    pub(crate) nursery: Nursery,
    /// The newest blocks that left the nursery.
    pub(crate) pushed_out: PushedOut,
    pub(crate) deltas: SiteDeltas,
    pub(crate) delta: SiteDelta,
    pub(crate) outbox_len: usize,
    /// 1 after an internal or sampled block was sent to the shared table; 0 before.
    pub(crate) has_sent_excluded: u32,
    /// Number of times that the lane was booked up to its head.
    pub(crate) caught_up: u32,
    /// Growth of the live bytes since the lane was last booked up to its head; at least 0.
    pub(crate) behind_bytes: i64,
    /// Number of outbox entries in the current delivery to the shared table; `handed` is the number of entries that are
    /// already delivered. Both are 0 between deliveries. The reader of a killed process's black box needs both numbers.
    pub(crate) handing: usize,
    pub(crate) handed: usize,
    /// Index below which the events of all words are in the nursery or the shared table. The sums may still lack some
    /// of these events. The reader of a killed process's black box needs the index.
    pub(crate) applied_up_to: AtomicU64,
    pub(crate) outbox: [Entry; OUTBOX],
    pub(crate) youngest: [Entry; YOUNGEST],
}

/// Returns the lane at the start of a run.
///
/// # Safety
/// A lane was made at `page`, and the region is never unmapped.
pub(crate) unsafe fn lane_at(pages: &Pages, page: u32) -> &'static Lane {
    // SAFETY: B1, the caller's promise; all zero bytes are a valid lane and all its fields are atomics.
    unsafe { &(*pages.at(page).cast::<LaneWithState>().cast_const()).lane }
}

/// Returns the counters next to a lane.
pub(crate) fn lane_counters_of(lane: &Lane) -> &LaneCounters {
    // SAFETY: B2, a lane lies at the start of a `LaneWithState`; the counters are atomics.
    unsafe { &(*std::ptr::from_ref(lane).cast::<LaneWithState>()).counters }
}

/// Returns the fold state next to a lane, for the holder of the lane's latch.
pub(crate) fn fold_state_of(lane: &Lane) -> NonNull<FoldState> {
    let both = std::ptr::from_ref(lane).cast::<LaneWithState>().cast_mut();
    // SAFETY: B2, as above; only an address is computed.
    unsafe { NonNull::new_unchecked(&raw mut (*both).state) }
}

impl FoldState {
    /// Notes that the events of all words below `index` are in the nursery or the shared table.
    #[inline(always)]
    pub(crate) fn note_applied_up_to(&self, index: u64) {
        compiler_barrier();
        // relaxed: read from a file, when the process is gone.
        self.applied_up_to.store(index, Ordering::Relaxed);
        compiler_barrier();
    }
}

impl LaneFigures {
    /// Reads the figures of a lane. The figures of a killed process may have any value.
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
            // Read last, because an event counts as attempted before it is counted in any other way.
            attempted: lane.attempted(),
        }
    }

    /// Returns the figures that the lane's thread has added since `before`. Frees that were booked on this lane for
    /// other threads are subtracted.
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
    /// Reads one counter.
    pub(crate) fn read(figure: &AtomicU64) -> u64 {
        // relaxed: monotone counters with one writer at a time.
        figure.load(Ordering::Relaxed)
    }

    /// Raises a maximum to `value` if `value` is higher.
    pub(crate) fn raise(figure: &AtomicU64, value: u64) {
        // relaxed: one writer at a time.
        if value > figure.load(Ordering::Relaxed) {
            figure.store(value, Ordering::Relaxed);
        }
    }
}
