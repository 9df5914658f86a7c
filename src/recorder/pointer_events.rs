//! RecordKind happens to tracked pointers, written into the same rings as what happens to the heap.
//!
//! So a clone has its place among the allocations and frees of its thread, with a time and a stack. It is in no figure
//! of the heap, and none of its own is kept here: whoever asks for a deed to be recorded is told whether it was, and
//! counts it if not. A deed is the first thing that a mode sheds, and a lane that leaves events out leaves it out.

use std::sync::atomic::compiler_fence;

use super::record::{Record, RecordKind};
use super::{stacks, state, thread, window};
use crate::profile::Stacks;
use crate::profile::tracked::Deed;
use crate::ring::event;
use crate::sys::sync::Ordering;

/// Records a deed; `held` are the holders after it. Says whether it is in the ring.
pub(crate) fn record(deed: Deed, pointer: u32, held: u64) -> bool {
    let Some(lane) = thread::lane_or_claim() else { return false };
    let limit = lane.close_gate();
    compiler_fence(Ordering::SeqCst);
    if limit == 0 {
        // Not to be opened: a record is being written, heapledger works here, or the lane leaves events out.
        return false;
    }
    let has_stack = lane.walks() && !matches!(state::options().stacks, Stacks::Sampled { .. });
    let stack = if has_stack { stacks::take(lane, 0) } else { 0 };
    let held = u32::try_from(held).unwrap_or(u32::MAX);
    let words = event::deed_words(deed as u64, pointer, held, stack);
    window::write(lane, limit, &Record::new(&words, RecordKind::PointerEvent))
}
