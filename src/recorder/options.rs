//! The options that the builder of [`HeapLedger`](super::allocator::HeapLedger) sets, and the functions of upper layers
//! that the recorder calls (*hooks*).

use crate::profile::{
    ClockMode, ConcurrencyConfig, DataQualityMode, DumpTarget, ForkPolicy, HistoryLimits, QualityIndicator,
    Retention, Stacks, Triggers, TuningGoal,
};

/// Maximum length of a path in an environment variable, in bytes.
pub(super) const DUMP_PATH_BYTES_MAX: usize = 1000;

/// Default pause between two rounds of the background thread, in nanoseconds.
pub(super) const INTERVAL_NS_DEFAULT: u64 = 1_000_000;
/// Minimum pause between two rounds of the background thread, in nanoseconds.
pub(crate) const INTERVAL_NS_MIN: u64 = 250_000;
/// Maximum pause between two rounds of the background thread, in nanoseconds.
pub(crate) const INTERVAL_NS_MAX: u64 = 1_000_000_000;

/// Functions of upper layers that the recorder calls. The fields are plain function pointers, so that a static can hold
/// them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hooks {
    /// Writes the metadata of a black box: process, settings and loaded objects. The ledger itself does not contain
    /// them.
    pub(crate) write_metadata: fn(),
    /// Folds everything and writes the dump; called once, at the end of the process.
    pub(crate) at_exit: fn(),
    /// Resets the state of upper layers in a forked child.
    pub(crate) in_child: fn(),
    /// The body of the background thread.
    pub(crate) aggregator: fn(),
    /// The body of the thread that writes dumps on signals and triggers.
    pub(crate) dumps: fn(),
    /// The body of the endpoint's thread; `None` in a build without the endpoint.
    pub(crate) serve: Option<fn()>,
}

/// The options that the builder sets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    pub(crate) mode: DataQualityMode,
    pub(crate) stacks: Stacks,
    pub(crate) clock: ClockMode,
    pub(crate) retention: Retention,
    pub(crate) history: HistoryLimits,
    /// Minimum size of each thread's ring, in bytes.
    pub(crate) ring_bytes: u64,
    pub(crate) concurrency: ConcurrencyConfig,
    pub(crate) dump: DumpTarget,
    pub(crate) dump_override: StoredPath,
    pub(crate) black_box: Option<&'static str>,
    pub(crate) black_box_override: StoredPath,
    pub(crate) black_box_bytes: u64,
    pub(crate) trace_override: StoredPath,
    pub(crate) live: Option<&'static str>,
    pub(crate) live_override: StoredPath,
    pub(crate) serve: Option<&'static str>,
    pub(crate) serve_override: StoredPath,
    pub(crate) fork: ForkPolicy,
    pub(crate) memory_limit_bytes: u64,
    pub(crate) background: Background,
    /// Minimum pause between two rounds of the background thread, in nanoseconds.
    pub(crate) interval_ns: u64,
    pub(crate) sampling_bytes: u64,
    pub(crate) auto_tune: Option<TuningGoal>,
    pub(crate) on_quality: Option<fn(&QualityIndicator)>,
    pub(crate) warn: bool,
    pub(crate) on_request: bool,
    /// Whether std starts all threads of the program, so that std can be asked for the name of each thread.
    pub(crate) has_std_threads: bool,
    /// Signals on which a dump is written, as a bit set: bit `signal as u32` for each signal.
    pub(crate) signals: u32,
    pub(crate) triggers: Triggers,
    /// Whether the inner allocator is known to be the C library's.
    pub(crate) is_system_allocator: bool,
}

impl Options {
    pub(crate) const DEFAULT: Options = Options {
        mode: DataQualityMode::PerfectAccuracy,
        stacks: Stacks::Auto,
        clock: ClockMode::Batched,
        retention: Retention::Ledger,
        history: HistoryLimits::DEFAULT,
        ring_bytes: 0,
        concurrency: ConcurrencyConfig::DEFAULT,
        dump: DumpTarget::WorkingDirectory,
        dump_override: StoredPath::NONE,
        black_box: None,
        black_box_override: StoredPath::NONE,
        black_box_bytes: 256 << 20,
        trace_override: StoredPath::NONE,
        live: None,
        live_override: StoredPath::NONE,
        serve: None,
        serve_override: StoredPath::NONE,
        fork: ForkPolicy::Fresh,
        memory_limit_bytes: 16 << 30,
        background: Background::AsNeeded,
        interval_ns: INTERVAL_NS_DEFAULT,
        sampling_bytes: 512 << 10,
        auto_tune: None,
        on_quality: None,
        warn: false,
        on_request: false,
        has_std_threads: false,
        signals: 0,
        triggers: Triggers::DEFAULT,
        is_system_allocator: false,
    };
}

impl Options {
    /// Returns whether an option needs the background thread.
    pub(crate) fn needs_background_thread(&self) -> bool {
        let watches = self.triggers.is_any() || self.signals != 0 || self.warn || self.on_quality.is_some();
        let writes = self.trace_pattern().is_some() || self.black_box_pattern().is_some();
        watches || writes || self.auto_tune.is_some() || self.has_live_page()
    }

    /// Returns the path pattern of the black box, or `None` if there is no black box.
    pub(crate) fn black_box_pattern(&self) -> Option<&[u8]> {
        match (self.black_box_override.get(), self.black_box) {
            (Some(b"off"), _) | (None, None) => None,
            (Some(path), _) => Some(path),
            (None, Some(path)) => Some(path.as_bytes()),
        }
    }

    /// Returns whether a live page is written.
    pub(crate) fn has_live_page(&self) -> bool {
        self.live_pattern().is_some() || self.black_box_pattern().is_some() || self.serve_pattern().is_some()
    }

    /// Returns the address of the endpoint, or `None` if there is none.
    pub(crate) fn serve_pattern(&self) -> Option<&[u8]> {
        match (self.serve_override.get(), self.serve) {
            (Some(b"off"), _) | (None, None) => None,
            (Some(address), _) => Some(address),
            (None, Some(address)) => Some(address.as_bytes()),
        }
    }

    /// Returns the path pattern of the live page's separate file, or `None` if there is no such file. The pattern `1`
    /// is the default path.
    pub(crate) fn live_pattern(&self) -> Option<&[u8]> {
        match (self.live_override.get(), self.live) {
            (Some(b"off" | b"0"), _) | (None, None) => None,
            (Some(b"on"), _) => Some(b"1"),
            (Some(path), _) => Some(path),
            (None, Some(path)) => Some(path.as_bytes()),
        }
    }

    /// Returns the path pattern of the trace, or `None` if there is no trace.
    pub(crate) fn trace_pattern(&self) -> Option<&[u8]> {
        match (self.trace_override.get(), self.retention) {
            (Some(b"off"), _) | (None, Retention::Ledger) => None,
            (Some(path), _) => Some(path),
            (None, Retention::Trace(path)) => Some(path.as_bytes()),
        }
    }
}

/// The policy for the background thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Background {
    /// The thread is started when there is a reason: see `background_thread`.
    AsNeeded,
    Always,
    Never,
}

/// A path from an environment variable, in a fixed array.
#[derive(Clone, Copy)]
pub(crate) struct StoredPath {
    bytes: [u8; DUMP_PATH_BYTES_MAX],
    len: u16,
    set: bool,
}

impl StoredPath {
    pub(crate) const NONE: StoredPath = StoredPath { bytes: [0; DUMP_PATH_BYTES_MAX], len: 0, set: false };

    /// Copies a path. Returns `None` if the path is empty or too long.
    pub(crate) fn new(path: &[u8]) -> Option<StoredPath> {
        if path.is_empty() || path.len() > DUMP_PATH_BYTES_MAX {
            return None;
        }
        let mut stored = StoredPath { len: path.len() as u16, set: true, ..StoredPath::NONE };
        stored.bytes[..path.len()].copy_from_slice(path);
        Some(stored)
    }

    /// Returns the path, or `None` if no path was stored.
    pub(crate) fn get(&self) -> Option<&[u8]> {
        self.set.then(|| &self.bytes[..usize::from(self.len)])
    }
}

impl std::fmt::Debug for StoredPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.get().map(String::from_utf8_lossy).fmt(f)
    }
}

/// Options and hooks with which the first event of a process opens the ledger.
#[derive(Clone, Copy)]
pub(crate) struct Opener<'a> {
    pub(crate) options: &'a Options,
    pub(crate) hooks: &'a Hooks,
}
