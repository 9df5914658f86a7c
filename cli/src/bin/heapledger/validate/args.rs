//! Flags of `validate`, and their conversion to a plan of runs.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use heapledger::validation::{
    Arrivals, BenchmarkConfig, Executor, Fault, LoadModel, Overload, PairedPlan, Popularity, Recorded, Stage,
    StageUnit, ThinkTime, Threshold,
};

use super::http::loopback_url;
use super::load::{self, popularity, stage, time};

use crate::exit::{Failure, FailureKind};

/// Drive concurrent load on a workload, a program or a service: throughput, latency, contention, completeness, cost
///
/// Under load is a workload of heapledger's own (--workload), a program (after --), or a service on this machine
/// (--url). The loads are users that wait for their answers (--users), requests at a rate (--rate), stages (--stages)
/// or recorded times (--replay).
///
/// Each load is run with recording and without, in pairs of processes; a program finds HEAPLEDGER=always or
/// HEAPLEDGER=off in its environment, and a service is left as it is. Ctrl-C ends the current window and still prints
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

    /// Send requests to this address of this machine instead, such as 'http://127.0.0.1:8080/search?q={}'; {} is the
    /// query
    #[arg(long, value_name = "URL", value_parser = loopback_url, conflicts_with_all = ["workload", "command"])]
    pub url: Option<String>,

    /// Send this body with each request, by POST; {} is the query
    #[arg(long, value_name = "TEXT", requires = "url")]
    pub body: Option<String>,

    /// Run this program instead, once for each request; {} in an argument is the query, {user} the number of the user
    #[arg(last = true, value_name = "PROGRAM", conflicts_with = "workload")]
    pub command: Vec<String>,

    /// Start the program once for each user; a request is a line on its standard input, and the answer the next line of
    /// its standard output
    #[arg(long, requires = "command")]
    pub per_user: bool,

    /// Queries of the program or service: a file with one query on each line
    #[arg(long, value_name = "FILE")]
    pub queries: Option<PathBuf>,

    /// Rule by which a user picks its queries: uniform, zipf, zipf:1.2 (the exponent), sequential, shuffle
    #[arg(long, value_name = "CHOICE", value_parser = popularity, default_value = "zipf")]
    pub popularity: Popularity,

    /// Count an answer of the program or service as wrong if it differs from the first answer to the same query
    #[arg(long)]
    pub same_answers: bool,

    /// Plant a fault, to see that the thresholds notice: fail=0.01, wrong=0.01, panic=0.001 (shares of the requests),
    /// delay=20ms@0.1, stall=2s@5s (length, start), lock=1ms (one lock for all); may be given more than once
    #[arg(long, value_name = "FAULT")]
    pub fault: Vec<Fault>,

    /// Numbers of users of the closed loads; each user sends its next request after the answer to the last one
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', default_values_t = [1, 2, 4, 8])]
    pub users: Vec<usize>,

    /// Rates of open loads, in requests per second, instead of closed loads; requests do not wait for earlier answers
    #[arg(long, value_name = "R,R,…", value_delimiter = ',', group = "planned", conflicts_with = "users")]
    pub rate: Vec<f64>,

    /// One load in stages: 10s:8 reaches 8 users in ten seconds, 10s=8 has 8 users for ten; the longest level stage is
    /// measured, or all stages if no stage is level
    #[arg(long, value_name = "S,S,…", value_delimiter = ',', value_parser = stage, group = "planned", conflicts_with_all = ["users", "duration", "warmup", "ramp"])]
    pub stages: Vec<Stage>,

    /// Unit of the stages
    #[arg(long, value_enum, default_value_t = StagesOf::Users, requires = "stages")]
    pub stages_of: StagesOf,

    /// One load with recorded starts: a file with the start of a request in each line, in seconds
    #[arg(long, value_name = "FILE", group = "planned", conflicts_with_all = ["users", "duration", "warmup", "ramp"])]
    pub replay: Option<PathBuf>,

    /// Number of workers of a load of --rate, --replay, or --stages of a rate: maximum number of concurrent requests
    #[arg(long, value_name = "N", default_value_t = 64, requires = "planned")]
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

    /// Number of connections in the pool; 0 is no pool [default: two per user; none for a workload without connections]
    #[arg(long, value_name = "N")]
    pub pool: Option<usize>,

    /// Cancel requests that take longer than this
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub request_timeout: Option<Duration>,

    /// Number of documents in the synthetic corpus of `text` and `hybrid`
    #[arg(long, value_name = "N", default_value_t = 4000)]
    pub documents: usize,

    /// Condition that each run must meet, such as 'completeness>=1' or 'p95(response_ms)<50'; may be given more than
    /// once
    #[arg(long, value_name = "CONDITION", long_help = threshold_help())]
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
    /// Text and vector search over a synthetic corpus; the vectors are hashes of words, a load without meaning
    Hybrid,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StagesOf {
    /// Users, each of which waits for its answers
    Users,
    /// Requests per second
    Rate,
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

/// Returns the help text of `--threshold`, which lists all metrics.
fn threshold_help() -> String {
    let list = |names: &mut dyn Iterator<Item = &'static str>| names.collect::<Vec<_>>().join(", ");
    format!(
        "Condition that each run must meet: a metric, a comparison (<, <=, >, >=, ==) and a number, such as \
         'completeness>=1' or 'p95(response_ms)<50'; may be given more than once\n\n\
         Metrics: {}\n\nStatistics of a latency, such as p99(response_ms): {}\n\nLatencies: {}\n\n\
         A breach sets exit code 99. With abort: in front, a breach ends the test at once. A metric without a value \
         meets no condition.",
        list(&mut Threshold::metrics()),
        list(&mut Threshold::statistics()),
        list(&mut Threshold::latencies()),
    )
}

fn usage<T>(error: &str, hint: &str) -> Result<T, Failure> {
    Err(Failure::new(FailureKind::Usage, error).hint(hint))
}

impl ValidateArgs {
    pub fn plan(&self) -> Result<PairedPlan, Failure> {
        self.check()?;
        let (loads, length) = self.loads()?;
        let planned = length.is_some();
        let most = loads.iter().map(LoadModel::workers).max().unwrap_or(0);
        let config = BenchmarkConfig {
            max_concurrent_users: most.max(64),
            ramp_up_duration: if planned { Duration::ZERO } else { self.ramp },
            warm_up: if planned { Duration::ZERO } else { self.warmup },
            connection_pool_size: self.pool,
            request_timeout: self.request_timeout,
            think: if self.think.is_zero() { ThinkTime::None } else { ThinkTime::Exponential(self.think) },
            popularity: self.popularity,
            executor: match self.executor {
                ExecutorArg::Threads => Executor::Threads,
                ExecutorArg::Tokio => Executor::Tokio { workers: 0 },
            },
            seed: self.seed,
            thresholds: self.threshold.clone(),
            max_foreign_cpu: self.max_foreign_cpu / 100.0,
            ..BenchmarkConfig::default()
        };
        let recorded = self.recorded();
        let compares = !self.no_overhead && recorded != Recorded::Nothing;
        let duration = length.unwrap_or(self.duration);
        Ok(PairedPlan { loads, duration, rounds: self.pairs, compares, recorded, config })
    }

    /// Returns the loads to run. If a load has a fixed length (replayed or staged), also returns this length.
    fn loads(&self) -> Result<(Vec<LoadModel>, Option<Duration>), Failure> {
        if let Some(path) = &self.replay {
            let (load, length) = load::replay(path, self.workers).map_err(|error| {
                Failure::new(FailureKind::Usage, error).hint("--replay is a file of times")
            })?;
            return Ok((vec![load], Some(length)));
        }
        if !self.stages.is_empty() {
            let unit = match self.stages_of {
                StagesOf::Users => StageUnit::Users,
                StagesOf::Rate => StageUnit::RatePerSec,
            };
            let (load, length) = load::staged(&self.stages, unit, self.workers);
            return Ok((vec![load], Some(length)));
        }
        let open = |rate: &f64| LoadModel::Open {
            rate_per_sec: *rate,
            arrivals: match self.arrivals {
                ArrivalsArg::Poisson => Arrivals::Poisson,
                ArrivalsArg::Uniform => Arrivals::Uniform,
            },
            max_in_flight: self.workers,
            overload: if self.drop { Overload::Drop } else { Overload::Queue },
        };
        if !self.rate.is_empty() {
            return Ok((self.rate.iter().map(open).collect(), None));
        }
        let mut users = self.users.clone();
        users.sort_unstable();
        users.dedup();
        Ok((users.into_iter().map(LoadModel::closed).collect(), None))
    }

    /// Returns a failure if arguments contradict each other.
    fn check(&self) -> Result<(), Failure> {
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
        let of = |metric: &str| self.threshold.iter().find(|t| t.to_string().contains(metric));
        if let (Some(threshold), true) = (of("overhead"), self.no_overhead || self.url.is_some()) {
            let why =
                if self.no_overhead { "--no-overhead" } else { "--url: the service runs in one setting" };
            return usage(&format!("{threshold} cannot be judged with {why}"), "leave one of the two out");
        }
        let own = self.url.is_some() || !self.command.is_empty();
        if let (Some(threshold), true) = (of("completeness"), own) {
            return usage(
                &format!("{threshold} cannot be judged here: what a program recorded is in its own dump"),
                "leave the condition out, and ask heapledger verify",
            );
        }
        if self.url.is_some() && self.executor == ExecutorArg::Tokio {
            return usage("--url needs a thread for each user", "leave --executor tokio out");
        }
        if !own && (self.queries.is_some() || self.same_answers) {
            return usage(
                "--queries and --same-answers are of a program or a service",
                "give a program after --, or --url",
            );
        }
        Ok(())
    }
}
