//! Dumps before the end of the process: the signals and the heap events that trigger them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::names::names;

/// A signal that triggers a dump. See [`HeapLedger::dump_on_signal`](crate::HeapLedger::dump_on_signal).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Signal {
    /// `SIGHUP`: the terminal was closed. After the dump the process ends if the signal has its default action.
    Hangup = 0,
    /// `SIGINT`: Ctrl-C. After the dump the process ends if the signal has its default action.
    Interrupt = 1,
    /// `SIGTERM`: sent by `kill`, and to a container that is stopped. After the dump the process ends if the
    /// signal has its default action.
    Terminate = 2,
    /// `SIGUSR1`. The process continues after the dump.
    User1 = 3,
    /// `SIGUSR2`. The process continues after the dump.
    User2 = 4,
}

names!(Signal: "The name that `HEAPLEDGER_SIGNALS` takes." {
    Hangup = "HUP",
    Interrupt = "INT",
    Terminate = "TERM",
    User1 = "USR1",
    User2 = "USR2",
});

impl Signal {
    /// Whether the process continues after the dump, even if the program has no handler for the signal.
    pub const fn is_on_demand(self) -> bool {
        matches!(self, Signal::User1 | Signal::User2)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SIG{}", self.name())
    }
}

/// The triggers of dumps while the process runs. See [`HeapLedger::triggers`](crate::HeapLedger::triggers).
///
/// ```
/// use heapledger::{HeapLedger, Triggers};
///
/// #[global_allocator]
/// static HEAP: HeapLedger =
///     HeapLedger::system().triggers(Triggers { live_bytes: Some(1 << 30), ..Triggers::DEFAULT });
/// # fn main() {}
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Triggers {
    /// Live bytes above which a dump is triggered; `None` for no such trigger. The trigger is armed again when the live
    /// bytes have fallen to seven eighths of this value.
    pub live_bytes: Option<u64>,
    /// Growth of the live bytes within the last second that triggers a dump, in bytes; `None` for no such trigger.
    pub growth_bytes: Option<u64>,
    /// Whether a new peak triggers a dump, as soon as the live bytes no longer rise above it. The new peak must be at
    /// least an eighth above the peak at the last dump of this trigger.
    pub new_peak: bool,
    /// Whether lost events trigger a dump.
    pub loss: bool,
    /// Whether memory pressure triggers a dump. There is pressure if the control group of the process reaches its
    /// memory limit, or if its tasks wait for memory a tenth of the time. Linux only. If neither figure can be read, a
    /// line on standard error says so at the start.
    pub memory_pressure: bool,
    /// Number of dumps of triggers and signals that are kept. Older dumps are removed. Default 4.
    pub keep: u32,
    /// Minimum time between two dumps of triggers, in nanoseconds. Default 10 s.
    pub pause_ns: u64,
}

impl Triggers {
    /// No trigger, and the default of every other field, for constant contexts.
    pub const DEFAULT: Triggers = Triggers {
        live_bytes: None,
        growth_bytes: None,
        new_peak: false,
        loss: false,
        memory_pressure: false,
        keep: 4,
        pause_ns: 10_000_000_000,
    };

    /// Whether any trigger is set.
    pub const fn is_any(&self) -> bool {
        self.live_bytes.is_some()
            || self.growth_bytes.is_some()
            || self.new_peak
            || self.loss
            || self.memory_pressure
    }
}

impl Default for Triggers {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Reason for a dump while the process runs. Variants are in descending order of significance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DumpTrigger {
    Signal(Signal),
    LiveBytes,
    Growth,
    NewPeak,
    Loss,
    MemoryPressure,
}

impl DumpTrigger {
    pub(crate) const ALL: [DumpTrigger; 10] = [
        DumpTrigger::Signal(Signal::Hangup),
        DumpTrigger::Signal(Signal::Interrupt),
        DumpTrigger::Signal(Signal::Terminate),
        DumpTrigger::Signal(Signal::User1),
        DumpTrigger::Signal(Signal::User2),
        DumpTrigger::LiveBytes,
        DumpTrigger::Growth,
        DumpTrigger::NewPeak,
        DumpTrigger::Loss,
        DumpTrigger::MemoryPressure,
    ];

    /// Returns the bit of this trigger in a set of triggers. For a signal, the position of the bit is the number of its
    /// [`Signal`] variant.
    pub(crate) fn bit(self) -> u32 {
        DumpTrigger::ALL.iter().position(|other| *other == self).map_or(0, |index| 1 << index)
    }
}

/// Writes the text that a dump states as its reason.
impl fmt::Display for DumpTrigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DumpTrigger::Signal(signal) => signal.fmt(f),
            DumpTrigger::LiveBytes => f.write_str("live bytes above the limit"),
            DumpTrigger::Growth => f.write_str("live bytes grew fast"),
            DumpTrigger::NewPeak => f.write_str("new peak"),
            DumpTrigger::Loss => f.write_str("events were lost"),
            DumpTrigger::MemoryPressure => f.write_str("memory pressure"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trigger_has_its_own_bit_and_signals_come_first() {
        let all = DumpTrigger::ALL.iter().fold(0, |bits, trigger| bits | trigger.bit());
        assert_eq!(all.count_ones() as usize, DumpTrigger::ALL.len());
        for signal in Signal::ALL {
            assert_eq!(DumpTrigger::Signal(signal).bit(), 1 << signal as u32);
        }
    }
}
