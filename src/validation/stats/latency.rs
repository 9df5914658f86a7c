//! Latency histograms and their summaries.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

/// The unit of histograms, in nanoseconds.
const TICK_NS: u64 = 100;
/// Longest time that a histogram resolves: 60 s. A longer time counts as 60 s in quantiles, and exactly in mean and
/// maximum.
const HIGHEST_TICKS: u64 = 600_000_000;
/// Significant decimal digits of quantiles.
const DIGITS: u8 = 3;
/// Relative error of a quantile. For small quantiles the error is one unit of 100 ns.
pub(in super::super) const QUANTILE_RESOLUTION: f64 = 0.001;
/// The unit of histograms, in milliseconds.
pub(in super::super) const TICK_MS: f64 = TICK_NS as f64 / 1e6;
/// Minimum number of samples beyond a quantile for the quantile to be given.
const SAMPLES_BEYOND: f64 = 10.0;

/// Summary of the latencies of one kind, in milliseconds. A figure is `None` with too few samples.
///
/// # Examples
/// ```
/// use heapledger::validation::LatencySummary;
/// assert_eq!(LatencySummary::default().p50_ms, None);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencySummary {
    /// Number of samples, including censored samples.
    pub n: u64,
    /// Number of censored samples, which were cut off before they ended.
    pub censored: u64,
    /// Shortest time at which a sample was cut off. A quantile at or above this time is a lower bound.
    pub censored_from_ms: Option<f64>,
    /// Arithmetic mean.
    pub mean_ms: Option<f64>,
    /// Standard deviation.
    pub stddev_ms: Option<f64>,
    /// Minimum.
    pub min_ms: Option<f64>,
    /// Median.
    pub p50_ms: Option<f64>,
    /// 90th percentile.
    pub p90_ms: Option<f64>,
    /// 95th percentile.
    #[serde(default)]
    pub p95_ms: Option<f64>,
    /// 99th percentile.
    pub p99_ms: Option<f64>,
    /// 99.9th percentile.
    pub p999_ms: Option<f64>,
    /// Maximum.
    pub max_ms: Option<f64>,
    /// The histogram for other tools, in units of 100 ns: HdrHistogram's V2 format, compressed by deflate, in base64.
    /// `None` if only the figures are kept.
    #[serde(default)]
    pub hdr_v2_base64: Option<String>,
}

/// Whether quantile `q` of `n` samples is given: enough samples must lie beyond the quantile.
pub(super) fn is_given(n: u64, q: f64) -> bool {
    // The small term absorbs the rounding of 1 - 0.999.
    n as f64 * (1.0 - q) + 1e-6 >= SAMPLES_BEYOND
}

/// The figures that the histogram would round, kept exactly.
#[derive(Debug, Clone, Copy, Default)]
struct Exact {
    sum_ns: u128,
    sum_sq: f64,
    min_ns: Option<u64>,
    max_ns: u64,
    censored: u64,
    censored_from_ns: Option<u64>,
}

fn least(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    a.into_iter().chain(b).min()
}

/// A histogram of times that allocates only when it is created.
#[derive(Debug, Clone)]
pub(in super::super) struct Latencies {
    histogram: Histogram<u32>,
    exact: Exact,
}

impl Default for Latencies {
    fn default() -> Self {
        let histogram =
            Histogram::new_with_bounds(1, HIGHEST_TICKS, DIGITS).expect("the bounds are valid constants");
        Self { histogram, exact: Exact::default() }
    }
}

impl Latencies {
    pub fn record(&mut self, ns: u64) {
        self.histogram.saturating_record((ns / TICK_NS).max(1));
        let e = &mut self.exact;
        e.sum_ns += u128::from(ns);
        e.sum_sq += (ns as f64).powi(2);
        e.min_ns = least(e.min_ns, Some(ns));
        e.max_ns = e.max_ns.max(ns);
    }

    pub fn record_censored(&mut self, ns: u64) {
        self.record(ns);
        self.exact.censored += 1;
        self.exact.censored_from_ns = least(self.exact.censored_from_ns, Some(ns));
    }

    pub fn merge(&mut self, other: &Self) {
        self.histogram.add(&other.histogram).expect("all histograms have the same bounds");
        let (e, o) = (&mut self.exact, &other.exact);
        e.sum_ns += o.sum_ns;
        e.sum_sq += o.sum_sq;
        e.min_ns = least(e.min_ns, o.min_ns);
        e.max_ns = e.max_ns.max(o.max_ns);
        e.censored += o.censored;
        e.censored_from_ns = least(e.censored_from_ns, o.censored_from_ns);
    }

    pub fn clear(&mut self) {
        self.histogram.reset();
        self.exact = Exact::default();
    }

    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    pub fn mean_ns(&self) -> Option<f64> {
        (self.count() > 0).then(|| self.exact.sum_ns as f64 / self.count() as f64)
    }

    /// Returns quantile `q` in nanoseconds, even if there are few samples; `None` if there are none.
    pub fn quantile_ns(&self, q: f64) -> Option<f64> {
        // The histogram gives the upper end of a bucket, which can lie above the largest sample.
        let upper = || (self.histogram.value_at_quantile(q) * TICK_NS) as f64;
        (self.count() > 0).then(|| upper().min(self.exact.max_ns as f64))
    }

    /// Returns the sum, over all samples, of the time by which a sample exceeds `ns`, in nanoseconds.
    pub fn excess_over_ns(&self, ns: f64) -> f64 {
        let excess = |ticks: u64| ((ticks * TICK_NS) as f64 - ns).max(0.0);
        let recorded = self.histogram.iter_recorded();
        recorded.map(|v| excess(v.value_iterated_to()) * v.count_since_last_iteration() as f64).sum()
    }

    pub fn summary(&self) -> LatencySummary {
        let ms = |ns: f64| ns / 1e6;
        let (e, n) = (&self.exact, self.count());
        let given = |q: f64| if is_given(n, q) { self.quantile_ns(q).map(ms) } else { None };
        let mean = self.mean_ns();
        let variance = |mean: f64| (e.sum_sq - n as f64 * mean * mean).max(0.0) / (n as f64 - 1.0);
        LatencySummary {
            n,
            censored: e.censored,
            censored_from_ms: e.censored_from_ns.map(|ns| ms(ns as f64)),
            mean_ms: mean.map(ms),
            stddev_ms: mean.filter(|_| n > 1).map(|m| ms(variance(m).sqrt())),
            min_ms: e.min_ns.map(|ns| ms(ns as f64)),
            p50_ms: given(0.5),
            p90_ms: given(0.9),
            p95_ms: given(0.95),
            p99_ms: given(0.99),
            p999_ms: given(0.999),
            max_ms: (n > 0).then(|| ms(e.max_ns as f64)),
            hdr_v2_base64: None,
        }
    }

    /// Returns [`summary`](Self::summary) with the histogram. Allocates, so it must be called after the run's last
    /// tracker snapshot.
    pub fn summary_with_histogram(&self) -> LatencySummary {
        let mut bytes = Vec::new();
        let written = V2DeflateSerializer::new().serialize(&self.histogram, &mut bytes);
        let hdr_v2_base64 = (self.count() > 0 && written.is_ok()).then(|| STANDARD.encode(&bytes));
        LatencySummary { hdr_v2_base64, ..self.summary() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_given_only_with_ten_samples_beyond() {
        let mut l = Latencies::default();
        (1..=999u64).for_each(|i| l.record(i * 1_000_000));
        let s = l.summary();
        assert_eq!(s.p99_ms, None, "999 samples leave 9.99 beyond p99");
        assert!((s.p90_ms.unwrap() - 900.0).abs() < 1.0 && (s.p95_ms.unwrap() - 950.0).abs() < 1.0);
        l.record(1_000_000_000);
        let s = l.summary();
        assert!((s.p99_ms.unwrap() - 990.0).abs() < 1.0);
        assert!((s.mean_ms.unwrap() - 500.5).abs() < 1e-9 && s.max_ms == Some(1000.0));
        assert!((s.stddev_ms.unwrap() - 288.82).abs() < 0.01);
    }

    #[test]
    fn nothing_recorded_is_none_everywhere() {
        let l = Latencies::default();
        assert_eq!((l.summary(), l.summary_with_histogram()), Default::default());
    }

    #[test]
    fn the_histogram_is_read_back_by_the_format_s_own_reader() {
        let mut l = Latencies::default();
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
        let mut l = Latencies::default();
        l.record(900_000);
        l.record(120_000_000_000);
        assert_eq!(l.summary().min_ms, Some(0.9));
        assert_eq!(l.summary().max_ms, Some(120_000.0));
        assert_eq!(l.summary().mean_ms, Some(60_000.45));
    }

    #[test]
    fn a_cut_off_sample_says_where_lower_bounds_begin() {
        let mut l = Latencies::default();
        l.record(1_000_000);
        l.record_censored(5_000_000);
        let s = l.summary();
        assert_eq!((s.n, s.censored, s.censored_from_ms), (2, 1, Some(5.0)));
    }

    #[test]
    fn merging_is_recording_in_one() {
        let (mut a, mut b, mut both) = (Latencies::default(), Latencies::default(), Latencies::default());
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
        let mut l = Latencies::default();
        (0..99).for_each(|_| l.record(1_000_000));
        l.record(2_000_000_000);
        assert!((l.excess_over_ns(1e6) / 1e9 - 1.999).abs() < 0.002);
    }
}
