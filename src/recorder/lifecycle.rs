//! The life of the recorder in a process, and the few statics there are.
//!
//! ```text
//!              HEAPLEDGER=off, only on request, or another copy records
//!               ┌──────────────────────► Off
//!               │
//!  Unopened ────┴─first event──► Opening ──────────► Running ──exit──► Draining ──dumped──► Stopped
//!      ▲                            │                   │
//!      │                            └─no memory─► Failed│
//!      │                                                │ fork, in the child
//!      └──────────────── policy Fresh ──────────────────┤
//!                                                       └─ policy Off ──► ChildOff
//! ```
//!
//! The first event of the process opens the ledger, before `main`. `Draining` still records: other threads may run
//! on while the dump is written. From `Stopped` on every event is counted as `after_shutdown`.

use std::cell::UnsafeCell;
use std::ptr::{null, null_mut};
use std::sync::atomic::AtomicPtr;

use super::allocator::{Background, Hooks, Options};
use super::{check, environment};
use crate::ledger::changes::{Changed, Subject};
use crate::ledger::sampled::SampledTable;
use crate::ledger::{Ledger, estimate};
use crate::profile::{DataQualityMode, ForkPolicy, LossCounts, LossReason};
use crate::sys::sync::{AtomicU32, AtomicU64, Ordering};
use crate::sys::{copies, latch, platform, tls};

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

/// Bytes of stack for the thread that writes dumps while the process runs.
const DUMPS_STACK_BYTES: usize = 2 << 20;
/// Steps that a second thread waits for the first to open the ledger; more than a second.
const OPENING_ROUNDS_MAX: u32 = 20_000;

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
static STATE: AtomicU32 = AtomicU32::new(State::Unopened as u32);
static LEDGER: AtomicPtr<Ledger> = AtomicPtr::new(null_mut());
static MODE: AtomicU32 = AtomicU32::new(0);
/// The level that was asked for besides the mode.
static LEVEL: AtomicU32 = AtomicU32::new(Level::Full as u32);
static SAMPLING_RATE: AtomicU32 = AtomicU32::new(estimate::RATE_DEFAULT as u32);
/// The rate, while sampling is all that is done with events, else [`NOT_SAMPLING`]: level, mode, state and rate in one word,
/// for those who look at each event.
static PLAINLY_SAMPLED: AtomicU64 = AtomicU64::new(NOT_SAMPLING);
/// No rate.
const NOT_SAMPLING: u64 = u64::MAX;
/// The table of sampled blocks, while frees of others are left out; else null.
static SAMPLED: AtomicPtr<SampledTable> = AtomicPtr::new(null_mut());
static HOOKED: AtomicU32 = AtomicU32::new(0);
static FORKED_FROM: AtomicU32 = AtomicU32::new(0);
/// Events that no lane could take, by reason: they were attempted and lost at once.
static UNLANED: [AtomicU64; LossReason::COUNT] = [const { AtomicU64::new(0) }; LossReason::COUNT];
static CHOSEN: Chosen = Chosen { options: UnsafeCell::new(Options::DEFAULT), hooks: UnsafeCell::new(None) };

/// What was chosen when the ledger was opened.
struct Chosen {
    options: UnsafeCell<Options>,
    hooks: UnsafeCell<Option<Hooks>>,
}

// SAFETY: C1, written by the one thread that is opening, read only after the state has been seen past `Opening`.
unsafe impl Sync for Chosen {}

pub(crate) fn state() -> State {
    // Acquire: pairs with the release in `set_state`; who sees `Running` sees the ledger and the options.
    State::from_raw(STATE.load(Ordering::Acquire))
}

fn set_state(state: State) {
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
    } else if super::sampling::may_blocks_be_left() {
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
        let samples = level() == Level::Sampled && state().records();
        let rate = if samples { sampling_rate() } else { NOT_SAMPLING };
        let set = ledger().filter(|_| samples && !super::sampling::may_earlier_blocks_live());
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
        super::sampling::expect_earlier_blocks();
        ledger.sampled.clear(&ledger.pages);
    }
    ledger.sampled.open(&ledger.pages);
    // relaxed: see `level`.
    let from = value.swap(to, Ordering::Relaxed);
    note_sampling();
    if !matches!(level(), Level::Full | Level::AfterSampling) {
        ledger.use_sampling();
        super::sampling::expect_blocks_left();
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

/// Opens the ledger, if this thread is the first to ask; otherwise waits until it is open. Returns the state then.
pub(crate) fn open(options: &Options, hooks: &Hooks) -> State {
    let opening = State::Opening as u32;
    // Acquire and release: one thread wins, the others see what it left behind.
    if STATE.compare_exchange(State::Unopened as u32, opening, Ordering::AcqRel, Ordering::Acquire).is_ok() {
        tls::set(super::thread::OPENING);
        let state = open_alone(options, hooks);
        // First, so that an event of a handler in between does not wait for this thread.
        set_state(state);
        tls::set(super::thread::FRESH);
        if state == State::Running {
            start_threads_asked_for();
        }
        return state;
    }
    for round in 0..OPENING_ROUNDS_MAX {
        match state() {
            State::Opening => latch::wait(round),
            opened => return opened,
        }
    }
    State::Failed
}

/// Starts the thread that writes dumps on signals and triggers, and the one that watches for triggers, if there are
/// any: unlike the aggregator of a program that asks for none of this, they do not wait for a load.
fn start_threads_asked_for() {
    let options = options();
    let Some(hooks) = hooks().filter(|_| options.background != Background::Never) else { return };
    let is_watching = options.triggers.is_any();
    if (is_watching || options.signals != 0) && !platform::spawn(DUMPS_STACK_BYTES, hooks.dumps) {
        platform::write_stderr(
            b"heapledger: no thread for dumps on signals and triggers, there will be none\n",
        );
    }
    if is_watching {
        super::own_thread::start();
    }
}

fn open_alone(options: &Options, hooks: &Hooks) -> State {
    // SAFETY: C1, this is the thread that is opening.
    let chosen = unsafe { &mut *CHOSEN.options.get() };
    *chosen = *options;
    // SAFETY: C1.
    unsafe { *CHOSEN.hooks.get() = Some(*hooks) };
    if !environment::apply(chosen) {
        return State::Off;
    }
    if !copies::claim() {
        super::complaint::complain(format_args!(
            "another copy of heapledger records in this process, this one does not"
        ));
        return State::Off;
    }
    check::settle(chosen);
    if chosen.background == Background::AsNeeded && chosen.needs_own_thread() {
        chosen.background = Background::Always;
    }
    // relaxed, both: published with the ledger.
    MODE.store(chosen.mode as u32, Ordering::Relaxed);
    SAMPLING_RATE.store(estimate::rate_of(chosen.sampling_bytes) as u32, Ordering::Relaxed);
    let in_file = super::black_box::open(chosen);
    let Some(ledger) = in_file.or_else(|| Ledger::open(chosen.memory_limit_bytes, chosen.clock)) else {
        platform::write_stderr(b"heapledger: no memory for the ledger, nothing is recorded\n");
        return State::Failed;
    };
    if level() != Level::Full {
        ledger.sampled.open(&ledger.pages);
        ledger.use_sampling();
        super::sampling::expect_blocks_left();
    }
    // relaxed: published with the ledger.
    ledger.facts.forked_from.store(FORKED_FROM.load(Ordering::Relaxed), Ordering::Relaxed);
    if traces(chosen) {
        ledger.tap.open();
    }
    // Release: pairs with the acquire in `ledger`.
    LEDGER.store(std::ptr::from_ref(ledger).cast_mut(), Ordering::Release);
    // relaxed: only this thread looks at it.
    if HOOKED.swap(1, Ordering::Relaxed) == 0 {
        tls::prepare(super::thread::end);
        platform::at_exit(at_exit);
        platform::at_fork(in_forked_child);
    }
    State::Running
}

/// Whether there is to be a trace. A forked child has one only if its name would be another than the parent's.
fn traces(options: &Options) -> bool {
    // relaxed: this is the thread that is opening.
    let is_child = FORKED_FROM.load(Ordering::Relaxed) != 0;
    let has_own_name = |pattern: &[u8]| pattern.windows(2).any(|pair| pair == b"%p");
    options.trace_pattern().is_some_and(|pattern| !is_child || has_own_name(pattern))
}

extern "C" fn at_exit() {
    if !state().records() {
        return;
    }
    if let Some(hooks) = hooks() {
        set_state(State::Draining);
        (hooks.at_exit)();
    }
    stop();
}

/// Ends the recording: from here on, events are counted as `after_shutdown`.
pub(crate) fn stop() {
    set_state(State::Stopped);
    if let Some(ledger) = ledger() {
        // relaxed: read from the file, when the process is gone.
        ledger.facts.ended.store(1, Ordering::Relaxed);
    }
    EPOCH.tick();
}

/// Only the forking thread exists in the child. It keeps the parent's region mapped, in case it was interrupted in
/// the midst of a record, but starts with a ledger of its own, or with none.
unsafe extern "C" fn in_forked_child() {
    if let Some(ledger) = ledger() {
        // relaxed: there is one thread.
        FORKED_FROM.store(ledger.facts.process_id.load(Ordering::Relaxed), Ordering::Relaxed);
        super::black_box::leave_to_parent(ledger);
    }
    match state() {
        State::Off | State::Unopened | State::ChildOff => return,
        _ => {}
    }
    for lost in &UNLANED {
        lost.store(0, Ordering::Relaxed);
    }
    LEVEL.store(Level::Full as u32, Ordering::Relaxed);
    super::sampling::no_earlier_blocks();
    super::sampling::no_blocks_left();
    if let Some(hooks) = hooks() {
        (hooks.in_child)();
    }
    super::spare::forget();
    super::stacks::forget();
    super::own_thread::forget();
    super::turn::forget();
    super::gate::forget();
    LEDGER.store(null_mut(), Ordering::Release);
    tls::set(super::thread::FRESH);
    set_state(if options().fork == ForkPolicy::Off { State::ChildOff } else { State::Unopened });
    EPOCH.tick();
}
