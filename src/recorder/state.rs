//! Access to the process-wide state: its life cycle, mode, level and sampling rate, and the ledger.

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

/// Returns the state of the recorder.
pub(crate) fn current() -> State {
    // Acquire: pairs with the release in `set`; a thread that sees `Running` sees the ledger and the options.
    State::from_raw(PROCESS.control.state.load(Ordering::Acquire))
}

/// Sets the state of the recorder.
pub(super) fn set(state: State) {
    // Release: pairs with the acquire in `current`.
    PROCESS.control.state.store(state as u32, Ordering::Release);
    refresh_sampling();
}

/// Returns the ledger of this process, if it has been opened.
pub(crate) fn ledger() -> Option<&'static Ledger> {
    // Acquire: pairs with the release in `open`.
    let ledger = PROCESS.control.ledger.load(Ordering::Acquire);
    // SAFETY: C2, the pointer is null or came from `Ledger::open`, whose ledgers are never released.
    unsafe { ledger.as_ref() }
}

/// Returns the options in force, which are valid once the state is past `Opening`.
pub(crate) fn options() -> &'static Options {
    // SAFETY: C1.
    unsafe { &*PROCESS.chosen.options.get() }
}

/// Returns the functions of upper layers, which are set once the state is past `Opening`.
pub(crate) fn hooks() -> Option<Hooks> {
    // SAFETY: C1.
    unsafe { *PROCESS.chosen.hooks.get() }
}

/// Returns the mode in force.
pub(crate) fn mode() -> DataQualityMode {
    // relaxed: a mode takes effect at each thread's next window.
    DataQualityMode::ALL[PROCESS.control.mode.load(Ordering::Relaxed) as usize % DataQualityMode::ALL.len()]
}

/// Returns the level in force: that of the mode, or a lower one set by [`set_level`].
pub(crate) fn level() -> Level {
    // relaxed: a level takes effect at each thread's next window.
    let asked = PROCESS.control.level.load(Ordering::Relaxed);
    if asked == Level::CountersOnly as u32 {
        Level::CountersOnly
    } else if asked == Level::Sampled as u32 || mode() == DataQualityMode::HighThroughput {
        Level::Sampled
    } else if has_sampled_out_blocks() {
        Level::AfterSampling
    } else {
        Level::Full
    }
}

/// Returns the level set by [`set_level`], whatever the mode.
pub(crate) fn asked_level() -> Level {
    // relaxed: as above.
    match PROCESS.control.level.load(Ordering::Relaxed) {
        1 => Level::NoStacks,
        2 => Level::Sampled,
        3 => Level::CountersOnly,
        _ => Level::Full,
    }
}

/// Returns the rate at which blocks are sampled.
pub(crate) fn sampling_rate() -> u64 {
    // relaxed: each block carries the rate that it was sampled at.
    u64::from(PROCESS.control.sampling_rate.load(Ordering::Relaxed))
}

/// Returns whether events are recorded, and the level is `Sampled` at this rate.
#[inline(always)]
pub(super) fn only_samples_at(rate: u64) -> bool {
    // relaxed: as for the level.
    PROCESS.control.sampling_only_rate.load(Ordering::Relaxed) == rate
}

/// Returns the table of sampled blocks, if frees of all other blocks are sampled out now.
#[inline(always)]
pub(super) fn sampled_table() -> Option<&'static SampledTable> {
    // Acquire: pairs with the exchange in `refresh_sampling`.
    let table = PROCESS.control.sampled.load(Ordering::Acquire);
    // SAFETY: C2, null or the table of a ledger, which is never released.
    unsafe { table.as_ref() }
}

/// Recomputes the values of [`only_samples_at`] and [`sampled_table`]. Called after each change of a value on which
/// they depend.
pub(super) fn refresh_sampling() {
    loop {
        let samples = level() == Level::Sampled && current().records();
        let rate = if samples { sampling_rate() } else { NOT_SAMPLING };
        let set = ledger().filter(|_| samples && !has_earlier_blocks());
        let table =
            set.and_then(|ledger| ledger.sampled.table(&ledger.pages)).map_or(null(), std::ptr::from_ref);
        // Acquire and release: of two concurrent callers the later one sees the change of the other.
        let was_rate = PROCESS.control.sampling_only_rate.swap(rate, Ordering::AcqRel);
        let was_table = PROCESS.control.sampled.swap(table.cast_mut(), Ordering::AcqRel);
        if (was_rate, was_table.cast_const()) == (rate, table) {
            return;
        }
    }
}

/// Changes the mode and adds it to the list of changes. Takes effect at each thread's next event.
pub(crate) fn set_mode(mode: DataQualityMode) {
    change(Subject::Mode, &PROCESS.control.mode, mode as u32);
}

/// Changes the level and adds it to the list of changes.
pub(crate) fn set_level(level: Level) {
    change(Subject::Level, &PROCESS.control.level, level as u32);
}

/// Changes the sampling rate and adds it to the list of changes.
pub(crate) fn set_sampling_rate(rate: u64) {
    change(Subject::SamplingBytes, &PROCESS.control.sampling_rate, rate as u32);
}

/// Stores a new value of a setting, prepares sampling for it, and adds it to the list of changes.
fn change(subject: Subject, value: &AtomicU32, to: u32) {
    let was_full = matches!(level(), Level::Full | Level::AfterSampling);
    let Some(ledger) = ledger() else { return };
    if value.load(Ordering::Relaxed) == to {
        return;
    }
    if was_full {
        // If this is the end of the full level, blocks recorded so far are not in the sampled set.
        mark_earlier_blocks();
        ledger.sampled.clear(&ledger.pages);
    }
    ledger.sampled.open(&ledger.pages);
    // relaxed: see `level`.
    let from = value.swap(to, Ordering::Relaxed);
    refresh_sampling();
    if !matches!(level(), Level::Full | Level::AfterSampling) {
        ledger.use_sampling();
        mark_sampled_out_blocks();
    }
    PROCESS.epoch.tick();
    ledger.changes.push(Changed { at_ns: ledger.clock.now_ns(), subject, from, to });
}

/// Returns whether this process was forked from one that had opened a ledger.
pub(super) fn is_forked_child() -> bool {
    // The hooks are set by the first ledger of the process, and a forked child inherits the flag.
    PROCESS.are_hooks_set.get().is_some()
}

/// Counts a lost event of a thread without a lane.
pub(crate) fn count_lost_without_lane(reason: LossReason) {
    // relaxed, both: sums.
    PROCESS.counters.lost_without_lane[reason as usize].fetch_add(1, Ordering::Relaxed);
    if let Some(ledger) = ledger() {
        ledger.facts.unlaned[reason as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// Returns the lost events of threads without a lane, by reason.
pub(crate) fn lost_without_lane() -> LossCounts {
    // relaxed: sums.
    LossCounts::from_counts(std::array::from_fn(|reason| {
        PROCESS.counters.lost_without_lane[reason].load(Ordering::Relaxed)
    }))
}

/// Notes that sampled-out blocks may be live from now on.
pub(super) fn mark_sampled_out_blocks() {
    // relaxed: as below.
    PROCESS.control.sampled_out_blocks.store(1, Ordering::Relaxed);
}

/// Returns whether sampled-out blocks may be live.
pub(super) fn has_sampled_out_blocks() -> bool {
    // relaxed: as below.
    PROCESS.control.sampled_out_blocks.load(Ordering::Relaxed) != 0
}

/// Notes that no sampled-out block is live and every event is recorded, so threads return to the hot path.
pub(crate) fn clear_sampled_out_blocks() {
    // relaxed: each thread follows at its next event.
    PROCESS.control.sampled_out_blocks.store(0, Ordering::Relaxed);
}

/// Notes that blocks outside the sampled set may be live from now on.
pub(super) fn mark_earlier_blocks() {
    // relaxed: a thread samples only after it has seen the new level, which is published later.
    PROCESS.control.earlier_blocks.store(1, Ordering::Relaxed);
}

/// Notes that no block recorded before sampling began is live.
pub(crate) fn clear_earlier_blocks() {
    // relaxed: a thread that sees it late records a free that could be sampled out.
    PROCESS.control.earlier_blocks.store(0, Ordering::Relaxed);
    refresh_sampling();
}

/// Returns whether blocks recorded before sampling began may be live.
pub(super) fn has_earlier_blocks() -> bool {
    // relaxed: as above.
    PROCESS.control.earlier_blocks.load(Ordering::Relaxed) != 0
}

/// Returns a seed for a thread's sampler: a clock reading.
#[cold]
pub(super) fn seed(ledger: &Ledger) -> u64 {
    let _errno = KeptErrno::keep();
    ledger.clock.now_ns()
}

/// Returns the number of refused allocations of threads without a lane.
pub(crate) fn failed_without_lane() -> u64 {
    // relaxed: a sum.
    PROCESS.counters.failed_without_lane.load(Ordering::Relaxed)
}

/// Advances the epoch, so that every thread opens a new window at its next event.
pub(crate) fn tick() {
    PROCESS.epoch.tick();
}
