//! Changes of mode and settings during the recording, with their times.

use crate::sys::latch::Latch;
use crate::sys::sync::{AtomicU64, Ordering};

/// Maximum number of changes that are kept; the oldest are overwritten.
const CHANGES_MAX: usize = 256;

/// The setting that changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Subject {
    Mode = 1,
    Level = 2,
    SamplingBytes = 3,
    RingSegments = 4,
    FloorIntervalNs = 5,
    DrainThresholdWords = 6,
    /// The reason for the tuner's next change. `from` is the kind of pressure, and `to` is the figure that showed the
    /// pressure.
    Tuner = 7,
}

impl Subject {
    fn from_raw(raw: u64) -> Subject {
        match raw {
            2 => Subject::Level,
            3 => Subject::SamplingBytes,
            4 => Subject::RingSegments,
            5 => Subject::FloorIntervalNs,
            6 => Subject::DrainThresholdWords,
            7 => Subject::Tuner,
            _ => Subject::Mode,
        }
    }
}

/// A change of a setting from one raw value to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) at_ns: u64,
    pub(crate) subject: Subject,
    pub(crate) from: u32,
    pub(crate) to: u32,
}

/// The list of changes. All zero bytes are a valid, empty list.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Changes {
    latch: Latch,
    count: AtomicU64,
    entries: [[AtomicU64; 3]; CHANGES_MAX],
}

impl Changes {
    /// Opens the latch in a copy of a killed process's region, where no thread is left to open it.
    pub(crate) fn take_over(&self) {
        self.latch.open();
    }

    pub(crate) fn push(&self, change: Changed) {
        let _taken = self.latch.take();
        // relaxed, all of it: the latch orders the accesses.
        let count = self.count.load(Ordering::Relaxed);
        let entry = &self.entries[count as usize % CHANGES_MAX];
        entry[0].store(change.at_ns, Ordering::Relaxed);
        entry[1].store(change.subject as u64, Ordering::Relaxed);
        entry[2].store(u64::from(change.from) << 32 | u64::from(change.to), Ordering::Relaxed);
        self.count.store(count + 1, Ordering::Relaxed);
    }

    /// Returns the number of changes, including overwritten ones.
    pub(crate) fn count(&self) -> u64 {
        // relaxed: a statistic, which needs no ordering.
        self.count.load(Ordering::Relaxed)
    }

    /// Appends the newest changes to `into`, as many as `into` has capacity for, oldest first. Allocates nothing.
    pub(crate) fn copy(&self, into: &mut Vec<Changed>) {
        let _taken = self.latch.take();
        let count = self.count.load(Ordering::Relaxed);
        let room = into.capacity() - into.len();
        let first = count.saturating_sub(CHANGES_MAX.min(room) as u64);
        for number in first..count {
            let read = |n: usize| self.entries[number as usize % CHANGES_MAX][n].load(Ordering::Relaxed);
            let subject = Subject::from_raw(read(1));
            into.push(Changed { at_ns: read(0), subject, from: (read(2) >> 32) as u32, to: read(2) as u32 });
        }
    }
}

/// Returns an empty vector with room for all kept changes.
pub(crate) fn room() -> Vec<Changed> {
    Vec::with_capacity(CHANGES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subject_comes_back() {
        for raw in 1..=7 {
            assert_eq!(Subject::from_raw(raw) as u64, raw);
        }
    }

    #[test]
    fn the_newest_changes_are_kept_in_order() {
        // SAFETY: all zero bytes are a valid list.
        let changes = unsafe { Box::<Changes>::new_zeroed().assume_init() };
        for n in 0..300 {
            changes.push(Changed { at_ns: n, subject: Subject::Mode, from: n as u32, to: n as u32 + 1 });
        }
        let mut kept = room();
        changes.copy(&mut kept);
        assert_eq!((changes.count(), kept.len(), kept[0].at_ns, kept[255].to), (300, 256, 44, 300));
    }
}
