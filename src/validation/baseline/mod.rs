//! Comparison with an earlier run.
//!
//! The JSON report of the earlier run is the *baseline*. At each load of both, throughput, mean, p50 and p99 of the response
//! time and completeness are compared. A bare percentage means nothing on a machine that varies by itself, so each
//! difference has an interval, and the verdict follows from the interval:
//!
//! ```text
//!  windows of the baseline ─┐   Welch's t, on logarithms     better · worse · no difference seen
//!                           ├─► change, with its interval ─►
//!  windows of this run ─────┘   reasons against it ────────► not comparable, with the reason
//! ```
//!
//! * **The samples are the measured windows**: each load is run several times, and each run gives one value of each figure.
//!   The interval thus includes the variation between runs, such as memory placement; slices of one window would miss it.
//!   It takes at least two windows on each side, better three or more.
//! * **The formula** is Welch's, for two samples of different variance and size (`stats::welch`), on the logarithms of the
//!   values: the difference of two logarithms is a relative change, and times are skewed.
//! * **All intervals hold at once** with a probability of 95 %: with m figures in a report, each has 1 − 0.05 ÷ m
//!   (Bonferroni). Otherwise a report of 24 figures would show a change in most runs without any.
//! * **Resolution.** A quantile comes from a histogram with three digits in units of 100 ns. That resolution is added to the
//!   interval.
//! * **Completeness is counted, not sampled.** Any lost event is worse than none.
//! * **Speed is compared only between equals**: the same workload, configuration, machine, load and length; valid runs on both
//!   sides; no wrong answers; and every event booked, because a recorder that sheds is faster for the wrong reason.

mod compare;
mod figures;
mod read;
mod reasons;

pub use read::read_baseline;

#[cfg(test)]
mod tests;
