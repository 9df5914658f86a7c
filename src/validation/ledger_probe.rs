//! The tracker probe of heapledger, built on the public queries of the library.

use std::time::{Duration, Instant};

use super::completeness::{QuiesceError, TrackerProbe, TrackerSnapshot};

/// A probe of the `HeapLedger` that is this process's global allocator.
///
/// Recording cannot be switched off while the process runs. So the cost of heapledger is measured between two
/// processes, one of which runs with `HEAPLEDGER=off`.
///
/// # Examples
/// ```
/// use heapledger::validation::{LedgerProbe, TrackerProbe};
/// // This program has no HeapLedger.
/// assert!(LedgerProbe::installed().is_none());
/// ```
#[derive(Debug, Clone, Copy)]
pub struct LedgerProbe(());

impl LedgerProbe {
    /// Returns the probe; `None` if no `HeapLedger` is installed.
    pub fn installed() -> Option<Self> {
        crate::is_installed().then_some(Self(()))
    }

    /// Returns the version and settings of heapledger as text. The values are written as in the environment variables.
    pub fn settings(self) -> String {
        let version = env!("CARGO_PKG_VERSION");
        crate::snapshot().map_or_else(String::new, |profile| {
            let s = profile.settings;
            let (mode, stacks, clock) = (s.mode.name(), s.stacks, s.clock.name());
            format!("heapledger {version}, mode {mode}, stacks {stacks}, clock {clock}")
        })
    }
}

impl TrackerProbe for LedgerProbe {
    fn snapshot(&self) -> TrackerSnapshot {
        TrackerSnapshot::from(&crate::quality())
    }

    fn quiesce(&self, limit: Duration) -> Result<(), QuiesceError> {
        let begin = Instant::now();
        loop {
            crate::flush();
            let in_flight = crate::quality().in_flight;
            if in_flight == 0 {
                // The query itself allocated. Without this flush, the next snapshot would count its events as in
                // flight.
                crate::flush();
                return Ok(());
            }
            if begin.elapsed() >= limit {
                return Err(QuiesceError { in_flight });
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
