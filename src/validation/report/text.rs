//! Reports as text, and the tables that the text, the CSV form and the page share.

use std::fmt::Write;

use super::super::changes::{BaselineComparison, ChangeVerdict, ComparedFigure, FigureChange, LoadChange};
use super::super::completeness::{LevelCompleteness, Overhead, is_telling};
use super::super::plan::LoadModel;
use super::super::result::ConcurrentTestResult;
use super::super::series::{BreakingCause, LevelSummary, ScalabilityReport};
use super::document::ValidationReport;
use super::table::{Column, Table, fixed, percent, range, signed};
use crate::text::escape::escaped;

/// Note in reports from machines with few cores.
pub(super) const FEW_CORES: &str =
    "two cores show correctness at any level, and little about scaling beyond two";

const LEVELS: [Column<LevelSummary>; 15] = [
    ("users", |l| Some(l.users.to_string())),
    ("req/s", |l| fixed(Some(l.throughput), 1)),
    ("+-", |l| fixed(l.throughput_ci95.map(|(low, high)| (high - low) / 2.0), 1)),
    ("eff %", |l| fixed(l.efficiency, 1)),
    ("p50 ms", |l| fixed(l.p50_ms, 3)),
    ("p95 ms", |l| fixed(l.p95_ms, 3)),
    ("p99 ms", |l| fixed(l.p99_ms, 3)),
    ("err %", |l| fixed(l.error_rate.map(|e| 100.0 * e), 2)),
    ("lock", |l| fixed(l.contention?.lock, 1)),
    ("cpu", |l| fixed(l.contention?.cpu, 1)),
    ("coh", |l| fixed(l.contention?.coherency, 1)),
    ("pool", |l| fixed(Some(l.contention?.pool), 1)),
    ("backlog", |l| fixed(Some(l.contention?.backlog), 1)),
    ("complete %", |l| percent(l.completeness)),
    ("overhead %", |l| fixed(l.overhead.as_ref().and_then(loss_percent), 2)),
];

const RUNS: [Column<ConcurrentTestResult>; 14] = [
    ("load", |r| Some(r.load.in_words())),
    ("offered/s", |r| fixed(r.offered_rate, 1)),
    ("answered/s", |r| fixed(Some(r.requests_per_second), 1)),
    ("p50 ms", |r| fixed(r.response.p50_ms, 3)),
    ("p95 ms", |r| fixed(r.response.p95_ms, 3)),
    ("p99 ms", |r| fixed(r.response.p99_ms, 3)),
    ("p99.9 ms", |r| fixed(r.response.p999_ms, 3)),
    ("service p99", |r| fixed(r.service.p99_ms, 3)),
    ("gap", |r| fixed(r.co_gap, 2)),
    ("err %", |r| fixed(r.error_rate.map(|e| 100.0 * e), 2)),
    ("dropped", |r| Some(r.dropped_arrivals.to_string())),
    ("unserved", |r| Some(r.interrupted_requests.to_string())),
    ("complete %", |r| percent(r.completeness.as_ref()?.completeness)),
    ("overhead %", |r| fixed(r.tracker_overhead.as_ref().and_then(loss_percent), 2)),
];

/// A row of the CSV form: a run, and whether the tracker was on.
type CsvRow<'a> = (&'a ConcurrentTestResult, &'static str);

fn exact(value: impl ToString) -> Option<String> {
    Some(value.to_string())
}

fn of_tracker<T: ToString>(
    (r, _): &CsvRow<'_>,
    figure: impl FnOnce(&LevelCompleteness) -> Option<T>,
) -> Option<String> {
    r.completeness.as_ref().and_then(figure).and_then(exact)
}

fn csv_columns<'a>() -> [Column<CsvRow<'a>>; 41] {
    [
        ("load", |(r, _)| Some(r.load.in_words())),
        ("users", |(r, _)| exact(r.concurrent_users)),
        ("tracker", |(_, tracker)| exact(tracker)),
        ("seed", |(r, _)| exact(r.seed)),
        ("window_s", |(r, _)| exact(r.window_s)),
        ("requests", |(r, _)| exact(r.total_requests)),
        ("answered", |(r, _)| exact(r.successful_requests)),
        ("failed", |(r, _)| exact(r.failed_requests)),
        ("timed_out", |(r, _)| exact(r.timeout_requests)),
        ("rejected", |(r, _)| exact(r.rejected_requests)),
        ("interrupted", |(r, _)| exact(r.interrupted_requests)),
        ("dropped", |(r, _)| exact(r.dropped_arrivals)),
        ("wrong", |(r, _)| exact(r.check_failures)),
        ("requests_per_second", |(r, _)| exact(r.requests_per_second)),
        ("offered_per_second", |(r, _)| exact(r.offered_rate?)),
        ("mean_ms", |(r, _)| exact(r.response.mean_ms?)),
        ("p50_ms", |(r, _)| exact(r.response.p50_ms?)),
        ("p90_ms", |(r, _)| exact(r.response.p90_ms?)),
        ("p95_ms", |(r, _)| exact(r.response.p95_ms?)),
        ("p99_ms", |(r, _)| exact(r.response.p99_ms?)),
        ("p999_ms", |(r, _)| exact(r.response.p999_ms?)),
        ("max_ms", |(r, _)| exact(r.response.max_ms?)),
        ("service_p99_ms", |(r, _)| exact(r.service.p99_ms?)),
        ("co_gap", |(r, _)| exact(r.co_gap?)),
        ("co_exposure", |(r, _)| exact(r.co_exposure?)),
        ("cpu_ms_per_answer", |(r, _)| exact(r.breakdown.as_ref()?.on_cpu_ms?)),
        ("efficiency_percent", |(r, _)| exact(r.scalability_efficiency?)),
        ("contention", |(r, _)| exact(r.contention?.total)),
        ("lock", |(r, _)| exact(r.contention?.lock?)),
        ("cpu", |(r, _)| exact(r.contention?.cpu?)),
        ("coherency", |(r, _)| exact(r.contention?.coherency?)),
        ("pool", |(r, _)| exact(r.contention?.pool)),
        ("backlog", |(r, _)| exact(r.contention?.backlog)),
        ("observed", |row| of_tracker(row, |t| Some(t.observed))),
        ("aggregated", |row| of_tracker(row, |t| Some(t.aggregated))),
        ("lost", |row| of_tracker(row, |t| Some(t.dropped.total()))),
        ("completeness", |row| of_tracker(row, |t| t.completeness)),
        ("oracle_error", |row| of_tracker(row, |t| t.oracle_error)),
        ("events_per_second", |row| of_tracker(row, |t| t.events_per_s)),
        ("throughput_loss", |(r, _)| exact(loss_percent(r.tracker_overhead.as_ref()?)? / 100.0)),
        ("valid", |(r, _)| exact(r.valid)),
    ]
}

/// Returns the table of the levels of a scalability test.
pub(super) fn level_table(report: &ScalabilityReport) -> Table {
    Table::new(&LEVELS, &report.levels)
}

/// Returns a scalability report as text.
///
/// # Examples
/// ```no_run
/// # fn example(report: &heapledger::validation::ScalabilityReport) {
/// print!("{}", heapledger::validation::scalability_text(report));
/// # }
/// ```
pub fn scalability_text(report: &ScalabilityReport) -> String {
    let mut text = level_table(report).text();
    let ((first, last), (users, rate)) = (report.linear_scaling_range, report.peak_throughput);
    let law = match &report.model {
        Some(model) => format!("{model}{}", if model.few_points { " (few levels)" } else { "" }),
        None => "- (fewer than four usable levels)".to_owned(),
    };
    let _ = write!(
        text,
        "\nknee            {} users\npeak            {rate:.1} req/s at {users} users\nlinear          {first} to {last} users\nlaw             {law}\n",
        report.optimal_concurrent_users
    );
    if let (Some(users), Some(cause)) = (report.scalability_breaking_point, &report.breaking_cause) {
        let _ = writeln!(text, "breaks at       {users} users: {}", cause_in_words(cause));
    }
    let _ = writeln!(text, "recommendation  {:?}: {}", report.recommendation, report.detail.headline);
    for action in &report.detail.actions {
        let _ = writeln!(text, "                - {action}");
    }
    for (users, cost) in &report.overhead_curve {
        let _ = writeln!(text, "overhead        {users} users: {}", cost_in_words(cost));
    }
    text + &closing(&report.test_results)
}

/// Returns single loads as text.
///
/// # Examples
/// ```no_run
/// # fn example(report: &heapledger::validation::ValidationReport) {
/// print!("{}", heapledger::validation::runs_text(&report.runs));
/// # }
/// ```
pub fn runs_text(runs: &[ConcurrentTestResult]) -> String {
    let cost = |r: &ConcurrentTestResult| {
        let cost = cost_in_words(&r.tracker_overhead?);
        Some(format!("overhead        {}: {cost}\n", r.load.in_words()))
    };
    // All rounds of a load have the same cost, so each line is shown once.
    Table::new(&RUNS, runs).text() + "\n" + &unique(runs.iter().filter_map(cost)) + &closing(runs)
}

/// Joins the lines, and omits repeated lines.
fn unique(lines: impl Iterator<Item = String>) -> String {
    let mut seen: Vec<String> = Vec::new();
    for line in lines {
        if !seen.contains(&line) {
            seen.push(line);
        }
    }
    seen.concat()
}

/// Returns the end of a report: answers, machine, doubts, thresholds.
fn closing(results: &[ConcurrentTestResult]) -> String {
    let answers: usize = results.iter().map(|r| r.successful_requests).sum();
    let wrong: usize = results.iter().map(|r| r.check_failures).sum();
    let mut text = format!("answers         {answers}, of which wrong {wrong}\n");
    if results.iter().any(|r| r.stopped_early) {
        text.push_str("                stopped before the planned end\n");
    }
    if let Some(first) = results.first() {
        let _ = writeln!(text, "machine         {}", first.machine.in_words());
        if first.machine.cores <= 2 {
            let _ = writeln!(text, "                {FEW_CORES}");
        }
    }
    for (r, issue) in results.iter().flat_map(|r| r.doubts().map(move |issue| (r, issue))) {
        let _ = writeln!(text, "doubt           {} users: {issue}", r.concurrent_users);
    }
    let thresholds = results.iter().flat_map(|r| r.threshold_results.iter().map(move |t| (r, t)));
    let line = |(r, t): (&ConcurrentTestResult, &super::super::result::ThresholdResult)| {
        let verdict = if t.passed { "ok    " } else { "BREACH" };
        let value = fixed(t.value, 4).unwrap_or_else(|| "-".to_owned());
        format!("threshold       {verdict} {} with {} users: {value}\n", t.threshold, r.concurrent_users)
    };
    text + &unique(thresholds.map(line))
}

/// Returns the loss of throughput in percent; `None` if the pairs differ too much to give a figure.
pub(super) fn loss_percent(cost: &Overhead) -> Option<f64> {
    cost.is_telling().then_some(100.0 * cost.throughput_loss)
}

/// Returns the loss of throughput and the rise of processor time per answer in words, each with its interval.
fn cost_in_words(cost: &Overhead) -> String {
    let times = |share: f64| format!("{:.2}", 1.0 + share);
    let figure = |value: f64, interval: Option<(f64, f64)>| match interval {
        _ if !is_telling(value, interval) => match interval {
            Some(interval) => format!("cannot be told (95 %: {} times)", range(interval, times)),
            None => format!("cannot be told (one pair: {} times)", times(value)),
        },
        Some(interval) => format!("{} % (95 %: {})", signed(value), range(interval, signed)),
        None => format!("{} % (one pair, no interval)", signed(value)),
    };
    let gained = cost.interval.map(|(low, high)| (-high, -low));
    let cpu = cost.cpu_rise.map_or_else(|| "unknown".to_owned(), |rise| figure(rise, cost.cpu_interval));
    format!("throughput {}, processor time per answer {cpu}", figure(-cost.throughput_loss, gained))
}

fn cause_in_words(cause: &BreakingCause) -> String {
    match cause {
        BreakingCause::Retrograde { peak_users, share } => {
            format!("{:.0} % of the throughput with {peak_users} users", 100.0 * share)
        }
        BreakingCause::Threshold { threshold, value } => {
            let value = fixed(*value, 4).unwrap_or_else(|| "no value".to_owned());
            format!("{threshold} breached with {value}")
        }
        BreakingCause::Incomplete { completeness, oracle_error } => {
            let oracle =
                oracle_error.map_or_else(String::new, |e| format!(", {e:+} events against the oracle"));
            format!("the tracker booked {} %{oracle}", percent(Some(*completeness)).unwrap_or_default())
        }
        BreakingCause::Deadlock { cycle } => format!("deadlock: {cycle}"),
    }
}

/// The change of a figure, with its load.
type Change<'a> = (&'a LoadModel, &'a FigureChange);

fn change_columns<'a>() -> [Column<Change<'a>>; 7] {
    [
        ("load", |(load, _)| Some(load.in_words())),
        ("figure", |(_, f)| Some(f.figure.name().to_owned())),
        ("before", |(_, f)| value(f, f.baseline)),
        ("now", |(_, f)| value(f, f.now)),
        ("change %", |(_, f)| f.change.map(|v| points(f, v))),
        ("interval", |(_, f)| f.interval.map(|i| range(i, |v| points(f, v)))),
        ("verdict", |(_, f)| {
            Some(match &f.verdict {
                ChangeVerdict::Better => "better".to_owned(),
                ChangeVerdict::Worse => "worse".to_owned(),
                ChangeVerdict::NoDifferenceSeen => "no difference seen".to_owned(),
                ChangeVerdict::NotComparable(why) => format!("not comparable: {}", escaped(why)),
            })
        }),
    ]
}

fn value(f: &FigureChange, value: Option<f64>) -> Option<String> {
    if f.figure == ComparedFigure::Completeness { percent(value) } else { fixed(value, 3) }
}

fn points(f: &FigureChange, share: f64) -> String {
    match 100.0 * share {
        _ if f.figure != ComparedFigure::Completeness => signed(share),
        // The loss of one event out of a billion must not read as zero.
        points if points != 0.0 && points.abs() < 1e-3 => format!("{points:+.0e}"),
        points => format!("{points:+.3}"),
    }
}

/// Returns a comparison with a baseline as text.
pub(super) fn changes_text(c: &BaselineComparison) -> String {
    if !c.reasons.is_empty() {
        let line = |why: &String| format!("baseline        not comparable: {}\n", escaped(why));
        return c.reasons.iter().map(line).collect();
    }
    let mut text = format!(
        "baseline        intervals hold all at once with {:.0} %, each by itself with {:.2} %; Welch's t over windows\n",
        100.0 * c.confidence,
        100.0 * c.confidence_each
    );
    // A reason that several figures of a load share is shown once, on a separate line; these figures have no row.
    let own = |l: &LoadChange, f: &FigureChange| shared_reason(l).is_none_or(|why| reason(f) != Some(why));
    let rows: Vec<Change<'_>> = c
        .loads
        .iter()
        .flat_map(|l| l.figures.iter().filter(move |f| own(l, f)).map(|f| (&l.load, f)))
        .collect();
    text.push_str(&Table::new(&change_columns(), &rows).text());
    for (load, why) in c.loads.iter().filter_map(|l| Some((l, shared_reason(l)?))) {
        let _ = writeln!(text, "not comparable  {}: {}", load.load.in_words(), escaped(why));
    }
    for (load, change) in c.too_much_worse() {
        let allowed = match change.figure {
            ComparedFigure::Completeness => "events were lost".to_owned(),
            _ => format!("by more than {} %", 100.0 * c.worse_by),
        };
        let _ = writeln!(text, "worse           {}: {}, {allowed}", load.in_words(), change.figure.name());
    }
    text
}

fn reason(f: &FigureChange) -> Option<&str> {
    match &f.verdict {
        ChangeVerdict::NotComparable(why) => Some(why),
        _ => None,
    }
}

/// Returns the reason why several figures of a load are not comparable; `None` if they share no reason.
fn shared_reason(load: &LoadChange) -> Option<&str> {
    let why = reason(load.figures.first()?)?;
    (load.figures.iter().filter(|f| reason(f) == Some(why)).count() > 1).then_some(why)
}

impl ValidationReport {
    /// Returns the report as text.
    pub fn to_text(&self) -> String {
        let mut text = format!("workload        {}\n", self.workload);
        if let Some(tracker) = &self.tracker {
            let _ = writeln!(text, "tracker         {tracker}");
        }
        text.push('\n');
        if let Some(levels) = &self.scalability {
            text.push_str(&scalability_text(levels));
        }
        if !self.runs.is_empty() {
            text.push_str(&runs_text(&self.runs));
        }
        if let Some(changes) = &self.changes {
            text.push('\n');
            text.push_str(&changes_text(changes));
        }
        text
    }

    /// Returns the runs as comma-separated values: a heading, then one row per run. Runs without the tracker are last.
    pub fn to_csv(&self) -> String {
        let on = self.all_runs().map(|r| (r, if r.completeness.is_some() { "on" } else { "none" }));
        let rows: Vec<CsvRow<'_>> = on.chain(self.runs_without_tracker.iter().map(|r| (r, "off"))).collect();
        Table::new(&csv_columns(), &rows).csv()
    }
}
