//! Comparison with an earlier run.
//!
//! The JSON report of the earlier run is the *baseline*. At each load that both reports have, throughput, completeness,
//! and mean, p50 and p99 of the response time are compared. Figures differ between two runs of the same program, too,
//! so the size of a difference does not decide. The comparison computes a confidence interval for each difference, and
//! the interval decides the verdict:
//!
//! ```text
//!  windows of the baseline ─┐   Welch's t, on logarithms     better · worse · no difference seen
//!                           ├─► change, with its interval ─►
//!  windows of this run ─────┘   reasons against it ────────► not comparable, with the reason
//! ```
//!
//! * **The samples are the measured windows.** Each load is run several times, and each run gives one value of each
//!   figure. The interval thus includes the variation between runs, such as memory placement, which slices of one
//!   window would miss. An interval needs at least two windows on each side, and is better with three or more.
//! * **The formula** is Welch's, for two samples of different variance and size (`stats::welch`). It is applied to the
//!   logarithms of the values, because the difference of two logarithms is a relative change, and because times are
//!   skewed.
//! * **All intervals hold at once** with a probability of 95 %. With m figures in a report, the confidence of each
//!   interval is 1 − 0.05 ÷ m (Bonferroni). Without this correction, a report of 24 figures would show a change in most
//!   runs although nothing changed.
//! * **The resolution counts.** A quantile comes from a histogram with three digits in units of 100 ns. The resolution
//!   of the histogram is added to the interval.
//! * **Completeness is counted, not sampled.** Any lost event is worse than no lost event.
//! * **Speed is compared only under equal conditions.** Workload, configuration, machine, load and length must be the
//!   same. All runs must be valid, with right answers only and with every event booked, because a recorder that loses
//!   events is faster for the wrong reason.

mod compare;
mod figures;
mod read;
mod reasons;

pub use read::read_baseline;

#[cfg(test)]
mod tests;
