//! Coarse histograms of 416 bytes, one for each slice of a window.
//!
//! A histogram of three digits takes 86 kB, which is right for a run but too much for each of its 600 slices. A coarse
//! histogram has four buckets per doubling, from a microsecond to a minute; its p99 has an error below 10 %.

use super::latency::is_given;

/// Upper end of the first bucket, in nanoseconds.
const LOWEST_NS: u64 = 1 << 10;
/// Number of buckets per doubling.
const PER_OCTAVE: u64 = 4;
/// Number of buckets of a slice; the last bucket begins at 60 s.
pub(in super::super) const BUCKETS: usize = 104;

/// Returns the bucket that counts a time of `ns` nanoseconds.
pub(in super::super) fn bucket_of(ns: u64) -> usize {
    if ns < LOWEST_NS {
        return 0;
    }
    let octave = u64::from(ns.ilog2() - LOWEST_NS.ilog2());
    let quarter = (ns >> (ns.ilog2() - 2)) & (PER_OCTAVE - 1);
    ((octave * PER_OCTAVE + quarter) as usize).min(BUCKETS - 1)
}

/// Returns the lower end of a bucket, in nanoseconds.
fn begin_of(bucket: usize) -> f64 {
    let (octave, quarter) = (bucket as u64 / PER_OCTAVE, bucket as u64 % PER_OCTAVE);
    ((LOWEST_NS << octave) / PER_OCTAVE * (PER_OCTAVE + quarter)) as f64
}

/// Returns quantile `q` of the counted times in nanoseconds: the geometric middle of the quantile's bucket. `None` with
/// fewer than ten samples beyond the quantile.
pub(in super::super) fn coarse_quantile_ns(counts: &[u32], q: f64) -> Option<f64> {
    let n: u64 = counts.iter().map(|c| u64::from(*c)).sum();
    if !is_given(n, q) {
        return None;
    }
    let rank = (n as f64 * q).ceil() as u64;
    let mut below = 0;
    let bucket = counts.iter().position(|count| {
        below += u64::from(*count);
        below >= rank
    })?;
    Some((begin_of(bucket) * begin_of(bucket + 1)).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_lies_in_its_bucket() {
        for ns in (0..40).flat_map(|p| [1u64 << p, (1 << p) + 1, 3 << p, (1 << p) - 1]) {
            let bucket = bucket_of(ns);
            let is_in = begin_of(bucket) <= ns as f64 && (ns as f64) < begin_of(bucket + 1);
            assert!(is_in || ns < LOWEST_NS || bucket == BUCKETS - 1, "{ns} in {bucket}");
        }
        assert_eq!((bucket_of(0), bucket_of(u64::MAX)), (0, BUCKETS - 1));
        assert!((60e9..61e9).contains(&begin_of(BUCKETS - 1)));
    }

    #[test]
    fn a_quantile_is_right_to_a_tenth_and_needs_ten_beyond() {
        let mut counts = [0; BUCKETS];
        (1..=999u64).for_each(|i| counts[bucket_of(i * 10_000)] += 1);
        assert_eq!(coarse_quantile_ns(&counts, 0.99), None);
        counts[bucket_of(10_000_000)] += 1;
        for (q, expected) in [(0.5, 5e6), (0.9, 9e6), (0.99, 9.9e6)] {
            let found = coarse_quantile_ns(&counts, q).unwrap();
            assert!((found / expected - 1.0).abs() < 0.12, "{q}: {found}");
        }
    }
}
