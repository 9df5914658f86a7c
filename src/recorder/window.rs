//! Writing of records into a lane's window, and the change from one window to the next.
//!
//! A window is a run of words behind one time mark. It ends when it is full, when the epoch has changed, or when a wide
//! record does not fit. Most windows end because they are full, after some eighty events. Closing a window stores its
//! length in its mark. Opening the next window takes the time. If the segment is full too, it also gets another segment
//! from [`segments`](super::segments).

use std::sync::atomic::compiler_fence;

use super::gate::is_internal;
use super::process::PROCESS;
use super::record::{Record, RecordKind};
use super::segments::{help, is_to_help, next_segment};
use super::{background_thread, gate, latency, stacks, stamps, state};
use crate::profile::LossReason;
use crate::ring::event::{self, RECORD_WORDS_MAX};
use crate::ring::lane::{Lane, SEGMENT_WORDS};
use crate::sys::errno::KeptErrno;
use crate::sys::sync::{Ordering, fence};

/// Value of `mark_index` while no window is open.
const NO_MARK: u64 = u64::MAX;

/// Writes a record on a lane whose gate is closed only because events are sampled out. Returns whether it was written.
pub(super) fn write_open(lane: &Lane, record: &Record) -> bool {
    write(lane, 1, record)
}

/// Writes a record and opens the gate again; returns whether the record was written. `limit` is the value that closing
/// the gate returned.
pub(super) fn write(lane: &Lane, limit: u64, record: &Record) -> bool {
    // relaxed, everywhere in this file: only the lane's thread writes these words.
    let is_busy =
        lane.cold.writing.load(Ordering::Relaxed) > 0 || lane.cold.paused_depth.load(Ordering::Relaxed) > 0;
    let is_internal = is_internal(lane);
    if is_busy || (limit == 0 && !is_internal) {
        if record.kind == RecordKind::Alloc || record.kind == RecordKind::Free {
            lane.cold.nested.fetch_add(1, Ordering::Relaxed);
        }
        return false;
    }
    if is_internal && !state::current().records() {
        // An event of heapledger itself after the end of recording is not counted as lost.
        return false;
    }
    let _errno = KeptErrno::keep();
    lane.cold.writing.store(1, Ordering::Relaxed);
    compiler_fence(Ordering::SeqCst);
    if record.kind == RecordKind::Alloc || record.kind == RecordKind::Free {
        lane.attempt();
    }
    let written = match place(lane, record) {
        Ok(()) => true,
        Err(reason) => {
            if !matches!(record.kind, RecordKind::Control | RecordKind::PointerEvent) {
                lane.lose(reason);
            }
            false
        }
    };
    compiler_fence(Ordering::SeqCst);
    lane.cold.writing.store(0, Ordering::Relaxed);
    gate::open_if_due(lane);
    written
}

/// Publishes a record in the current window. Opens a new window first if the record does not fit or the epoch has
/// changed.
fn place(lane: &Lane, record: &Record) -> Result<(), LossReason> {
    let mut head = lane.head().own();
    let fits = head + record.len <= lane.cold.window_end.load(Ordering::Relaxed);
    let is_separated = stamps::is_separated(lane);
    if !fits || is_separated || lane.epoch() != PROCESS.epoch.now() {
        head = latency::counted(lane, || next_window(lane, record, is_separated))?;
    }
    for (word, index) in record.words.iter().take(record.len as usize).zip(head..) {
        // SAFETY: I2, the window holds the record.
        unsafe { lane.own_word(index) }.store(*word, Ordering::Relaxed);
    }
    lane.head().publish(head + record.len);
    lane.stamping().end();
    if is_separated {
        // Before the inner allocator frees the block, or anyone else is given it.
        state::tick();
    }
    Ok(())
}

/// Closes the current window and opens the next one, with room for the record. Returns the index of the record's first
/// word. `is_separated` is the result of `stamps::is_separated`.
fn next_window(lane: &Lane, record: &Record, is_separated: bool) -> Result<u64, LossReason> {
    if !state::current().records() {
        return Err(LossReason::AfterShutdown);
    }
    let ledger = state::ledger().ok_or(LossReason::NoMemory)?;
    let mut head = lane.head().own();
    let words_before = close_window(lane, head);
    let left = (SEGMENT_WORDS - head % SEGMENT_WORDS) % SEGMENT_WORDS;
    let has_segment = lane.cold.segments_held.load(Ordering::Relaxed) > 0;
    if !has_segment || left < 1 + RECORD_WORDS_MAX {
        if left > 0 && has_segment && head > 0 {
            // SAFETY: I2, the word lies in the segment that the lane leaves.
            unsafe { lane.own_word(head) }.store(0, Ordering::Relaxed);
            head += left;
            lane.head().publish(head);
        }
        lane.cold.window_end.store(head.max(1), Ordering::Relaxed);
        next_segment(lane, ledger, head / SEGMENT_WORDS, record.kind)?;
    } else if !ledger.is_ordered() && is_to_help(lane, ledger, head) {
        help(lane, ledger, state::mode());
    }
    let epoch = PROCESS.epoch.now();
    // Acquire: pairs with the release fences in `stamps`; a window of this epoch sees each change made before the
    // epoch.
    fence(Ordering::Acquire);
    if ledger.is_ordered() {
        lane.stamping().begin();
    }
    let read_clock = || match record.kind {
        // Where each event has a stamp, the stamp of a free must be later than the stamp of the allocation. So the
        // clock is read only after the loads that brought the address from the allocating thread.
        RecordKind::Alloc | RecordKind::SecondHalf | RecordKind::Free => ledger.clock.now_after_loads_ns(),
        RecordKind::PointerEvent | RecordKind::Control => ledger.clock.now_ns(),
    };
    let now_ns = if is_separated { ledger.internal_stamps.take(read_clock) } else { read_clock() };
    // SAFETY: I2, the mark lies in the current segment.
    unsafe { lane.own_word(head) }.store(event::mark_word(now_ns), Ordering::Relaxed);
    lane.cold.mark_index.store(head, Ordering::Relaxed);
    lane.set_epoch(epoch);
    let start = head + 1;
    let segment_end = (head | (SEGMENT_WORDS - 1)) + 1;
    let open_ns = now_ns.saturating_sub(lane.cold.opened_ns.load(Ordering::Relaxed));
    lane.cold.opened_ns.store(now_ns, Ordering::Relaxed);
    let words = background_thread::window_words(lane, ledger, record.len, words_before, open_ns);
    lane.cold.window_end.store((start + words).min(segment_end), Ordering::Relaxed);
    lane.store_level(|| state::level() as u32);
    stacks::update_walking(lane);
    background_thread::note_if_due(lane, ledger);
    Ok(start)
}

/// Stores the final word count in the window's time mark, and returns the count; 0 if no window is open.
fn close_window(lane: &Lane, head: u64) -> u64 {
    let mark_index = lane.cold.mark_index.load(Ordering::Relaxed);
    if mark_index == NO_MARK || lane.cold.segments_held.load(Ordering::Relaxed) == 0 {
        return 0;
    }
    // SAFETY: I2, the mark lies in the current segment, which only this thread writes.
    let mark = unsafe { lane.own_word(mark_index) };
    let length = head - mark_index - 1;
    mark.store(event::closed_mark(mark.load(Ordering::Relaxed), length), Ordering::Relaxed);
    lane.cold.mark_index.store(NO_MARK, Ordering::Relaxed);
    length
}
