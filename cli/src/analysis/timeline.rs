//! Timeline of a profile, merged into as many columns as a page can show.

use heapledger::profile::{Interval, Profile};

/// Column of the timeline: one interval of the profile, or several adjacent intervals merged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Column {
    /// Start of the column, in nanoseconds since the start of the ledger.
    pub start_ns: u64,
    /// Length of the column, in nanoseconds.
    pub length_ns: u64,
    /// Maximum of the live bytes within the column: the largest of the booked peaks and of the live bytes at the ends
    /// of its intervals.
    pub highest_bytes: u64,
    /// Live bytes at the end of the column.
    pub live_bytes: u64,
    /// Number of blocks allocated in the column.
    pub allocated_blocks: u64,
    /// Number of bytes allocated in the column.
    pub allocated_bytes: u64,
    /// Number of blocks freed in the column.
    pub freed_blocks: u64,
    /// Number of bytes freed in the column.
    pub freed_bytes: u64,
    /// Number of events lost in the column.
    pub lost: u64,
}

/// Period of consecutive intervals in which events were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LossWindow {
    /// Start of the first interval, in nanoseconds since the start of the ledger.
    pub start_ns: u64,
    /// End of the last interval, in nanoseconds since the start of the ledger.
    pub end_ns: u64,
    /// Number of events lost in the period.
    pub lost: u64,
}

/// Timeline in a given number of columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineFinding {
    /// Columns, in order of time.
    pub columns: Vec<Column>,
    /// Periods with lost events, at the full resolution of the profile.
    pub losses: Vec<LossWindow>,
    /// Length of the whole timeline, in nanoseconds.
    pub length_ns: u64,
    /// Length of an interval in the profile, in nanoseconds.
    pub interval_ns: u64,
}

/// Returns the timeline in up to `columns` columns; 0 counts as 1. Intervals are merged but never split, so the columns
/// have the same totals as the intervals. If the profile has fewer intervals than `columns`, each interval is a column.
pub fn timeline(profile: &Profile, columns: usize) -> TimelineFinding {
    let (intervals, interval_ns) = (&profile.timeline.intervals, profile.timeline.interval_ns);
    let live = profile.timeline.live_bytes();
    let wanted = columns.max(1).min(intervals.len());
    let mut merged = Vec::with_capacity(wanted);
    for column in 0..wanted {
        let (from, to) = (column * intervals.len() / wanted, (column + 1) * intervals.len() / wanted);
        let before = from.checked_sub(1).map_or(0, |last| live[last]);
        let mut merging = Column {
            start_ns: interval_ns.saturating_mul(from as u64),
            length_ns: interval_ns.saturating_mul((to - from) as u64),
            highest_bytes: before,
            live_bytes: before,
            ..Column::default()
        };
        for (interval, live_bytes) in intervals[from..to].iter().zip(&live[from..to]) {
            merging.take_in(interval, *live_bytes);
        }
        merged.push(merging);
    }
    // The peak and the intervals are booked separately, so the intervals can miss the peak. The column that contains
    // the peak is raised to it.
    let at = merged.partition_point(|column| column.start_ns <= profile.peak.at_ns);
    if let Some(column) = at.checked_sub(1).and_then(|at| merged.get_mut(at)) {
        column.highest_bytes = column.highest_bytes.max(profile.peak.bytes);
    }
    TimelineFinding {
        columns: merged,
        losses: losses(intervals, interval_ns),
        length_ns: interval_ns.saturating_mul(intervals.len() as u64),
        interval_ns,
    }
}

impl Column {
    fn take_in(&mut self, interval: &Interval, live_bytes: u64) {
        self.highest_bytes = self.highest_bytes.max(interval.peak_bytes).max(live_bytes);
        self.live_bytes = live_bytes;
        self.allocated_blocks = self.allocated_blocks.saturating_add(interval.allocated_blocks);
        self.allocated_bytes = self.allocated_bytes.saturating_add(interval.allocated_bytes);
        self.freed_blocks = self.freed_blocks.saturating_add(interval.freed_blocks);
        self.freed_bytes = self.freed_bytes.saturating_add(interval.freed_bytes);
        self.lost = self.lost.saturating_add(interval.lost);
    }
}

fn losses(intervals: &[Interval], interval_ns: u64) -> Vec<LossWindow> {
    let mut windows: Vec<LossWindow> = Vec::new();
    for (index, interval) in intervals.iter().enumerate().filter(|(_, interval)| interval.lost > 0) {
        let start_ns = interval_ns.saturating_mul(index as u64);
        let end_ns = start_ns.saturating_add(interval_ns);
        match windows.last_mut() {
            Some(last) if index > 0 && intervals[index - 1].lost > 0 => {
                last.end_ns = end_ns;
                last.lost = last.lost.saturating_add(interval.lost);
            }
            _ => windows.push(LossWindow { start_ns, end_ns, lost: interval.lost }),
        }
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn few_intervals_are_shown_one_a_column() {
        let finding = timeline(&sample::complete(), 80);
        assert_eq!(finding.columns.len(), 4);
        let live: Vec<u64> = finding.columns.iter().map(|column| column.live_bytes).collect();
        assert_eq!(live, [2_000, 3_000, 1_500, 2_200]);
        let highest: Vec<u64> = finding.columns.iter().map(|column| column.highest_bytes).collect();
        assert_eq!(highest, [2_000, 3_500, 3_000, 2_200]);
    }

    #[test]
    fn merged_columns_keep_the_sums_and_the_highest_point() {
        let finding = timeline(&sample::complete(), 2);
        let sums: Vec<(u64, u64)> =
            finding.columns.iter().map(|c| (c.allocated_bytes, c.highest_bytes)).collect();
        assert_eq!(sums, [(4_000, 3_500), (1_000, 3_000)]);
        let freed: Vec<u64> = finding.columns.iter().map(|column| column.freed_bytes).collect();
        assert_eq!(freed, [1_000, 1_800]);
        assert_eq!(finding.columns[1].start_ns, 1_000_000_000);
        assert_eq!(finding.length_ns, 2_000_000_000);
    }

    #[test]
    fn the_peak_lies_on_the_curve() {
        let mut profile = sample::complete();
        profile.peak.bytes += 500;
        for columns in [80, 2, 1] {
            let highest = timeline(&profile, columns).columns.iter().map(|column| column.highest_bytes).max();
            assert_eq!(highest, Some(profile.peak.bytes));
        }
    }

    #[test]
    fn neighbouring_losses_are_one_window() {
        let mut profile = sample::complete();
        for (index, lost) in [(0, 1), (2, 3), (3, 4)] {
            profile.timeline.intervals[index].lost = lost;
        }
        let windows: Vec<_> =
            timeline(&profile, 2).losses.iter().map(|w| (w.start_ns, w.end_ns, w.lost)).collect();
        assert_eq!(windows, [(0, 500_000_000, 1), (1_000_000_000, 2_000_000_000, 7)]);
    }

    #[test]
    fn an_empty_timeline_has_no_columns() {
        assert!(timeline(&sample::empty(), 0).columns.is_empty());
    }
}
