//! Figures from samples: latency histograms, confidence intervals, tests for drift.
//!
//! Three rules hold for every figure here. What is undefined is `None`, never zero and never NaN. A quantile is given
//! only where at least ten samples lie beyond it, since a p99.9 of 200 requests is the maximum under another name. And
//! a sample that was cut off (a time-out, a request still open at the end) is *censored*: it counts with the time it
//! had already taken, and any quantile at or above the first cut is a lower bound.

mod batch;
mod coarse;
mod distribution;
mod trend;
mod welch;

pub use batch::{BatchMeans, batch_means, mean_interval};
pub(super) use coarse::{BUCKETS, bucket_of, coarse_quantile_ns};
pub use distribution::{normal_tail, t_quantile};
pub use trend::{Trend, mann_kendall};
pub use welch::{MeanDifference, welch};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

/// The unit that histograms count in, in nanoseconds.
const TICK_NS: u64 = 100;
/// The longest time a histogram tells apart: 60 s. Longer ones count as this in quantiles, exactly in mean and maximum.
const HIGHEST_TICKS: u64 = 600_000_000;
/// Decimal digits that quantiles are good for.
const DIGITS: u8 = 3;
/// What follows for a quantile: it may be off by this share of itself, or by a tick where that is more.
pub(super) const QUANTILE_RESOLUTION: f64 = 0.001;
/// The unit of histograms in milliseconds.
pub(super) const TICK_MS: f64 = TICK_NS as f64 / 1e6;
/// Samples that must lie beyond a quantile before it is given.
const SAMPLES_BEYOND: f64 = 10.0;

/// Latencies of one kind, summed up. Times in milliseconds; `None` where there are too few samples to say.
///
/// # Examples
/// ```
/// use heapledger::validation::LatencySummary;
/// assert_eq!(LatencySummary::default().p50_ms, None);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencySummary {
    /// Samples, the censored ones included.
    pub n: u64,
    /// Samples that were cut off before they ended.
    pub censored: u64,
    /// The shortest cut-off. Any quantile at or above it is a lower bound.
    pub censored_from_ms: Option<f64>,
    /// Arithmetic mean.
    pub mean_ms: Option<f64>,
    /// Standard deviation of the samples.
    pub stddev_ms: Option<f64>,
    /// The smallest.
    pub min_ms: Option<f64>,
    /// The median.
    pub p50_ms: Option<f64>,
    /// Nine of ten are below.
    pub p90_ms: Option<f64>,
    /// Ninety-nine of a hundred are below.
    pub p99_ms: Option<f64>,
    /// All but one of a thousand are below.
    pub p999_ms: Option<f64>,
    /// The largest.
    pub max_ms: Option<f64>,
    /// The whole histogram for others to plot: HdrHistogram's V2 format, deflated, in base64; it counts in units of
    /// 100 ns. `None` where only the figures are kept.
    #[serde(default)]
    pub hdr_v2_base64: Option<String>,
}

impl LatencySummary {
    /// The value of quantile `q` (0.5, 0.9, 0.99 or 0.999), if it was given.
    pub fn quantile_ms(&self, q: f64) -> Option<f64> {
        [(0.5, self.p50_ms), (0.9, self.p90_ms), (0.99, self.p99_ms), (0.999, self.p999_ms)]
            .into_iter()
            .find_map(|(known, value)| if (known - q).abs() < 1e-9 { value } else { None })
    }
}

/// Whether enough of `n` samples lie beyond quantile `q` for it to be given.
fn is_given(n: u64, q: f64) -> bool {
    // The small term absorbs the rounding of 1 - 0.999.
    n as f64 * (1.0 - q) + 1e-6 >= SAMPLES_BEYOND
}

/// A histogram of times that never allocates once it is made.
#[derive(Debug, Clone)]
pub(super) struct Latencies {
    histogram: Histogram<u32>,
    n: u64,
    sum_ns: u128,
    sum_sq: f64,
    min_ns: u64,
    max_ns: u64,
    censored: u64,
    censored_from_ns: u64,
}

impl Latencies {
    pub fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, HIGHEST_TICKS, DIGITS)
            .expect("the bounds are constants that it accepts");
        Self {
            histogram,
            n: 0,
            sum_ns: 0,
            sum_sq: 0.0,
            min_ns: u64::MAX,
            max_ns: 0,
            censored: 0,
            censored_from_ns: u64::MAX,
        }
    }

    pub fn record(&mut self, ns: u64) {
        self.histogram.saturating_record((ns / TICK_NS).max(1));
        self.n += 1;
        self.sum_ns += u128::from(ns);
        self.sum_sq += (ns as f64).powi(2);
        self.min_ns = self.min_ns.min(ns);
        self.max_ns = self.max_ns.max(ns);
    }

    pub fn record_censored(&mut self, ns: u64) {
        self.record(ns);
        self.censored += 1;
        self.censored_from_ns = self.censored_from_ns.min(ns);
    }

    pub fn merge(&mut self, other: &Self) {
        self.histogram.add(&other.histogram).expect("all histograms have the same bounds");
        self.n += other.n;
        self.sum_ns += other.sum_ns;
        self.sum_sq += other.sum_sq;
        self.min_ns = self.min_ns.min(other.min_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
        self.censored += other.censored;
        self.censored_from_ns = self.censored_from_ns.min(other.censored_from_ns);
    }

    pub fn clear(&mut self) {
        self.histogram.reset();
        (self.n, self.sum_ns, self.sum_sq) = (0, 0, 0.0);
        (self.min_ns, self.max_ns) = (u64::MAX, 0);
        (self.censored, self.censored_from_ns) = (0, u64::MAX);
    }

    pub const fn count(&self) -> u64 {
        self.n
    }

    pub fn mean_ns(&self) -> Option<f64> {
        (self.n > 0).then(|| self.sum_ns as f64 / self.n as f64)
    }

    /// Quantile `q` in nanoseconds, however few samples there are.
    pub fn quantile_ns(&self, q: f64) -> Option<f64> {
        // The histogram gives the upper end of a bucket, which can lie above the largest sample.
        (self.n > 0).then(|| ((self.histogram.value_at_quantile(q) * TICK_NS) as f64).min(self.max_ns as f64))
    }

    /// Sum of what each sample exceeds `ns` by, in nanoseconds.
    pub fn excess_over_ns(&self, ns: f64) -> f64 {
        self.histogram
            .iter_recorded()
            .map(|v| {
                ((v.value_iterated_to() * TICK_NS) as f64 - ns).max(0.0)
                    * v.count_since_last_iteration() as f64
            })
            .sum()
    }

    pub fn summary(&self) -> LatencySummary {
        let ms = |ns: f64| ns / 1e6;
        let given = |q: f64| if is_given(self.n, q) { self.quantile_ns(q).map(ms) } else { None };
        let some = self.n > 0;
        let n = self.n as f64;
        let mean = self.mean_ns();
        LatencySummary {
            n: self.n,
            censored: self.censored,
            censored_from_ms: (self.censored > 0).then(|| ms(self.censored_from_ns as f64)),
            mean_ms: mean.map(ms),
            stddev_ms: mean
                .filter(|_| self.n > 1)
                .map(|m| ms(((self.sum_sq - n * m * m).max(0.0) / (n - 1.0)).sqrt())),
            min_ms: some.then(|| ms(self.min_ns as f64)),
            p50_ms: given(0.5),
            p90_ms: given(0.9),
            p99_ms: given(0.99),
            p999_ms: given(0.999),
            max_ms: some.then(|| ms(self.max_ns as f64)),
            hdr_v2_base64: None,
        }
    }

    /// As [`summary`](Self::summary), with the histogram. This allocates, so it is for after the account.
    pub fn summary_with_histogram(&self) -> LatencySummary {
        let mut bytes = Vec::new();
        let written = V2DeflateSerializer::new().serialize(&self.histogram, &mut bytes);
        let hdr_v2_base64 = (self.n > 0 && written.is_ok()).then(|| STANDARD.encode(&bytes));
        LatencySummary { hdr_v2_base64, ..self.summary() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_given_only_with_ten_samples_beyond() {
        let mut l = Latencies::new();
        (1..=999u64).for_each(|i| l.record(i * 1_000_000));
        let s = l.summary();
        assert_eq!(s.p99_ms, None, "999 samples leave 9.99 beyond p99");
        assert!((s.p90_ms.unwrap() - 900.0).abs() < 1.0);
        l.record(1_000_000_000);
        let s = l.summary();
        assert!((s.p99_ms.unwrap() - 990.0).abs() < 1.0);
        assert_eq!(s.quantile_ms(0.99), s.p99_ms);
        assert!((s.mean_ms.unwrap() - 500.5).abs() < 1e-9 && s.max_ms == Some(1000.0));
        assert!((s.stddev_ms.unwrap() - 288.82).abs() < 0.01);
    }

    #[test]
    fn nothing_recorded_is_none_everywhere() {
        let l = Latencies::new();
        assert_eq!((l.summary(), l.summary_with_histogram()), Default::default());
    }

    #[test]
    fn the_histogram_is_read_back_by_the_format_s_own_reader() {
        let mut l = Latencies::new();
        (1..=2000u64).for_each(|i| l.record(i * 50_000));
        let text = l.summary_with_histogram().hdr_v2_base64.unwrap();
        assert!(text.starts_with("HISTF"), "{text}");
        let bytes = STANDARD.decode(text).unwrap();
        let back: Histogram<u64> =
            hdrhistogram::serialization::Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
        assert_eq!(back.len(), 2000);
        let p99_ms = back.value_at_quantile(0.99) as f64 * TICK_NS as f64 / 1e6;
        assert!((p99_ms - l.summary().p99_ms.unwrap()).abs() < 1e-9 && (p99_ms - 99.0).abs() < 0.1);
    }

    #[test]
    fn sub_millisecond_times_are_not_zero_and_long_ones_are_kept() {
        let mut l = Latencies::new();
        l.record(900_000);
        l.record(120_000_000_000);
        assert_eq!(l.summary().min_ms, Some(0.9));
        assert_eq!(l.summary().max_ms, Some(120_000.0));
        assert_eq!(l.summary().mean_ms, Some(60_000.45));
    }

    #[test]
    fn a_cut_off_sample_says_where_lower_bounds_begin() {
        let mut l = Latencies::new();
        l.record(1_000_000);
        l.record_censored(5_000_000);
        let s = l.summary();
        assert_eq!((s.n, s.censored, s.censored_from_ms), (2, 1, Some(5.0)));
    }

    #[test]
    fn merging_is_recording_in_one() {
        let (mut a, mut b, mut both) = (Latencies::new(), Latencies::new(), Latencies::new());
        for i in 1..2000u64 {
            if i % 3 == 0 {
                a.record(i * 1000)
            } else {
                b.record(i * 1000)
            }
            both.record(i * 1000);
        }
        a.merge(&b);
        assert_eq!(a.summary().p99_ms, both.summary().p99_ms);
        assert_eq!(a.summary().mean_ms, both.summary().mean_ms);
    }

    #[test]
    fn excess_is_the_time_in_which_samples_were_suppressed() {
        let mut l = Latencies::new();
        (0..99).for_each(|_| l.record(1_000_000));
        l.record(2_000_000_000);
        assert!((l.excess_over_ns(1e6) / 1e9 - 1.999).abs() < 0.002);
    }
}
