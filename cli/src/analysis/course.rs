//! Course of the live bytes of each place (a line of a [`SiteBook`]) over the run: they keep growing, level off, rise
//! and fall, or were freed at the end.
//!
//! The recording keeps a curve of live bytes for each of the largest sites. The curves of the sites of a place are
//! summed. To judge growth, the run is divided into up to [`SPANS`] equal parts. The *floor* of a part is the minimum
//! of the live bytes from the start of the part to the end of the run. The floors of a leak rise to the end. The floors
//! of a cache stop rising when the cache is full. The floors of memory that is allocated and freed again and again stay
//! level. For a queue that is drained at the end, the floors are taken only up to the draining.

use std::collections::HashMap;

use super::SiteBook;
use heapledger::profile::{Profile, SiteCurve};

/// Maximum number of parts into which the run is divided to judge growth.
pub const SPANS: usize = 16;
/// Minimum number of values of a curve. A place with a shorter curve is [`CourseKind::Unclear`].
const VALUES_MIN: usize = 8;
/// Divisor in two thresholds, both on the second half of the run. A place keeps growing only if its floor rises there
/// by at least 1 / LATE_SHARE of its live bytes at the end. A place levels off only if its live bytes vary there by no
/// more than 1 / LATE_SHARE of its highest live bytes.
const LATE_SHARE: u64 = 8;
/// Divisor of the highest live bytes of a place. The place was given back if its live bytes at the end are at most 1 /
/// GIVEN_BACK_SHARE of these.
const GIVEN_BACK_SHARE: u64 = 8;
/// Divisor of the highest live bytes of a place. A step from one value to the next is a rise or a fall if it is larger
/// than 1 / STEP_SHARE of these; smaller steps are noise.
const STEP_SHARE: u64 = 1_000;

/// Kind of the course of a place's live bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CourseKind {
    /// The live bytes rose in most parts of the run, including its second half, and are still live at the end.
    /// Examples: a leak, a cycle of reference counts, a cache without a bound.
    KeepsGrowing,
    /// The live bytes rose and then stayed: a table that was filled, a cache with a bound.
    LevelsOff,
    /// The live bytes rose through most of the run and were freed at its end: a queue that was drained, a table that
    /// was dropped.
    GivenBack,
    /// The live bytes rose and fell repeatedly: the memory of requests, frames, batches.
    RisesAndFalls,
    /// The curve is too short, or fits no other kind.
    Unclear,
}

impl CourseKind {
    /// Returns the name of the kind that tables and exports show.
    pub fn name(self) -> &'static str {
        match self {
            CourseKind::KeepsGrowing => "keeps growing",
            CourseKind::LevelsOff => "levels off",
            CourseKind::GivenBack => "given back",
            CourseKind::RisesAndFalls => "rises and falls",
            CourseKind::Unclear => "unclear",
        }
    }
}

/// Live bytes of one place over time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Course {
    /// Place, as an index into [`SiteBook::lines`].
    pub line: usize,
    /// Length of an interval, in nanoseconds.
    pub interval_ns: u64,
    /// Number of the interval of the first value.
    pub first_interval: u32,
    /// Live bytes at the end of each interval, from `first_interval` on.
    pub live_bytes: Vec<u64>,
    /// Whether the curves of all sites of the place start with the run. A curve that starts later counts with its first
    /// value in all earlier intervals.
    pub is_whole: bool,
    /// Kind of the course.
    pub kind: CourseKind,
    /// Number of intervals in which the live bytes rose.
    pub rises: u32,
    /// Number of intervals in which the live bytes fell.
    pub falls: u32,
    /// Slope of the straight line that fits the values best, in bytes a second.
    pub slope_bytes_per_s: i64,
}

impl Course {
    /// Returns the live bytes at the end of the run.
    pub fn retained_bytes(&self) -> u64 {
        self.live_bytes.last().copied().unwrap_or(0)
    }

    /// Returns the maximum of the live bytes at the ends of the intervals.
    pub fn highest_bytes(&self) -> u64 {
        self.live_bytes.iter().copied().max().unwrap_or(0)
    }

    /// Returns the number of steps from one interval to the next: one less than the number of intervals.
    pub fn steps(&self) -> u32 {
        self.live_bytes.len().saturating_sub(1) as u32
    }
}

/// Returns the courses of all places with a curve. Places with the most live bytes at the end come first.
pub fn courses(profile: &Profile, book: &SiteBook) -> Vec<Course> {
    let mut of_lines: HashMap<usize, Vec<&SiteCurve>> = HashMap::new();
    for curve in profile.curves.iter().filter(|curve| !curve.live_bytes.is_empty()) {
        if let Some(line) = book.line_of_stack.get(&curve.stack) {
            of_lines.entry(*line).or_default().push(curve);
        }
    }
    let mut courses: Vec<Course> = of_lines.iter().map(|(line, curves)| course(*line, curves)).collect();
    courses.sort_by_key(|course| {
        (std::cmp::Reverse((course.retained_bytes(), course.highest_bytes())), course.line)
    });
    courses
}

/// Sums the curves of one place, and judges the sum.
fn course(line: usize, curves: &[&SiteCurve]) -> Course {
    let interval_ns = curves.iter().map(|curve| curve.interval_ns).max().unwrap_or(0).max(1);
    let first_of = |curve: &SiteCurve| {
        (u64::from(curve.first_interval) * curve.interval_ns.max(1) / interval_ns).min(u64::from(u32::MAX))
            as usize
    };
    let first = curves.iter().map(|curve| first_of(curve)).min().unwrap_or(0);
    let mut live_bytes: Vec<u64> = Vec::new();
    let merged: Vec<(usize, Vec<u64>)> =
        curves.iter().map(|curve| (first_of(curve) - first, merged(curve, interval_ns))).collect();
    // `start` is limited below, because in a corrupt file a curve can begin far behind the others.
    let length = merged.iter().map(|(_, values)| values.len()).max().unwrap_or(0);
    live_bytes.resize(length, 0);
    for (start, values) in &merged {
        let start = (*start).min(length.saturating_sub(values.len()));
        let before = std::iter::repeat_n(values.first(), start);
        let all = before.chain(values.iter().map(Some)).chain(std::iter::repeat(values.last()));
        for (sum, value) in live_bytes.iter_mut().zip(all) {
            *sum = sum.saturating_add(value.copied().unwrap_or(0));
        }
    }
    let (rises, falls) = steps(&live_bytes);
    Course {
        line,
        interval_ns,
        first_interval: first as u32,
        is_whole: curves.iter().all(|curve| curve.first_interval == 0),
        kind: kind(&live_bytes, falls),
        rises,
        falls,
        slope_bytes_per_s: slope(&live_bytes, interval_ns),
        live_bytes,
    }
}

/// Returns the values of a curve at the ends of longer intervals of `interval_ns` nanoseconds.
fn merged(curve: &SiteCurve, interval_ns: u64) -> Vec<u64> {
    let factor = (interval_ns / curve.interval_ns.max(1)).max(1);
    let number = |index: usize| (u64::from(curve.first_interval) + index as u64) / factor;
    let mut values: Vec<u64> = Vec::new();
    for (index, value) in curve.live_bytes.iter().enumerate() {
        match values.last_mut() {
            Some(last) if index > 0 && number(index) == number(index - 1) => *last = *value,
            _ => values.push(*value),
        }
    }
    values
}

/// Returns the number of rises and the number of falls from one value to the next.
fn steps(values: &[u64]) -> (u32, u32) {
    let step = values.iter().copied().max().unwrap_or(0) / STEP_SHARE;
    values.windows(2).fold((0, 0), |(rises, falls), pair| {
        let (rose, fell) = (pair[1].saturating_sub(pair[0]), pair[0].saturating_sub(pair[1]));
        (rises + u32::from(rose > step), falls + u32::from(fell > step))
    })
}

fn kind(values: &[u64], falls: u32) -> CourseKind {
    let highest = values.iter().copied().max().unwrap_or(0);
    let (Some(end), true) = (values.last().copied(), values.len() >= VALUES_MIN && highest > 0) else {
        return CourseKind::Unclear;
    };
    let floors = floors(values);
    let is_given_back = end <= highest / GIVEN_BACK_SHARE;
    // If the memory was freed at the end, floors are taken only up to the free.
    let until_end =
        values.iter().rposition(|value| *value > highest / GIVEN_BACK_SHARE).map_or(0, |last| last + 1);
    if is_given_back {
        let before = &values[..until_end];
        let highest_at = before.iter().rposition(|value| *value == highest).unwrap_or(0);
        return if before.len() * 4 >= values.len() * 3 && highest_at * 2 >= before.len() && grows(before) {
            CourseKind::GivenBack
        } else {
            CourseKind::RisesAndFalls
        };
    }
    let half = floors[floors.len() / 2];
    let late = floors.last().copied().unwrap_or(0).saturating_sub(half);
    if grows(values) && late >= end / LATE_SHARE {
        return CourseKind::KeepsGrowing;
    }
    let second = &values[values.len() / 2..];
    let (low, high) =
        second.iter().fold((u64::MAX, 0), |(low, high), value| (low.min(*value), high.max(*value)));
    if high - low <= highest / LATE_SHARE {
        return CourseKind::LevelsOff;
    }
    // The live bytes rise and fall repeatedly: there is more than one fall, and the falls sum to at least the highest
    // live bytes.
    let fallen =
        values.windows(2).fold(0u64, |sum, pair| sum.saturating_add(pair[0].saturating_sub(pair[1])));
    if falls > 1 && fallen >= highest { CourseKind::RisesAndFalls } else { CourseKind::Unclear }
}

/// Whether the floor rises from one part of the run to the next in more than half of the steps.
fn grows(values: &[u64]) -> bool {
    let floors = floors(values);
    let (rises, _) = steps(&floors);
    rises as usize * 2 > floors.len().saturating_sub(1)
}

/// Returns the floor of each of up to [`SPANS`] equal parts: the minimum of the values from the start of the part to
/// the end of `values`.
fn floors(values: &[u64]) -> Vec<u64> {
    let spans = values.len().clamp(1, SPANS);
    let from = |span: usize| &values[span * values.len() / spans..];
    (0..spans).map(|span| from(span).iter().copied().min().unwrap_or(0)).collect()
}

/// Returns the slope of the least-squares line through the values, in bytes a second.
fn slope(values: &[u64], interval_ns: u64) -> i64 {
    let count = values.len() as f64;
    if values.len() < 2 {
        return 0;
    }
    let mean_x = (count - 1.0) / 2.0;
    let mean_y = values.iter().map(|value| *value as f64).sum::<f64>() / count;
    let (mut over, mut under) = (0.0, 0.0);
    for (x, y) in values.iter().enumerate() {
        let x = x as f64 - mean_x;
        over += x * (*y as f64 - mean_y);
        under += x * x;
    }
    (over / under / interval_ns as f64 * 1e9).round() as i64
}

#[cfg(test)]
mod tests {
    use super::super::paths::{View, named};
    use super::super::site_book;
    use super::*;
    use heapledger::profile::Site;

    fn kind_of(value: impl Fn(u64) -> u64) -> CourseKind {
        let values: Vec<u64> = (0..64).map(value).collect();
        kind(&values, steps(&values).1)
    }

    #[test]
    fn a_leak_a_cache_a_cycle_and_a_drained_queue_are_told_apart() {
        assert_eq!(kind_of(|n| 1_000 * n), CourseKind::KeepsGrowing);
        assert_eq!(kind_of(|n| 1_000 * n.min(20)), CourseKind::LevelsOff);
        assert_eq!(kind_of(|n| 1_000 * (n % 8)), CourseKind::RisesAndFalls);
        assert_eq!(kind_of(|n| if n < 62 { 1_000 * n } else { 0 }), CourseKind::GivenBack);
        // First a leak while other blocks come and go, then a table that existed from the start.
        assert_eq!(kind_of(|n| 500 * n + 9_000 * (n % 3)), CourseKind::KeepsGrowing);
        assert_eq!(kind_of(|_| 5_000), CourseKind::LevelsOff);
        // First a leak that ends in the first half.
        assert_eq!(kind_of(|n| 1_000 * n.min(30)), CourseKind::LevelsOff);
        assert_eq!(kind_of(|n| if n == 30 { 9_000 } else { 0 }), CourseKind::RisesAndFalls);
        assert_eq!(kind_of(|_| 0), CourseKind::Unclear);
        assert_eq!(kind(&[1, 2, 3], 0), CourseKind::Unclear);
        // First a saw-tooth with few teeth, then a constant level with some noise.
        assert_eq!(kind_of(|n| 1_000 * (n % 22)), CourseKind::RisesAndFalls);
        assert_eq!(kind_of(|n| 50_000 + 1_000 * (n % 4)), CourseKind::LevelsOff);
    }

    #[test]
    fn curves_of_one_place_are_summed_and_late_ones_add_no_rise() {
        let mut profile = named(&[&[("a", "a.rs", 1)], &[("a", "a.rs", 1)], &[("b", "b.rs", 2)]]);
        profile.sites = (1..4).map(|stack| Site { stack, total_blocks: 1, ..Site::default() }).collect();
        let curve = |stack, interval_ns, first_interval, live_bytes: &[u64]| SiteCurve {
            stack,
            interval_ns,
            first_interval,
            live_bytes: live_bytes.to_vec(),
        };
        profile.curves = vec![
            curve(1, 10, 0, &[1, 2, 3, 4]),
            curve(2, 10, 2, &[100, 110]),
            curve(3, 5, 1, &[7, 8, 9]),
            curve(9, 5, 0, &[1]),
        ];
        let found = courses(&profile, &site_book(&profile, &View::default()));
        let read: Vec<_> = found.iter().map(|course| (&course.live_bytes[..], course.is_whole)).collect();
        assert_eq!(read, [(&[101, 102, 103, 114][..], false), (&[7, 8, 9][..], false)]);
        assert_eq!((found[0].rises, found[0].falls, found[0].steps()), (3, 0, 3));
    }

    #[test]
    fn the_slope_is_that_of_the_best_line() {
        assert_eq!(slope(&[0, 10, 20, 30], 1_000_000_000), 10);
        assert_eq!(slope(&[30, 20, 10, 0], 500_000_000), -20);
        assert_eq!((slope(&[5], 1), slope(&[], 1)), (0, 0));
    }
}
