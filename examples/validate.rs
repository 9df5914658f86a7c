//! heapledger under load: how complete it is, and what it costs, at rising numbers of users.
//!
//! ```text
//! cargo run --release --features validation --example validate -- [alloc|text|hybrid] [users,users,…] [seconds] [pairs]
//! ```
//!
//! The program runs itself again, with `HEAPLEDGER=off` and without, in the order on, off, off, on: a process has one
//! global allocator, so this is how the same work is measured with and without it.

use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use heapledger::validation::hybrid::{HybridWorkload, SearchMix};
use heapledger::validation::{
    AllocWorkload, BenchError, BenchmarkConfig, ConcurrentBenchmark, ConcurrentTestResult, Executor,
    LedgerProbe, LoadModel, Overhead, OverheadPair, ScalabilityReport, ValidationReport, Workload,
    interleaved, scalability_svg,
};

#[global_allocator]
static HEAP: heapledger::HeapLedger = heapledger::HeapLedger::system().dump(heapledger::DumpTarget::Off);

const SEED: u64 = 7;
const DOCUMENTS: usize = 4000;

struct Plan {
    workload: String,
    users: Vec<usize>,
    seconds: f64,
    pairs: usize,
}

impl Plan {
    fn read() -> Option<Self> {
        let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--one").collect();
        let arg = |i: usize, default: &str| args.get(i).map_or(default, String::as_str).to_owned();
        Some(Self {
            workload: arg(0, "hybrid"),
            users: arg(1, "1,2,4,8,16,32").split(',').map(|u| u.parse().ok()).collect::<Option<_>>()?,
            seconds: arg(2, "3").parse().ok().filter(|s: &f64| s.is_finite() && *s > 0.0)?,
            pairs: arg(3, "2").parse().ok()?,
        })
    }
}

fn config() -> BenchmarkConfig {
    BenchmarkConfig {
        executor: Executor::Threads,
        ramp_up_duration: Duration::ZERO,
        warm_up: Duration::from_millis(300),
        seed: SEED,
        ..BenchmarkConfig::default()
    }
}

/// All levels in this process; the results go to standard output as JSON.
fn measure<W: Workload>(workload: W, plan: &Plan) -> Result<Vec<ConcurrentTestResult>, BenchError> {
    let mut benchmark = ConcurrentBenchmark::new(workload, config())?;
    if let Some(probe) = LedgerProbe::installed() {
        benchmark = benchmark.with_probe(Arc::new(probe));
    }
    let time = Duration::from_secs_f64(plan.seconds);
    plan.users.iter().map(|&users| benchmark.run_concurrent_test(LoadModel::closed(users), time)).collect()
}

fn one(plan: &Plan) -> Result<Vec<ConcurrentTestResult>, BenchError> {
    match plan.workload.as_str() {
        "alloc" => measure(AllocWorkload { allocs: 200, size: 1024, lifetime: 256 }, plan),
        "text" => measure(HybridWorkload::synthetic(DOCUMENTS, SEED, SearchMix::TEXT)?, plan),
        _ => measure(HybridWorkload::synthetic(DOCUMENTS, SEED, SearchMix::REALISTIC)?, plan),
    }
}

fn child(on: bool) -> Result<Vec<ConcurrentTestResult>, Box<dyn std::error::Error>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(std::env::args().skip(1)).arg("--one");
    if !on {
        command.env("HEAPLEDGER", "off");
    }
    let out = command.output()?;
    if !out.status.success() {
        return Err(String::from_utf8_lossy(&out.stderr).into_owned().into());
    }
    Ok(serde_json::from_slice(&out.stdout)?)
}

fn compare(plan: &Plan) -> Result<ValidationReport, Box<dyn std::error::Error>> {
    let (mut on, mut off) = (Vec::new(), Vec::new());
    for enabled in interleaved(plan.pairs.max(1)) {
        eprintln!("measuring with the tracker {}", if enabled { "on" } else { "off" });
        let runs = child(enabled)?;
        if enabled { on.push(runs) } else { off.push(runs) }
    }
    let config = config();
    let mut report = ScalabilityReport::from_runs(on.iter().flatten().cloned().collect(), &config);
    for (i, &users) in plan.users.iter().enumerate() {
        let pairs: Vec<OverheadPair> =
            on.iter().zip(&off).map(|(on, off)| OverheadPair::of(&on[i], &off[i])).collect();
        if let Some(overhead) = Overhead::from_pairs(&pairs) {
            report.set_overhead(users, overhead, &config);
        }
    }
    let mut validation = ValidationReport::new(&plan.workload, &config);
    report.model_without_tracker =
        ScalabilityReport::from_runs(off.into_iter().flatten().collect(), &config).model;
    validation.scalability = Some(report);
    Ok(validation)
}

/// Throughput lost, and processor time added per answer, each with its interval.
fn in_words(o: &Overhead) -> String {
    let figure = |value: f64, interval: Option<(f64, f64)>| match interval {
        Some((low, high)) => {
            format!("{:.1} % (95 %: {:.1} to {:.1})", 100.0 * value, 100.0 * low, 100.0 * high)
        }
        None => format!("{:.1} %", 100.0 * value),
    };
    let cpu = o.cpu_rise.map_or_else(|| "unknown".to_owned(), |rise| figure(rise, o.cpu_interval));
    format!("throughput -{}, processor time per answer +{cpu}", figure(o.throughput_loss, o.interval))
}

fn main() -> ExitCode {
    let Some(plan) = Plan::read() else {
        eprintln!("usage: validate [alloc|text|hybrid] [users,users,…] [seconds] [pairs]");
        return ExitCode::from(2);
    };
    if std::env::args().any(|a| a == "--one") {
        return match one(&plan) {
            Ok(runs) => {
                println!("{}", serde_json::to_string(&runs).unwrap_or_default());
                ExitCode::SUCCESS
            }
            Err(e) => {
                eprintln!("error: {e}");
                ExitCode::from(2)
            }
        };
    }
    match compare(&plan) {
        Ok(report) => {
            print!("{}", report.to_text());
            if let Some(s) = &report.scalability {
                for (users, o) in &s.overhead_curve {
                    println!("overhead        {users} users: {}", in_words(o));
                }
                let wrong: usize = s.test_results.iter().map(|r| r.check_failures).sum();
                println!("wrong answers   {wrong}");
                if std::fs::write("validation.svg", scalability_svg(s)).is_ok() {
                    println!("plot            validation.svg");
                }
            }
            ExitCode::from(report.exit_code() as u8)
        }
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::from(2)
        }
    }
}
