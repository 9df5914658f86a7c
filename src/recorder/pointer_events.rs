//! Recording of events of tracked pointers, in the same rings as events of the heap.
//!
//! An event of a tracked pointer, such as a clone or drop, is recorded among the allocations and frees of its thread,
//! with a time and a stack. The event is in no figure of the heap. The caller learns whether the event was recorded,
//! and counts a lost event. A mode that drops events drops pointer events first. No pointer event is recorded while
//! events are sampled out.

use std::sync::atomic::compiler_fence;

use super::record::{Record, RecordKind};
use super::{stacks, state, thread, window};
use crate::profile::Stacks;
use crate::profile::tracked::PointerEvent;
use crate::ring::event::pointer_words;
use crate::sys::sync::Ordering;

/// Records a pointer event. `held` is the number of holders of the pointer after the event. Returns whether the event
/// was recorded.
pub(crate) fn record(event: PointerEvent, pointer: u32, held: u64) -> bool {
    let Some(lane) = thread::lane_or_claim() else { return false };
    let limit = lane.close_gate();
    compiler_fence(Ordering::SeqCst);
    if limit == 0 {
        // The gate is closed: the thread writes a record or is in a scope of `internal`, or events are sampled out.
        return false;
    }
    let has_stack = lane.walks() && !matches!(state::options().stacks, Stacks::Sampled { .. });
    let stack = if has_stack { stacks::take(lane, 0, lane.scope()) } else { 0 };
    let held = u32::try_from(held).unwrap_or(u32::MAX);
    let words = pointer_words(event as u64, pointer, held, stack);
    window::write(lane, limit, &Record::new(&words, RecordKind::PointerEvent))
}
