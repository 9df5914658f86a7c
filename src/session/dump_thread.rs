//! Dumps while the process runs: on a signal, or on a trigger.
//!
//! A thread of heapledger, the *dump thread*, writes these dumps. The thread exists only if the settings ask for such
//! dumps. It waits in `sys::signals::wait`, so the thread that a signal interrupts and the background thread that
//! detects a trigger continue at once.
//!
//! ```text
//!  signal handler ─────┐
//!                      ├─► wait ─► this thread: dump ─► (a signal that ends the process) the system's default action
//!  background thread ──┘
//! ```
//!
//! A signal that ends the process prevents the dump at exit, so the dump for the signal has the name of the dump at
//! exit. All other dumps are numbered: `heapledger.app.77.1.hl`, `heapledger.app.77.2.hl`, …. Only the last few
//! numbered dumps are kept.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use super::dumps::{DumpError, dump_pattern, explain, tell_other_name, write_dump};
use crate::aggregator::diagnostic;
use crate::aggregator::naming::expand;
use crate::dump::with_suffix;
use crate::profile::DumpTrigger;
use crate::recorder::internal::InternalScope;
use crate::recorder::{background_thread, state, thread};
use crate::sys::latch::{Latch, Taken};
use crate::sys::{own_threads, signals, statics};

/// Maximum number of steps for which the end of the process waits for a dump in progress. The steps take about
/// [`signals::DEADLINE_S`] seconds.
const PAUSE_ROUNDS_MAX: u32 = 200_000;

/// The latch that is held while a dump is written.
static WORK: Latch = Latch::new();

/// Waits for a dump in progress, and prevents further dumps until the result is dropped. Returns `None` if the dump
/// does not end in time.
pub(super) fn pause() -> Option<Taken<'static>> {
    WORK.take_in_rounds(PAUSE_ROUNDS_MAX)
}

/// Resets the state in a forked child, where the dump thread does not exist.
pub(super) fn reset_after_fork() {
    WORK.open();
    statics::reset_after_fork();
}

/// The main function of the dump thread.
pub(super) fn run() {
    own_threads::name(c"heapledger-dump");
    if !background_thread::wait_for_ledger() {
        return;
    }
    let scope = InternalScope::enter();
    let Some(lane) = scope.lane() else { return };
    thread::mark_background(lane);
    if !signals::watch(state::options().signals) {
        diagnostic::print("signals cannot be watched here, there will be no dump on one");
    }
    let mut kept = Kept::default();
    loop {
        let asked = signals::wait();
        if !state::current().records() {
            return;
        }
        if asked == 0 && background_thread::is_program_over() {
            return signals::end_watch();
        }
        for trigger in DumpTrigger::ALL.into_iter().filter(|trigger| asked & trigger.bit() != 0) {
            let working = WORK.take();
            answer(trigger, &mut kept);
            drop(working);
        }
    }
}

/// Writes the dump for a trigger. If the trigger is a signal whose default action ends the process, the process then
/// ends.
fn answer(trigger: DumpTrigger, kept: &mut Kept) {
    let ending = match trigger {
        DumpTrigger::Signal(signal) => Some(signal as usize).filter(|signal| signals::set_deadline(*signal)),
        _ => None,
    };
    let written = match ending {
        // This dump replaces the dump at exit, so it has the name of the dump at exit.
        Some(_) => dump_pattern().map_or(Ok(()), |pattern| write(&expand(pattern), trigger).map(|_| ())),
        None => kept.write(trigger),
    };
    if let Err(error) = written {
        diagnostic::print(explain(&error));
    }
    if let Some(signal) = ending {
        signals::end_if_due(signal);
    }
}

/// Writes the dump, and returns its path.
fn write(path: &Path, trigger: DumpTrigger) -> Result<PathBuf, DumpError> {
    let written = write_dump(path, &trigger.to_string())?;
    tell_other_name(path, &written);
    Ok(written.path)
}

/// The numbered dumps that are on disk.
#[derive(Debug, Default)]
struct Kept {
    written: u64,
    paths: VecDeque<PathBuf>,
}

impl Kept {
    fn write(&mut self, trigger: DumpTrigger) -> Result<(), DumpError> {
        let Some(pattern) = dump_pattern() else { return Ok(()) };
        let path = with_suffix(&expand(pattern), &format!(".{}", self.written + 1));
        let path = write(&path, trigger)?;
        self.written += 1;
        self.paths.push_back(path);
        while self.paths.len() > state::options().triggers.keep as usize {
            if let Some(oldest) = self.paths.pop_front() {
                // A failure is ignored, because the user may have moved the file.
                let _ = std::fs::remove_file(oldest);
            }
        }
        Ok(())
    }
}
