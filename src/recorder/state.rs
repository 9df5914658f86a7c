//! Access to the process-wide state: state of the recorder, mode, level, sampling rate, and ledger.

use std::ptr::null;

use super::options::{Hooks, Options};
pub(crate) use super::process::{Level, State};
use super::process::{NOT_SAMPLING, PROCESS};
use crate::ledger::Ledger;
use crate::ledger::changes::{Changed, Subject};
use crate::ledger::sampled::SampledTable;
use crate::profile::{DataQualityMode, LossCounts, LossReason};
use crate::sys::errno::KeptErrno;
use crate::sys::sync::{AtomicU32, Ordering, fence};

/// Maximum number of rounds in which a change of a setting waits for another change to end; about a second.
const CHANGING_ROUNDS_MAX: u32 = 20_000;

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
    // Acquire: pairs with the release in `lifecycle::open_alone`.
    let ledger = PROCESS.control.ledger.load(Ordering::Acquire);
    // SAFETY: C2, the pointer is null or comes from `Ledger::open`, whose ledgers are never released.
    unsafe { ledger.as_ref() }
}

/// Returns the options in force, which are valid once the state is past `Opening`.
pub(crate) fn options() -> &'static Options {
    // SAFETY: C1, the state is past `Opening`, so no thread writes the options.
    unsafe { &*PROCESS.chosen.options.get() }
}

/// Returns the directory in which the program started, or an empty slice if it is unknown. Relative paths of the
/// options start there. Valid once the state is past `Opening`.
pub(crate) fn start_directory() -> &'static [u8] {
    // SAFETY: C1, the state is past `Opening`, so no thread writes the directory.
    unsafe { &*PROCESS.chosen.directory.get() }.bytes()
}

/// Returns the hooks: functions of upper layers, which are set once the state is past `Opening`.
pub(crate) fn hooks() -> Option<Hooks> {
    // SAFETY: C1, the state is past `Opening`, so no thread writes the hooks.
    unsafe { *PROCESS.chosen.hooks.get() }
}

/// Returns the mode in force.
pub(crate) fn mode() -> DataQualityMode {
    // relaxed: a mode takes effect at each thread's next window.
    DataQualityMode::ALL[PROCESS.control.mode.load(Ordering::Relaxed) as usize % DataQualityMode::ALL.len()]
}

/// Returns the level in force: the level at which threads record.
pub(crate) fn level() -> Level {
    PROCESS.epoch.level()
}

/// Returns the level that follows from the level set by [`set_level`] (`asked`) and from the mode.
fn level_of(asked: u32, mode: u32) -> Level {
    if asked == Level::CountersOnly as u32 {
        Level::CountersOnly
    } else if asked == Level::Sampled as u32 || mode == DataQualityMode::HighThroughput as u32 {
        Level::Sampled
    } else if has_sampled_out_blocks() {
        Level::AfterSampling
    } else {
        Level::Full
    }
}

/// Returns the level that follows from the settings in force.
pub(super) fn wanted_level() -> Level {
    // relaxed, both: every change of them is followed by a call of `refresh_sampling`, which reads them again.
    let control = &PROCESS.control;
    level_of(control.level.load(Ordering::Relaxed), control.mode.load(Ordering::Relaxed))
}

/// Returns whether every event is recorded at a level.
fn records_all(level: Level) -> bool {
    matches!(level, Level::Full | Level::AfterSampling)
}

/// Returns the level that was set by [`set_level`]; the mode has no effect on it.
pub(crate) fn asked_level() -> Level {
    // relaxed: every change is followed by a call of `refresh_sampling`.
    match PROCESS.control.level.load(Ordering::Relaxed) {
        1 => Level::NoStacks,
        2 => Level::Sampled,
        3 => Level::CountersOnly,
        _ => Level::Full,
    }
}

/// Returns the rate at which blocks are sampled.
pub(crate) fn sampling_rate() -> u64 {
    // relaxed: each block carries the rate at which it was sampled.
    u64::from(PROCESS.control.sampling_rate.load(Ordering::Relaxed))
}

/// Returns whether events are recorded at the level `Sampled` with this rate.
#[inline(always)]
pub(super) fn only_samples_at(rate: u64) -> bool {
    // relaxed: a thread that sees a change late acts on the previous setting, which `sampling` allows for.
    PROCESS.control.sampling_only_rate.load(Ordering::Relaxed) == rate
}

/// Returns the table of sampled blocks if frees of all other blocks are sampled out now; otherwise `None`.
#[inline(always)]
pub(super) fn sampled_table() -> Option<&'static SampledTable> {
    // Acquire: pairs with the exchange in `refresh_sampling`.
    let table = PROCESS.control.sampled.load(Ordering::Acquire);
    // SAFETY: C2, the pointer is null or the table of a ledger, and ledgers are never released.
    unsafe { table.as_ref() }
}

/// Recomputes the values of [`only_samples_at`] and [`sampled_table`], and then the level in force. Called after each
/// change of a value on which they depend.
pub(super) fn refresh_sampling() {
    loop {
        let level = wanted_level();
        let samples = level == Level::Sampled && current().records();
        let rate = if samples { sampling_rate() } else { NOT_SAMPLING };
        let set = ledger().filter(|_| samples && !has_earlier_blocks());
        let table =
            set.and_then(|ledger| ledger.sampled.table(&ledger.pages)).map_or(null(), std::ptr::from_ref);
        // Acquire and release: of two concurrent callers, the later one sees the other's change.
        let was_rate = PROCESS.control.sampling_only_rate.swap(rate, Ordering::AcqRel);
        let was_table = PROCESS.control.sampled.swap(table.cast_mut(), Ordering::AcqRel);
        let was_level = PROCESS.epoch.set_level(level);
        if was_level && (was_rate, was_table.cast_const()) == (rate, table) {
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
    let Some(ledger) = ledger() else { return };
    // After a bounded wait the change proceeds without the latch, because this may be a signal handler that interrupted
    // a change.
    let _taken = PROCESS.control.changing.take_in_rounds(CHANGING_ROUNDS_MAX);
    // relaxed, all of the settings: the latch orders them.
    if value.load(Ordering::Relaxed) == to {
        return;
    }
    let control = &PROCESS.control;
    let (asked, mode) = (control.level.load(Ordering::Relaxed), control.mode.load(Ordering::Relaxed));
    let next = match subject {
        Subject::Mode => level_of(asked, to),
        Subject::Level => level_of(to, mode),
        _ => wanted_level(),
    };
    ledger.sampled.open(&ledger.pages);
    if records_all(wanted_level()) && !records_all(next) {
        // Blocks recorded so far are not in the sampled set. All of this is done before any thread can see the new
        // level.
        mark_earlier_blocks();
        ledger.sampled.clear(&ledger.pages);
        ledger.use_sampling(level() == Level::Full);
        mark_sampled_out_blocks();
    }
    let from = value.swap(to, Ordering::Relaxed);
    refresh_sampling();
    PROCESS.epoch.tick();
    ledger.changes.push(Changed { at_ns: ledger.clock.now_ns(), subject, from, to });
}

/// Returns whether this process was forked from a process that had opened a ledger.
pub(super) fn is_forked_child() -> bool {
    // The hooks are installed with the first ledger of a process, and a forked child inherits the flag.
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
    mark(&PROCESS.control.sampled_out_blocks);
}

/// Notes that blocks outside the sampled set may be live from now on.
pub(super) fn mark_earlier_blocks() {
    mark(&PROCESS.control.earlier_blocks);
}

fn mark(mark: &AtomicU32) {
    // Acquire and release: pairs with the accesses in `Marks`. The number is never 0 after this.
    let _ =
        mark.fetch_update(Ordering::AcqRel, Ordering::Acquire, |number| Some(number.wrapping_add(1).max(1)));
}

/// Notes a block that a thread has just sampled out although the level is full by now. The block's free then carries
/// its whole size.
pub(super) fn mark_late_sampled_out_block() {
    // SeqCst: pairs with the fence in `Marks::clear_sampled_out_blocks`. At least one of the two threads sees the
    // other's write.
    fence(Ordering::SeqCst);
    if level() == Level::Full {
        mark_sampled_out_blocks();
        refresh_sampling();
    }
}

/// Notes a block that a thread has just recorded in full although blocks are sampled by now.
pub(super) fn mark_late_earlier_block() {
    // SeqCst: pairs with the fence in `Marks::clear_earlier_blocks`. At least one of the two threads sees the other's
    // write.
    fence(Ordering::SeqCst);
    if !records_all(level()) {
        mark_earlier_blocks();
        refresh_sampling();
    }
}

/// Returns whether sampled-out blocks may be live.
pub(super) fn has_sampled_out_blocks() -> bool {
    // relaxed: every change is followed by a call of `refresh_sampling`.
    PROCESS.control.sampled_out_blocks.load(Ordering::Relaxed) != 0
}

/// Returns whether blocks recorded before sampling began may be live.
pub(crate) fn has_earlier_blocks() -> bool {
    // relaxed: a thread that sees the clearing late records a free that could be sampled out.
    PROCESS.control.earlier_blocks.load(Ordering::Relaxed) != 0
}

/// The level and the marks of blocks, as read before a flush. A mark that was set after this reading is not cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marks {
    pub(crate) level: Level,
    earlier_blocks: u32,
    sampled_out_blocks: u32,
}

impl Marks {
    pub(crate) fn read() -> Marks {
        let control = &PROCESS.control;
        // Acquire: pairs with `mark`.
        Marks {
            level: level(),
            earlier_blocks: control.earlier_blocks.load(Ordering::Acquire),
            sampled_out_blocks: control.sampled_out_blocks.load(Ordering::Acquire),
        }
    }

    /// Clears the mark of sampled-out blocks after a flush has found that none is live and every event is recorded;
    /// threads then return to the hot path. `are_all_freed` is called afterwards, and the mark is set again if it
    /// returns false.
    pub(crate) fn clear_sampled_out_blocks(self, are_all_freed: impl Fn() -> bool) {
        if !clear(&PROCESS.control.sampled_out_blocks, self.sampled_out_blocks) {
            return;
        }
        // SeqCst: pairs with the fence in `mark_late_sampled_out_block`.
        fence(Ordering::SeqCst);
        if !are_all_freed() {
            mark_sampled_out_blocks();
            refresh_sampling();
        }
    }

    /// Clears the mark of blocks recorded before sampling began, after a flush has found that none is live.
    /// `are_all_freed` is called afterwards, and the mark is set again if it returns false.
    pub(crate) fn clear_earlier_blocks(self, are_all_freed: impl Fn() -> bool) {
        if !clear(&PROCESS.control.earlier_blocks, self.earlier_blocks) {
            return;
        }
        // SeqCst: pairs with the fence in `mark_late_earlier_block`.
        fence(Ordering::SeqCst);
        if !are_all_freed() {
            mark_earlier_blocks();
            refresh_sampling();
        }
    }
}

/// Clears a mark, unless it was set again since it was read as `number`. Returns whether it was cleared.
fn clear(mark: &AtomicU32, number: u32) -> bool {
    // Acquire and release: pairs with `mark`.
    let is_cleared = mark.compare_exchange(number, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok();
    refresh_sampling();
    is_cleared
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
