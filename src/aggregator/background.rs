//! The process-wide state of the aggregator, in one struct: the latch of the background thread, the processor time of
//! that thread, and the values that it shares with queries.

use super::joined::{Joined, Snapshots};
use super::live_file::LiveFile;
use super::requests::Requests;
use super::rows;
use super::shared::Shared;
use super::trace_writer::TraceWriter;
use crate::ledger::Ledger;
use crate::profile::Profile;
use crate::quality::{AutoTuner, LineLimit, QualityMonitor};
use crate::recorder::background_thread;
use crate::recorder::internal::{InternalScope, RecordingPaused};
use crate::sys::latch::{Latch, Taken};
use crate::sys::sync::{AtomicU64, Ordering};

/// Maximum number of steps that a snapshot waits until the background thread, and the writer of the trace, finish their
/// current work.
const PAUSE_ROUNDS_MAX: u32 = 2_000;

/// Maximum number of steps that a query waits for the latch of the requests.
const REQUEST_ROUNDS_MAX: u32 = 200;

/// Minimum time between two queries that read the names of all running threads, in nanoseconds.
const NAMES_NS: u64 = 100_000_000;

pub(super) static BACKGROUND: Background = Background {
    work: Latch::new(),
    cpu_ns: AtomicU64::new(0),
    named_ns: AtomicU64::new(0),
    monitor: Shared::new(QualityMonitor::EMPTY),
    lines: Shared::new(LineLimit::NEW),
    tuner: Shared::new(None),
    requests: Shared::new(Requests::NONE),
    trace: Shared::new(None),
    live_file: Shared::new(None),
    flushes: Joined::new(),
    snapshots: Snapshots::new(),
};

/// The state of the aggregator, which lives as long as the process.
pub(super) struct Background {
    /// Latch that the background thread holds while it works. A snapshot holds the latch to pause the background
    /// thread.
    pub(super) work: Latch,
    /// Processor time of the background thread, in nanoseconds.
    pub(super) cpu_ns: AtomicU64,
    /// Time at which the names of running threads were last read, in nanoseconds since the start; 0 if never.
    named_ns: AtomicU64,
    /// The quality monitor, which keeps the quality counters of the last spans of time.
    pub(super) monitor: Shared<QualityMonitor>,
    /// Limit on the warnings on standard error, both while the process runs and at its end.
    pub(super) lines: Shared<LineLimit>,
    /// The tuner, if the settings ask for one.
    pub(super) tuner: Shared<Option<AutoTuner>>,
    /// Settings that the program has changed and the background thread has not taken yet.
    pub(super) requests: Shared<Requests>,
    /// The trace that is being written, if there is one.
    pub(super) trace: Shared<Option<TraceWriter>>,
    /// The file of the live page, if the page is in a separate file.
    pub(super) live_file: Shared<Option<LiveFile>>,
    /// Runs flushes, one at a time.
    pub(super) flushes: Joined,
    /// Makes the snapshots of the program's queries, one at a time.
    pub(super) snapshots: Snapshots,
}

/// Returns the processor time that the background thread has used, in nanoseconds.
pub(super) fn cpu_ns() -> u64 {
    // relaxed: a statistic, which needs no ordering.
    BACKGROUND.cpu_ns.load(Ordering::Relaxed)
}

/// Reads the names of running threads again. Does nothing if a query has read the names within the last [`NAMES_NS`],
/// unless `is_last` is true.
pub(super) fn rename_threads(ledger: &Ledger, is_last: bool) {
    let now_ns = ledger.clock.now_ns();
    // relaxed, both: two queries may read the names at the same time.
    let before_ns = BACKGROUND.named_ns.load(Ordering::Relaxed);
    if is_last || before_ns == 0 || now_ns.saturating_sub(before_ns) >= NAMES_NS {
        BACKGROUND.named_ns.store(now_ns.max(1), Ordering::Relaxed);
        rows::rename_running(ledger, 0, u32::MAX);
    }
}

/// Pauses the background thread and the thread that writes the trace while the result lives, so that none of their
/// allocations is in flight. A part of the result is `None` if its thread does not pause in time. Events of that thread
/// are then counted as in flight.
pub(super) fn pause() -> [Option<Taken<'static>>; 2] {
    [BACKGROUND.work.take_in_rounds(PAUSE_ROUNDS_MAX), BACKGROUND.trace.pause(PAUSE_ROUNDS_MAX)]
}

/// Books all events that any thread recorded before the call. Threads that call the function at the same time share the
/// work.
pub(crate) fn flush(ledger: &Ledger, scope: &InternalScope) {
    let Some(lane) = scope.lane() else { return };
    BACKGROUND.flushes.run(|| {
        let _paused = RecordingPaused::enter(scope);
        ledger.flush(lane);
    });
}

/// Returns a snapshot that is begun after the call. `make` runs in this thread, or in another thread that asks at the
/// same time.
pub(crate) fn snapshot(make: impl Fn() -> Profile) -> Profile {
    BACKGROUND.snapshots.take(make)
}

/// Leaves a request for the background thread. Returns `false` if the latch of the requests was not free in time.
pub(crate) fn leave_request(request: impl FnOnce(&mut Requests)) -> bool {
    let is_left = BACKGROUND.requests.with(REQUEST_ROUNDS_MAX, request).is_some();
    background_thread::wake();
    is_left
}

/// Takes all requests, for the background thread.
pub(super) fn take_requests() -> Requests {
    let take = |requests: &mut Requests| std::mem::replace(requests, Requests::NONE);
    BACKGROUND.requests.with(1, take).unwrap_or(Requests::NONE)
}

/// Resets the state in a forked child. The threads that used the state do not exist there, and the file of the trace
/// belongs to the parent.
pub(crate) fn reset_after_fork() {
    let Background {
        work,
        cpu_ns,
        named_ns,
        monitor,
        lines,
        tuner,
        requests,
        trace,
        live_file,
        flushes,
        snapshots,
    } = &BACKGROUND;
    work.open();
    // relaxed, both: there is one thread.
    cpu_ns.store(0, Ordering::Relaxed);
    named_ns.store(0, Ordering::Relaxed);
    monitor.reset_after_fork(QualityMonitor::EMPTY);
    lines.reset_after_fork(LineLimit::NEW);
    tuner.reset_after_fork(None);
    requests.reset_after_fork(Requests::NONE);
    trace.reset_after_fork(None);
    live_file.reset_after_fork(None);
    flushes.reset_after_fork();
    snapshots.reset_after_fork();
}
