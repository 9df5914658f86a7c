//! The timeline: allocated and freed blocks in a fixed number of intervals.
//!
//! When the last interval is over, neighbouring intervals merge and the resolution halves. So the memory is constant,
//! and the timeline always covers the whole run. An interval holds flows (allocated and freed blocks and bytes). The
//! live bytes at the end of an interval are the sum of all flows up to that time. They are exact even if events are
//! booked late, because a flow is dated by its events.

use std::ops::Range;

use crate::profile;
use crate::sys::latch::Latch;
use crate::sys::sync::{AtomicU64, Ordering};

/// Number of intervals of the timeline; a power of two.
pub(crate) const INTERVALS: usize = 512;
/// Length of an interval at the start of the process, in nanoseconds.
pub(super) const INTERVAL_NS_MIN: u64 = 1_000_000;

/// Maximum number of merges. After that many, an interval is longer than any process runs.
const MERGES_BOUND: u64 = 40;

/// The timeline. All zero bytes are a valid, empty timeline.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Timeline {
    latch: Latch,
    /// Number of times that neighbouring intervals have merged.
    merges: AtomicU64,
    slots: [Slot; INTERVALS],
}

#[repr(C)]
#[derive(Debug)]
struct Slot {
    flow: [AtomicU64; 4],
    peak_bytes: AtomicU64,
    lost: AtomicU64,
    /// Highest resident memory that was read in the interval; 0 if none was read.
    resident_bytes: AtomicU64,
}

/// The sums of the events of a batch that are in one interval.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Flow {
    pub(crate) allocated_blocks: u64,
    pub(crate) allocated_bytes: u64,
    pub(crate) freed_blocks: u64,
    pub(crate) freed_bytes: u64,
    /// Highest booked live bytes.
    pub(crate) peak_bytes: u64,
    pub(crate) lost: u64,
}

impl Timeline {
    /// Adds a flow to the interval that holds `at_ns`.
    pub(crate) fn add(&self, at_ns: u64, flow: &Flow) {
        let _taken = self.latch.take();
        // relaxed, all of it: the latch orders the accesses.
        let mut length = self.interval_ns();
        while at_ns / length >= INTERVALS as u64 {
            self.merge();
            length = self.interval_ns();
        }
        let slot = &self.slots[(at_ns / length) as usize];
        let values = [flow.allocated_blocks, flow.allocated_bytes, flow.freed_blocks, flow.freed_bytes];
        for (cell, value) in slot.flow.iter().zip(values) {
            // Wrapping, because a subtraction is the addition of a two's complement.
            cell.store(cell.load(Ordering::Relaxed).wrapping_add(value), Ordering::Relaxed);
        }
        slot.lost.store(slot.lost.load(Ordering::Relaxed) + flow.lost, Ordering::Relaxed);
        slot.peak_bytes
            .store(slot.peak_bytes.load(Ordering::Relaxed).max(flow.peak_bytes), Ordering::Relaxed);
    }

    /// Adds a reading of the resident memory to the interval that holds `at_ns`.
    pub(crate) fn note_resident(&self, at_ns: u64, bytes: u64) {
        let _taken = self.latch.take();
        while at_ns / self.interval_ns() >= INTERVALS as u64 {
            self.merge();
        }
        let resident = &self.slots[(at_ns / self.interval_ns()) as usize].resident_bytes;
        // relaxed, both: the latch orders the accesses.
        resident.store(resident.load(Ordering::Relaxed).max(bytes), Ordering::Relaxed);
    }

    /// Copies the highest resident memory of each interval into `resident`, which has room for [`INTERVALS`], up to the
    /// last interval with a reading; 0 for an interval without a reading. Allocates nothing.
    pub(crate) fn copy_resident(&self, resident: &mut Vec<u64>) {
        debug_assert!(resident.capacity() >= INTERVALS);
        let _taken = self.latch.take();
        // relaxed: the latch orders the accesses.
        resident.extend(self.slots.iter().map(|slot| slot.resident_bytes.load(Ordering::Relaxed)));
        resident.truncate(resident.iter().rposition(|bytes| *bytes != 0).map_or(0, |last| last + 1));
    }

    /// Returns the number and the bounds (in nanoseconds) of the interval that holds `at_ns`. A later merge may join
    /// the interval with its neighbour.
    pub(crate) fn around(&self, at_ns: u64) -> (u64, Range<u64>) {
        let length = self.interval_ns();
        let number = at_ns / length;
        (number, number * length..(number + 1) * length)
    }

    /// Copies the timeline up to `now_ns` into `intervals`, which has room for [`INTERVALS`]. Returns the length of an
    /// interval in nanoseconds.
    pub(crate) fn copy(&self, now_ns: u64, intervals: &mut Vec<profile::Interval>) -> u64 {
        debug_assert!(intervals.capacity() >= INTERVALS);
        let _taken = self.latch.take();
        let length = self.interval_ns();
        let read = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        let filled = |slot: &Slot| slot.flow.iter().any(|cell| read(cell) != 0) || read(&slot.lost) != 0;
        let last_filled = self.slots.iter().rposition(filled).map_or(0, |last| last + 1);
        let used = ((now_ns / length + 1).min(INTERVALS as u64) as usize).max(last_filled);
        intervals.clear();
        intervals.extend(self.slots[..used].iter().map(|slot| profile::Interval {
            allocated_blocks: read(&slot.flow[0]),
            allocated_bytes: read(&slot.flow[1]),
            freed_blocks: read(&slot.flow[2]),
            freed_bytes: read(&slot.flow[3]),
            peak_bytes: read(&slot.peak_bytes),
            lost: read(&slot.lost),
        }));
        take_back(intervals, |interval| &mut interval.allocated_blocks);
        take_back(intervals, |interval| &mut interval.allocated_bytes);
        let mut live = 0i128;
        for interval in intervals {
            let before = live;
            live += i128::from(interval.allocated_bytes) - i128::from(interval.freed_bytes);
            interval.peak_bytes = peak_within(before, interval.allocated_bytes, live, interval.peak_bytes);
        }
        length
    }

    /// Opens the latch in a copy of a killed process's region. Returns `false` if the copy is damaged.
    pub(crate) fn take_over(&self) -> bool {
        self.latch.open();
        // relaxed: no other thread has the copy.
        self.merges.load(Ordering::Relaxed) < MERGES_BOUND
    }

    fn interval_ns(&self) -> u64 {
        INTERVAL_NS_MIN << self.merges.load(Ordering::Relaxed)
    }

    /// Merges neighbouring intervals in pairs, which halves the resolution.
    fn merge(&self) {
        let take = |cell: &AtomicU64| {
            let value = cell.load(Ordering::Relaxed);
            cell.store(0, Ordering::Relaxed);
            value
        };
        for half in 0..INTERVALS / 2 {
            let (a, b) = (&self.slots[2 * half], &self.slots[2 * half + 1]);
            let (peak_a, peak_b) = (take(&a.peak_bytes), take(&b.peak_bytes));
            let resident = take(&a.resident_bytes).max(take(&b.resident_bytes));
            let lost = take(&a.lost).wrapping_add(take(&b.lost));
            let mut flow = [0u64; 4];
            for (sum, (a, b)) in flow.iter_mut().zip(a.flow.iter().zip(&b.flow)) {
                *sum = take(a).wrapping_add(take(b));
            }
            let slot = &self.slots[half];
            for (cell, value) in slot.flow.iter().zip(flow) {
                cell.store(value, Ordering::Relaxed);
            }
            slot.peak_bytes.store(peak_a.max(peak_b), Ordering::Relaxed);
            slot.lost.store(lost, Ordering::Relaxed);
            slot.resident_bytes.store(resident, Ordering::Relaxed);
        }
        self.merges.store(self.merges.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}

/// Moves negative flows to earlier intervals. A flow is negative if a block was added in one interval, and was
/// subtracted in a later interval because the tables had no room for it.
fn take_back(intervals: &mut [profile::Interval], figure: impl Fn(&mut profile::Interval) -> &mut u64) {
    let mut owed = 0i64;
    for interval in intervals.iter_mut().rev() {
        let figure = figure(interval);
        let rest = (*figure as i64).wrapping_add(owed);
        (*figure, owed) = (rest.max(0) as u64, rest.min(0));
    }
}

/// Returns the peak of an interval: `seen`, clamped to the bounds that follow from the interval's flows. `seen` is the
/// highest number of live bytes while the interval's events were booked. `seen` is too high if a late fold saw bytes of
/// later intervals, and 0 for an interval without events.
fn peak_within(before: i128, allocated: u64, after: i128, seen: u64) -> u64 {
    let (low, high) = (before.max(after), before + i128::from(allocated));
    u64::try_from(i128::from(seen).min(high).max(low)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_back_later_is_missing_where_it_was_told_or_before() {
        // SAFETY: all zero bytes are a valid timeline.
        let timeline = unsafe { Box::<Timeline>::new_zeroed().assume_init() };
        let flow = |blocks: i64, bytes: i64| Flow {
            allocated_blocks: blocks as u64,
            allocated_bytes: bytes as u64,
            ..Flow::default()
        };
        timeline.add(INTERVAL_NS_MIN, &flow(5, 500));
        timeline.add(2 * INTERVAL_NS_MIN, &flow(1, 10));
        timeline.add(4 * INTERVAL_NS_MIN, &flow(-2, -100));
        let mut intervals = Vec::with_capacity(INTERVALS);
        timeline.copy(4 * INTERVAL_NS_MIN, &mut intervals);
        let told: Vec<_> = intervals.iter().map(|i| (i.allocated_blocks, i.allocated_bytes)).collect();
        assert_eq!(told, [(0, 0), (4, 410), (0, 0), (0, 0), (0, 0)]);
        assert_eq!(intervals[4].peak_bytes, 410);
    }

    #[test]
    fn merging_keeps_every_sum_and_the_order_in_time() {
        // SAFETY: all zero bytes are a valid timeline.
        let timeline = unsafe { Box::<Timeline>::new_zeroed().assume_init() };
        let mut sum = 0;
        for n in 0..10_000u64 {
            let flow = Flow { allocated_blocks: 1, allocated_bytes: n, peak_bytes: n, ..Flow::default() };
            timeline.add(n * 1_000_000, &flow);
            assert!(timeline.around(n * 1_000_000).1.contains(&(n * 1_000_000)));
            sum += n;
        }
        let mut intervals = Vec::with_capacity(INTERVALS);
        let length = timeline.copy(10_000_000_000, &mut intervals);
        assert_eq!(length, 32_000_000);
        assert_eq!(intervals.len(), 313);
        assert_eq!(intervals.iter().map(|i| i.allocated_bytes).sum::<u64>(), sum);
        assert_eq!(intervals.iter().map(|i| i.allocated_blocks).sum::<u64>(), 10_000);
        assert!(intervals.is_sorted_by_key(|i| i.peak_bytes));
    }

    #[test]
    fn a_late_fold_lifts_no_older_interval_above_what_it_can_have_had() {
        // SAFETY: all zero bytes are a valid timeline.
        let timeline = unsafe { Box::<Timeline>::new_zeroed().assume_init() };
        let flow = |allocated_bytes, freed_bytes, peak_bytes| Flow {
            allocated_bytes,
            freed_bytes,
            peak_bytes,
            ..Flow::default()
        };
        let at = |interval: u64| interval * INTERVAL_NS_MIN;
        timeline.add(at(0), &flow(100, 0, 100));
        timeline.add(at(4), &flow(1_000, 0, 1_100));
        // Another lane's events of interval 1, folded when interval 4 was booked already.
        timeline.add(at(1), &flow(50, 30, 1_150));
        let mut intervals = Vec::with_capacity(INTERVALS);
        timeline.copy(at(5), &mut intervals);
        let peaks: Vec<u64> = intervals.iter().map(|interval| interval.peak_bytes).collect();
        assert_eq!(peaks, [100, 150, 120, 120, 1_120, 1_120]);
    }
}
