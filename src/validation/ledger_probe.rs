//! The probe of heapledger itself, through nothing but its public queries.

use std::time::{Duration, Instant};

use super::completeness::{QuiesceError, TrackerProbe, TrackerSnapshot};

/// Looks at the `HeapLedger` that is this process's global allocator.
///
/// It cannot be switched off while the process runs, so what it costs is measured between processes, one of them
/// started with `HEAPLEDGER=off`.
///
/// # Examples
/// ```
/// use heapledger::validation::{LedgerProbe, TrackerProbe};
/// // Nothing is installed in this program, and the probe says so rather than invent.
/// assert!(LedgerProbe::installed().is_none());
/// ```
#[derive(Debug, Clone, Copy)]
pub struct LedgerProbe(());

impl LedgerProbe {
    /// The probe, if a `HeapLedger` is installed.
    pub fn installed() -> Option<Self> {
        crate::is_installed().then_some(Self(()))
    }

    /// What was chosen for the ledger, in the words of its environment variables.
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
                // Asking made events of heapledger's own, which would be in flight, and not told apart, at the next look.
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
