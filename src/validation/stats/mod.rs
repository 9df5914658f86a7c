//! Statistics of samples: latency histograms, confidence intervals, trend tests.
//!
//! Three rules hold for every figure. An undefined figure is `None`, never zero and never NaN. A quantile is given only
//! if at least ten samples lie beyond it, because the p99.9 of 200 requests would only be their maximum. A sample that
//! was cut off (a time-out, a request still open at the end) is *censored*: it counts with the time until the cut-off,
//! and any quantile at or above the first cut-off is a lower bound.

mod batch;
mod coarse;
mod distribution;
mod latency;
mod trend;
mod welch;

pub use batch::{BatchMeans, batch_means};
pub(super) use coarse::{BUCKETS, bucket_of, coarse_quantile_ns};
pub(super) use distribution::mean;
pub use distribution::{mean_interval, normal_tail, t_quantile};
pub use latency::LatencySummary;
pub(super) use latency::{Latencies, QUANTILE_RESOLUTION, TICK_MS};
pub use trend::{Trend, mann_kendall};
pub use welch::{MeanDifference, welch};
