//! Flags of `validate`, and their conversion to a plan.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use heapledger::validation::{
    Arrivals, BenchmarkConfig, Executor, LoadModel, Overload, PairedPlan, ThinkTime, Threshold,
};

use crate::exit::{Failure, FailureKind};

/// Drive concurrent load on a workload under heapledger: throughput, latency, contention, completeness, cost
///
/// Each load is run with recording and without, in pairs of processes. Ctrl-C ends the current window and still prints
/// the report; a second Ctrl-C ends the command.
///
/// Exit codes: 0 every run valid, and every threshold met; 2 usage; 3 a run is inconclusive, or nothing can be compared
/// with the baseline; 4 output that cannot be written; 99 a threshold was breached, or a figure is worse than in the
/// baseline by more than --worse-by.
#[derive(Debug, clap::Args)]
pub struct ValidateArgs {
    /// Workload of the users
    #[arg(long, value_enum, default_value_t = WorkloadArg::Hybrid)]
    pub workload: WorkloadArg,

    /// Numbers of users of the closed loads; each user sends its next request after the answer to the last one
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', default_values_t = [1, 2, 4, 8])]
    pub users: Vec<usize>,

    /// Rates of open loads, in requests per second, instead of closed loads; requests do not wait for earlier answers
    #[arg(long, value_name = "R,R,…", value_delimiter = ',', conflicts_with = "users")]
    pub rate: Vec<f64>,

    /// Number of workers of an open load: maximum number of concurrent requests
    #[arg(long, value_name = "N", default_value_t = 64, requires = "rate")]
    pub workers: usize,

    /// Spacing of the requests of an open load
    #[arg(long, value_enum, default_value_t = ArrivalsArg::Poisson, requires = "rate")]
    pub arrivals: ArrivalsArg,

    /// Drop and count the requests of an open load that find no free worker, instead of queueing them
    #[arg(long, requires = "rate")]
    pub drop: bool,

    /// Length of each measured window, such as 300ms, 10s or 2m
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "10s")]
    pub duration: Duration,

    /// Time of full load before each window, not measured
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "1s")]
    pub warmup: Duration,

    /// Time before the warm-up in which the users start, or the rate rises
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "0s")]
    pub ramp: Duration,

    /// Number of pairs of runs of each load: one with recording, one without
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub pairs: usize,

    /// Run each load only with recording; the cost of recording stays unknown
    #[arg(long)]
    pub no_overhead: bool,

    /// Threads that run the users
    #[arg(long, value_enum, default_value_t = ExecutorArg::Threads)]
    pub executor: ExecutorArg,

    /// Mean pause of a user between an answer and the next request, exponentially distributed
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "0s")]
    pub think: Duration,

    /// Number of connections in the pool; 0 is no pool [default: one per user, up to twice the cores]
    #[arg(long, value_name = "N")]
    pub pool: Option<usize>,

    /// Cancel requests that take longer than this
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub request_timeout: Option<Duration>,

    /// Number of documents in the synthetic corpus of `text` and `hybrid`
    #[arg(long, value_name = "N", default_value_t = 4000)]
    pub documents: usize,

    /// Condition that each run must meet, such as 'completeness>=1' or 'p99(response_ms)<50'; may be given more than
    /// once
    #[arg(long, value_name = "CONDITION")]
    pub threshold: Vec<Threshold>,

    /// JSON report to compare with, of the same machine, workload, loads and lengths, with three or more windows of
    /// each load
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,

    /// Allowed deterioration since the baseline, in percent; a figure whose whole interval lies beyond it sets exit
    /// code 99
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0, requires = "baseline")]
    pub worse_by: f64,

    /// Share of the machine used by other programs, in percent, above which a run is inconclusive
    #[arg(long, value_name = "PERCENT", default_value_t = 10.0)]
    pub max_foreign_cpu: f64,

    /// Seed of every random choice
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,

    /// Write the result as JSON to this file; - is standard output, in place of the text
    #[arg(long, value_name = "OUT")]
    pub json: Option<PathBuf>,

    /// Write the report to this file as a self-contained HTML page
    #[arg(long, value_name = "OUT")]
    pub html: Option<PathBuf>,

    /// Write the plot over users to this file, as SVG
    #[arg(long, value_name = "OUT", conflicts_with = "rate")]
    pub svg: Option<PathBuf>,

    /// Write a CSV file with one row for each run
    #[arg(long, value_name = "OUT")]
    pub csv: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WorkloadArg {
    /// Allocations and frees only, in an exactly known number
    Alloc,
    /// Text search over a synthetic corpus, with many allocations
    Text,
    /// Text and vector search over a synthetic corpus
    Hybrid,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ArrivalsArg {
    /// Independent arrivals, with bursts
    Poisson,
    /// Evenly spaced arrivals
    Uniform,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExecutorArg {
    /// One thread per user
    Threads,
    /// Tasks on a runtime with one worker per core
    Tokio,
}

impl ValidateArgs {
    pub fn plan(&self) -> Result<PairedPlan, Failure> {
        let usage = |error: &str, hint: &str| Err(Failure::new(FailureKind::Usage, error).hint(hint));
        if self.pairs == 0 {
            return usage(
                "no pairs leave nothing to report",
                "ask for --pairs 1 at least, or for --no-overhead",
            );
        }
        if !(0.0..=100.0).contains(&self.max_foreign_cpu) {
            return usage("--max-foreign-cpu is no percentage", "give a number from 0 to 100");
        }
        if !(0.0..=1000.0).contains(&self.worse_by) {
            return usage("--worse-by is no percentage", "give a number from 0 to 1000");
        }
        let needs_cost = self.threshold.iter().find(|t| t.to_string().contains("overhead"));
        if let (Some(threshold), true) = (needs_cost, self.no_overhead) {
            return usage(
                &format!("{threshold} cannot be judged with --no-overhead"),
                "leave one of the two out",
            );
        }
        let mut users = self.users.clone();
        users.sort_unstable();
        users.dedup();
        let open = |rate: &f64| LoadModel::Open {
            rate_per_sec: *rate,
            arrivals: match self.arrivals {
                ArrivalsArg::Poisson => Arrivals::Poisson,
                ArrivalsArg::Uniform => Arrivals::Uniform,
            },
            max_in_flight: self.workers,
            overload: if self.drop { Overload::Drop } else { Overload::Queue },
        };
        let loads: Vec<LoadModel> = if self.rate.is_empty() {
            users.into_iter().map(LoadModel::closed).collect()
        } else {
            self.rate.iter().map(open).collect()
        };
        let most = loads.iter().map(LoadModel::workers).max().unwrap_or(0);
        let config = BenchmarkConfig {
            max_concurrent_users: most.max(64),
            ramp_up_duration: self.ramp,
            warm_up: self.warmup,
            connection_pool_size: self.pool,
            request_timeout: self.request_timeout,
            think: if self.think.is_zero() { ThinkTime::None } else { ThinkTime::Exponential(self.think) },
            executor: match self.executor {
                ExecutorArg::Threads => Executor::Threads,
                ExecutorArg::Tokio => Executor::Tokio { workers: 0 },
            },
            seed: self.seed,
            thresholds: self.threshold.clone(),
            max_foreign_cpu: self.max_foreign_cpu / 100.0,
            ..BenchmarkConfig::default()
        };
        let rounds = self.pairs;
        Ok(PairedPlan { loads, duration: self.duration, rounds, compares: !self.no_overhead, config })
    }
}

/// Parses a number with a unit.
fn time(text: &str) -> Result<Duration, String> {
    let expected = || format!("{text:?} is no time: write a number and its unit, such as 300ms, 10s or 2m");
    let unit = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(expected)?;
    let (number, unit) = text.split_at(unit);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(expected()),
    };
    let number: f64 = number.trim().parse().map_err(|_| expected())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| expected())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_units() {
        for (text, ms) in [("300ms", 300), ("10s", 10_000), ("1.5 s", 1500), ("2m", 120_000), ("0s", 0)] {
            assert_eq!(time(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for wrong in ["10", "s", "-1s", "1e99h", "NaNs", "5 parsecs", ""] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
