//! The recorder's state in this process: where it is in its life, what it records, and the ledger it records into.

use std::ptr::null;

use super::options::{Hooks, Options};
pub(crate) use super::process::{Level, State};
use super::process::{NOT_SAMPLING, PROCESS};
use crate::ledger::Ledger;
use crate::ledger::changes::{Changed, Subject};
use crate::ledger::sampled::SampledTable;
use crate::profile::{DataQualityMode, LossCounts, LossReason};
use crate::sys::errno::KeptErrno;
use crate::sys::sync::{AtomicU32, Ordering};

pub(crate) fn current() -> State {
    // Acquire: pairs with the release in `set_state`; who sees `Running` sees the ledger and the options.
    State::from_raw(PROCESS.control.state.load(Ordering::Acquire))
}

pub(super) fn set(state: State) {
    // Release: pairs with the acquire in `state`.
    PROCESS.control.state.store(state as u32, Ordering::Release);
    note_sampling();
}

/// The ledger of this process, if it has been opened.
pub(crate) fn ledger() -> Option<&'static Ledger> {
    // Acquire: pairs with the release in `open`.
    let ledger = PROCESS.control.ledger.load(Ordering::Acquire);
    // SAFETY: C2, the pointer is null or one that `Ledger::open` returned for ever.
    unsafe { ledger.as_ref() }
}

/// The options in force. Meaningful once the state is past `Opening`.
pub(crate) fn options() -> &'static Options {
    // SAFETY: C1.
    unsafe { &*PROCESS.chosen.options.get() }
}

pub(crate) fn hooks() -> Option<Hooks> {
    // SAFETY: C1.
    unsafe { *PROCESS.chosen.hooks.get() }
}

pub(crate) fn mode() -> DataQualityMode {
    // relaxed: a mode takes effect at each thread's next turn, whenever that is.
    DataQualityMode::ALL[PROCESS.control.mode.load(Ordering::Relaxed) as usize % DataQualityMode::ALL.len()]
}

/// The level in force: that of the mode, or a lower one that was asked for.
pub(crate) fn level() -> Level {
    // relaxed: a level takes effect at each thread's next turn.
    let asked = PROCESS.control.level.load(Ordering::Relaxed);
    if asked == Level::CountersOnly as u32 {
        Level::CountersOnly
    } else if asked == Level::Sampled as u32 || mode() == DataQualityMode::HighThroughput {
        Level::Sampled
    } else if may_blocks_be_left() {
        Level::AfterSampling
    } else {
        Level::Full
    }
}

/// The level that was asked for besides the mode.
pub(crate) fn asked_level() -> Level {
    // relaxed: as above.
    match PROCESS.control.level.load(Ordering::Relaxed) {
        1 => Level::NoStacks,
        2 => Level::Sampled,
        3 => Level::CountersOnly,
        _ => Level::Full,
    }
}

/// The rate at which blocks are sampled.
pub(crate) fn sampling_rate() -> u64 {
    // relaxed: each block carries the rate that it was sampled at.
    u64::from(PROCESS.control.sampling_rate.load(Ordering::Relaxed))
}

/// Whether to sample blocks at this rate is all that is done with allocations now.
#[inline(always)]
pub(super) fn samples_plainly_at(rate: u64) -> bool {
    // relaxed: as for the level.
    PROCESS.control.plainly_sampled.load(Ordering::Relaxed) == rate
}

/// The table of sampled blocks, if a free of a block that is not in it is left out now.
#[inline(always)]
pub(super) fn sampled() -> Option<&'static SampledTable> {
    // Acquire: pairs with the exchange in `note_sampling`.
    let table = PROCESS.control.sampled.load(Ordering::Acquire);
    // SAFETY: C2, null or the table of a ledger, which is never given back.
    unsafe { table.as_ref() }
}

/// Works out anew what [`samples_plainly_at`] and [`sampled`] say. After each change of something that they depend on.
pub(super) fn note_sampling() {
    loop {
        let samples = level() == Level::Sampled && current().records();
        let rate = if samples { sampling_rate() } else { NOT_SAMPLING };
        let set = ledger().filter(|_| samples && !may_earlier_blocks_live());
        let table =
            set.and_then(|ledger| ledger.sampled.table(&ledger.pages)).map_or(null(), std::ptr::from_ref);
        // Acquire and release: of two threads that have changed something, the later one here sees what the other changed.
        let was_rate = PROCESS.control.plainly_sampled.swap(rate, Ordering::AcqRel);
        let was_table = PROCESS.control.sampled.swap(table.cast_mut(), Ordering::AcqRel);
        if (was_rate, was_table.cast_const()) == (rate, table) {
            return;
        }
    }
}

/// Changes the mode, with a record of the change. Takes effect at each thread's next event.
pub(crate) fn set_mode(mode: DataQualityMode) {
    change(Subject::Mode, &PROCESS.control.mode, mode as u32);
}

/// Changes the level, with a record of the change.
pub(crate) fn set_level(level: Level) {
    change(Subject::Level, &PROCESS.control.level, level as u32);
}

/// Changes the sampling rate, with a record of the change.
pub(crate) fn set_sampling_rate(rate: u64) {
    change(Subject::SamplingBytes, &PROCESS.control.sampling_rate, rate as u32);
}

fn change(subject: Subject, value: &AtomicU32, to: u32) {
    let was_full = matches!(level(), Level::Full | Level::AfterSampling);
    let Some(ledger) = ledger() else { return };
    if value.load(Ordering::Relaxed) == to {
        return;
    }
    if was_full {
        // Should it be left, what was recorded until now is not in the sampled set.
        expect_earlier_blocks();
        ledger.sampled.clear(&ledger.pages);
    }
    ledger.sampled.open(&ledger.pages);
    // relaxed: see `level`.
    let from = value.swap(to, Ordering::Relaxed);
    note_sampling();
    if !matches!(level(), Level::Full | Level::AfterSampling) {
        ledger.use_sampling();
        expect_blocks_left();
    }
    PROCESS.epoch.tick();
    ledger.changes.push(Changed { at_ns: ledger.clock.now_ns(), subject, from, to });
}

/// Whether this process was forked from one that had opened a ledger.
pub(super) fn is_opened_again() -> bool {
    // relaxed: a forked child has one thread, and had its parent's memory.
    PROCESS.are_hooks_set.get().is_some()
}

/// Counts an event that no lane could take.
pub(crate) fn lose_unlaned(reason: LossReason) {
    // relaxed, both: sums.
    PROCESS.counters.lost_without_lane[reason as usize].fetch_add(1, Ordering::Relaxed);
    if let Some(ledger) = ledger() {
        ledger.facts.unlaned[reason as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// Events that no lane could take.
pub(crate) fn unlaned() -> LossCounts {
    // relaxed: sums.
    LossCounts::from_counts(std::array::from_fn(|reason| {
        PROCESS.counters.lost_without_lane[reason].load(Ordering::Relaxed)
    }))
}

/// From now on, blocks may live that were left out.
pub(super) fn expect_blocks_left() {
    // relaxed: as below.
    PROCESS.control.sampled_out_blocks.store(1, Ordering::Relaxed);
}

/// Whether blocks may live that were left out.
pub(super) fn may_blocks_be_left() -> bool {
    // relaxed: as below.
    PROCESS.control.sampled_out_blocks.load(Ordering::Relaxed) != 0
}

/// All blocks that were left out have ended, and everything is recorded: threads may go back to the short path.
pub(crate) fn no_blocks_left() {
    // relaxed: each thread follows at its next event.
    PROCESS.control.sampled_out_blocks.store(0, Ordering::Relaxed);
}

/// From now on, blocks may live that are not in the sampled set.
pub(super) fn expect_earlier_blocks() {
    // relaxed: a thread samples only after it has seen the new level, which is published later.
    PROCESS.control.earlier_blocks.store(1, Ordering::Relaxed);
}

/// All blocks that were recorded before sampling began have ended.
pub(crate) fn no_earlier_blocks() {
    // relaxed: a free that is recorded for nothing is only a free too many.
    PROCESS.control.earlier_blocks.store(0, Ordering::Relaxed);
    note_sampling();
}

/// Whether blocks may live that were recorded before sampling began.
pub(super) fn may_earlier_blocks_live() -> bool {
    // relaxed: as above.
    PROCESS.control.earlier_blocks.load(Ordering::Relaxed) != 0
}

/// What a thread's first draw begins with.
#[cold]
pub(super) fn seed(ledger: &Ledger) -> u64 {
    let _errno = KeptErrno::keep();
    ledger.clock.now_ns()
}

/// Refused allocations of threads that had no lane.
pub(crate) fn failed_without_lane() -> u64 {
    // relaxed: a sum.
    PROCESS.counters.failed_without_lane.load(Ordering::Relaxed)
}

/// Advances the epoch: every thread opens a new window at its next event.
pub(crate) fn tick() {
    PROCESS.epoch.tick();
}
