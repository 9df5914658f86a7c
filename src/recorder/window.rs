//! The window: writing a record into it, closing it and opening the next one.

use std::sync::atomic::compiler_fence;

use super::gate::is_own;
use super::process::PROCESS;
use super::record::{Record, RecordKind};
use super::segments::{help, is_to_help, next_segment};
use super::{background_thread, gate, latency, stacks, state};
use crate::profile::LossReason;
use crate::ring::event::{self, RECORD_WORDS_MAX};
use crate::ring::lane::{Lane, SEGMENT_WORDS};
use crate::sys::errno::KeptErrno;
use crate::sys::sync::Ordering;

/// No window is open.
const NO_MARK: u64 = u64::MAX;

/// Writes a record on a lane whose gate is closed only because it leaves others out.
pub(super) fn write_open(lane: &Lane, record: &Record) -> bool {
    write(lane, 1, record)
}

/// Writes a record whose gate stood at `limit`. Says whether it was recorded.
pub(super) fn write(lane: &Lane, limit: u64, record: &Record) -> bool {
    // relaxed, everywhere in this file: the line of the lane that only its thread writes.
    let is_busy =
        lane.cold.writing.load(Ordering::Relaxed) > 0 || lane.cold.quiet_depth.load(Ordering::Relaxed) > 0;
    let is_own = is_own(lane);
    if is_busy || (limit == 0 && !is_own) {
        if record.kind == RecordKind::Alloc || record.kind == RecordKind::Free {
            lane.cold.nested.fetch_add(1, Ordering::Relaxed);
        }
        return false;
    }
    if is_own && !state::current().records() {
        // heapledger's own work after the books were closed is no loss of the program's.
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

/// Puts a record into the window at hand, or into the next one.
fn place(lane: &Lane, record: &Record) -> Result<(), LossReason> {
    let mut head = lane.head().own();
    let fits = head + record.len <= lane.cold.window_end.load(Ordering::Relaxed);
    if !fits || lane.epoch() != PROCESS.epoch.now() {
        head = latency::counted(lane, || next_window(lane, record))?;
    }
    for (word, index) in record.words.iter().take(record.len as usize).zip(head..) {
        // SAFETY: I2, the window holds the record.
        unsafe { lane.own_word(index) }.store(*word, Ordering::Relaxed);
    }
    lane.head().publish(head + record.len);
    lane.stamping().end();
    Ok(())
}

/// Closes the window at hand and opens the next one, long enough for the record. Returns where it goes.
fn next_window(lane: &Lane, record: &Record) -> Result<u64, LossReason> {
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
            // SAFETY: I2, the word is in the segment that is being left.
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
    if ledger.is_ordered() {
        lane.stamping().begin();
    }
    let now_ns = match record.kind {
        RecordKind::Alloc | RecordKind::SecondHalf => ledger.clock.now_after_loads_ns(),
        // Nor may the stamp of a free be taken before the thread has learnt of the block: its maker's stamp would
        // be the later one. Where there is one stamp for many events, that is within the doubt.
        RecordKind::Free if ledger.is_ordered() => ledger.clock.now_after_loads_ns(),
        RecordKind::Free | RecordKind::PointerEvent | RecordKind::Control => ledger.clock.now_ns(),
    };
    // SAFETY: I2, the mark is in the segment at hand.
    unsafe { lane.own_word(head) }.store(event::mark_word(now_ns), Ordering::Relaxed);
    lane.cold.mark_index.store(head, Ordering::Relaxed);
    lane.set_epoch(epoch);
    let start = head + 1;
    let segment_end = (head | (SEGMENT_WORDS - 1)) + 1;
    let open_ns = now_ns.saturating_sub(lane.cold.opened_ns.load(Ordering::Relaxed));
    lane.cold.opened_ns.store(now_ns, Ordering::Relaxed);
    let words = background_thread::window_words(lane, record.len, words_before, open_ns);
    lane.cold.window_end.store((start + words).min(segment_end), Ordering::Relaxed);
    lane.cold.level.store(state::level() as u32, Ordering::Relaxed);
    stacks::follow(lane);
    background_thread::start_if_due(lane, ledger);
    Ok(start)
}

/// Lets the mark of the window at hand know how long it became, and returns that.
fn close_window(lane: &Lane, head: u64) -> u64 {
    let mark_index = lane.cold.mark_index.load(Ordering::Relaxed);
    if mark_index == NO_MARK || lane.cold.segments_held.load(Ordering::Relaxed) == 0 {
        return 0;
    }
    // SAFETY: I2, the mark lies in the segment at hand, where no one else writes.
    let mark = unsafe { lane.own_word(mark_index) };
    let length = head - mark_index - 1;
    mark.store(event::closed_mark(mark.load(Ordering::Relaxed), length), Ordering::Relaxed);
    lane.cold.mark_index.store(NO_MARK, Ordering::Relaxed);
    length
}
