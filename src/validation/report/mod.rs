//! Results for people and programs.

mod threshold;

pub use threshold::{Latency, Metric, Part, Threshold, ThresholdError, ThresholdResult};
