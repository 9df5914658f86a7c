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
/// Each load is run with recording and without, in pairs of processes. Ctrl-C ends the window under way and still
/// reports; twice, it ends the command.
///
/// Exit codes: 0 valid, and every threshold met; 99 a threshold was breached, or a figure is worse than in the baseline by
/// more than --worse-by; 3 a run allows no conclusions, or nothing can be compared with the baseline; 2 usage; 4 output that
/// cannot be written.
#[derive(Debug, clap::Args)]
pub struct ValidateArgs {
    /// What the users do
    #[arg(long, value_enum, default_value_t = WorkloadArg::Hybrid)]
    pub workload: WorkloadArg,

    /// Levels of a closed load: users who each send their next request when the last one is answered
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', default_values_t = [1, 2, 4, 8])]
    pub users: Vec<usize>,

    /// Open loads instead, in requests a second: they are sent whether or not earlier ones were answered
    #[arg(long, value_name = "R,R,…", value_delimiter = ',', conflicts_with = "users")]
    pub rate: Vec<f64>,

    /// Workers of an open load: requests under way at once, at most
    #[arg(long, value_name = "N", default_value_t = 64, requires = "rate")]
    pub workers: usize,

    /// How the requests of an open load are spaced
    #[arg(long, value_enum, default_value_t = ArrivalsArg::Poisson, requires = "rate")]
    pub arrivals: ArrivalsArg,

    /// Turn requests of an open load away when all workers are busy, and count them, instead of having them wait
    #[arg(long, requires = "rate")]
    pub drop: bool,

    /// Length of each measured window, such as 300ms, 10s or 2m
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "10s")]
    pub duration: Duration,

    /// Full load before each window, not measured
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "1s")]
    pub warmup: Duration,

    /// Over which the users start, or the rate rises, before the warm-up
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "0s")]
    pub ramp: Duration,

    /// How often each load is run with recording, and as often without
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub pairs: usize,

    /// Run nothing without recording: its cost then stays unknown
    #[arg(long)]
    pub no_overhead: bool,

    /// What runs the users
    #[arg(long, value_enum, default_value_t = ExecutorArg::Threads)]
    pub executor: ExecutorArg,

    /// Mean pause of a user between an answer and the next request, exponentially distributed
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "0s")]
    pub think: Duration,

    /// Connections in the pool; 0 is no pool [default: as many as users, and at most twice the cores]
    #[arg(long, value_name = "N")]
    pub pool: Option<usize>,

    /// Cancel requests that take longer
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub request_timeout: Option<Duration>,

    /// Documents of the synthetic corpus of text and hybrid
    #[arg(long, value_name = "N", default_value_t = 4000)]
    pub documents: usize,

    /// What each run must satisfy, such as 'completeness>=1' or 'p99(response_ms)<50'; may be given more than once
    #[arg(long, value_name = "CONDITION")]
    pub threshold: Vec<Threshold>,

    /// JSON of an earlier run to compare with: same machine, workload, loads and lengths, and three windows of each or more
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,

    /// Percent by which a figure may certainly be worse than in the baseline
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0, requires = "baseline")]
    pub worse_by: f64,

    /// Percent of the machine that other programs may use before a run allows no conclusions about speed
    #[arg(long, value_name = "PERCENT", default_value_t = 10.0)]
    pub max_foreign_cpu: f64,

    /// Seed of every random choice
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,

    /// Write the whole result as JSON to this file; - is standard output, in place of the text
    #[arg(long, value_name = "OUT")]
    pub json: Option<PathBuf>,

    /// Write the report as a page for a browser to this file: self-contained, it asks no network for anything
    #[arg(long, value_name = "OUT")]
    pub html: Option<PathBuf>,

    /// Write the plot over users to this file
    #[arg(long, value_name = "OUT", conflicts_with = "rate")]
    pub svg: Option<PathBuf>,

    /// Write one row of comma-separated values for each run to this file
    #[arg(long, value_name = "OUT")]
    pub csv: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WorkloadArg {
    /// Allocations and frees, nothing else, and their exact number is known
    Alloc,
    /// Text search over a synthetic corpus: an allocation storm
    Text,
    /// Text and vector search over a synthetic corpus
    Hybrid,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ArrivalsArg {
    /// Independent arrivals, with bursts
    Poisson,
    /// Evenly
    Uniform,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExecutorArg {
    /// One thread for each user
    Threads,
    /// Tasks on a runtime with one worker for each core
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
