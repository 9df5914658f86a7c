//! The recorder's state in this process: where it is in its life, what it records, and the ledger it records into.

use std::cell::UnsafeCell;
use std::ptr::{null, null_mut};
use std::sync::atomic::AtomicPtr;

use super::options::{Hooks, Options};
use crate::ledger::changes::{Changed, Subject};
use crate::ledger::sampled::SampledTable;
use crate::ledger::{Ledger, estimate};
use crate::profile::{DataQualityMode, LossCounts, LossReason};
use crate::sys::errno::KeptErrno;
use crate::sys::sync::{AtomicU32, AtomicU64, Ordering};

/// Where the recorder is in its life. The picture is above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum State {
    Unopened = 0,
    Opening = 1,
    Running = 2,
    Draining = 3,
    Stopped = 4,
    Off = 5,
    Failed = 6,
    ChildOff = 7,
}

impl State {
    fn from_raw(raw: u32) -> State {
        match raw {
            0 => State::Unopened,
            1 => State::Opening,
            2 => State::Running,
            3 => State::Draining,
            4 => State::Stopped,
            5 => State::Off,
            6 => State::Failed,
            _ => State::ChildOff,
        }
    }

    /// Whether events are recorded.
    pub(crate) fn records(self) -> bool {
        matches!(self, State::Running | State::Draining)
    }
}

/// How much of each event is recorded. The ladder goes down from complete data to bare totals; every step is in the
/// list of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub(crate) enum Level {
    Full = 0,
    /// Everything but stacks; without stacks it is the same as `Full`.
    NoStacks = 1,
    Sampled = 2,
    CountersOnly = 3,
    /// Everything is recorded again, but blocks may live that were left out before: frees carry their whole size, so
    /// that the totals stay exact.
    AfterSampling = 4,
}

/// The aggregator's tick: read at every event, written about every millisecond, alone on its cache line.
#[repr(align(128))]
pub(crate) struct Epoch(AtomicU64);

impl Epoch {
    #[inline(always)]
    pub(crate) fn now(&self) -> u64 {
        // relaxed: nothing is read through this value; a thread that sees it late marks the time late.
        self.0.load(Ordering::Relaxed)
    }

    /// The next tick: every thread's next event turns its window.
    pub(crate) fn tick(&self) {
        // relaxed: as above.
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

pub(crate) static EPOCH: Epoch = Epoch(AtomicU64::new(1));

pub(super) static STATE: AtomicU32 = AtomicU32::new(State::Unopened as u32);

pub(super) static LEDGER: AtomicPtr<Ledger> = AtomicPtr::new(null_mut());

pub(super) static MODE: AtomicU32 = AtomicU32::new(0);

/// The level that was asked for besides the mode.
pub(super) static LEVEL: AtomicU32 = AtomicU32::new(Level::Full as u32);

pub(super) static SAMPLING_RATE: AtomicU32 = AtomicU32::new(estimate::RATE_DEFAULT as u32);

/// The rate, while sampling is all that is done with events, else [`NOT_SAMPLING`]: level, mode, state and rate in one word,
/// for those who look at each event.
pub(super) static PLAINLY_SAMPLED: AtomicU64 = AtomicU64::new(NOT_SAMPLING);

/// No rate.
const NOT_SAMPLING: u64 = u64::MAX;

/// The table of sampled blocks, while frees of others are left out; else null.
pub(super) static SAMPLED: AtomicPtr<SampledTable> = AtomicPtr::new(null_mut());

pub(super) static HOOKED: AtomicU32 = AtomicU32::new(0);

pub(super) static FORKED_FROM: AtomicU32 = AtomicU32::new(0);

/// Events that no lane could take, by reason: they were attempted and lost at once.
pub(super) static UNLANED: [AtomicU64; LossReason::COUNT] = [const { AtomicU64::new(0) }; LossReason::COUNT];

pub(super) static CHOSEN: Chosen =
    Chosen { options: UnsafeCell::new(Options::DEFAULT), hooks: UnsafeCell::new(None) };

/// What was chosen when the ledger was opened.
pub(super) struct Chosen {
    pub(super) options: UnsafeCell<Options>,
    pub(super) hooks: UnsafeCell<Option<Hooks>>,
}

// SAFETY: C1, written by the one thread that is opening, read only after the state has been seen past `Opening`.
unsafe impl Sync for Chosen {}

/// Whether blocks may live that were recorded before sampling began.
pub(super) static EARLIER_BLOCKS: AtomicU32 = AtomicU32::new(0);

/// Whether blocks may live that were left out.
pub(super) static BLOCKS_LEFT: AtomicU32 = AtomicU32::new(0);

/// Refused allocations of threads without a lane.
pub(super) static FAILED: AtomicU64 = AtomicU64::new(0);

pub(crate) fn current() -> State {
    // Acquire: pairs with the release in `set_state`; who sees `Running` sees the ledger and the options.
    State::from_raw(STATE.load(Ordering::Acquire))
}

pub(super) fn set(state: State) {
    // Release: pairs with the acquire in `state`.
    STATE.store(state as u32, Ordering::Release);
    note_sampling();
}

/// The ledger of this process, if it has been opened.
pub(crate) fn ledger() -> Option<&'static Ledger> {
    // Acquire: pairs with the release in `open`.
    let ledger = LEDGER.load(Ordering::Acquire);
    // SAFETY: C2, the pointer is null or one that `Ledger::open` returned for ever.
    unsafe { ledger.as_ref() }
}

/// The options in force. Meaningful once the state is past `Opening`.
pub(crate) fn options() -> &'static Options {
    // SAFETY: C1.
    unsafe { &*CHOSEN.options.get() }
}

pub(crate) fn hooks() -> Option<Hooks> {
    // SAFETY: C1.
    unsafe { *CHOSEN.hooks.get() }
}

pub(crate) fn mode() -> DataQualityMode {
    // relaxed: a mode takes effect at each thread's next turn, whenever that is.
    DataQualityMode::ALL[MODE.load(Ordering::Relaxed) as usize % DataQualityMode::ALL.len()]
}

/// The level in force: that of the mode, or a lower one that was asked for.
pub(crate) fn level() -> Level {
    // relaxed: a level takes effect at each thread's next turn.
    let asked = LEVEL.load(Ordering::Relaxed);
    if asked == Level::CountersOnly as u32 {
        Level::CountersOnly
    } else if asked == Level::Sampled as u32 || mode() == DataQualityMode::HighThroughput {
        Level::Sampled
    } else if super::state::may_blocks_be_left() {
        Level::AfterSampling
    } else {
        Level::Full
    }
}

/// The level that was asked for besides the mode.
pub(crate) fn asked_level() -> Level {
    // relaxed: as above.
    match LEVEL.load(Ordering::Relaxed) {
        1 => Level::NoStacks,
        2 => Level::Sampled,
        3 => Level::CountersOnly,
        _ => Level::Full,
    }
}

/// The rate at which blocks are sampled.
pub(crate) fn sampling_rate() -> u64 {
    // relaxed: each block carries the rate that it was sampled at.
    u64::from(SAMPLING_RATE.load(Ordering::Relaxed))
}

/// Whether to sample blocks at this rate is all that is done with allocations now.
#[inline(always)]
pub(super) fn samples_plainly_at(rate: u64) -> bool {
    // relaxed: as for the level.
    PLAINLY_SAMPLED.load(Ordering::Relaxed) == rate
}

/// The table of sampled blocks, if a free of a block that is not in it is left out now.
#[inline(always)]
pub(super) fn sampled() -> Option<&'static SampledTable> {
    // Acquire: pairs with the exchange in `note_sampling`.
    let table = SAMPLED.load(Ordering::Acquire);
    // SAFETY: C2, null or the table of a ledger, which is never given back.
    unsafe { table.as_ref() }
}

/// Works out anew what [`samples_plainly_at`] and [`sampled`] say. After each change of something that they depend on.
pub(super) fn note_sampling() {
    loop {
        let samples = level() == Level::Sampled && current().records();
        let rate = if samples { sampling_rate() } else { NOT_SAMPLING };
        let set = ledger().filter(|_| samples && !super::state::may_earlier_blocks_live());
        let table =
            set.and_then(|ledger| ledger.sampled.table(&ledger.pages)).map_or(null(), std::ptr::from_ref);
        // Acquire and release: of two threads that have changed something, the later one here sees what the other changed.
        let was_rate = PLAINLY_SAMPLED.swap(rate, Ordering::AcqRel);
        let was_table = SAMPLED.swap(table.cast_mut(), Ordering::AcqRel);
        if (was_rate, was_table.cast_const()) == (rate, table) {
            return;
        }
    }
}

/// Changes the mode, with a record of the change. Takes effect at each thread's next event.
pub(crate) fn set_mode(mode: DataQualityMode) {
    change(Subject::Mode, &MODE, mode as u32);
}

/// Changes the level, with a record of the change.
pub(crate) fn set_level(level: Level) {
    change(Subject::Level, &LEVEL, level as u32);
}

/// Changes the sampling rate, with a record of the change.
pub(crate) fn set_sampling_rate(rate: u64) {
    change(Subject::SamplingBytes, &SAMPLING_RATE, rate as u32);
}

fn change(subject: Subject, value: &AtomicU32, to: u32) {
    let was_full = matches!(level(), Level::Full | Level::AfterSampling);
    let Some(ledger) = ledger() else { return };
    if value.load(Ordering::Relaxed) == to {
        return;
    }
    if was_full {
        // Should it be left, what was recorded until now is not in the sampled set.
        super::state::expect_earlier_blocks();
        ledger.sampled.clear(&ledger.pages);
    }
    ledger.sampled.open(&ledger.pages);
    // relaxed: see `level`.
    let from = value.swap(to, Ordering::Relaxed);
    note_sampling();
    if !matches!(level(), Level::Full | Level::AfterSampling) {
        ledger.use_sampling();
        super::state::expect_blocks_left();
    }
    EPOCH.tick();
    ledger.changes.push(Changed { at_ns: ledger.clock.now_ns(), subject, from, to });
}

/// Whether this process was forked from one that had opened a ledger.
pub(super) fn is_opened_again() -> bool {
    // relaxed: a forked child has one thread, and had its parent's memory.
    HOOKED.load(Ordering::Relaxed) != 0
}

/// Counts an event that no lane could take.
pub(crate) fn lose_unlaned(reason: LossReason) {
    // relaxed, both: sums.
    UNLANED[reason as usize].fetch_add(1, Ordering::Relaxed);
    if let Some(ledger) = ledger() {
        ledger.facts.unlaned[reason as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// Events that no lane could take.
pub(crate) fn unlaned() -> LossCounts {
    // relaxed: sums.
    LossCounts::from_counts(std::array::from_fn(|reason| UNLANED[reason].load(Ordering::Relaxed)))
}

/// From now on, blocks may live that were left out.
pub(super) fn expect_blocks_left() {
    // relaxed: as below.
    BLOCKS_LEFT.store(1, Ordering::Relaxed);
}

/// Whether blocks may live that were left out.
pub(super) fn may_blocks_be_left() -> bool {
    // relaxed: as below.
    BLOCKS_LEFT.load(Ordering::Relaxed) != 0
}

/// All blocks that were left out have ended, and everything is recorded: threads may go back to the short path.
pub(crate) fn no_blocks_left() {
    // relaxed: each thread follows at its next event.
    BLOCKS_LEFT.store(0, Ordering::Relaxed);
}

/// From now on, blocks may live that are not in the sampled set.
pub(super) fn expect_earlier_blocks() {
    // relaxed: a thread samples only after it has seen the new level, which is published later.
    EARLIER_BLOCKS.store(1, Ordering::Relaxed);
}

/// All blocks that were recorded before sampling began have ended.
pub(crate) fn no_earlier_blocks() {
    // relaxed: a free that is recorded for nothing is only a free too many.
    EARLIER_BLOCKS.store(0, Ordering::Relaxed);
    note_sampling();
}

/// Whether blocks may live that were recorded before sampling began.
pub(super) fn may_earlier_blocks_live() -> bool {
    // relaxed: as above.
    EARLIER_BLOCKS.load(Ordering::Relaxed) != 0
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
    FAILED.load(Ordering::Relaxed)
}

/// Forgets the parent's count, in a forked child.
pub(super) fn forget() {
    // relaxed: there is one thread.
    FAILED.store(0, Ordering::Relaxed);
}
