//! The size of a ring, derived from [`HistoryLimits`].
//!
//! A ring keeps its booked words until new words need the room. The kept words are the thread's part of the history. So
//! a longer history makes a ring larger, and a thread with a larger ring books, waits or sheds less often.

use crate::profile::HistoryLimits;

/// Number of words, of eight bytes each, in a segment of a ring.
pub const RING_SEGMENT_WORDS: u64 = 1024;
/// Minimum number of segments of a ring.
pub const RING_SEGMENTS_MIN: u32 = 4;
/// Maximum number of segments of a ring, not counting segments of the overflow pool.
pub const RING_SEGMENTS_MAX: u32 = 48;

/// Length of a segment, in bytes.
const SEGMENT_BYTES: u64 = RING_SEGMENT_WORDS * 8;
/// Factor by which a recommendation of larger rings raises the number of events of the history.
const GROWTH: u64 = 4;

/// Returns the number of segments of each ring under these limits. An event takes one and a half words on average.
pub fn ring_segments(limits: &HistoryLimits) -> u32 {
    let words = limits.events.saturating_mul(3) / 2;
    let segments = words.div_ceil(RING_SEGMENT_WORDS).min(limits.bytes / SEGMENT_BYTES);
    segments.clamp(u64::from(RING_SEGMENTS_MIN), u64::from(RING_SEGMENTS_MAX)) as u32
}

/// Returns the approximate number of events that a ring of this many segments holds.
pub const fn ring_events(segments: u32) -> u64 {
    segments as u64 * RING_SEGMENT_WORDS * 2 / 3
}

/// Returns limits that make each ring about four times as large, or `None` if rings have their maximum size.
pub(super) fn larger(limits: &HistoryLimits) -> Option<HistoryLimits> {
    let now = ring_segments(limits);
    if now >= RING_SEGMENTS_MAX {
        return None;
    }
    let events = (ring_events(now) * GROWTH).next_power_of_two().min(ring_events(RING_SEGMENTS_MAX));
    let wanted = HistoryLimits { events, bytes: u64::MAX, ..*limits };
    let bytes = limits.bytes.max(u64::from(ring_segments(&wanted)) * SEGMENT_BYTES);
    Some(HistoryLimits { bytes, ..wanted })
}

/// Returns limits that give each ring its minimum size, or `None` if rings have their minimum size.
pub(super) fn smallest(limits: &HistoryLimits) -> Option<HistoryLimits> {
    let least = ring_events(RING_SEGMENTS_MIN);
    // Rounded down to a power of two, which is easier to read in a recommendation.
    let events = 1 << least.ilog2();
    (ring_segments(limits) > RING_SEGMENTS_MIN).then_some(HistoryLimits { events, ..*limits })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(events: u64, bytes: u64) -> HistoryLimits {
        HistoryLimits { events, bytes, age_ns: None }
    }

    #[test]
    fn rings_follow_from_the_limits_and_stay_within_bounds() {
        assert_eq!(ring_segments(&HistoryLimits::DEFAULT), 6);
        for extreme in [limits(0, 0), limits(0, u64::MAX), limits(u64::MAX, 0)] {
            assert_eq!(ring_segments(&extreme), RING_SEGMENTS_MIN);
        }
        assert_eq!(ring_segments(&limits(u64::MAX, u64::MAX)), RING_SEGMENTS_MAX);
        assert_eq!(ring_segments(&limits(ring_events(RING_SEGMENTS_MAX), u64::MAX)), RING_SEGMENTS_MAX);
    }

    #[test]
    fn growing_ends_at_the_largest_ring_and_never_shrinks_one() {
        let next = larger(&HistoryLimits::DEFAULT).unwrap();
        assert_eq!(next, limits(16_384, 1 << 20));
        for (events, bytes) in [(0, 0), (100_000, 50_000), (4_096, 1 << 20)] {
            let (mut now, mut steps) = (limits(events, bytes), 0);
            while let Some(next) = larger(&now) {
                assert!(ring_segments(&next) > ring_segments(&now));
                (now, steps) = (next, steps + 1);
            }
            assert!(steps <= 3 && ring_segments(&now) == RING_SEGMENTS_MAX);
        }
    }

    #[test]
    fn the_smallest_ring_is_asked_for_once() {
        let least = smallest(&HistoryLimits::DEFAULT).unwrap();
        assert_eq!((least.events, ring_segments(&least)), (2_048, RING_SEGMENTS_MIN));
        assert_eq!(smallest(&least), None);
    }
}
