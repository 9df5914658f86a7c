//! The thread that writes the trace, and the end of the trace at the end of the process.
//!
//! The trace has a separate thread, so that a slow disk does not delay the ticks of the background thread. At the end
//! of the process, the thread that writes the dump also writes the rest of the trace, followed by the dump. The latch
//! of the shared writer keeps the two threads from writing at the same time.

use super::background::BACKGROUND;
use super::diagnostic;
use super::snapshot::Snapshot;
use super::trace_writer::{CHUNKS_PER_STEP, TraceWriter};
use crate::ledger::Ledger;
use crate::recorder::internal::InternalScope;
use crate::recorder::{background_thread, state, thread};
use crate::sys::{own_threads, platform};

/// Pause of the thread in nanoseconds while few chunks of words arrive. `PAUSE_NS_IDLE` is the pause while none arrive.
const PAUSE_NS: u64 = 4_000_000;
const PAUSE_NS_IDLE: u64 = 20_000_000;
/// Maximum number of steps that the end of the process waits for the thread of the trace. The steps take some seconds.
const FINISH_ROUNDS_MAX: u32 = 100_000;
/// Length of the thread's stack, in bytes. The thread encodes and compresses whole frames.
const STACK_BYTES: usize = 512 << 10;

/// Starts the thread, if the settings ask for a trace. If the thread cannot be started, the whole trace is written at
/// the end of the process.
pub(super) fn start(ledger: &Ledger) {
    if is_on(ledger) {
        own_threads::spawn(STACK_BYTES, run);
    }
}

/// The main function of the thread.
fn run() {
    own_threads::name(c"hl-trace");
    let scope = InternalScope::enter();
    let (Some(ledger), Some(lane)) = (state::ledger(), scope.lane()) else { return };
    thread::mark_background(lane);
    ledger.trace_buffer.set_written(true);
    while state::current().records() && is_on(ledger) {
        match with_writer(1, ledger, |writer| writer.step(ledger, &scope)) {
            Some(0) if background_thread::is_program_over() => break,
            Some(0) | None => platform::sleep_ns(PAUSE_NS_IDLE),
            Some(few) if few < CHUNKS_PER_STEP => platform::sleep_ns(PAUSE_NS),
            // There is more to write, and queries may wait for the writer.
            Some(_) => BACKGROUND.trace.let_others(),
        }
    }
    ledger.trace_buffer.set_written(false);
}

/// Whether there is a trace, which must be finished at the end of the process.
pub(crate) fn is_on(ledger: &Ledger) -> bool {
    ledger.trace_buffer.is_open()
}

/// Writes the rest of the trace, followed by the dump. The snapshot must have closed the trace buffer.
pub(crate) fn finish(ledger: &Ledger, snapshot: &Snapshot<'_>) {
    let mut dump = Vec::new();
    // Writing into memory cannot fail.
    let _ = crate::dump::write_rows(&mut dump, &snapshot.profile, snapshot);
    let finish = |writer: &mut TraceWriter| platform::with_failing_writes(|| writer.finish(ledger, &dump));
    let done = with_writer(FINISH_ROUNDS_MAX, ledger, finish);
    if done.is_none() && state::options().trace_pattern().is_some() {
        diagnostic::print(format_args!(
            "the trace has no end: the thread that writes it did not pause in time"
        ));
    }
}

/// Runs `work` on the writer, which is opened first if there is none. Waits up to `rounds` steps while another thread
/// uses the writer.
fn with_writer<R>(rounds: u32, ledger: &Ledger, work: impl FnOnce(&mut TraceWriter) -> R) -> Option<R> {
    let work_on = |writer: &mut Option<TraceWriter>| {
        if writer.is_none() {
            *writer = TraceWriter::open(ledger);
        }
        writer.as_mut().map(work)
    };
    BACKGROUND.trace.with(rounds, work_on).flatten()
}
