//! The public handle: constructors of the allocator, queries, and the dump at exit.
//!
//! Everything here may allocate, and does so in an *own* section: those events are recorded as heapledger's own, and
//! are in no total of the program.

mod occasions;

use std::alloc::System;
use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::aggregator::naming::expand;
use crate::aggregator::{self, alarm, snapshot, tracing, tuning, watch, worker};
use crate::dump::{self, Written};
use crate::ledger::{Ledger, estimate};
use crate::profile::{self, DataQualityMode, DumpTarget, HeapStats, Profile, QualityIndicator};
use crate::quality::{DecisionLog, Degradation, InvalidSetting, WorkloadCharacteristics};
use crate::recorder::allocator::HeapLedger;
use crate::recorder::black_box;
use crate::recorder::internal::{InternalScope, RecordingPaused};
use crate::recorder::options::{Hooks, Options};
use crate::recorder::{background_thread, state};
use crate::sys::platform;
use crate::tracked::{self, TrackedReport};

/// How often a label is written anew because objects came or went meanwhile, at most.
const LABEL_TRIES: usize = 8;

const HOOKS: Hooks = Hooks {
    write_metadata: write_label,
    at_exit: dump_at_exit,
    aggregator: worker::run,
    in_child: forget_parent,
    dumps: occasions::run,
};

/// Forgets what is known of the parent, in a forked child.
fn forget_parent() {
    aggregator::forget();
    occasions::forget();
}

impl HeapLedger<System> {
    /// Records, with the system's allocator inside.
    pub const fn system() -> Self {
        HeapLedger::new(System)
    }
}

impl<A> HeapLedger<A> {
    /// Records, with any other global allocator inside.
    pub const fn new(inner: A) -> Self {
        HeapLedger { inner, options: Options::DEFAULT, hooks: HOOKS }
    }
}

impl<A> HeapLedger<A> {
    /// Whether every setting of the builder can mean something.
    ///
    /// A `static` cannot fail to be made: one with settings that cannot be used says so on standard error when it
    /// records its first event, and uses their defaults. A test that calls this finds it out earlier.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] for the first setting that cannot be used; its message says what is allowed.
    ///
    /// ```
    /// use heapledger::{ConcurrencyConfig, HeapLedger};
    ///
    /// static HEAP: HeapLedger = HeapLedger::system()
    ///     .concurrency(ConcurrencyConfig { target_completeness: 95.0, ..ConcurrencyConfig::DEFAULT });
    /// let refusal = HEAP.validate().unwrap_err();
    /// assert_eq!(refusal.to_string(), "target_completeness is 95: it takes a share from 0 to 1, such as 0.95");
    /// ```
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        let nonzero =
            |setting, value| if value == 0 { Err(InvalidSetting::Zero { setting }) } else { Ok(()) };
        self.options.concurrency.validate()?;
        nonzero("memory_limit", self.options.memory_limit_bytes)?;
        nonzero("sampling_bytes", self.options.sampling_bytes)?;
        nonzero("triggers keep", u64::from(self.options.triggers.keep))?;
        if let profile::Stacks::Sampled { bytes } = self.options.stacks {
            nonzero("Stacks::Sampled bytes", bytes)?;
        }
        self.options.auto_tune.map_or(Ok(()), |goal| goal.validate())
    }
}

/// Whether a [`HeapLedger`] is the global allocator of this process and records (or has recorded).
///
/// `false` also when `HEAPLEDGER=off` switched it off. Then every query returns zeros and says so.
pub fn is_installed() -> bool {
    state::ledger().is_some()
}

/// Books all that any thread recorded before the call.
///
/// When it returns, queries see every event that had returned before it was called. Other threads are not stopped.
pub fn flush() {
    with_ledger(|ledger, own| {
        if let Some(lane) = own.lane() {
            let _quiet = RecordingPaused::enter(own);
            ledger.flush(lane);
        }
    });
}

/// How complete the data is, now. See [`QualityIndicator`].
///
/// ```
/// let quality = heapledger::quality();
/// assert!(quality.is_conserved());
/// ```
pub fn quality() -> QualityIndicator {
    let quality = with_ledger(|ledger, own| {
        let counters = {
            let _quiet = RecordingPaused::enter(own);
            snapshot::quality(ledger)
        };
        watch::indicator(counters, snapshot::retained(ledger, own), ledger.clock.now_ns())
    });
    quality.unwrap_or_else(|| {
        // No ledger could be opened, or this is a forked child that is to have none: if there were events, all of
        // them are lost, and that is what it says.
        let lost = state::lost_without_lane();
        let attempted = lost.total();
        QualityIndicator {
            installed: attempted > 0,
            current_completeness: QualityIndicator::completeness_of(0, attempted),
            attempted,
            lost,
            ..QualityIndicator::default()
        }
    })
}

/// Totals of the heap as of the last booking; exact after [`flush`], while no other thread allocates.
///
/// All zeros when no [`HeapLedger`] is installed (see [`is_installed`]).
pub fn stats() -> HeapStats {
    with_ledger(|ledger, own| {
        let _quiet = RecordingPaused::enter(own);
        snapshot::stats(ledger)
    })
    .unwrap_or_default()
}

/// What the samples of a sampling mode say of all blocks, with their standard errors; exact figures with an error of
/// zero while every block is recorded. All zeros when no [`HeapLedger`] is installed.
///
/// The totals of [`stats`] are exact in every mode, because events that sampling leaves out are counted with their
/// size. Estimates are for what needs the sample itself; comparing the two shows how good the sample is.
pub fn estimates() -> profile::Estimates {
    with_ledger(|ledger, own| {
        let _quiet = RecordingPaused::enter(own);
        snapshot::estimates(ledger)
    })
    .unwrap_or_default()
}

/// Changes the quality mode of the running process. Each thread follows at its next event; the change, with its
/// time, is in every later snapshot and dump. Without an installed [`HeapLedger`] nothing happens.
///
/// ```
/// heapledger::set_mode(heapledger::DataQualityMode::HighThroughput);
/// ```
pub fn set_mode(mode: DataQualityMode) {
    with_ledger(|_, own| {
        let _quiet = RecordingPaused::enter(own);
        state::set_mode(mode);
    });
}

/// Takes a step on the ladder of degradation, up or down: how much of each event is recorded. Each thread follows at
/// its next event, whose stack may still be taken, or not, as before; the step, with its time, is in every later
/// snapshot and dump.
///
/// What is left out is counted with its size, so [`stats`] stays exact on every rung; who allocated and when is known
/// of what was recorded only.
pub fn set_degradation(degradation: Degradation) {
    with_ledger(|_, own| {
        let _quiet = RecordingPaused::enter(own);
        state::set_level(tuning::level_of(degradation));
    });
}

/// Changes how much is sampled while blocks are sampled: the mean distance between two samples, in bytes, rounded up
/// to a power of two from 1 KiB to 16 MiB. Blocks that were sampled before keep their weight.
pub fn set_sampling_bytes(bytes: u64) {
    with_ledger(|_, own| {
        let _quiet = RecordingPaused::enter(own);
        state::set_sampling_rate(estimate::rate_of(bytes));
    });
}

/// What the tuner of [`HeapLedger::auto_tune`] decided so far, each decision with the figures that led to it. Empty
/// when there is none.
pub fn tuner_log() -> DecisionLog {
    with_ledger(|_, _| tuning::log()).unwrap_or_default()
}

impl WorkloadCharacteristics {
    /// What the running process asks of its recorder: threads, rate and waits as measured so far; what the user wants
    /// is taken from the mode in force. Zeros when no [`HeapLedger`] is installed.
    pub fn measured() -> WorkloadCharacteristics {
        with_ledger(|ledger, own| {
            let _quiet = RecordingPaused::enter(own);
            let threads = snapshot::program_threads(ledger);
            WorkloadCharacteristics::from_counters(&snapshot::quality(ledger), threads, ledger.clock.now_ns())
        })
        .unwrap_or_else(|| WorkloadCharacteristics::from_counters(&QualityIndicator::default(), 0, 0))
    }
}

/// Everything that is known of the heap, as of one moment; `None` when no [`HeapLedger`] is installed.
///
/// Books are held for as long as copying takes; other threads go on recording.
pub fn snapshot() -> Option<Profile> {
    with_ledger(|ledger, own| whole_profile(ledger, own, "request"))
}

/// The snapshot, with what the tracked pointers say.
fn whole_profile(ledger: &'static Ledger, own: &InternalScope, reason: &str) -> Profile {
    let mut profile = snapshot::profile(ledger, own, reason);
    let tracked = tracked_report(ledger);
    if !tracked.is_empty() {
        profile.tracked = tracked;
    }
    profile
}

/// The last events that the bounded history holds, newest last. Empty when no [`HeapLedger`] is installed.
///
/// heapledger's own events are left out. The program's free of an answer that heapledger gave it, such as this list, is
/// known for one by the answer's allocation: where that is no longer in the same thread's part of the history, the free
/// is listed as if its block were the program's. The books and all sums know better.
pub fn history() -> Vec<profile::Event> {
    flush();
    with_ledger(|ledger, own| snapshot::history(ledger, own).0).unwrap_or_default()
}

/// What is known of the program's [`Tracked`](crate::Tracked) pointers. They are counted whether a [`HeapLedger`] is
/// installed or not; what of it went through the rings is told as of the last booking (see [`flush`]).
pub fn tracked() -> TrackedReport {
    with_ledger(|ledger, _| tracked_report(ledger)).unwrap_or_else(tracked::report)
}

fn tracked_report(ledger: &Ledger) -> TrackedReport {
    TrackedReport { events_recorded: snapshot::deeds(ledger), ..tracked::report() }
}

/// Writes a dump now.
///
/// # Errors
///
/// [`DumpError::NotInstalled`] when there is nothing to write, [`DumpError::Write`] when the file could not be written;
/// then nothing is left under its name.
pub fn dump(path: impl AsRef<Path>) -> Result<Written, DumpError> {
    write_dump(path.as_ref(), "request")
}

fn write_dump(path: &Path, reason: &str) -> Result<Written, DumpError> {
    with_ledger(|ledger, own| {
        let profile = whole_profile(ledger, own, reason);
        platform::with_failing_writes(|| dump::write(path, &profile)).map_err(DumpError::Write)
    })
    .unwrap_or(Err(DumpError::NotInstalled))
}

/// Why there is no dump.
#[derive(Debug)]
#[non_exhaustive]
pub enum DumpError {
    /// No `HeapLedger` is the global allocator of this process, or it is switched off.
    NotInstalled,
    /// The file could not be written.
    Write(dump::WriteError),
}

impl fmt::Display for DumpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DumpError::NotInstalled => {
                write!(
                    f,
                    "nothing was recorded: make a HeapLedger the global allocator, and do not set HEAPLEDGER=off"
                )
            }
            DumpError::Write(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for DumpError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            DumpError::NotInstalled => None,
            DumpError::Write(error) => Some(error),
        }
    }
}

/// Runs `work` in an own section, if there is a ledger.
fn with_ledger<T>(work: impl FnOnce(&'static Ledger, &InternalScope) -> T) -> Option<T> {
    let ledger = state::ledger()?;
    background_thread::request();
    let own = InternalScope::enter();
    Some(work(ledger, &own))
}

/// Closes the books and writes the dump, at the end of the process. Whatever goes wrong is one line on standard
/// error; the exit code of the program stays what it is.
fn dump_at_exit() {
    // Should it not end in time, the worst is a dump that is written twice.
    let _no_other = occasions::pause();
    if state::options().warn {
        let quality = quality();
        with_ledger(|ledger, _| alarm::tell_at_exit(&quality, ledger.clock.now_ns()));
    }
    with_ledger(|ledger, own| {
        let (path, is_traced) = (exit_path(), tracing::is_on(ledger));
        if path.is_none() && !is_traced {
            return;
        }
        let profile = whole_profile(ledger, own, "exit");
        if let Some(path) = path {
            match platform::with_failing_writes(|| dump::write(&path, &profile)) {
                Ok(_) => black_box::remove(),
                Err(error) => {
                    platform::write_stderr(format!("heapledger: {}\n", DumpError::Write(error)).as_bytes())
                }
            }
        }
        if is_traced {
            tracing::finish(ledger, &profile);
        }
    });
}

/// Writes into the black box what a reader cannot find in the books: a dump with nothing in it but who the process is,
/// how it records, and what is loaded.
fn write_label() {
    with_ledger(|ledger, _| {
        for _ in 0..LABEL_TRIES {
            let label = snapshot::label(ledger);
            let mut bytes = Vec::new();
            if dump::write_to(&mut bytes, &label).is_ok() {
                ledger.set_metadata(&bytes);
            }
            // Two threads may write one at the same time, and the one that knew less may have come last.
            if !snapshot::is_label_old(&label) {
                return;
            }
        }
    });
}

/// Where the dump at exit goes, or `None` when there is to be none.
fn exit_path() -> Option<PathBuf> {
    let options = state::options();
    match (options.dump_override.get(), options.dump) {
        (Some(b"off"), _) | (None, DumpTarget::Off) => None,
        _ => dump_pattern().map(|pattern| expand(&pattern)),
    }
}

/// The path of dumps that nobody gave a name to, with its placeholders. `None` where there must be none: a program with
/// rights that its caller has not does not write where the caller says.
fn dump_pattern() -> Option<Cow<'static, [u8]>> {
    let options = state::options();
    let pattern = match (options.dump_override.get(), options.dump) {
        (Some(path), _) if path != b"off" => path,
        (_, DumpTarget::Path(path)) => path.as_bytes(),
        _ => b"heapledger.%e.%p.hl",
    };
    if platform::is_set_user_id() && !pattern.starts_with(b"/") {
        platform::write_stderr(
            b"heapledger: no dump: a set-user-id program has one only under an absolute path of its builder's\n",
        );
        return None;
    }
    Some(Cow::Borrowed(pattern))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_installed_allocator_queries_say_so() {
        assert!(!is_installed());
        assert!(!quality().installed);
        assert_eq!(stats(), HeapStats::default());
        assert!(snapshot().is_none() && history().is_empty());
        assert!(matches!(dump("/dev/null"), Err(DumpError::NotInstalled)));
    }
}
