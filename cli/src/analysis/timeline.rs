//! The timeline at the resolution of a page.

use heapledger::profile::{Interval, Profile};

/// A column of the timeline: one interval of the profile, or several adjacent ones merged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Column {
    /// Start, in nanoseconds since the start of the ledger.
    pub start_ns: u64,
    /// Length, in nanoseconds.
    pub length_ns: u64,
    /// The most live bytes within the column: booked peaks, and the bytes live at each end of an interval.
    pub highest_bytes: u64,
    /// Live bytes at the end of the column.
    pub live_bytes: u64,
    /// Blocks allocated.
    pub allocated_blocks: u64,
    /// Bytes allocated.
    pub allocated_bytes: u64,
    /// Blocks freed.
    pub freed_blocks: u64,
    /// Bytes freed.
    pub freed_bytes: u64,
    /// Events lost.
    pub lost: u64,
}

/// Consecutive intervals in which events were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LossWindow {
    /// Start of its first interval, in nanoseconds since the start.
    pub start_ns: u64,
    /// End of its last interval.
    pub end_ns: u64,
    /// Events lost in it.
    pub lost: u64,
}

/// The timeline in a given number of columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineFinding {
    /// The columns, in order.
    pub columns: Vec<Column>,
    /// Consecutive intervals with losses, at the full resolution of the profile.
    pub losses: Vec<LossWindow>,
    /// Length of the whole timeline, in nanoseconds.
    pub length_ns: u64,
    /// Length of an interval in the profile, in nanoseconds.
    pub interval_ns: u64,
}

/// The timeline in at most `columns` columns (at least one). Intervals are merged whole, never split, so that
/// the columns add up to the same totals; with fewer intervals than columns, each interval is a column.
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
