//! Reports that can be parsed again, thresholds, and the search workload with checked answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use heapledger::validation::hybrid::{HybridWorkload, SearchMix};
use heapledger::validation::*;

use crate::virtually;
use crate::workloads::{MixedOutcomes, StallWorkload, UslWorkload};

const SEC: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn series(thresholds: &[&str]) -> ValidationReport {
    let thresholds = thresholds.iter().map(|t| t.parse().unwrap()).collect();
    let config = BenchmarkConfig { thresholds, ..BenchmarkConfig::bare() };
    let b = ConcurrentBenchmark::new(UslWorkload::new(100.0, 0.05, 0.005), config.clone()).unwrap();
    let scalability =
        virtually(b.drive_scalability_test(Levels::List(vec![2, 4, 8, 16, 32]), 30 * SEC)).unwrap();
    let mut report = ValidationReport::new(b.workload().name(), &config);
    report.scalability = Some(scalability);
    report
}

#[test]
fn json_comes_back_whole_and_other_versions_are_refused() {
    let report = series(&["rate(error)<0.01"]);
    let text = report.to_json().unwrap();
    let back = ValidationReport::from_json(&text).unwrap();
    assert_eq!((back.schema_version, &back.workload), (SCHEMA_VERSION, &report.workload));
    assert_eq!(back.scalability.unwrap().levels.len(), 6);
    let other = text.replacen("\"schema_version\": 1", "\"schema_version\": 9", 1);
    let e = ValidationReport::from_json(&other).unwrap_err();
    assert!(matches!(&e, BenchError::Baseline(why) if why.contains("version 9")), "{e}");
    assert!(matches!(ValidationReport::from_json("{}"), Err(BenchError::Baseline(_))));
}

#[test]
fn the_exit_code_follows_from_the_thresholds() {
    assert_eq!(series(&["rate(error)<0.01", "deadlocks==0"]).exit_code(), ExitCode::Ok);
    let breached = series(&["efficiency>=99"]);
    assert_eq!(breached.exit_code(), ExitCode::ThresholdBreached);
    assert_eq!(breached.scalability.unwrap().scalability_breaking_point, Some(2));
    // No tracker was watched, so completeness is undefined, and undefined satisfies nothing.
    assert_eq!(series(&["completeness>=1"]).exit_code(), ExitCode::ThresholdBreached);
    let codes =
        [ExitCode::Ok, ExitCode::Usage, ExitCode::Invalid, ExitCode::ThresholdBreached].map(|c| c as i32);
    assert_eq!(codes, [0, 2, 3, 99]);
}

#[test]
fn the_text_has_a_row_per_level_and_the_conclusions() {
    let report = series(&["rate(error)<0.01"]);
    let text = report.to_text();
    let rows = text.lines().filter(|l| l.trim_start().starts_with(|c: char| c.is_ascii_digit())).count();
    assert_eq!(rows, 6, "{text}");
    for part in [
        "knee",
        "peak",
        "linear",
        "law             Full",
        "breaks at       32 users",
        "recommendation  ",
        "machine",
    ] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
    assert!(!text.contains("NaN") && !text.contains("inf"));
}

#[test]
fn the_plot_draws_every_level_in_every_panel() {
    let report = series(&[]);
    let svg = scalability_svg(report.scalability.as_ref().unwrap());
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    for title in ["answers a second", "efficiency", "contention", "completeness"] {
        assert!(svg.contains(title));
    }
    // Six levels: throughput, efficiency, pool, backlog, and the four other parts and the sum of contention.
    assert!(svg.matches("<circle").count() >= 6 * 5, "{}", svg.matches("<circle").count());
    assert!(svg.contains("no tracker was watched"));
    assert!(!svg.contains("NaN") && !svg.contains("inf"));
    assert_eq!(
        svg.matches("<path").count(),
        svg.matches("/>").count() - svg.matches("<circle").count() - svg.matches("<rect").count()
    );
}

#[test]
fn searching_under_load_gives_the_answers_of_one_thread() {
    let workload = HybridWorkload::synthetic(200, 5, SearchMix::REALISTIC).unwrap();
    let config = BenchmarkConfig { connection_pool_size: None, ..BenchmarkConfig::bare() };
    let b = ConcurrentBenchmark::new(workload, config).unwrap();
    let r = b.run_concurrent_test(LoadModel::closed(4), SEC / 2).unwrap();
    assert!(r.successful_requests > 50 && r.check_failures == 0 && r.is_conserved(), "{r:?}");
    assert_eq!(r.error_rate, Some(0.0));
    assert!(matches!(HybridWorkload::synthetic(0, 5, SearchMix::TEXT), Err(BenchError::EmptyQueries)));
}

#[test]
fn a_wrong_answer_is_seen() {
    let workload = MixedOutcomes { fail: 0.0, hang: 0.0, wrong: 0.01, service: MS };
    let config =
        BenchmarkConfig { thresholds: vec!["rate(check)>=1".parse().unwrap()], ..BenchmarkConfig::bare() };
    let b = ConcurrentBenchmark::new(workload, config).unwrap();
    let r = virtually(b.drive_scalability_test(Levels::List(vec![1, 2, 4]), 10 * SEC)).unwrap();
    assert_eq!(r.recommendation, ScalabilityRecommendation::OptimizeCode, "{:?}", r.detail);
    assert!(r.detail.headline.contains("wrong answers") && !r.passed());
}

/// A tracker that slows each request and loses every tenth event while it is on.
#[derive(Default)]
struct Fake {
    on: AtomicBool,
    seen: AtomicU64,
}
impl TrackerProbe for Fake {
    fn snapshot(&self) -> TrackerSnapshot {
        let observed = self.seen.load(Relaxed);
        let lost = observed / 10;
        TrackerSnapshot {
            observed,
            aggregated: observed - lost,
            dropped_ring_full: lost,
            ..Default::default()
        }
    }
    fn quiesce(&self, _: Duration) -> Result<(), QuiesceError> {
        Ok(())
    }
    fn set_enabled(&self, on: bool) -> bool {
        self.on.store(on, Relaxed);
        true
    }
}
struct Tracked(Arc<Fake>);
impl Workload for Tracked {
    type Session = ();
    type Request = ();
    type Conn = ();
    type Error = std::convert::Infallible;
    fn name(&self) -> &str {
        "tracked"
    }
    async fn open_session(&self, _: UserId) -> Result<(), Self::Error> {
        Ok(())
    }
    fn connect(&self, _: usize) -> Result<(), Self::Error> {
        Ok(())
    }
    fn next_request(&self, _: &mut (), _: &mut UserRng, _: u64) {}
    async fn execute(&self, _: &mut (), _: Option<&mut ()>, _: &()) -> Result<Outcome, Self::Error> {
        let on = self.0.on.load(Relaxed);
        self.0.seen.fetch_add(10, Relaxed);
        std::thread::sleep(if on { 40 * MS } else { 10 * MS });
        Ok(Outcome::default())
    }
    fn expected_alloc_events(&self, (): &()) -> Option<u64> {
        Some(10)
    }
    fn connections_per_request(&self) -> usize {
        0
    }
}

#[test]
fn overhead_is_measured_in_pairs() {
    let fake = Arc::new(Fake::default());
    let config = BenchmarkConfig { executor: Executor::Threads, ..BenchmarkConfig::bare() };
    let b = ConcurrentBenchmark::new(Tracked(Arc::clone(&fake)), config).unwrap().with_probe(fake.clone());
    let o = b.measure_overhead(&LoadModel::closed(2), SEC / 2, 3).unwrap().unwrap();
    assert!((0.2..0.95).contains(&o.throughput_loss) && o.pairs == 3, "{o:?}");
    assert!(o.interval.is_some());
    let r = b.run_concurrent_test(LoadModel::closed(2), SEC / 5).unwrap();
    let c = r.completeness.unwrap();
    assert_eq!((c.oracle_error, c.conserved, c.dropped.ring_full), (Some(0), true, c.observed / 10));
    assert!((c.completeness.unwrap() - 0.9).abs() < 0.01 && !c.is_perfect());
    // Completeness below the target breaks the level, and the advice names the tracker.
    let config = BenchmarkConfig { max_foreign_cpu: 1.0, ..b.config().clone() };
    let b = ConcurrentBenchmark::new(Tracked(Arc::clone(&fake)), config).unwrap().with_probe(fake.clone());
    let s = b.run_scalability_test(Levels::List(vec![1, 2, 3]), SEC / 5).unwrap();
    assert!(matches!(s.breaking_cause, Some(BreakingCause::Incomplete { .. })), "{:?}", s.breaking_cause);
    assert!(
        s.detail.headline.contains("tracker") || s.recommendation == ScalabilityRecommendation::Inconclusive
    );
}

/// Returns the cells of a row, by the names of their columns.
fn cells(csv: &str, row: usize) -> std::collections::HashMap<&str, &str> {
    let mut lines = csv.lines();
    let names = lines.next().unwrap().split(',');
    let values: Vec<&str> = lines.nth(row).unwrap().split(',').collect();
    let names: Vec<&str> = names.collect();
    assert_eq!(names.len(), values.len());
    names.into_iter().zip(values).collect()
}

#[test]
fn rows_hold_the_figures_of_their_runs() {
    let report = series(&[]);
    let csv = report.to_csv();
    let runs = &report.scalability.as_ref().unwrap().test_results;
    assert_eq!(csv.lines().count(), 1 + runs.len());
    for (i, run) in runs.iter().enumerate() {
        let cells = cells(&csv, i);
        assert_eq!(cells["users"].parse(), Ok(run.concurrent_users));
        assert_eq!(cells["answered"].parse(), Ok(run.successful_requests));
        assert_eq!(cells["requests_per_second"].parse(), Ok(run.requests_per_second));
        assert_eq!(cells["p99_ms"].parse().ok(), run.response.p99_ms);
        assert_eq!((cells["tracker"], cells["completeness"], cells["offered_per_second"]), ("none", "", ""));
    }
}

#[test]
fn single_loads_have_a_row_each() {
    let config = BenchmarkConfig { max_concurrent_users: 50, ..BenchmarkConfig::bare() };
    let b = ConcurrentBenchmark::new(StallWorkload::new(MS, SEC, SEC), config.clone()).unwrap();
    let load = LoadModel::Open {
        rate_per_sec: 100.0,
        arrivals: Arrivals::Uniform,
        max_in_flight: 1,
        overload: Overload::Queue,
    };
    let run = virtually(b.drive_concurrent_test(load, 20 * SEC)).unwrap();
    let mut report = ValidationReport::new("stall", &config);
    report.runs.push(run.clone());
    let text = report.to_text();
    let row =
        text.lines().find(|l| l.starts_with("100/s on 1")).unwrap_or_else(|| panic!("no row in\n{text}"));
    assert!(
        row.contains(&format!("{:.2}", run.co_gap.unwrap())) && text.contains("answers         2000"),
        "{text}"
    );
    assert!(run.response.hdr_v2_base64.is_some(), "others can plot it");
}

#[test]
fn the_page_has_every_level_and_no_way_out() {
    let mut report = series(&["p99(response_ms)<50"]);
    report.workload = "</title><script>alert(1)</script>".to_owned();
    let page = validation_html(&report);
    assert!(!page.contains("<script") && page.contains("default-src 'none'"));
    assert!(!page.contains("http://www.w3.org/1999") && !page.contains("src=") && !page.contains("href="));
    for l in &report.scalability.as_ref().unwrap().levels {
        assert!(page.contains(&format!("<th scope=\"row\">{}</th>", l.users)), "no row of {} users", l.users);
        assert!(page.contains(&format!("<span>{} users</span>", l.users)), "no bar of {} users", l.users);
    }
    assert!(!page.contains("NaN") && !page.contains("inf"));
}
