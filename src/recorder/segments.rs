//! The choice of the next segment of a lane's ring.
//!
//! A thread whose segment is full *helps*: it folds its ring and reuses the oldest segment, whose words are booked by
//! then. Where folding is costly, the thread folds more often and fewer words at a time, or leaves its words to the
//! background thread (*offloads* them) while that thread keeps up (see [`background_thread`]).
//!
//! While another thread holds the lane's latch there may be no free segment. Then the mode decides:
//!
//! | mode | action |
//! | --- | --- |
//! | `PerfectAccuracy` | retry `max_retries` times, take a segment of the overflow pool, wait for the latch |
//! | `HighAccuracy` | as above for a free; an allocation is dropped instead of the wait for the latch |
//! | `HighThroughput` | take a segment of the overflow pool, drop |
//! | `BestEffort` | drop |
//!
//! A thread without enough stack for a fold takes further segments from the region, up to [`SEGMENT_SLOTS`], and then
//! drops.

use std::hint::spin_loop;

use super::process::{OFFLOAD_SEGMENTS_MAX, PROCESS};
use super::record::RecordKind;
use super::{background_thread, overflow_pool, stack_bounds, state, trace_backpressure};
use crate::fold::batch::Part;
use crate::ledger::Ledger;
use crate::profile::{DataQualityMode, LossReason};
use crate::ring::lane::{COSTLY_WORDS, Lane, SEGMENT_PAGES, SEGMENT_SLOTS, SEGMENT_WORDS, bump};
use crate::sys::pages::For;
use crate::sys::sync::Ordering;

/// Bytes of stack that a fold may use. A thread with less, on a small stack of a signal handler or a coroutine, does
/// not fold. It takes further segments instead, and folds later on a stack with enough room.
const FOLD_STACK_BYTES: u64 = if cfg!(debug_assertions) { 32 << 10 } else { 6 << 10 };

/// Maximum number of other lanes among which a thread looks for partners: lanes in whose nurseries its frees may find
/// blocks.
const LANES_LOOKED_AT: u32 = 32;
/// Maximum number of words of a partner's ring that a thread books before the words of its own ring.
const PARTNER_WORDS_MAX: u64 = 2 * SEGMENT_WORDS;

/// Minimum number of segments of a lane: one that is written, one that is folded, and two of history.
pub(crate) const SEGMENTS_HOME: u32 = 4;

/// Maximum number of segments of a lane; its other slots are for segments of the overflow pool.
pub(crate) const SEGMENTS_MAX: u32 = 48;

// Checks that a lane has slots for the segments that wait for the background thread, and for the current segment.
const _: () = assert!(OFFLOAD_SEGMENTS_MAX < SEGMENTS_MAX);

/// Minimum duration of one `spin_loop`, in nanoseconds. On many machines `spin_loop` takes ten times as long.
const SPIN_NS_MIN: u64 = 4;

/// Number of calls of `spin_loop` between two clock readings.
const SPINS_PER_LOOK: u64 = 8;

/// Maximum delay between two retries, in nanoseconds; the configured delay is cut to it.
const DELAY_NS_MAX: u64 = 100_000;

/// Makes a segment the current one, for the words from `number × SEGMENT_WORDS` on. Returns an error, the reason of the
/// loss, if the record has to be dropped.
pub(super) fn next_segment(
    lane: &Lane,
    ledger: &Ledger,
    number: u64,
    kind: RecordKind,
) -> Result<(), LossReason> {
    let mode = mode_for(kind);
    if lane.cold.segments_held.load(Ordering::Relaxed) > 0 && is_to_help(lane, ledger, number * SEGMENT_WORDS)
    {
        help(lane, ledger, mode);
    }
    let (home, offload) = (segments_home(), background_thread::offload_segments_of(lane, ledger));
    let mut tries = 0;
    loop {
        let held = lane.cold.segments_held.load(Ordering::Relaxed);
        if held < home
            && let Some(page) = ledger.pages.take(SEGMENT_PAGES, For::Rings)
        {
            return enter(lane, ledger, number, page, held + 1);
        }
        if held == 0 {
            return Err(LossReason::NoMemory);
        }
        let oldest = lane.cold.oldest.own() / SEGMENT_WORDS;
        if (oldest + 1) * SEGMENT_WORDS <= lane.folder.tail.observe() {
            let page = lane.segment_page(oldest);
            lane.cold.oldest.pass((oldest + 1) * SEGMENT_WORDS);
            if held <= home.max(offload) {
                return enter(lane, ledger, number, page, held);
            }
            overflow_pool::give_back(ledger, page);
            lane.cold.segments_held.store(held - 1, Ordering::Relaxed);
            continue;
        }
        if held < offload
            && let Some(page) = ledger.pages.take(SEGMENT_PAGES, For::Rings)
        {
            return enter(lane, ledger, number, page, held + 1);
        }
        if mode == DataQualityMode::BestEffort {
            return Err(LossReason::RingFull);
        }
        if !has_room_to_fold(lane) {
            return further_segment(lane, ledger, number, held);
        }
        let config = &state::options().concurrency;
        let may_wait = mode != DataQualityMode::HighThroughput;
        if may_wait && tries < config.max_retries {
            pause(ledger, config.base_delay_ns, tries);
            tries += 1;
            // Folds just enough words to free the oldest segment where folding is costly.
            let words = if lane.folder.is_costly() { SEGMENT_WORDS } else { u64::MAX };
            ledger.try_fold(lane, Part::of_words(words));
            continue;
        }
        if config.enable_overflow_buffer
            && u64::from(held) < SEGMENT_SLOTS - 1
            && let Some(page) = overflow_pool::take()
        {
            bump(&lane.cold.overflow_segments);
            return enter(lane, ledger, number, page, held + 1);
        }
        let may_shed = matches!(kind, RecordKind::Alloc | RecordKind::PointerEvent);
        if !may_wait || mode == DataQualityMode::HighAccuracy && may_shed {
            return Err(LossReason::RingFull);
        }
        bump(&lane.cold.waits);
        ledger.fold(lane);
    }
}

/// Makes a further segment of the region the current one, for a thread that has too little stack to fold.
fn further_segment(lane: &Lane, ledger: &Ledger, number: u64, held: u32) -> Result<(), LossReason> {
    let has_slot = u64::from(held) < SEGMENT_SLOTS - 1;
    let page = has_slot
        .then(|| ledger.pages.take(SEGMENT_PAGES, For::Rings))
        .flatten()
        .ok_or(LossReason::RingFull)?;
    enter(lane, ledger, number, page, held + 1)
}

/// Returns the mode in force for a record of this kind.
fn mode_for(kind: RecordKind) -> DataQualityMode {
    match kind {
        // Never dropped: without the record of a thread's end, its events would be counted for the next thread. The
        // wait is acceptable, because a thread that starts or ends has waited for the latch anyway.
        RecordKind::Control => DataQualityMode::PerfectAccuracy,
        RecordKind::Alloc | RecordKind::Free | RecordKind::SecondHalf | RecordKind::PointerEvent => {
            state::mode()
        }
    }
}

/// Returns whether the lane's thread has to fold its ring now. Without offloading, it has to at the end of a segment,
/// or when enough words wait. With offloading, it has to when too many words wait for the background thread.
pub(super) fn is_to_help(lane: &Lane, ledger: &Ledger, head: u64) -> bool {
    let waiting = head - lane.folder.tail.observe();
    let is_at_end = head.is_multiple_of(SEGMENT_WORDS);
    if background_thread::offloads(lane, ledger) {
        background_thread::exceeds_offload(waiting)
    } else {
        is_at_end || waiting >= lane.folder.words_before_help()
    }
}

/// Folds the lane's ring unless another thread is folding it or the mode forbids it. Where folding is costly, folds
/// only a part.
pub(super) fn help(lane: &Lane, ledger: &Ledger, mode: DataQualityMode) {
    if matches!(mode, DataQualityMode::BestEffort) || !has_room_to_fold(lane) {
        return;
    }
    trace_backpressure::wait_for_trace(ledger, lane, mode);
    let part = Part::of_words(if lane.folder.is_costly() { COSTLY_WORDS } else { u64::MAX });
    let done = if lane.folder.has_remote_frees() && background_thread::may_book_others(ledger) {
        let ahead = Part::of_words(PARTNER_WORDS_MAX);
        ledger.try_fold_with(lane, part, possible_partners(lane, ledger), ahead)
    } else {
        ledger.try_fold(lane, part)
    };
    if done {
        bump(&lane.cold.folds_at_home);
    }
}

/// Returns the lanes, among the next [`LANES_LOOKED_AT`], that may have allocated blocks that the lane's thread has
/// freed.
fn possible_partners<'a>(lane: &'a Lane, ledger: &'a Ledger) -> impl Iterator<Item = &'a Lane> {
    let (own, count) = (lane.cold.index.load(Ordering::Relaxed), ledger.lanes.count());
    let others = (1..count.min(LANES_LOOKED_AT + 1)).map(move |distance| (own + distance) % count);
    others.filter_map(|index| ledger.lane(index)).filter(|other| other.folder.gives_blocks())
}

/// Returns whether the thread has enough free stack for a fold.
fn has_room_to_fold(lane: &Lane) -> bool {
    stack_bounds::has_room(&lane.cold.walker, FOLD_STACK_BYTES)
}

/// Makes the segment at `page` the current one, for the words of segment `number`. The lane then holds `held` segments.
fn enter(lane: &Lane, ledger: &Ledger, number: u64, page: u32, held: u32) -> Result<(), LossReason> {
    lane.enter_segment(&ledger.pages, number, page);
    lane.cold.segments_held.store(held, Ordering::Relaxed);
    Ok(())
}

/// Returns the number of segments that a lane keeps: the number set by [`ask_for_segments`] if there is one, otherwise
/// the larger of the builder's number and the number that holds the lane's share of the history.
pub(crate) fn segments_home() -> u32 {
    let asked = PROCESS.control.segments_asked.load(Ordering::Relaxed);
    if asked != 0 {
        return asked;
    }
    let options = state::options();
    let limits = &options.history;
    // An event takes one and a half words on average.
    let words = limits.events.saturating_mul(3) / 2;
    let segments = words.div_ceil(SEGMENT_WORDS).min(limits.bytes / (SEGMENT_WORDS * 8));
    let segments = segments.max(options.ring_bytes.div_ceil(SEGMENT_WORDS * 8));
    segments.clamp(u64::from(SEGMENTS_HOME), u64::from(SEGMENTS_MAX)) as u32
}

/// Sets the number of segments of each lane. A lane adapts when it next needs a segment: it takes more segments, or
/// gives booked segments back.
pub(crate) fn ask_for_segments(segments: u32) {
    // relaxed: each lane reads it at its next segment.
    PROCESS.control.segments_asked.store(segments.clamp(SEGMENTS_HOME, SEGMENTS_MAX), Ordering::Relaxed);
}

/// Spins for `base_ns` nanoseconds, doubled with each retry up to [`DELAY_NS_MAX`]. The number of rounds is bounded
/// too, in case the clock does not advance.
fn pause(ledger: &Ledger, base_ns: u64, tries: u32) {
    let delay_ns = base_ns.saturating_mul(1 << tries.min(20)).min(DELAY_NS_MAX);
    let began_ns = ledger.clock.now_ns();
    for round in 1..=delay_ns / SPIN_NS_MIN {
        spin_loop();
        if round % SPINS_PER_LOOK == 0 && ledger.clock.now_ns().saturating_sub(began_ns) >= delay_ns {
            return;
        }
    }
}
