//! Tests with known answers, with noise, and with files that are no baseline.

use std::time::Duration;

use super::super::changes::{BaselineComparison, ChangeVerdict, ComparedFigure};
use super::super::completeness::{DropBreakdown, LevelCompleteness};
use super::super::config::BenchmarkConfig;
use super::super::error::BenchError;
use super::super::performance::ConcurrentBenchmark;
use super::super::plan::LoadModel;
use super::super::random::{Popularity, UserRng};
use super::super::report::{ExitCode, ValidationReport, validation_html};
use super::super::result::ConcurrentTestResult;
use super::super::validity::ValidityIssue;
use super::super::workload::NullWorkload;
use super::read_baseline;

const ANSWER: Duration = Duration::from_millis(20);
const WINDOWS: usize = 5;

/// Returns a run in which an answer takes the time `answer`, on a virtual clock.
fn run(load: &LoadModel, answer: Duration) -> ConcurrentTestResult {
    let benchmark = ConcurrentBenchmark::new(NullWorkload::pausing(answer), BenchmarkConfig::bare()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let time = Duration::from_secs(30);
    runtime.unwrap().block_on(benchmark.drive_concurrent_test(load.clone(), time)).unwrap()
}

fn booked(observed: u64, aggregated: u64) -> LevelCompleteness {
    let dropped = DropBreakdown { ring_full: observed - aggregated, ..DropBreakdown::default() };
    LevelCompleteness {
        observed,
        aggregated,
        dropped,
        completeness: Some(aggregated as f64 / observed as f64),
        conserved: true,
        oracle_expected: None,
        oracle_error: None,
        min_slice: None,
        events_per_s: None,
        peak_events_per_s: None,
        lag_max_ms: 0.0,
        quiesced: true,
    }
}

/// Returns a report over real runs of closed loads with 1, 2 and 4 users.
fn report(answer: Duration) -> ValidationReport {
    let mut report = ValidationReport::new("pausing", &BenchmarkConfig::bare());
    report.tracker = Some("heapledger 0.1.0, mode perfect".to_owned());
    for users in [1, 2, 4] {
        let one = ConcurrentTestResult {
            completeness: Some(booked(1000, 1000)),
            ..run(&LoadModel::closed(users), answer)
        };
        assert!(one.valid, "{:?}", one.validity);
        report.runs.extend(std::iter::repeat_n(one, WINDOWS));
    }
    report
}

/// Returns the report with noise in each window, as large as on real machines. All windows are slower by the share
/// `slower`.
fn noisy(quiet: &ValidationReport, rng: &mut UserRng, slower: f64) -> ValidationReport {
    let mut report = quiet.clone();
    for run in &mut report.runs {
        let mut normal = || (0..12).map(|_| rng.unit()).sum::<f64>() - 6.0;
        let speed = (0.03 * normal()).exp() / (1.0 + slower);
        run.requests_per_second *= speed;
        for time in [&mut run.response.mean_ms, &mut run.response.p50_ms, &mut run.response.p99_ms] {
            *time = time.map(|ms| ms / speed * (0.01 * normal()).exp());
        }
    }
    report
}

fn verdicts(c: &BaselineComparison, figure: ComparedFigure) -> Vec<&ChangeVerdict> {
    c.loads.iter().flat_map(|l| &l.figures).filter(|f| f.figure == figure).map(|f| &f.verdict).collect()
}

fn is_worse(c: &BaselineComparison) -> bool {
    c.loads.iter().flat_map(|l| &l.figures).any(|f| f.verdict == ChangeVerdict::Worse)
}

fn why(c: &BaselineComparison) -> &str {
    match &c.loads[0].figures[0].verdict {
        ChangeVerdict::NotComparable(why) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_answer_that_takes_a_quarter_longer_is_a_quarter_longer() {
    let (before, mut after) = (report(ANSWER), report(ANSWER.mul_f64(1.25)));
    after.compare_with(&before, 0.05);
    let changes = after.changes.as_ref().unwrap();
    assert!(changes.reasons.is_empty() && changes.loads.len() == 3);
    for load in &changes.loads {
        assert_eq!(load.measured, (WINDOWS, WINDOWS));
        for (f, expected) in load.figures.iter().zip([-0.2, 0.25, 0.25, 0.25, 0.0]) {
            let change = f.change.unwrap_or_else(|| panic!("{f:?}"));
            assert!((change - expected).abs() < 0.002, "{f:?}");
            let same = f.figure == ComparedFigure::Completeness;
            assert_eq!(f.verdict == ChangeVerdict::NoDifferenceSeen, same, "{f:?}");
            assert_eq!(f.verdict == ChangeVerdict::Worse, !same, "{f:?}");
        }
    }
    assert_eq!((changes.too_much_worse().count(), after.exit_code()), (12, ExitCode::ThresholdBreached));
    let text = after.to_text();
    assert!(text.contains("worse           4 users: p99 ms, by more than 5 %"), "{text}");
    let page = validation_html(&after);
    assert!(
        page.contains("Since the baseline") && page.contains("12 figures are worse than in the baseline")
    );
    // The comparison is part of the file, and is read back with it.
    let back = ValidationReport::from_json(&after.to_json().unwrap()).unwrap();
    assert_eq!(back, after);
    // With a larger allowance no figure is too much worse. In the other direction every figure is better.
    after.compare_with(&before, 0.3);
    assert_eq!(after.exit_code(), ExitCode::Ok);
    let back = BaselineComparison::between(&after, &before, 0.0);
    assert!(verdicts(&back, ComparedFigure::P99Response).into_iter().all(|v| *v == ChangeVerdict::Better));
    assert!(!is_worse(&back) && back.too_much_worse().count() == 0);
}

#[test]
fn a_planted_slowdown_is_found_and_noise_alone_is_not_called_worse() {
    let quiet = report(ANSWER);
    let mut rng = UserRng::new(11, 0, Popularity::Uniform);
    let (mut false_alarms, mut unadjusted, mut found) = (0, 0, 0);
    for _ in 0..100 {
        let before = noisy(&quiet, &mut rng, 0.0);
        let same = noisy(&quiet, &mut rng, 0.0);
        let slower = noisy(&quiet, &mut rng, 0.2);
        false_alarms += usize::from(is_worse(&BaselineComparison::between(&before, &same, 0.0)));
        unadjusted += usize::from(is_worse(&BaselineComparison::with_confidence(&before, &same, 0.0, 0.0)));
        let c = BaselineComparison::between(&before, &slower, 0.05);
        assert!((c.confidence_each - (1.0 - 0.05 / 12.0)).abs() < 1e-12, "{c:?}");
        found += usize::from(c.too_much_worse().count() >= 3);
    }
    assert!(false_alarms <= 5, "{false_alarms} false alarms in 100");
    assert!(found >= 95, "{found} of 100 slowdowns");
    // Intervals of confidence 0 raise many false alarms, so this test would notice a missing confidence.
    assert!(unadjusted > 10, "{unadjusted}");
}

#[test]
fn lost_events_are_worse_and_say_nothing_about_speed() {
    let before = report(ANSWER);
    let mut after = report(ANSWER);
    after.runs[1].completeness = Some(booked(1_000_000_000, 999_999_999));
    after.compare_with(&before, 0.5);
    let changes = after.changes.as_ref().unwrap();
    assert_eq!(*verdicts(changes, ComparedFigure::Completeness)[0], ChangeVerdict::Worse);
    assert_eq!(why(changes), "not every event was booked now");
    assert_eq!(
        *verdicts(changes, ComparedFigure::Throughput)[1],
        ChangeVerdict::NoDifferenceSeen,
        "another load"
    );
    assert_eq!(after.exit_code(), ExitCode::ThresholdBreached);
    let text = after.to_text();
    assert!(text.contains("worse           1 users: complete %, events were lost"), "{text}");
    assert!(text.contains("99.999 ") && text.contains(" -1e-7 "), "{text}");
    let back = BaselineComparison::between(&after, &before, 0.0);
    assert_eq!(*verdicts(&back, ComparedFigure::Completeness)[0], ChangeVerdict::Better);
    // If both sides lose events, the shares of their windows are the samples.
    let losing = |booked_of_100: [u64; WINDOWS]| {
        let mut report = before.clone();
        for (run, n) in report.runs.iter_mut().zip(booked_of_100) {
            run.completeness = Some(booked(100, n));
        }
        report
    };
    let of = |before, after| {
        let c = BaselineComparison::between(&losing(before), &losing(after), 0.0);
        verdicts(&c, ComparedFigure::Completeness)[0].clone()
    };
    assert_eq!(of([90, 91, 90, 89, 90], [50, 51, 49, 50, 50]), ChangeVerdict::Worse);
    assert_eq!(of([90, 80, 95, 85, 90], [89, 81, 94, 86, 90]), ChangeVerdict::NoDifferenceSeen);
}

#[test]
fn what_cannot_be_compared_says_why() {
    let before = report(ANSWER);
    let changed = |change: &dyn Fn(&mut ValidationReport)| {
        let mut after = before.clone();
        change(&mut after);
        after.compare_with(&before, 0.05);
        after
    };
    type Change = &'static dyn Fn(&mut ValidationReport);
    let wholes: [(Change, &str); 6] = [
        (&|r| r.workload = "other".into(), "workload \"other\" now, \"pausing\" before"),
        (
            &|r| r.tracker = Some("heapledger 0.2.0, mode best".into()),
            "\"mode best\" now, \"mode perfect\" before",
        ),
        (&|r| r.tracker = None, "no tracker now"),
        (&|r| r.runs[0].machine.cores += 1, "machine: cores is"),
        (&|r| r.config.seed = 9, "configuration: seed is \"9\" now, \"1\" before"),
        (&|r| r.runs.clear(), "there are no runs"),
    ];
    for (change, said) in wholes {
        let after = changed(change);
        let reasons = &after.changes.as_ref().unwrap().reasons;
        assert!(reasons.len() == 1 && reasons[0].contains(said), "{reasons:?}");
        assert!(
            after.to_text().contains("baseline        not comparable: ")
                && after.exit_code() == ExitCode::Invalid
        );
    }
    let levels: [(Change, &str); 7] = [
        (&|r| r.runs[0].load = LoadModel::closed(9), "the baseline has no such load"),
        (&|r| r.runs[0].load = LoadModel::open(5.0), "an open load now, closed ones before"),
        (&|r| r.runs[0].window_s = 10.0, "windows of 10.000 s and of 30.000 s"),
        (&|r| r.runs[2].check_failures = 1, "wrong answers now"),
        (&|r| r.runs[2].completeness = None, "a tracker was watched in some windows and not in others"),
        (&|r| drop(r.runs.drain(1..WINDOWS)), "1 windows now, 5 before: an interval takes 2 of each"),
        (
            &|r| {
                r.runs[0].valid = false;
                r.runs[0].validity.push(ValidityIssue::ForeignCpu { share: 0.5 });
            },
            "inconclusive now: other programs used 50 % of the machine: repeat it on an idle one",
        ),
    ];
    for (change, said) in levels {
        let after = changed(change);
        assert_eq!(why(after.changes.as_ref().unwrap()), said);
        assert!(after.to_text().contains(said), "{}", after.to_text());
    }
    // Another version, day, load average or threshold does not prevent a comparison.
    let after = changed(&|r| {
        r.tracker = Some("heapledger 0.2.0, mode perfect".to_owned());
        r.config.thresholds = vec!["completeness>=1".parse().unwrap()];
        r.runs.iter_mut().for_each(|run| {
            run.machine.version = "9".to_owned();
            run.machine.load_average = Some(7.0);
        });
    });
    assert!(after.changes.as_ref().unwrap().is_conclusive() && after.exit_code() == ExitCode::Ok);
}

#[test]
fn figures_that_are_missing_or_bounds_are_left_out_alone() {
    let before = report(ANSWER);
    let mut after = before.clone();
    after.runs[0].response.p99_ms = None;
    after.runs[1].response.censored = 1;
    after.runs[1].response.censored_from_ms = Some(1.0);
    let c = BaselineComparison::between(&before, &after, 0.0);
    let said: Vec<String> = c.loads[0].figures.iter().map(|f| format!("{:?}", f.verdict)).collect();
    assert_eq!(said[0], "NoDifferenceSeen");
    assert!(said[1].contains("a lower bound only") && said[2].contains("a lower bound only"), "{said:?}");
    assert!(said[3].contains("too few answers") && said[4] == "NoDifferenceSeen", "{said:?}");
    // A difference of medians below the resolution of a histogram is no change, even if all windows of a side are
    // equal.
    let mut finer = before.clone();
    finer.runs.iter_mut().for_each(|r| r.response.p50_ms = r.response.p50_ms.map(|ms| ms * 1.0005));
    let c = BaselineComparison::between(&before, &finer, 0.0);
    assert_eq!(*verdicts(&c, ComparedFigure::P50Response)[0], ChangeVerdict::NoDifferenceSeen);
}

#[test]
fn no_file_makes_more_than_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("baseline.json");
    let whole = report(ANSWER).to_json().unwrap();
    let refused = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let error = read_baseline(&path).expect_err("it is no baseline");
        assert!(matches!(error, BenchError::Baseline(_)));
        let text = error.to_string();
        assert!(
            text.starts_with("the baseline cannot be used: ") && text.contains("baseline.json: "),
            "{text}"
        );
        assert!(text.len() < 600 && !text.contains(|c: char| c.is_control()), "{text}");
        text
    };
    for (bytes, said) in [
        (&b""[..], "EOF while parsing"),
        (b"\xff\xfe\x00", "no text"),
        (b"[1, 2]", "no report of a validation"),
        (b"{\"metrics\": {\"http_reqs\": {}}}", "missing field `schema_version`"),
        (b"{\"schema_version\": 99}", "it has schema version 99"),
        (b"{\"schema_version\": 1}", "missing field `workload`"),
        (b"{\"schema_version\": 1, \"workload\": 1e999}", "number out of range"),
    ] {
        let text = refused(bytes);
        assert!(text.contains(said), "{text}");
    }
    refused("[".repeat(1 << 20).as_bytes());
    refused(&whole.as_bytes()[..whole.len() / 2]);
    let hostile = format!("\\u001b[31m\\n{}", "x".repeat(100_000));
    refused(whole.replacen("\"Closed\"", &format!("\"{hostile}\""), 1).as_bytes());
    let missing = read_baseline(&directory.path().join("none")).unwrap_err().to_string();
    assert!(missing.contains("none: No such file"), "{missing}");
    assert!(read_baseline(directory.path()).is_err(), "a folder");
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(read_baseline(&path).unwrap().to_json().unwrap(), whole);
}

#[test]
fn absurd_figures_are_compared_without_harm() {
    let now = report(ANSWER);
    for absurd in [0.0, -1.0, 5e-324, 1e308] {
        let mut before = now.clone();
        for run in &mut before.runs {
            (run.requests_per_second, run.response.mean_ms, run.response.p50_ms) =
                (absurd, Some(absurd), Some(absurd));
            let most = LevelCompleteness { observed: u64::MAX, aggregated: u64::MAX, ..booked(1, 1) };
            let dropped = DropBreakdown { ring_full: u64::MAX, other: u64::MAX, ..DropBreakdown::default() };
            run.completeness = Some(LevelCompleteness { dropped, ..most });
        }
        let mut after = now.clone();
        after.compare_with(&before, 0.05);
        let text = after.to_json().unwrap();
        assert_eq!(ValidationReport::from_json(&text).unwrap(), after);
        assert!(!after.to_text().contains("inf") && !after.to_text().contains("NaN"), "{}", after.to_text());
    }
}
