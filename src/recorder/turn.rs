//! The turn of a window: everything about a record that the hot path leaves out.
//!
//! A record comes here when it does not fit into the window, when the epoch has changed, when it is wide, when the
//! gate is closed, or when the thread has no lane. In the usual case, once in some eighty events, the window is full:
//! the turn closes it (its mark learns its length), takes the time, and opens the next one. Every eighth or so
//! time the segment is full as well: then the thread folds what it wrote (it *helps*) and goes on in a segment whose
//! words are folded. Where folding is dear it does so more often, and books less at one time; or leaves it to heapledger's own
//! thread, as long as that keeps up (see `own_thread`).
//!
//! When there is none, because someone else holds the lane's latch, the mode decides:
//!
//! | mode | then |
//! | --- | --- |
//! | `PerfectAccuracy` | try again `max_retries` times, take a spare segment, wait for the latch |
//! | `HighAccuracy` | the same, but an allocation is shed where a free waits |
//! | `HighThroughput` | take a spare segment, shed |
//! | `BestEffort` | shed |

use std::hint::spin_loop;
use std::sync::atomic::compiler_fence;

use super::allocator::Opener;
use super::lifecycle::{self, EPOCH};
use super::{gate, latency, own_thread, pacing, sampling, spare, stacks, thread};
use crate::fold::batch::Part;
use crate::ledger::Ledger;
use crate::profile::{DataQualityMode, LossReason};
use crate::ring::event::{self, RECORD_WORDS_MAX, Tag, Traits};
use crate::ring::lane::{DEAR_WORDS, Lane, SEGMENT_PAGES, SEGMENT_SLOTS, SEGMENT_WORDS, bump};
use crate::sys::errno::KeptErrno;
use crate::sys::sync::{AtomicU32, Ordering};
use crate::sys::tls;

/// Segments that every lane has: one to write, one being folded, two of history.
pub(crate) const SEGMENTS_HOME: u32 = 4;
/// Segments of one lane at most; the rest of its slots stay free for spares.
pub(crate) const SEGMENTS_MAX: u32 = 48;
/// Nanoseconds that one round of `spin_loop` takes at least; on many machines it is ten times as much.
const SPIN_NS_MIN: u64 = 4;
/// Rounds of it from one look at the clock to the next.
const SPINS_PER_LOOK: u64 = 8;
/// The longest single wait between two tries, in nanoseconds, whatever is configured.
const DELAY_NS_MAX: u64 = 100_000;
/// No window is open.
const NO_MARK: u64 = u64::MAX;

/// Segments that every lane is to have; 0 while the limits of the history decide.
static SEGMENTS_ASKED: AtomicU32 = AtomicU32::new(0);

/// A record that is to be written.
#[derive(Clone, Copy)]
pub(super) struct Record {
    words: [u64; RECORD_WORDS_MAX as usize],
    len: u64,
    what: What,
}

/// What the turn has to know of a record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// Its stamp must not be taken before the inner allocator has returned.
    Alloc,
    Free,
    /// The second half of an event that was counted with its first.
    SecondHalf,
    /// What happened to a tracked pointer. Whoever records it counts what is lost of it.
    Deed,
    /// No event.
    Remark,
}

impl Record {
    pub(super) fn new(words: &[u64], what: What) -> Record {
        let mut record = Record { words: [0; RECORD_WORDS_MAX as usize], len: words.len() as u64, what };
        record.words[..words.len()].copy_from_slice(words);
        record
    }
}

/// An allocation of a thread that has no lane yet, or leaves events out.
#[cold]
pub(super) fn alloc_aside(opener: Opener<'_>, block: *mut u8, size: usize, traits: Traits) -> *mut u8 {
    if let Some(lane) = lane(opener) {
        let (limit, size) = (lane.close_gate(), size as u64);
        alloc(lane, limit, block.addr() as u64, size, traits, stack_aside(lane, limit, size));
    }
    block
}

#[cold]
pub(super) fn free_aside(opener: Opener<'_>, address: u64, size: u64) {
    if let Some(lane) = lane(opener) {
        free(lane, lane.close_gate(), address, size);
    }
}

/// The stack of an allocation whose gate stood at `limit`. An event that finds it closed has none: it is a handler's, or
/// heapledger's own.
#[inline(always)]
pub(super) fn stack_at(lane: &Lane, limit: u64, size: u64) -> u32 {
    if lane.walks() && limit != 0 { stacks::take(lane, size) } else { 0 }
}

/// The same where an event takes its time, so that the walk does not stand in each of these places.
#[inline(never)]
pub(super) fn stack_aside(lane: &Lane, limit: u64, size: u64) -> u32 {
    if limit == 0 { 0 } else { stack_alone(lane, size) }
}

/// The stack of an allocation on a lane that may leave events out: there a closed gate keeps no handler from walking too, so this
/// says that a record is being written.
pub(super) fn stack_alone(lane: &Lane, size: u64) -> u32 {
    if !lane.walks() {
        return 0;
    }
    while_writing(lane, || stacks::take(lane, size))
}

/// Does something during which events of handlers are refused, whatever the gate says.
#[inline(always)]
fn while_writing<T>(lane: &Lane, body: impl FnOnce() -> T) -> T {
    let before = lane.cold.writing.load(Ordering::Relaxed);
    lane.cold.writing.store(1, Ordering::Relaxed);
    compiler_fence(Ordering::SeqCst);
    let result = body();
    compiler_fence(Ordering::SeqCst);
    lane.cold.writing.store(before, Ordering::Relaxed);
    result
}

#[cold]
pub(super) fn alloc(lane: &Lane, limit: u64, address: u64, size: u64, traits: Traits, stack: u32) {
    match gate_of(lane, limit) {
        Gate::Apart => sampling::alloc(lane, address, size, traits),
        Gate::At(limit) => {
            if write(lane, limit, &alloc_record(address, size, marked(lane, traits), stack)) {
                sampling::note_own(lane, address);
            }
        }
    }
}

#[cold]
pub(super) fn free(lane: &Lane, limit: u64, address: u64, size: u64) {
    match gate_of(lane, limit) {
        Gate::Apart => sampling::free(lane, address, size),
        Gate::At(limit) => {
            sampling::forget_own(lane, address);
            let is_whole = sampling::may_mean_what_was_left_out(lane);
            let record = if is_whole { whole_free_record(address, size) } else { free_record(address, size) };
            write(lane, limit, &record);
        }
    }
}

pub(super) fn alloc_record(address: u64, size: u64, traits: Traits, stack: u32) -> Record {
    if event::is_narrow(address, size) {
        Record::new(&event::alloc_words(address, size, traits, stack), What::Alloc)
    } else {
        let fields = [address, size, u64::from(stack), 0];
        Record::new(&event::wide_words(Tag::Alloc, traits, fields), What::Alloc)
    }
}

pub(super) fn free_record(address: u64, size: u64) -> Record {
    if event::is_narrow(address, 0) {
        Record::new(&[event::free_word(address, size)], What::Free)
    } else {
        whole_free_record(address, size)
    }
}

/// A free with its whole size: if the ledger does not know the block, it is counted as left out.
pub(super) fn whole_free_record(address: u64, size: u64) -> Record {
    Record::new(&event::wide_words(Tag::Free, Traits::default(), [address, size, 0, 0]), What::Free)
}

pub(super) fn thread_starts(lane: &Lane, row: u32) {
    // relaxed, all: the thread's own line. The one before may have been ended in the midst of anything.
    lane.cold.writing.store(0, Ordering::Relaxed);
    lane.cold.own_depth.store(0, Ordering::Relaxed);
    lane.cold.quiet_depth.store(0, Ordering::Relaxed);
    // There is no window yet; with this limit it counts as full, not as closed.
    write(lane, 1, &Record::new(&[event::thread_word(true, row)], What::Remark));
}

pub(super) fn thread_ends(lane: &Lane) {
    // Closed before the latch is taken: an event of a handler that finds the ring full would wait for it.
    let limit = match lane.close_gate() {
        // It was closed only because the lane leaves events out.
        0 if is_idle(lane) => 1,
        limit => limit,
    };
    let row = row_of(lane);
    write(lane, limit, &Record::new(&[event::thread_word(false, row)], What::Remark));
}

/// The row in a lane's books. An event of a handler meanwhile must not wait for their latch, whatever is left out.
fn row_of(lane: &Lane) -> u32 {
    while_writing(lane, || {
        let _taken = lane.folder.latch.take();
        // SAFETY: B3, the latch is held.
        unsafe { crate::ledger::books::books_of(lane).as_ref() }.row
    })
}

/// Forgets what the tuner asked for, in a forked child.
pub(super) fn forget() {
    // relaxed: there is one thread.
    SEGMENTS_ASKED.store(0, Ordering::Relaxed);
}

pub(super) fn lane(opener: Opener<'_>) -> Option<&'static Lane> {
    thread::lane_of_slot(tls::get()).or_else(|| thread::lane_for_event(opener))
}

/// The traits of an allocation, with the mark of heapledger's own if the thread is in such a section.
pub(super) fn marked(lane: &Lane, traits: Traits) -> Traits {
    if is_own(lane) { traits.as_own() } else { traits }
}

/// Whether the thread works for heapledger itself.
pub(super) fn is_own(lane: &Lane) -> bool {
    // relaxed: the thread's own line.
    lane.cold.own_depth.load(Ordering::Relaxed) > 0
}

/// Where the gate of a lane stood, and what that means.
pub(super) enum Gate {
    /// It stood at this limit; 0 if it was closed.
    At(u64),
    /// The lane leaves events out.
    Apart,
}

/// Takes up the level that is in force, unless the lane is in the midst of something: an event is recorded or left out as others
/// leave out what it is about. The block that is freed here may be one that another thread has left out already.
pub(super) fn gate_of(lane: &Lane, limit: u64) -> Gate {
    // A gate that is closed although the lane records everything is that of an event which this one interrupts.
    let may_have_changed = limit != 0 && lane.epoch() != EPOCH.now();
    if !(sampling::left_out(lane) || may_have_changed) || !is_idle(lane) {
        return Gate::At(limit);
    }
    if !sampling::leaves_out(lane) {
        // Should the lane have gone back to recording all, its window counts as full.
        return Gate::At(limit.max(1));
    }
    gate::open_if_due(lane);
    Gate::Apart
}

/// Whether no record of the thread is being written, and it works for the program.
pub(super) fn is_idle(lane: &Lane) -> bool {
    let cold = &lane.cold;
    let load = |word: &AtomicU32| word.load(Ordering::Relaxed);
    load(&cold.writing) + load(&cold.quiet_depth) + load(&cold.own_depth) == 0
}

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
        if record.what == What::Alloc || record.what == What::Free {
            lane.cold.nested.fetch_add(1, Ordering::Relaxed);
        }
        return false;
    }
    if is_own && !lifecycle::state().records() {
        // heapledger's own work after the books were closed is no loss of the program's.
        return false;
    }
    let _errno = KeptErrno::keep();
    lane.cold.writing.store(1, Ordering::Relaxed);
    compiler_fence(Ordering::SeqCst);
    if record.what == What::Alloc || record.what == What::Free {
        lane.attempt();
    }
    let written = match place(lane, record) {
        Ok(()) => true,
        Err(reason) => {
            if !matches!(record.what, What::Remark | What::Deed) {
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
    if !fits || lane.epoch() != EPOCH.now() {
        head = latency::counted(lane, || turn(lane, record))?;
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
fn turn(lane: &Lane, record: &Record) -> Result<u64, LossReason> {
    if !lifecycle::state().records() {
        return Err(LossReason::AfterShutdown);
    }
    let ledger = lifecycle::ledger().ok_or(LossReason::NoMemory)?;
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
        next_segment(lane, ledger, head / SEGMENT_WORDS, record.what)?;
    } else if !ledger.is_ordered() && is_to_help(lane, ledger, head) {
        help(lane, ledger, lifecycle::mode());
    }
    let epoch = EPOCH.now();
    if ledger.is_ordered() {
        lane.stamping().begin();
    }
    let now_ns = match record.what {
        What::Alloc | What::SecondHalf => ledger.clock.now_after_loads_ns(),
        // Nor may the stamp of a free be taken before the thread has learnt of the block: its maker's stamp would
        // be the later one. Where there is one stamp for many events, that is within the doubt.
        What::Free if ledger.is_ordered() => ledger.clock.now_after_loads_ns(),
        What::Free | What::Deed | What::Remark => ledger.clock.now_ns(),
    };
    // SAFETY: I2, the mark is in the segment at hand.
    unsafe { lane.own_word(head) }.store(event::mark_word(now_ns), Ordering::Relaxed);
    lane.cold.mark_index.store(head, Ordering::Relaxed);
    lane.set_epoch(epoch);
    let start = head + 1;
    let segment_end = (head | (SEGMENT_WORDS - 1)) + 1;
    let open_ns = now_ns.saturating_sub(lane.cold.opened_ns.load(Ordering::Relaxed));
    lane.cold.opened_ns.store(now_ns, Ordering::Relaxed);
    let words = own_thread::window_words(lane, record.len, words_before, open_ns);
    lane.cold.window_end.store((start + words).min(segment_end), Ordering::Relaxed);
    lane.cold.level.store(lifecycle::level() as u32, Ordering::Relaxed);
    stacks::follow(lane);
    own_thread::start_if_due(lane, ledger);
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

/// Finds a segment for the words from `number × SEGMENT_WORDS` on.
fn next_segment(lane: &Lane, ledger: &Ledger, number: u64, what: What) -> Result<(), LossReason> {
    let mode = match what {
        // Without it the events before it would be taken for those of the lane's next thread; and a thread that starts
        // or ends has waited for the latch already.
        What::Remark => DataQualityMode::PerfectAccuracy,
        What::Alloc | What::Free | What::SecondHalf | What::Deed => lifecycle::mode(),
    };
    let helps = !matches!(mode, DataQualityMode::BestEffort);
    if lane.cold.segments_held.load(Ordering::Relaxed) > 0 && is_to_help(lane, ledger, number * SEGMENT_WORDS)
    {
        help(lane, ledger, mode);
    }
    let (home, left) = (segments_home(), own_thread::segments_for_left(lane, ledger));
    let mut tries = 0;
    loop {
        let held = lane.cold.segments_held.load(Ordering::Relaxed);
        if held < home
            && let Some(page) = ledger.pages.take(SEGMENT_PAGES)
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
            if held <= home.max(left) {
                return enter(lane, ledger, number, page, held);
            }
            spare::give_back(ledger, page);
            lane.cold.segments_held.store(held - 1, Ordering::Relaxed);
            continue;
        }
        if held < left
            && let Some(page) = ledger.pages.take(SEGMENT_PAGES)
        {
            return enter(lane, ledger, number, page, held + 1);
        }
        if !helps {
            return Err(LossReason::RingFull);
        }
        let config = &lifecycle::options().concurrency;
        let may_wait = mode != DataQualityMode::HighThroughput;
        if may_wait && tries < config.max_retries {
            pause(ledger, config.base_delay_ns, tries);
            tries += 1;
            // Enough for the oldest segment to come free.
            let words = if lane.folder.is_dear() { SEGMENT_WORDS } else { u64::MAX };
            ledger.try_fold(lane, Part::of_words(words));
            continue;
        }
        if config.enable_overflow_buffer
            && u64::from(held) < SEGMENT_SLOTS - 1
            && let Some(page) = spare::take()
        {
            bump(&lane.cold.spares);
            return enter(lane, ledger, number, page, held + 1);
        }
        if !may_wait {
            return Err(LossReason::RingFull);
        }
        if mode == DataQualityMode::HighAccuracy && matches!(what, What::Alloc | What::Deed) {
            return Err(LossReason::RingFull);
        }
        bump(&lane.cold.waits);
        ledger.fold(lane);
    }
}

/// Whether enough waits in the ring for its thread to book it, at the turn of a window or at the end of a segment.
fn is_to_help(lane: &Lane, ledger: &Ledger, head: u64) -> bool {
    let waiting = head - lane.folder.tail.observe();
    let is_at_end = head.is_multiple_of(SEGMENT_WORDS);
    if own_thread::relieves(lane, ledger) {
        own_thread::are_too_many(waiting)
    } else {
        is_at_end || waiting >= lane.folder.words_before_help()
    }
}

/// Books what waits in the ring, if nobody else does and the mode wants it; where that is dear, a part of it.
fn help(lane: &Lane, ledger: &Ledger, mode: DataQualityMode) {
    if matches!(mode, DataQualityMode::BestEffort) {
        return;
    }
    pacing::wait_for_trace(ledger, lane, mode);
    let words = if lane.folder.is_dear() { DEAR_WORDS } else { u64::MAX };
    if ledger.try_fold(lane, Part::of_words(words)) {
        bump(&lane.cold.folds_at_home);
    }
}

fn enter(lane: &Lane, ledger: &Ledger, number: u64, page: u32, held: u32) -> Result<(), LossReason> {
    lane.enter_segment(&ledger.pages, number, page);
    lane.cold.segments_held.store(held, Ordering::Relaxed);
    Ok(())
}

/// Segments that a lane keeps: what was asked for last, or else enough for its share of the history.
pub(crate) fn segments_home() -> u32 {
    let asked = SEGMENTS_ASKED.load(Ordering::Relaxed);
    if asked != 0 {
        return asked;
    }
    let limits = &lifecycle::options().history;
    // An event takes one and a half words on average.
    let words = limits.events.saturating_mul(3) / 2;
    let segments = words.div_ceil(SEGMENT_WORDS).min(limits.bytes / (SEGMENT_WORDS * 8));
    segments.clamp(u64::from(SEGMENTS_HOME), u64::from(SEGMENTS_MAX)) as u32
}

/// Asks for rings of so many segments. Each lane follows when it next needs a segment: it takes further ones, or gives
/// back what is booked.
pub(crate) fn ask_for_segments(segments: u32) {
    // relaxed: each lane follows at its next segment.
    SEGMENTS_ASKED.store(segments.clamp(SEGMENTS_HOME, SEGMENTS_MAX), Ordering::Relaxed);
}

/// Waits a little for whoever is folding: `base_ns`, doubled with each try. Bounded by the number of rounds too, should
/// the clock stand still.
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
