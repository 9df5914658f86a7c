//! The process-wide state of the recorder, in one static.
//!
//! [`Process::reset_after_fork`] resets this state in a forked child. It destructures each struct by field names, so a
//! new field does not compile until the reset handles it.
//!
//! The epoch and the counters have separate cache lines. So writes to them do not invalidate the cache line of
//! [`Control`], which the recording path reads.

use std::cell::UnsafeCell;
use std::ptr::null_mut;
use std::sync::atomic::AtomicPtr;

use crossbeam_queue::ArrayQueue;
use once_cell::race::OnceBool;

use super::fixed_path::FixedPath;
use super::options::{Hooks, Options};
use crate::ledger::sampled::SampledTable;
use crate::ledger::{Ledger, estimate};
use crate::profile::LossReason;
use crate::sys::box_file::BoxFile;
use crate::sys::latch::Latch;
use crate::sys::sync::{AtomicU32, AtomicU64, Ordering};

/// Maximum number of segments that a thread offloads to the background thread. With a smaller number, the thread would
/// fold its words itself each time the background thread waits for a processor.
pub(super) const OFFLOAD_SEGMENTS_MAX: u32 = 16;
/// Value of [`Control::sampling_only_rate`] while the level is not `Sampled`.
pub(super) const NOT_SAMPLING: u64 = u64::MAX;

/// The process-wide state of the recorder.
pub(super) static PROCESS: Process = Process::new();

/// The process-wide state. Each field groups words that are written at similar rates.
pub(super) struct Process {
    /// The epoch, which is read at every event and written about every millisecond.
    pub(super) epoch: Epoch,
    pub(super) control: Control,
    pub(super) counters: Counters,
    pub(super) chosen: Chosen,
    pub(super) black_box: CurrentBox,
    /// A flag that is set after the exit and fork hooks of the process are installed.
    pub(super) are_hooks_set: OnceBool,
    /// Id of the parent process that recorded before the fork; 0 if this process was not forked from such a parent.
    pub(super) forked_from: AtomicU32,
    /// The scope of the thread that forked; 0 if the thread was in no scope, or after its new lane has taken the scope
    /// over.
    pub(super) scope_at_fork: AtomicU32,
    /// The ledger of the parent process, whose scopes a forked child takes over; null if the parent had no ledger.
    pub(super) ledger_of_parent: AtomicPtr<Ledger>,
}

impl Process {
    const fn new() -> Process {
        Process {
            epoch: Epoch(AtomicU64::new(Epoch::STEP)),
            control: Control::new(),
            counters: Counters::new(),
            chosen: Chosen {
                options: UnsafeCell::new(Options::DEFAULT),
                hooks: UnsafeCell::new(None),
                directory: UnsafeCell::new(FixedPath::empty()),
            },
            black_box: CurrentBox::new(),
            are_hooks_set: OnceBool::new(),
            forked_from: AtomicU32::new(0),
            scope_at_fork: AtomicU32::new(0),
            ledger_of_parent: AtomicPtr::new(null_mut()),
        }
    }

    /// Resets the state that a forked child does not inherit. Runs in the child, which has one thread.
    pub(super) fn reset_after_fork(&self) {
        let Process {
            // Not reset, because the epoch only grows.
            epoch: _,
            control,
            counters,
            // Not reset: the options contain the fork policy, and the next opening overwrites options and hooks. The
            // directory stays, because the child is the same program.
            chosen: _,
            black_box,
            // Not reset: the hooks of the C library exist in the child too.
            are_hooks_set: _,
            // Not reset: the fork hook itself writes these three fields.
            forked_from: _,
            scope_at_fork: _,
            ledger_of_parent: _,
        } = self;
        control.reset_after_fork();
        counters.reset_after_fork();
        black_box.reset_after_fork();
    }
}

/// Settings that each event or each new window reads. They are written only when one of them changes.
#[repr(align(128))]
pub(super) struct Control {
    /// The state of the recorder: a [`State`].
    pub(super) state: AtomicU32,
    /// The [`Level`] that was requested, besides the mode, which also determines a level.
    pub(super) level: AtomicU32,
    /// Index of the mode in `DataQualityMode::ALL`.
    pub(super) mode: AtomicU32,
    pub(super) sampling_rate: AtomicU32,
    pub(super) ledger: AtomicPtr<Ledger>,
    /// The sampling rate while the level is `Sampled` and events are recorded, otherwise [`NOT_SAMPLING`]. This word
    /// saves the hot path the reads of level, mode, state and rate.
    pub(super) sampling_only_rate: AtomicU64,
    /// The table of sampled blocks while frees of all other blocks are sampled out; otherwise null.
    pub(super) sampled: AtomicPtr<SampledTable>,
    /// Generation of the mark that blocks outside the sampled set may be live; 0 while no such block is live.
    pub(super) earlier_blocks: AtomicU32,
    /// Generation of the mark that sampled-out blocks may be live; 0 while no such block is live.
    pub(super) sampled_out_blocks: AtomicU32,
    /// Latch that is held during a change of mode, level or sampling rate.
    pub(super) changing: Latch,
    /// The method of walking stacks: a constant of `stacks`; 0 before stacks are walked.
    pub(super) stack_walk: AtomicU32,
    /// State of the background thread: a constant of `background_thread`; 0 while there is none.
    pub(super) background: AtomicU32,
    /// Whether the background thread sleeps until it is woken: a constant of `background_thread`.
    pub(super) background_sleep: AtomicU32,
    /// Number of current reasons to give each event a time stamp: see `stamps`.
    pub(super) stamps: AtomicU32,
    /// Number of segments that each thread may offload now.
    pub(super) offload_segments: AtomicU32,
    /// Number of segments that the tuner requested for each lane; 0 if the limits of the history determine the number.
    pub(super) segments_asked: AtomicU32,
    /// The overflow pool, made by the background thread. A forked child leaks the pool: a `push` that another thread of
    /// the parent had not finished could make users of the pool wait for ever.
    pub(super) overflow_pool: AtomicPtr<ArrayQueue<u32>>,
}

impl Control {
    const fn new() -> Control {
        Control {
            state: AtomicU32::new(State::Unopened as u32),
            level: AtomicU32::new(Level::Full as u32),
            mode: AtomicU32::new(0),
            sampling_rate: AtomicU32::new(estimate::RATE_DEFAULT as u32),
            ledger: AtomicPtr::new(null_mut()),
            sampling_only_rate: AtomicU64::new(NOT_SAMPLING),
            sampled: AtomicPtr::new(null_mut()),
            earlier_blocks: AtomicU32::new(0),
            sampled_out_blocks: AtomicU32::new(0),
            changing: Latch::new(),
            stack_walk: AtomicU32::new(0),
            background: AtomicU32::new(0),
            background_sleep: AtomicU32::new(0),
            stamps: AtomicU32::new(0),
            offload_segments: AtomicU32::new(OFFLOAD_SEGMENTS_MAX),
            segments_asked: AtomicU32::new(0),
            overflow_pool: AtomicPtr::new(null_mut()),
        }
    }

    fn reset_after_fork(&self) {
        let Control {
            // The fork hook sets the state last: from then on an event may open a new ledger.
            state: _,
            level,
            // Not reset: the next opening writes them, and they are not read before.
            mode: _,
            sampling_rate: _,
            ledger,
            sampling_only_rate,
            sampled,
            earlier_blocks,
            sampled_out_blocks,
            changing,
            stack_walk,
            background,
            background_sleep,
            stamps,
            offload_segments,
            segments_asked,
            overflow_pool,
        } = self;
        // relaxed, all: there is one thread.
        level.store(Level::Full as u32, Ordering::Relaxed);
        sampling_only_rate.store(NOT_SAMPLING, Ordering::Relaxed);
        sampled.store(null_mut(), Ordering::Relaxed);
        earlier_blocks.store(0, Ordering::Relaxed);
        sampled_out_blocks.store(0, Ordering::Relaxed);
        changing.open();
        stack_walk.store(0, Ordering::Relaxed);
        background.store(0, Ordering::Relaxed);
        background_sleep.store(0, Ordering::Relaxed);
        stamps.store(0, Ordering::Relaxed);
        offload_segments.store(OFFLOAD_SEGMENTS_MAX, Ordering::Relaxed);
        segments_asked.store(0, Ordering::Relaxed);
        overflow_pool.store(null_mut(), Ordering::Relaxed);
        // The ledger comes last: a signal handler that finds no ledger finds everything else reset.
        ledger.store(null_mut(), Ordering::Release);
    }
}

/// Counters that any thread may write, off the recording path.
#[repr(align(128))]
pub(super) struct Counters {
    /// Numbers of events of threads without a lane, by reason of the loss. Each such event was attempted and lost at
    /// once.
    pub(super) lost_without_lane: [AtomicU64; LossReason::COUNT],
    /// Number of refused allocations of threads without a lane.
    pub(super) failed_without_lane: AtomicU64,
    /// Number of stacks whose frame pointers were compared with the unwind tables.
    pub(super) stack_checks: AtomicU64,
    /// Number of comparisons in which a known hash belonged to a different stack.
    pub(super) stack_checks_failed: AtomicU64,
    /// 1 after a walk of a stack met code that lies in no known object.
    pub(super) unknown_code: AtomicU32,
}

impl Counters {
    const fn new() -> Counters {
        Counters {
            lost_without_lane: [const { AtomicU64::new(0) }; LossReason::COUNT],
            failed_without_lane: AtomicU64::new(0),
            stack_checks: AtomicU64::new(0),
            stack_checks_failed: AtomicU64::new(0),
            unknown_code: AtomicU32::new(0),
        }
    }

    fn reset_after_fork(&self) {
        let Counters {
            lost_without_lane,
            failed_without_lane,
            stack_checks,
            stack_checks_failed,
            // Not reset: the child maps the objects that its parent had loaded.
            unknown_code: _,
        } = self;
        // relaxed, all: there is one thread.
        for lost in lost_without_lane {
            lost.store(0, Ordering::Relaxed);
        }
        failed_without_lane.store(0, Ordering::Relaxed);
        stack_checks.store(0, Ordering::Relaxed);
        stack_checks_failed.store(0, Ordering::Relaxed);
    }
}

/// The options and hooks in force, and the directory in which the program started.
pub(super) struct Chosen {
    pub(super) options: UnsafeCell<Options>,
    pub(super) hooks: UnsafeCell<Option<Hooks>>,
    /// The working directory when the first ledger was opened. Relative paths of the options start there.
    pub(super) directory: UnsafeCell<FixedPath>,
}

// SAFETY: C1, the cells are written by the one thread that is opening, and read only by threads that have seen the
// state past `Opening`.
unsafe impl Sync for Chosen {}

/// The black box of this process.
pub(super) struct CurrentBox {
    pub(super) file: UnsafeCell<Option<BoxFile>>,
    pub(super) path: UnsafeCell<FixedPath>,
    /// Names of the unfinished file (`part`) and of an earlier process's file (`older`). Only the thread that is
    /// opening uses them.
    pub(super) part: UnsafeCell<FixedPath>,
    pub(super) older: UnsafeCell<FixedPath>,
    /// 1 after `file` and `path` are written.
    pub(super) is_open: AtomicU32,
    /// 1 after the metadata is written, or while a thread writes it.
    pub(super) has_metadata: AtomicU32,
}

// SAFETY: C3, the cells are written only while `is_open` is 0, by the one thread that is opening or by a forked child
// that has one thread. They are read only after `is_open` was seen to be 1.
unsafe impl Sync for CurrentBox {}

impl CurrentBox {
    const fn new() -> CurrentBox {
        CurrentBox {
            file: UnsafeCell::new(None),
            path: UnsafeCell::new(FixedPath::empty()),
            part: UnsafeCell::new(FixedPath::empty()),
            older: UnsafeCell::new(FixedPath::empty()),
            is_open: AtomicU32::new(0),
            has_metadata: AtomicU32::new(0),
        }
    }

    fn reset_after_fork(&self) {
        // The cells stay: they are not read while the box is closed, and the next opening overwrites them.
        let CurrentBox { file: _, path: _, part: _, older: _, is_open, has_metadata } = self;
        // relaxed, both: there is one thread.
        has_metadata.store(0, Ordering::Relaxed);
        is_open.store(0, Ordering::Relaxed);
    }
}

/// The recorder's state in its life cycle; see `lifecycle`.
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
    pub(super) fn from_raw(raw: u32) -> State {
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

    /// Returns whether events are recorded in this state.
    pub(crate) fn records(self) -> bool {
        matches!(self, State::Running | State::Draining)
    }
}

/// The amount of detail that is recorded of each event, from complete data down to mere totals. Every change of the
/// level is in the list of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub(crate) enum Level {
    Full = 0,
    /// All data except stacks is recorded; in a process without stacks the level equals `Full`.
    NoStacks = 1,
    Sampled = 2,
    CountersOnly = 3,
    /// Every event is recorded again, but sampled-out blocks may still be live. So the record of a free carries the
    /// whole size, which keeps the totals exact.
    AfterSampling = 4,
}

/// The epoch: a counter that the aggregator advances about every millisecond and that every event reads. It has a
/// separate cache line.
///
/// The low bits of the word are the level, so a thread that reads an epoch also reads the level of that epoch. A thread
/// that receives a block from another thread reads an epoch at least as late as the other thread's. So it knows every
/// level at which the block may have been sampled out (W1 of `fold::flush`).
#[repr(align(128))]
pub(crate) struct Epoch(AtomicU64);

impl Epoch {
    /// Bits of the level.
    const LEVEL: u64 = 7;
    /// The distance from one epoch to the next.
    const STEP: u64 = Self::LEVEL + 1;

    #[inline(always)]
    pub(crate) fn now(&self) -> u64 {
        // relaxed: a thread that acts on a new epoch reads it again, in `level`.
        self.0.load(Ordering::Relaxed)
    }

    /// Returns the level in force.
    pub(super) fn level(&self) -> Level {
        // Acquire: pairs with the release in `set_level`; a thread that sees a level sees every write before its
        // change.
        match self.0.load(Ordering::Acquire) & Self::LEVEL {
            2 => Level::Sampled,
            3 => Level::CountersOnly,
            4 => Level::AfterSampling,
            _ => Level::Full,
        }
    }

    /// Sets the level and advances the epoch, unless the level is already in force. Returns whether it was already in
    /// force.
    pub(super) fn set_level(&self, level: Level) -> bool {
        let next = |epoch: u64| {
            (epoch & Self::LEVEL != level as u64)
                .then(|| (epoch & !Self::LEVEL).wrapping_add(Self::STEP) | level as u64)
        };
        // Acquire and release: the release pairs with the acquire in `level`; ticks continue the release sequence.
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, next).is_err()
    }

    /// Advances the epoch, so that every thread's next event opens a new window.
    pub(crate) fn tick(&self) {
        // relaxed: the tick publishes no data.
        self.0.fetch_add(Self::STEP, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forked_child_starts_without_its_parents_state_and_keeps_what_it_inherits() {
        let process = Process::new();
        let (control, counters) = (&process.control, &process.counters);
        let flags =
            [&control.level, &control.earlier_blocks, &control.sampled_out_blocks, &control.stack_walk];
        let others =
            [&control.background, &control.background_sleep, &control.stamps, &control.segments_asked];
        for word in flags.into_iter().chain(others) {
            word.store(1, Ordering::Relaxed);
        }
        control.offload_segments.store(1, Ordering::Relaxed);
        control.sampling_only_rate.store(1, Ordering::Relaxed);
        counters.lost_without_lane[1].store(1, Ordering::Relaxed);
        counters.failed_without_lane.store(1, Ordering::Relaxed);
        process.black_box.is_open.store(1, Ordering::Relaxed);
        process.forked_from.store(7, Ordering::Relaxed);
        process.are_hooks_set.set(true).unwrap();
        process.reset_after_fork();
        for word in flags.into_iter().chain(others) {
            assert_eq!(word.load(Ordering::Relaxed), 0);
        }
        assert_eq!(control.offload_segments.load(Ordering::Relaxed), OFFLOAD_SEGMENTS_MAX);
        assert_eq!(control.sampling_only_rate.load(Ordering::Relaxed), NOT_SAMPLING);
        assert_eq!(counters.lost_without_lane[1].load(Ordering::Relaxed), 0);
        assert_eq!(counters.failed_without_lane.load(Ordering::Relaxed), 0);
        assert_eq!(process.black_box.is_open.load(Ordering::Relaxed), 0);
        assert_eq!(process.forked_from.load(Ordering::Relaxed), 7, "the dump names the parent");
        assert_eq!(process.are_hooks_set.get(), Some(true), "a second set would run each hook twice");
    }

    #[test]
    fn words_that_change_often_share_no_cache_line_with_words_that_events_read() {
        let process = Process::new();
        let line = |field: *const ()| field.addr() / 128;
        let [epoch, control, counters] = [
            line((&raw const process.epoch).cast()),
            line((&raw const process.control).cast()),
            line((&raw const process.counters).cast()),
        ];
        assert!(epoch != control && control != counters && epoch != counters);
        assert!(
            [size_of::<Epoch>(), size_of::<Control>(), size_of::<Counters>()]
                .iter()
                .all(|size| size.is_multiple_of(128))
        );
    }
}
