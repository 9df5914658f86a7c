//! [`HeapLedger`]: the global allocator that records, and its options.

use std::alloc::{GlobalAlloc, Layout, System};

use super::hot_path::{self, Pending};
use super::options::{Background, Hooks, Opener, Options};
use super::slow_path;
use crate::profile::{
    ClockMode, ConcurrencyConfig, DataQualityMode, DumpTarget, ForkPolicy, HistoryLimits, QualityIndicator,
    Retention, Signal, Stacks, Triggers, TuningGoal,
};
use crate::ring::event::Traits;

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
    /// the program's name, `%t` the time in seconds since 1970. Default: none. `HEAPLEDGER_BLACKBOX` overrides it.
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
            slow_path::count_failed();
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
            slow_path::count_failed();
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
            slow_path::count_failed();
            hot_path::record_realloc_refused(begun, block, layout.size(), traits);
        } else {
            hot_path::record_realloc_end(self.opener(), begun, block, new, new_size, traits);
        }
        new
    }
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
