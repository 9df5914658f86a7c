//! [`HeapLedger`]: the global allocator that records, and its builder.

use std::alloc::{GlobalAlloc, Layout, System};
use std::time::Duration;

use super::hot_path::{self, Pending};
use super::options::{Background, Hooks, Opener, Options};
use super::slow_path;
use crate::profile::{
    ClockMode, ConcurrencyConfig, DataQualityMode, DumpTarget, ForkPolicy, HistoryLimits, QualityIndicator,
    Retention, Signal, Stacks, Triggers, TuningGoal,
};
use crate::ring::event::Traits;

/// A global allocator that records every allocation and free of the program and forwards to an inner allocator.
///
/// One line installs it:
///
/// ```
/// #[global_allocator]
/// static HEAP: heapledger::HeapLedger = heapledger::HeapLedger::system();
/// # fn main() {}
/// ```
///
/// `HeapLedger` can wrap any other global allocator. The builder sets options, and environment variables override them:
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
/// # Recording
///
/// Each of the four methods of `GlobalAlloc` forwards to the same method of the inner allocator with the same layout
/// and returns its result. The record of an event contains address, size, alignment, zeroing, time, thread and call
/// stack. An allocation that the inner allocator refuses is counted as failed, and is not recorded as an event.
#[derive(Debug)]
pub struct HeapLedger<A = System> {
    pub(crate) inner: A,
    pub(crate) options: Options,
    pub(crate) hooks: Hooks,
}

/// The builder. Every method is a `const fn`, so a `static` can be built with it.
impl<A> HeapLedger<A> {
    /// Sets what happens when a thread records faster than its events can be booked. Default: the thread waits, and no
    /// event is lost.
    pub const fn mode(mut self, mode: DataQualityMode) -> Self {
        self.options.mode = mode;
        self
    }

    /// Sets how call stacks are walked. Default: by frame pointers if they are correct in this program, otherwise by
    /// unwind tables.
    pub const fn stacks(mut self, stacks: Stacks) -> Self {
        self.options.stacks = stacks;
        self
    }

    /// Sets how events get their times. Default: by one clock reading per batch of events.
    pub const fn clock(mut self, clock: ClockMode) -> Self {
        self.options.clock = clock;
        self
    }

    /// Sets which events are kept after booking. Default: the ledger and a bounded history.
    pub const fn retention(mut self, retention: Retention) -> Self {
        self.options.retention = retention;
        self
    }

    /// Sets the maximum size of the history of last events.
    pub const fn history(mut self, limits: HistoryLimits) -> Self {
        self.options.history = limits;
        self
    }

    /// Sets how long a thread waits when its ring is full.
    pub const fn concurrency(mut self, config: ConcurrencyConfig) -> Self {
        self.options.concurrency = config;
        self
    }

    /// Sets the path of the dump that is written at exit. Default: `heapledger.<app>.<pid>.hl` in the working
    /// directory.
    pub const fn dump(mut self, target: DumpTarget) -> Self {
        self.options.dump = target;
        self
    }

    /// Keeps the ledger in a file while the process runs, so that the data survives `SIGKILL`, an abort or the OOM
    /// killer. `heapledger report` reads this file. In the path, `%p` is the process id, `%e` the program's name, and
    /// `%t` the time in seconds since 1970. Default: none. `HEAPLEDGER_BLACKBOX` overrides this option.
    ///
    /// The file has its full length ([`black_box_bytes`](Self::black_box_bytes)) from the start, and this length also
    /// limits the size of the ledger. The file is removed when the process ends normally and writes its dump.
    pub const fn black_box(mut self, path: &'static str) -> Self {
        self.options.black_box = Some(path);
        self
    }

    /// Sets the length of the black box in bytes, rounded down to whole MiB. Default: 256 MiB.
    pub const fn black_box_bytes(mut self, bytes: u64) -> Self {
        self.options.black_box_bytes = bytes;
        self
    }

    /// Writes figures of the running process into a file four times a second: the [live page](crate::live), which has
    /// 320 KiB and is shown by `heapledger top`. `path` is `"1"` for `/dev/shm/heapledger.%p.live`, or another path,
    /// with the same `%` codes as the path of a black box. Default: none. `HEAPLEDGER_LIVE` overrides this option.
    /// Linux only.
    ///
    /// The black box of a process always contains a live page, even without this option. The file is removed when the
    /// process ends normally. A forked child has a separate file if the path contains `%p`.
    pub const fn live(mut self, path: &'static str) -> Self {
        self.options.live = Some(path);
        self
    }

    /// Serves profiles, counters and dumps of the running process over HTTP, for `go tool pprof`, Prometheus and
    /// `heapledger top`. Default: none. `HEAPLEDGER_SERVE` overrides this option. `docs/LIVE.md` lists the URL paths
    /// and the limits.
    ///
    /// `address` is a loopback address such as `127.0.0.1:9123`, or `unix:PATH` for a socket file that only its owner
    /// can use. With port 0 the system chooses the port, which is printed. Any other address needs the prefix
    /// `public:`, because anyone who can connect to it can read what the program allocates, its arguments and the paths
    /// of its files. A thread of heapledger answers the requests; the program's threads do no work for them.
    #[cfg(feature = "serve")]
    pub const fn serve(mut self, address: &'static str) -> Self {
        self.options.serve = Some(address);
        self
    }

    /// Sets what a forked child records. Default: the child opens a new ledger.
    pub const fn fork(mut self, policy: ForkPolicy) -> Self {
        self.options.fork = policy;
        self
    }

    /// Sets the maximum number of bytes that heapledger uses for itself. Default: 16 GiB of address space, of which
    /// only the used part is memory. At the limit, events are counted as lost with reason `no_memory` or `table_full`.
    pub const fn memory_limit(mut self, bytes: u64) -> Self {
        self.options.memory_limit_bytes = bytes;
        self
    }

    /// Sets the mean distance between two sampled *blocks*, in allocated bytes. Applies to the modes and levels that
    /// record only a part of the blocks. The value is rounded up to a power of two from 1 KiB to 16 MiB. Default: 512
    /// KiB. [`Stacks::Sampled`] has a separate distance, between two sampled *stacks*: it records every block, but only
    /// some blocks with a stack.
    pub const fn sampling_bytes(mut self, bytes: u64) -> Self {
        self.options.sampling_bytes = bytes;
        self
    }

    /// Adjusts heapledger's settings while the program runs, towards a target completeness and a target latency. The
    /// settings are ring size, pace of the background thread, mode, and level of detail. Default: no adjustment.
    ///
    /// One setting changes by one step, at most twice a second, and only after two measurements have shown the need.
    /// Without load all settings return to their initial values. Snapshots and dumps list each step with its reason;
    /// `heapledger::tuner_log` has the figures. After 100 steps the settings no longer change. Auto-tuning needs the
    /// background thread: see [`HeapLedger::background`].
    pub const fn auto_tune(mut self, goal: TuningGoal) -> Self {
        self.options.auto_tune = Some(goal);
        self
    }

    /// Calls `callback` when the completeness of the last second falls below
    /// [`target_completeness`](ConcurrencyConfig::target_completeness), and again when it clearly exceeds the target.
    /// The callback distinguishes the two cases by [`windowed_completeness`](QualityIndicator::windowed_completeness).
    /// A second with fewer than 1,000 events is ignored.
    ///
    /// The callback runs on the background thread, which has 256 KiB of stack and does nothing else during the call.
    /// Without that thread ([`HeapLedger::background`]) the callback is never called. Allocations of the callback are
    /// recorded as internal, and are in no total of the program. A callback that panics is not called again.
    pub const fn on_quality(mut self, callback: fn(&QualityIndicator)) -> Self {
        self.options.on_quality = Some(callback);
        self
    }

    /// Prints a line on standard error when the completeness of the last second falls below the target, and another
    /// when it clearly exceeds the target again; at most one line in ten seconds. At the end of the process, prints a
    /// line if the completeness of the whole run is below the target. Default: false. `HEAPLEDGER_WARN=1` enables these
    /// lines.
    pub const fn warn(mut self, enabled: bool) -> Self {
        self.options.warn = enabled;
        self
    }

    /// Records only if `HEAPLEDGER=always` is set. Otherwise the program runs as with `HEAPLEDGER=off`, and all other
    /// variables of heapledger are ignored. Default, without this method: the program records unless `HEAPLEDGER=off`
    /// is set.
    pub const fn on_request(mut self) -> Self {
        self.options.on_request = true;
        self
    }

    /// Writes a dump when the process receives this signal; each call adds one signal. Default: none.
    ///
    /// After an [on-demand signal](Signal::is_on_demand) the process continues, and the dump is numbered:
    /// `heapledger.<app>.<pid>.1.hl`. Any other signal ends the process after the dump, as it does without heapledger,
    /// and the dump has the name of the dump at exit. The process ends at once if the signal arrives a second time, or
    /// if the dump takes ten seconds. A signal that the program ignores when it is loaded stays ignored. If the program
    /// has a handler at that time, this handler is called at once, and the dump is numbered. A handler that the program
    /// installs later replaces heapledger's handler.
    ///
    /// A thread of heapledger writes the dump, never the signal handler. `DumpTarget::Off` only disables the dump at
    /// exit: with it, the dump on a signal goes to the directory in which the program started. `HEAPLEDGER_SIGNALS`
    /// overrides this option. Linux only.
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

    /// Writes dumps while the process runs, when one of these conditions is met. Default: none. The dumps are numbered,
    /// and the last few are kept: see [`Triggers`]. Triggers need heapledger's threads: see [`HeapLedger::background`].
    /// `HEAPLEDGER_TRIGGERS` overrides this.
    pub const fn triggers(mut self, triggers: Triggers) -> Self {
        self.options.triggers = triggers;
        self
    }

    /// Sets the minimum size of each thread's ring in bytes, from 32 to 384 KiB, rounded up to segments of 8 KiB. A
    /// ring is larger if the [`history`](Self::history) needs more; the default history needs 48 KiB. Default: 0.
    /// Larger rings lose fewer events in the modes that drop events, and hold more history.
    pub const fn ring_bytes(mut self, bytes: u64) -> Self {
        self.options.ring_bytes = bytes;
        self
    }

    /// Sets the interval of the background thread: the minimum pause between two rounds in which the thread books the
    /// events of all rings. Range: 250 µs to 1 s. Default: 1 ms. `HEAPLEDGER_INTERVAL=100ms` overrides this option, and
    /// `heapledger::set_interval` changes the interval at run time.
    ///
    /// A longer interval loses no events, except in `BestEffort`, where only the background thread books. Event times
    /// and the figures of idle threads are then only as exact as the interval.
    pub const fn interval(mut self, interval: Duration) -> Self {
        let ns = interval.as_nanos();
        self.options.interval_ns = if ns > u64::MAX as u128 { u64::MAX } else { ns as u64 };
        self
    }

    /// Sets whether the background thread runs always (`true`) or never (`false`). The thread books idle rings and
    /// reads the clock every millisecond. Without it no event is lost, but event times are coarser, the trend of the
    /// completeness is unknown, and the last events of an idle thread are booked only by a flush or at exit.
    ///
    /// By default, an option that needs the thread (a trace, a black box, a trigger, a signal, the tuner, a callback)
    /// starts it when the program is loaded. Otherwise the thread starts only when there is a reason:
    ///
    /// * a second thread of the program allocates;
    /// * the program asks for figures;
    /// * the program pauses so often that its events need regular clock readings;
    /// * booking has been costly for long, because hundreds of thousands of blocks are live, and there is a second
    ///   processor.
    ///
    /// The thread then starts when the program next calls a function of heapledger, or when a thread of the program
    /// ends. An allocation never starts a thread, because the allocation may come from a signal handler. A program with
    /// one thread that allocates all the time runs without the background thread, because glibc's allocator takes locks
    /// as soon as a process has a second thread. These locks took a sixth of the time of a program that parses JSON.
    /// With `true` the thread starts when the program is loaded.
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
        // SAFETY: the caller upholds the contract of this method; the arguments are passed on unchanged.
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
        // SAFETY: the caller upholds the contract of this method; the arguments are passed on unchanged.
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
            // SAFETY: the caller upholds the contract of this method; the arguments are passed on unchanged.
            Ok(()) => unsafe { self.inner.dealloc(block, layout) },
            // SAFETY: the caller upholds the contract of this method, which is also that of `dealloc_pending`.
            Err(pending) => unsafe { dealloc_pending(block, layout, pending, self) },
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let begun = hot_path::record_realloc_begin(self.opener(), block, layout.size());
        // SAFETY: the caller upholds the contract of this method; the arguments are passed on unchanged.
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

/// Records a free by the slow path and frees the block. The arguments have the order of `dealloc`, so that no register
/// has to be moved.
///
/// # Safety
///
/// The caller upholds the contract of [`GlobalAlloc::dealloc`].
#[cold]
#[inline(never)]
unsafe fn dealloc_pending<A: GlobalAlloc>(
    block: *mut u8,
    layout: Layout,
    pending: Pending,
    heap: &HeapLedger<A>,
) {
    hot_path::free_pending(pending, heap.opener(), block, layout.size());
    // SAFETY: the caller upholds the contract of `dealloc`; the arguments are passed on unchanged.
    unsafe { heap.inner.dealloc(block, layout) };
}

impl<A> HeapLedger<A> {
    #[inline(always)]
    fn opener(&self) -> Opener<'_> {
        Opener { options: &self.options, hooks: &self.hooks }
    }
}
