#![doc = include_str!("../README.md")]
//!
//! # What is measured
//!
//! heapledger records every call of the four methods of [`GlobalAlloc`](std::alloc::GlobalAlloc). Recording starts with
//! the first call in the process, before `main`, and ends after `main` has returned. The event of a call has address,
//! size, alignment, zeroing, time, thread and call stack. From the events, heapledger computes totals, live blocks, the
//! peak, sizes, lifetimes, temporary blocks, reallocs, and frees by another thread. It computes these figures for the
//! process, by thread, by call stack and over time. A successful realloc counts as one more block of its new size, as
//! in other tools; [`HeapStats::reallocs`] is the number of reallocs.
//!
//! Each event is *recorded* (booked into the ledger), *lost* for one of the [reasons](LossReason), or *in flight* (not
//! booked yet: in a ring, or in a call that has not returned). These three numbers always add up to the number of
//! events *attempted*. In the default mode a full ring never causes a loss: the thread books the ring's events into the
//! ledger, or waits while another thread books them.
//!
//! # What is not measured
//!
//! * memory that does not pass through the global allocator;
//! * allocations that the inner allocator refused: they are not events, but [`HeapStats::failed`] counts them;
//! * memory that heapledger allocates for itself in queries and dumps: its events are recorded, but count in no figure
//!   of the program.
//!
//! With [`ClockMode::Batched`], times between two clock readings are interpolated. So a lifetime shorter than the time
//! between two readings is an estimate. If another thread frees a block, it can be ambiguous which of two blocks at the
//! same address was freed. [`profile::Anomalies`] counts these ambiguous frees. [`ClockMode::PerEvent`] gives every
//! event a time stamp. When several threads allocate, the peak is known to within [`profile::Peak::uncertainty_bytes`].
//! `docs/LIMITS.md` has the whole list of limits.
//!
//! # What it costs
//!
//! An allocation writes two words into the ring of its thread, and a free writes one word. When a segment of the ring
//! is full, after some 680 events, the thread books the segment. A background thread ([`HeapLedger::background`])
//! limits the time between two clock readings, and books the rings of threads that have stopped allocating. The memory
//! costs are a ring for each thread, 39 to 49 bytes for each long-lived block, and tables of fixed size.
//! [`QualityIndicator::own_bytes`] is the sum of these memory costs.
//!
//! # Words
//!
//! These words are used in the source. A *lane* is a thread's ring with its counters and nursery. The *nursery* is a
//! table of the lane's young blocks. A *mark* is a time stamp in a ring. A *window* is the run of at most 127 words
//! after a mark. The *ledger* consists of the tables of blocks, sites (sums by call stack) and totals. To *fold* is to
//! book the events of a ring into the ledger. A thread *helps* if it folds its full ring itself instead of waiting.
//!
//! # Environment
//!
//! The environment variables are read once, at the first allocation. Each variable overrides the setting in the
//! builder. A value that cannot be parsed is reported on standard error and ignored. A set-user-id program ignores all
//! variables.
//!
//! | variable | values |
//! | --- | --- |
//! | `HEAPLEDGER` | `off`: nothing is recorded; `always`: recording is on also in a program built with [`HeapLedger::on_request`]; `on`: as built |
//! | `HEAPLEDGER_DUMP` | path of the dump at exit, with `%e` (program), `%p` (process id), `%t` (seconds since 1970), or `off` |
//! | `HEAPLEDGER_MODE` | `perfect`, `high`, `throughput`, `best-effort`: see [`DataQualityMode`] |
//! | `HEAPLEDGER_STACKS` | `auto`, `fp`, `dwarf`, `sampled:BYTES`, `off`: see [`Stacks`] |
//! | `HEAPLEDGER_INTERVAL` | pause of the background thread between two rounds, such as `100ms`, from `250us` to `1s`: see [`HeapLedger::interval`] |
//! | `HEAPLEDGER_CLOCK` | `batched`, `per-event`, `monotonic`: see [`ClockMode`] |
//! | `HEAPLEDGER_TRACE` | path of the trace, with the same `%` codes, or `off`: see [`Retention::Trace`] |
//! | `HEAPLEDGER_BLACKBOX` | path of a file that survives any end of the process, or `off`: see [`HeapLedger::black_box`]; `HEAPLEDGER_BLACKBOX_BYTES` is its length |
//! | `HEAPLEDGER_LIVE` | `1`, a path, or `off`: figures of the running process for `heapledger top`, see [`HeapLedger::live`] |
//! | `HEAPLEDGER_SERVE` | `127.0.0.1:PORT`, `unix:PATH`, `public:ADDRESS:PORT`, `off`: HTTP endpoint, feature `serve` |
//! | `HEAPLEDGER_SIGNALS` | `HUP`, `INT`, `TERM`, `USR1`, `USR2`, several with commas, or `off`: see [`HeapLedger::dump_on_signal`] |
//! | `HEAPLEDGER_TRIGGERS` | `live:BYTES`, `growth:BYTES` (within a second), `peak`, `loss`, `pressure`, `keep:COUNT`, `pause:SECONDS`, several with commas, or `off`; `BYTES` as `512M`: see [`Triggers`] |
//! | `HEAPLEDGER_WARN` | `1`: see [`HeapLedger::warn`] |
//!
//! # Features
//!
//! | feature | adds |
//! | --- | --- |
//! | `validation` | `validation`, the concurrent benchmark behind `heapledger validate` |
//! | `serve` | `HeapLedger::serve`, `HEAPLEDGER_SERVE` and `http::respond`: profiles, counters and dumps of the running process over HTTP |
//! | `pprof` | `pprof`, the format of `go tool pprof` |
//! | `strategies` | `strategies`, collection strategies for comparison; the recorder uses none of them |
//! | `names` | functions, files and lines in the message of a heap budget that is exceeded, looked up in the failing process |
//! | `tracing` | `scope::ScopeLayer`: spans of `tracing` as scopes |
//! | `tokio` | `scope::tasks_by_spawn_location`: tasks of tokio as scopes, in a program built with `--cfg tokio_unstable` |
//! | `read` | `dumps::read` and `trace::Trace`: dumps, black boxes and traces as data. A recorded program needs no reader, and compiles faster without it |
//!
//! No feature is on by default.
//!
//! # In tests
//!
//! [`assert_heap!`] limits the allocations of a block of code. Its figures are right even while other tests run in the
//! same process. See `docs/HEAP_BUDGETS.md`.
//!
//! ```
//! use std::hint::black_box;
//!
//! #[global_allocator]
//! static HEAP: heapledger::HeapLedger =
//!     heapledger::HeapLedger::system().dump(heapledger::DumpTarget::Off);
//!
//! fn main() {
//!     // `black_box` keeps the optimiser from removing an allocation that nothing reads.
//!     let kept = heapledger::assert_heap!(allocations == 1, retained_bytes == 100; {
//!         black_box(vec![7u8; 100])
//!     });
//!     assert!(heapledger::quality().is_conserved());
//!     drop(kept);
//! }
//! ```

#![cfg_attr(
    not(any(test, feature = "read")),
    allow(
        dead_code,
        reason = "parts that only readers use; the build with all features finds code that nothing uses"
    )
)]

#[cfg(not(target_pointer_width = "64"))]
compile_error!("heapledger needs addresses of 64 bits: leave it out of builds for shorter ones");

#[cfg(not(loom))]
#[allow(unsafe_code, reason = "copies books whose latches it holds")]
mod aggregator;
#[cfg(all(any(test, feature = "read"), not(loom)))]
#[allow(unsafe_code, reason = "copies plain structs out of bytes")]
mod blackbox;
#[cfg(not(loom))]
mod dump;
#[cfg(not(loom))]
#[allow(unsafe_code, reason = "state lies in raw pages")]
mod fold;
#[cfg(not(loom))]
#[allow(unsafe_code, reason = "state lies in raw pages")]
mod ledger;
#[cfg(not(loom))]
pub mod live;
#[cfg(all(feature = "pprof", not(loom)))]
pub mod pprof;
pub mod profile;
#[cfg(not(loom))]
pub mod quality;
#[cfg(not(loom))]
#[allow(unsafe_code, reason = "runs inside the allocator")]
mod recorder;
#[cfg(not(loom))]
mod replay;
mod ring;
#[cfg(not(loom))]
#[allow(unsafe_code, reason = "projects a pin")]
pub mod scope;
#[cfg(all(feature = "serve", not(loom)))]
mod serve;
#[cfg(not(loom))]
mod session;
#[cfg(not(loom))]
mod stack;
#[cfg(all(feature = "strategies", not(loom)))]
pub mod strategies;
mod sys;
#[cfg(not(loom))]
pub mod text;
#[cfg(not(loom))]
pub mod trace;
#[cfg(not(loom))]
pub mod tracked;
#[cfg(all(feature = "validation", not(loom)))]
pub mod validation;

/// Dumps: profiles stored in files, their readers and writers.
#[cfg(not(loom))]
pub mod dumps {
    #[cfg(any(test, feature = "read"))]
    pub use crate::blackbox::{LiveReader, is_black_box, read, read_bytes, read_from};
    #[cfg(any(test, feature = "read"))]
    pub use crate::dump::Dump;
    pub use crate::dump::{
        Damage, DamageKind, Encoded, Occupant, ReadError, Version, WriteError, WriteStep, Written, write,
        write_to, write_with_notes,
    };
}

/// The answers of heapledger's HTTP endpoint, for a program that has an HTTP server.
#[cfg(all(feature = "serve", not(loom)))]
pub mod http {
    pub use crate::serve::Response;
    pub use crate::session::respond;
}

pub use profile::{
    ClockMode, CompletenessTrend, ConcurrencyConfig, Coverage, DataQualityMode, DumpTarget, ForkPolicy,
    HeapStats, HistoryLimits, LossCounts, LossReason, Profile, QualityIndicator, Retention, Signal, Stacks,
    Triggers, TuningGoal,
};
#[cfg(not(loom))]
#[doc(hidden)]
pub use quality::CompletnessTrend;
#[cfg(not(loom))]
pub use quality::{
    AutoTuner, ConfigAdjustment, Degradation, ExecutionMode, InvalidSetting, TrackingStats,
    WorkloadCharacteristics, recommend_mode,
};
#[cfg(not(loom))]
pub use recorder::allocator::HeapLedger;
#[cfg(not(loom))]
#[doc(hidden)]
pub use recorder::internal::is_internal;
#[cfg(not(loom))]
pub use scope::{Scope, measure};
#[cfg(not(loom))]
pub use session::{
    BackgroundAggregator, DumpError, estimates, flush, history, is_installed, name_thread, on_quality,
    quality, set_auto_tune, set_degradation, set_interval, set_mode, set_sampling_bytes, snapshot, stats,
    tracked, tuner_log,
};
#[cfg(not(loom))]
pub use tracked::{Tracked, TrackedReport};

#[cfg(not(loom))]
pub use session::dump;
