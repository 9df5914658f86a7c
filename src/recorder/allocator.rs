//! [`HeapLedger`]: the global allocator that records, and its options.

use std::alloc::{GlobalAlloc, Layout, System};

use super::gate;
use super::hot_path::{self, Pending};
use crate::profile::{
    ClockMode, ConcurrencyConfig, DataQualityMode, DumpTarget, ForkPolicy, HistoryLimits, QualityIndicator,
    Retention, Signal, Stacks, Triggers, TuningGoal,
};
use crate::ring::event::Traits;

/// Bytes of the longest path that `HEAPLEDGER_DUMP` and `HEAPLEDGER_TRACE` may hold.
pub(super) const DUMP_PATH_BYTES_MAX: usize = 1000;

/// A global allocator that records every allocation and free of the program, and leaves the work to another one.
///
/// One line installs it:
///
/// ```
/// #[global_allocator]
/// static HEAP: heapledger::HeapLedger = heapledger::HeapLedger::system();
/// # fn main() {}
/// ```
///
/// Any other global allocator can be inside, and the builder sets what the environment does not override:
///
/// ```
/// use heapledger::{ConcurrencyConfig, DumpTarget, HeapLedger};
///
/// #[global_allocator]
/// static HEAP: HeapLedger = HeapLedger::new(std::alloc::System)
///     .concurrency(ConcurrencyConfig { max_retries: 5, ..ConcurrencyConfig::DEFAULT })
///     .dump(DumpTarget::Off);
/// # fn main() {}
/// ```
///
/// # What it does
///
/// Each of the four methods of `GlobalAlloc` forwards to the same method of the inner allocator with the same
/// layout, and returns what that returned. What is recorded: address, size, alignment, whether zeroed, when, and by
/// which thread. A refused allocation changes nothing and is counted as failed.
#[derive(Debug)]
pub struct HeapLedger<A = System> {
    pub(crate) inner: A,
    pub(crate) options: Options,
    pub(crate) hooks: Hooks,
}

/// What upper layers do at certain moments. Plain functions, so that a static can hold them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hooks {
    /// Writes into a black box what is not in the ledger: who the process is, and what is loaded.
    pub(crate) label: fn(),
    /// Closes the books and writes the dump; called once, at the end of the process.
    pub(crate) at_exit: fn(),
    /// Forgets what upper layers know of the parent, in a forked child.
    pub(crate) in_child: fn(),
    /// The body of heapledger's own thread.
    pub(crate) aggregator: fn(),
    /// The body of the thread that writes dumps on signals and triggers.
    pub(crate) dumps: fn(),
}

/// All that the builder sets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    pub(crate) mode: DataQualityMode,
    pub(crate) stacks: Stacks,
    pub(crate) clock: ClockMode,
    pub(crate) retention: Retention,
    pub(crate) history: HistoryLimits,
    pub(crate) concurrency: ConcurrencyConfig,
    pub(crate) dump: DumpTarget,
    pub(crate) dump_override: StoredPath,
    pub(crate) black_box: Option<&'static str>,
    pub(crate) black_box_override: StoredPath,
    pub(crate) black_box_bytes: u64,
    pub(crate) trace_override: StoredPath,
    pub(crate) fork: ForkPolicy,
    pub(crate) memory_limit_bytes: u64,
    pub(crate) background: Background,
    pub(crate) sampling_bytes: u64,
    pub(crate) auto_tune: Option<TuningGoal>,
    pub(crate) on_quality: Option<fn(&QualityIndicator)>,
    pub(crate) warn: bool,
    pub(crate) on_request: bool,
    /// Signals on which a dump is written: a bit for each.
    pub(crate) signals: u32,
    pub(crate) triggers: Triggers,
}

impl Options {
    pub(crate) const DEFAULT: Options = Options {
        mode: DataQualityMode::PerfectAccuracy,
        stacks: Stacks::Auto,
        clock: ClockMode::Batched,
        retention: Retention::Ledger,
        history: HistoryLimits::DEFAULT,
        concurrency: ConcurrencyConfig::DEFAULT,
        dump: DumpTarget::WorkingDirectory,
        dump_override: StoredPath::NONE,
        black_box: None,
        black_box_override: StoredPath::NONE,
        black_box_bytes: 256 << 20,
        trace_override: StoredPath::NONE,
        fork: ForkPolicy::Fresh,
        memory_limit_bytes: 16 << 30,
        background: Background::AsNeeded,
        sampling_bytes: 512 << 10,
        auto_tune: None,
        on_quality: None,
        warn: false,
        on_request: false,
        signals: 0,
        triggers: Triggers::DEFAULT,
    };
}

/// Whether heapledger runs a thread of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Background {
    /// When there is something for it to do: see `own_thread`.
    AsNeeded,
    Always,
    Never,
}

impl Options {
    /// Whether something was asked for that only heapledger's own thread does.
    pub(crate) fn needs_own_thread(&self) -> bool {
        let watches = self.triggers.is_any() || self.signals != 0 || self.warn || self.on_quality.is_some();
        let writes = self.trace_pattern().is_some() || self.black_box_pattern().is_some();
        watches || writes || self.auto_tune.is_some()
    }

    /// Where the black box is, with its `%` signs, if there is to be one.
    pub(crate) fn black_box_pattern(&self) -> Option<&[u8]> {
        match (self.black_box_override.get(), self.black_box) {
            (Some(b"off"), _) | (None, None) => None,
            (Some(path), _) => Some(path),
            (None, Some(path)) => Some(path.as_bytes()),
        }
    }

    /// Where the trace goes, if there is to be one.
    pub(crate) fn trace_pattern(&self) -> Option<&[u8]> {
        match (self.trace_override.get(), self.retention) {
            (Some(b"off"), _) | (None, Retention::Ledger) => None,
            (Some(path), _) => Some(path),
            (None, Retention::Trace(path)) => Some(path.as_bytes()),
        }
    }
}

/// The value of `HEAPLEDGER_DUMP` or another variable that is a path, kept without allocating.
#[derive(Clone, Copy)]
pub(crate) struct StoredPath {
    bytes: [u8; DUMP_PATH_BYTES_MAX],
    len: u16,
    set: bool,
}

impl StoredPath {
    pub(crate) const NONE: StoredPath = StoredPath { bytes: [0; DUMP_PATH_BYTES_MAX], len: 0, set: false };

    pub(crate) fn new(path: &[u8]) -> Option<StoredPath> {
        if path.is_empty() || path.len() > DUMP_PATH_BYTES_MAX {
            return None;
        }
        let mut stored = StoredPath { len: path.len() as u16, set: true, ..StoredPath::NONE };
        stored.bytes[..path.len()].copy_from_slice(path);
        Some(stored)
    }

    pub(crate) fn get(&self) -> Option<&[u8]> {
        self.set.then(|| &self.bytes[..usize::from(self.len)])
    }
}

impl std::fmt::Debug for StoredPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.get().map(String::from_utf8_lossy).fmt(f)
    }
}

/// The builder. Every method can be used in a `static`.
impl<A> HeapLedger<A> {
    /// What happens when a thread records faster than its events can be booked. Default: wait, lose nothing.
    pub const fn mode(mut self, mode: DataQualityMode) -> Self {
        self.options.mode = mode;
        self
    }

    /// How call stacks are taken. Default: by frame pointers if they are sound in this program, else by unwind tables.
    pub const fn stacks(mut self, stacks: Stacks) -> Self {
        self.options.stacks = stacks;
        self
    }

    /// When the clock is read. Default: in batches.
    pub const fn clock(mut self, clock: ClockMode) -> Self {
        self.options.clock = clock;
        self
    }

    /// What is kept of the events once they are booked. Default: the ledger and a bounded history.
    pub const fn retention(mut self, retention: Retention) -> Self {
        self.options.retention = retention;
        self
    }

    /// Bounds of the history of last events.
    pub const fn history(mut self, limits: HistoryLimits) -> Self {
        self.options.history = limits;
        self
    }

    /// Bounds of the wait of a thread whose ring is full.
    pub const fn concurrency(mut self, config: ConcurrencyConfig) -> Self {
        self.options.concurrency = config;
        self
    }

    /// Where the dump at exit goes. Default: `heapledger.<app>.<pid>.hl` in the working directory.
    pub const fn dump(mut self, target: DumpTarget) -> Self {
        self.options.dump = target;
        self
    }

    /// Keeps everything that is recorded in a file while the process runs, so that it outlives `SIGKILL`, an abort or the
    /// system running out of memory: `heapledger report` reads the file then. `%p` in the path is the process's id, `%e`
    /// its thread's name, `%t` the time in seconds. Default: none. `HEAPLEDGER_BLACKBOX` overrides it.
    ///
    /// The file has its full length ([`black_box_bytes`](Self::black_box_bytes)) from the start, which then is the limit
    /// of what is recorded as well. It goes away when the process ends in good order and leaves its dump.
    pub const fn black_box(mut self, path: &'static str) -> Self {
        self.options.black_box = Some(path);
        self
    }

    /// The length of the black box, in bytes; rounded down to whole MiB. Default: 256 MiB.
    pub const fn black_box_bytes(mut self, bytes: u64) -> Self {
        self.options.black_box_bytes = bytes;
        self
    }

    /// What a forked child does. Default: it opens a ledger of its own.
    pub const fn fork(mut self, policy: ForkPolicy) -> Self {
        self.options.fork = policy;
        self
    }

    /// Bytes that heapledger may use for itself at most. Default 16 GiB of address space, of which only what is
    /// used is memory. At the limit events are lost with reason `no_memory` or `table_full`, and counted.
    pub const fn memory_limit(mut self, bytes: u64) -> Self {
        self.options.memory_limit_bytes = bytes;
        self
    }

    /// Mean distance between two samples in the sampling modes, in bytes; rounded up to a power of two from 1 KiB to
    /// 16 MiB. Default 512 KiB.
    pub const fn sampling_bytes(mut self, bytes: u64) -> Self {
        self.options.sampling_bytes = bytes;
        self
    }

    /// Has heapledger turn its own knobs while the program runs, towards a completeness and a latency: size of the rings,
    /// pace of its own thread, mode, how much is recorded of each event. Default: nothing is turned.
    ///
    /// Twice a second at most, and only after a pressure has been seen twice, one knob is turned by one step; with the
    /// load gone, all of them go back to where they were set. Each step is among the changes in snapshots and dumps, with
    /// why; `heapledger::tuner_log` has the figures. After 100 steps the knobs stay where they are. It needs
    /// heapledger's own thread: see [`HeapLedger::background`].
    pub const fn auto_tune(mut self, goal: TuningGoal) -> Self {
        self.options.auto_tune = Some(goal);
        self
    }

    /// Has `callback` called when the completeness of the newest second falls below
    /// [`target_completeness`](ConcurrencyConfig::target_completeness), and when it is clearly above it again; which of
    /// the two, [`windowed_completeness`](QualityIndicator::windowed_completeness) tells. A second with fewer than 1,000
    /// events tells nothing.
    ///
    /// It is called on heapledger's own thread, which has 256 KiB of stack, and on no other: without that thread
    /// ([`HeapLedger::background`]) it is never called. While it runs that thread does nothing else. What it allocates
    /// is recorded as heapledger's own, in no total of the program. If it panics, it is not called again.
    pub const fn on_quality(mut self, callback: fn(&QualityIndicator)) -> Self {
        self.options.on_quality = Some(callback);
        self
    }

    /// Whether the same crossings are told in a line on standard error, at most one in ten seconds, and one more at the
    /// end of the process if the completeness of its whole life is below the target. Default false.
    /// `HEAPLEDGER_WARN=1` switches it on.
    pub const fn warn(mut self, enabled: bool) -> Self {
        self.options.warn = enabled;
        self
    }

    /// Records only where `HEAPLEDGER=always` asks for it; otherwise the program runs as with `HEAPLEDGER=off`, whatever
    /// else the environment says. Default: everything is recorded unless `HEAPLEDGER=off`.
    pub const fn on_request(mut self) -> Self {
        self.options.on_request = true;
        self
    }

    /// Has a dump written when the process receives this signal; to be called once for each. Default: none.
    ///
    /// After [`Signal::is_on_demand`] signals the process goes on, and the dump is numbered:
    /// `heapledger.<app>.<pid>.1.hl`. After the others it ends by the signal, as it would have without heapledger, and
    /// the dump has the name of the one at exit; a second signal, or ten seconds, ends it at once. A program that
    /// ignores such a signal when the first event is recorded goes on ignoring it; one that has a handler by then has it
    /// called at once, and the dump is numbered. A handler that is set later takes the place of heapledger's.
    ///
    /// The dump is written by a thread of heapledger's own, never in the handler. With `DumpTarget::Off`, which is about
    /// the end of the process, it goes to the working directory. `HEAPLEDGER_SIGNALS` overrides this. Linux only.
    ///
    /// ```
    /// use heapledger::{HeapLedger, Signal};
    ///
    /// #[global_allocator]
    /// static HEAP: HeapLedger =
    ///     HeapLedger::system().dump_on_signal(Signal::Terminate).dump_on_signal(Signal::User1);
    /// # fn main() {}
    /// ```
    pub const fn dump_on_signal(mut self, signal: Signal) -> Self {
        self.options.signals |= 1 << signal as u32;
        self
    }

    /// What has a dump written while the process runs. Default: nothing. The dumps are numbered, and the last few are
    /// kept: see [`Triggers`]. It needs heapledger's own threads: see [`HeapLedger::background`].
    /// `HEAPLEDGER_TRIGGERS` overrides this.
    pub const fn triggers(mut self, triggers: Triggers) -> Self {
        self.options.triggers = triggers;
        self
    }

    /// Whether heapledger runs a thread of its own, which books rings that have gone quiet and reads the clock every
    /// millisecond. Without it nothing is lost, but times between two clock readings are coarser, the trend of the
    /// completeness is not known, and a quiet thread's last events are booked only by a flush or at exit.
    ///
    /// Default: it is started as soon as it is of use, which is when a second thread of the program allocates, when something
    /// was asked for that it does (a trace, a black box, a trigger, the tuner, a callback, a query), when the
    /// program pauses so often that its ticks are needed to date events, or when booking has been dear for long, because
    /// hundreds of thousands of blocks live at once, and there is a second processor to do it. Else a program with one thread that
    /// allocates all the time is left without: the allocator of glibc takes locks as soon as a process has a second
    /// thread, whatever that does, which was a sixth of the time of one that parses JSON. `true` has it
    /// started in any case, once there are some hundred events.
    pub const fn background(mut self, enabled: bool) -> Self {
        self.options.background = if enabled { Background::Always } else { Background::Never };
        self
    }
}

// SAFETY: every method passes its arguments to the same method of the inner allocator and returns its result; the
// recording around it allocates nothing through this allocator, does not unwind, and does not touch the block.
unsafe impl<A: GlobalAlloc> GlobalAlloc for HeapLedger<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        let block = unsafe { self.inner.alloc(layout) };
        if block.is_null() {
            gate::count_failed();
            return block;
        }
        let traits = Traits::new(layout.align(), false, false);
        hot_path::record_alloc(self.opener(), block, layout.size(), traits)
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        let block = unsafe { self.inner.alloc_zeroed(layout) };
        if block.is_null() {
            gate::count_failed();
            return block;
        }
        let traits = Traits::new(layout.align(), true, false);
        hot_path::record_alloc(self.opener(), block, layout.size(), traits)
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match hot_path::record_free(block, layout.size()) {
            // SAFETY: the caller's promise, passed on.
            Ok(()) => unsafe { self.inner.dealloc(block, layout) },
            // SAFETY: the same.
            Err(pending) => unsafe { dealloc_pending(block, layout, pending, self) },
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let begun = hot_path::record_realloc_begin(self.opener(), block, layout.size());
        // SAFETY: the caller's promise, passed on.
        let new = unsafe { self.inner.realloc(block, layout, new_size) };
        let traits = Traits::new(layout.align(), false, false);
        if new.is_null() {
            gate::count_failed();
            hot_path::record_realloc_refused(begun, block, layout.size(), traits);
        } else {
            hot_path::record_realloc_end(self.opener(), begun, block, new, new_size, traits);
        }
        new
    }
}

/// What the first event of a process, or of a thread, needs.
#[derive(Clone, Copy)]
pub(crate) struct Opener<'a> {
    pub(crate) options: &'a Options,
    pub(crate) hooks: &'a Hooks,
}

/// The rest of a `dealloc` whose event takes its time. Its arguments come in the order in which `dealloc` has them, so that
/// they need not be moved there.
///
/// # Safety
///
/// As for [`GlobalAlloc::dealloc`].
#[cold]
#[inline(never)]
unsafe fn dealloc_pending<A: GlobalAlloc>(
    block: *mut u8,
    layout: Layout,
    pending: Pending,
    heap: &HeapLedger<A>,
) {
    hot_path::free_pending(pending, heap.opener(), block, layout.size());
    // SAFETY: the caller's promise, passed on.
    unsafe { heap.inner.dealloc(block, layout) };
}

impl<A> HeapLedger<A> {
    #[inline(always)]
    fn opener(&self) -> Opener<'_> {
        Opener { options: &self.options, hooks: &self.hooks }
    }
}
