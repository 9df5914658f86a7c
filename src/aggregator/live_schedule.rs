//! The schedule of the live page, which is written four times a second while somebody reads it, once a second while
//! only events are recorded, and once in ten seconds otherwise.

/// Pause between two writings while somebody reads, in nanoseconds.
pub(super) const READ_INTERVAL_NS: u64 = 250_000_000;
/// Pause while the figures change and no reader is known, in nanoseconds. A reader is not known if it may not write to
/// the page.
const UNREAD_INTERVAL_NS: u64 = 1_000_000_000;
/// Pause while the figures do not change, in nanoseconds. The page is still written, because the resident memory can
/// change without an event.
const UNCHANGED_INTERVAL_NS: u64 = 10_000_000_000;
/// Time after a reading of the page during which another reading is expected, in nanoseconds.
const READING_NS: u64 = 2_000_000_000;
/// Minimum pause between two writings, as a multiple of the processor time of a writing.
const PAUSE_PER_COST: u64 = 100;

/// The times of the last writing and the last reading.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    written_ns: Option<u64>,
    cost_ns: u64,
    readings: u64,
    read_until_ns: u64,
    is_read: bool,
}

impl Schedule {
    /// Updates the schedule with the number of readings so far.
    pub(super) fn look(&mut self, now_ns: u64, readings: u64) {
        if readings != self.readings {
            self.readings = readings;
            self.read_until_ns = now_ns.saturating_add(READING_NS);
        }
        self.is_read = now_ns < self.read_until_ns;
    }

    /// Returns the pause between two writings while the figures change, in nanoseconds.
    pub(super) fn interval_ns(&self) -> u64 {
        let interval_ns = if self.is_read { READ_INTERVAL_NS } else { UNREAD_INTERVAL_NS };
        interval_ns.max(self.cost_ns.saturating_mul(PAUSE_PER_COST))
    }

    /// Returns the pause between two writings if somebody reads the page, in nanoseconds; otherwise `None`.
    pub(super) fn interval_of_reader_ns(&self) -> Option<u64> {
        self.is_read.then(|| self.interval_ns())
    }

    /// Whether it would be time to write if the figures had changed.
    pub(super) fn may_be_due(&self, now_ns: u64) -> bool {
        self.written_ns.is_none_or(|written_ns| now_ns >= written_ns.saturating_add(self.interval_ns()))
    }

    /// Whether it is time to write. `have_changed` tells whether the figures have changed.
    pub(super) fn is_due(&self, now_ns: u64, have_changed: bool) -> bool {
        let is_old = |written_ns: u64| {
            now_ns >= written_ns.saturating_add(UNCHANGED_INTERVAL_NS.max(self.interval_ns()))
        };
        self.may_be_due(now_ns) && (have_changed || self.is_read || self.written_ns.is_none_or(is_old))
    }

    /// Notes a writing that began at `now_ns`, and its processor time.
    pub(super) fn note_writing(&mut self, now_ns: u64, cost_ns: u64) {
        (self.written_ns, self.cost_ns) = (Some(now_ns), cost_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Returns the number of writings in a minute with a round every millisecond. A writing costs `cost_ns`
    /// nanoseconds.
    fn writings(have_changed: bool, cost_ns: u64, readings_at: impl Fn(u64) -> u64) -> usize {
        let mut schedule = Schedule::default();
        let mut writes = |at_ns: u64| {
            schedule.look(at_ns, readings_at(at_ns / MS));
            let is_due = schedule.is_due(at_ns, have_changed);
            if is_due {
                schedule.note_writing(at_ns, cost_ns);
            }
            is_due
        };
        (0..60_000).filter(|at| writes(at * MS)).count()
    }

    #[test]
    fn a_page_that_nobody_reads_is_written_as_its_figures_change() {
        assert_eq!(writings(false, 0, |_| 0), 6);
        assert_eq!(writings(true, 0, |_| 0), 60);
    }

    #[test]
    fn a_page_is_written_four_times_a_second_while_somebody_reads() {
        // One reading a second for half a minute, then no readings for half a minute.
        let reads = |at_ms: u64| (at_ms / 1_000).min(29) + 1;
        for have_changed in [false, true] {
            assert_eq!(writings(have_changed, 0, |at_ms| at_ms / 250), 240);
            let after = if have_changed { 29 } else { 2 };
            let found = writings(have_changed, 0, reads);
            assert!((4 * 31 - 2 + after..=4 * 31 + 2 + after).contains(&found), "{found}");
        }
    }

    #[test]
    fn writings_take_a_hundredth_of_the_time() {
        assert_eq!(writings(true, 10 * MS, |at_ms| at_ms), 60);
        assert_eq!(writings(false, 200 * MS, |_| 0), 3);
    }
}
