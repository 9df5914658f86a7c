//! Live bytes over time of the largest sites.
//!
//! A large site has a *curve*: the change of its live bytes in each of [`POINTS`] spans of time. Neighbouring spans
//! merge as the intervals of the timeline do. A lane collects changes in deltas, and all changes of a delta get the
//! same date ([`Dated`]). The lane adds its deltas to the sites before it books an event of another span, so a late
//! fold does not distort a curve.
//!
//! Each stripe of sites has room for [`CURVES_PER_STRIPE`] curves. When all curves are taken, a site that has become
//! twice as large as the smallest site with a curve takes over that curve, which begins anew. So the number of curves
//! is bounded, and a site that keeps growing gets a curve.
//!
//! A curve is stored in units of memory and accessed under the latch of its site's stripe: invariant **S2** of
//! `site_units`.

use super::site_units::Unit;
use super::timeline::{INTERVAL_NS_MIN, INTERVALS};
use crate::profile;

/// Number of spans of time of a curve; a power of two.
pub(crate) const POINTS: usize = 64;
/// Number of intervals of the timeline that make one span.
pub(crate) const INTERVALS_PER_POINT: u64 = (INTERVALS / POINTS) as u64;
/// Number of curves of a stripe of sites.
pub(crate) const CURVES_PER_STRIPE: usize = 8;
/// Number of units of a curve.
pub(super) const CURVE_UNITS: u32 = (size_of::<Curve>() / size_of::<Unit>()) as u32;
/// Length of a span at the start of the process, in nanoseconds.
const SPAN_NS_MIN: u64 = INTERVAL_NS_MIN * INTERVALS_PER_POINT;
/// Maximum number of merges of a curve. After 40 merges, a span is longer than any process runs.
const MERGES_BOUND: u32 = 40;
/// Divisor of the process's live bytes. A site gets a curve when its live bytes reach the quotient.
const SHARE: u64 = 1024;
/// Minimum number of live bytes at which a site gets a curve.
const BYTES_MIN: u64 = 1024;

/// The curve of one site. All zero bytes are a curve without changes.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Curve {
    site: u32,
    merges: u32,
    /// Live bytes at `since_ns`, when the site got the curve.
    start_bytes: i64,
    since_ns: u64,
    unused: [u64; 5],
    changes: [i64; POINTS],
}

const _: () = assert!(size_of::<Curve>().is_multiple_of(size_of::<Unit>()));

/// The date of a lane's deltas, in nanoseconds, and the number of live bytes at which a site is large.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dated {
    pub(crate) at_ns: u64,
    pub(crate) large_bytes: u64,
}

impl Dated {
    /// Returns the date. `booked_bytes` is the number of live bytes of the process, which determines when a site is
    /// large.
    pub(crate) fn new(at_ns: u64, booked_bytes: i64) -> Dated {
        Dated { at_ns, large_bytes: (booked_bytes.max(0) as u64 / SHARE).max(BYTES_MIN) }
    }
}

/// Returns the end of the span that contains `at_ns`. A span consists of `INTERVALS_PER_POINT` intervals of
/// `interval_ns` nanoseconds.
pub(crate) fn span_end_ns(at_ns: u64, interval_ns: u64) -> u64 {
    let length = interval_ns.saturating_mul(INTERVALS_PER_POINT).max(1);
    (at_ns / length).saturating_add(1).saturating_mul(length)
}

impl Curve {
    /// Begins the curve of a site.
    pub(super) fn begin(&mut self, site: u32, start_bytes: i64, since_ns: u64) {
        *self = Curve { site, merges: 0, start_bytes, since_ns, unused: [0; 5], changes: [0; POINTS] };
    }

    /// Decodes a curve from a copy of its units.
    pub(super) fn of_units(units: &[Unit]) -> Option<Curve> {
        let (head, changes) = units.as_flattened().split_at_checked(8)?;
        let changes: &[u64; POINTS] = changes.try_into().ok()?;
        let [numbers, start_bytes, since_ns, ..] = *head else { return None };
        let [a, b, c, d, e, f, g, h] = numbers.to_ne_bytes();
        let (site, merges) = (u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h]));
        let changes = changes.map(|change| change as i64);
        Some(Curve { site, merges, start_bytes: start_bytes as i64, since_ns, unused: [0; 5], changes })
    }

    /// Returns the number of the site.
    pub(crate) fn site(&self) -> u32 {
        self.site
    }

    /// Adds a change of the live bytes at `at_ns`. A change before the start of the curve changes `start_bytes`.
    pub(super) fn add(&mut self, at_ns: u64, bytes: i64) {
        if at_ns < self.since_ns {
            self.start_bytes = self.start_bytes.wrapping_add(bytes);
            return;
        }
        while at_ns / self.span_ns() >= POINTS as u64 && self.merges < MERGES_BOUND {
            self.merge();
        }
        let point = (at_ns / self.span_ns()) as usize;
        if let Some(change) = self.changes.get_mut(point) {
            *change = change.wrapping_add(bytes);
        }
    }

    /// Merges neighbouring spans in pairs, which halves the resolution.
    fn merge(&mut self) {
        for point in 0..POINTS {
            self.changes[point] = match self.changes.get(2 * point..2 * point + 2) {
                Some([first, second]) => first.wrapping_add(*second),
                _ => 0,
            };
        }
        self.merges += 1;
    }

    fn span_ns(&self) -> u64 {
        SPAN_NS_MIN << self.merges.min(MERGES_BOUND)
    }

    /// Returns the curve, merged until a span is at least as long as `INTERVALS_PER_POINT` intervals of `interval_ns`.
    fn aligned(&self, interval_ns: u64) -> Curve {
        let mut curve = *self;
        while curve.span_ns() / INTERVALS_PER_POINT < interval_ns && curve.merges < MERGES_BOUND {
            curve.merge();
        }
        curve
    }

    /// Returns the curve as the profile shows it, up to `now_ns`. `interval_ns` is the length of the timeline's
    /// intervals.
    pub(crate) fn to_profile(self, interval_ns: u64, now_ns: u64) -> profile::SiteCurve {
        let curve = self.aligned(interval_ns);
        let (interval_ns, first_interval) = curve.spans();
        let live_bytes = curve.live_bytes(now_ns).collect();
        profile::SiteCurve { stack: self.site, interval_ns, first_interval, live_bytes }
    }

    /// Returns the length of a span in nanoseconds, and the number of the span in which the curve begins.
    fn spans(&self) -> (u64, u32) {
        (self.span_ns(), (self.since_ns / self.span_ns()).min(POINTS as u64 - 1) as u32)
    }

    /// Returns the live bytes at the end of each span, from the span in which the curve begins to the span of
    /// `now_ns`.
    fn live_bytes(&self, now_ns: u64) -> impl Iterator<Item = u64> + '_ {
        let (span_ns, first) = self.spans();
        let end = ((now_ns / span_ns) as usize + 1).clamp(first as usize + 1, POINTS);
        let mut live = self.start_bytes;
        self.changes[first as usize..end].iter().map(move |change| {
            live = live.wrapping_add(*change);
            live.max(0) as u64
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(start_bytes: i64, since_ns: u64) -> Curve {
        let mut curve =
            Curve { site: 0, merges: 9, start_bytes: 1, since_ns: 1, unused: [0; 5], changes: [3; POINTS] };
        curve.begin(7, start_bytes, since_ns);
        curve
    }

    #[test]
    fn a_curve_keeps_its_sums_when_spans_merge() {
        let mut curve = curve(0, 0);
        for n in 0..1_000u64 {
            curve.add(n * SPAN_NS_MIN, if n % 2 == 0 { 30 } else { -10 });
        }
        let (span_ns, first) = curve.spans();
        assert_eq!((span_ns, first), (16 * SPAN_NS_MIN, 0));
        let live: Vec<u64> = curve.live_bytes(999 * SPAN_NS_MIN).collect();
        assert_eq!(live.len(), 63);
        assert_eq!((live[0], live[61], live[62]), (160, 9_920, 10_000));
    }

    #[test]
    fn what_was_before_the_curve_moves_its_start_and_no_point() {
        let mut curve = curve(500, 10 * SPAN_NS_MIN);
        curve.add(2 * SPAN_NS_MIN, -100);
        curve.add(11 * SPAN_NS_MIN, 50);
        assert_eq!(curve.spans().1, 10);
        assert_eq!(curve.live_bytes(12 * SPAN_NS_MIN).collect::<Vec<_>>(), [400, 450, 450]);
    }

    #[test]
    fn a_curve_is_aligned_with_a_coarser_timeline() {
        let mut curve = curve(0, 0);
        (0..64).for_each(|n| curve.add(n * SPAN_NS_MIN, 1));
        let aligned = curve.aligned(4 * INTERVAL_NS_MIN);
        assert_eq!(aligned.spans(), (4 * SPAN_NS_MIN, 0));
        assert_eq!(
            aligned.live_bytes(63 * SPAN_NS_MIN).collect::<Vec<_>>(),
            (1..=16).map(|n| 4 * n).collect::<Vec<_>>()
        );
        assert_eq!(curve.live_bytes(u64::MAX).count(), POINTS);
    }

    #[test]
    fn the_span_of_a_time_ends_where_intervals_end() {
        assert_eq!(span_end_ns(0, 1_000), 8_000);
        assert_eq!(span_end_ns(8_000, 1_000), 16_000);
        assert_eq!(span_end_ns(u64::MAX, 1), u64::MAX);
    }
}
