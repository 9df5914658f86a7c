//! The report that a person reads: one row per level, then what follows from it.

use std::fmt::Write;

use super::super::completeness::Overhead;
use super::super::result::ConcurrentTestResult;
use super::super::scalability::{BreakingCause, LevelSummary, ScalabilityReport};

/// A figure, or a dash where it is undefined.
pub(super) fn cell(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |v| format!("{v:.digits$}"))
}

/// Percent of a share, rounded down: 99.9995 % must not read as 100 %.
pub(super) fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |v| format!("{:.3}", (v * 1e5).floor() / 1e3))
}

pub(super) const HEADINGS: [&str; 14] = [
    "users",
    "req/s",
    "+-",
    "eff %",
    "p50 ms",
    "p99 ms",
    "err %",
    "lock",
    "cpu",
    "coh",
    "pool",
    "backlog",
    "complete %",
    "overhead %",
];

pub(super) fn row(l: &LevelSummary) -> Vec<String> {
    let c = l.contention;
    vec![
        l.users.to_string(),
        cell(Some(l.throughput), 1),
        cell(l.throughput_ci95.map(|(low, high)| (high - low) / 2.0), 1),
        cell(l.efficiency, 1),
        cell(l.p50_ms, 3),
        cell(l.p99_ms, 3),
        cell(l.error_rate.map(|e| 100.0 * e), 2),
        cell(c.and_then(|c| c.lock), 1),
        cell(c.and_then(|c| c.cpu), 1),
        cell(c.and_then(|c| c.coherency), 1),
        cell(c.map(|c| c.pool), 1),
        cell(c.map(|c| c.backlog), 1),
        percent(l.completeness),
        cell(l.overhead.map(|o| 100.0 * o.throughput_loss), 2),
    ]
}

/// Rows of one length as lines, each column as wide as its widest cell.
pub(super) fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> =
        (0..columns).map(|i| rows.iter().map(|r| r[i].len()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(c, w)| format!("{c:>w$}")).collect();
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    text
}

/// A scalability report as text.
///
/// # Examples
/// ```no_run
/// # fn example(report: &heapledger::validation::ScalabilityReport) {
/// print!("{}", heapledger::validation::scalability_text(report));
/// # }
/// ```
pub fn scalability_text(report: &ScalabilityReport) -> String {
    let heading = HEADINGS.map(str::to_owned).to_vec();
    let rows: Vec<_> = std::iter::once(heading).chain(report.levels.iter().map(row)).collect();
    let mut text = aligned(&rows);
    let (first, last) = report.linear_scaling_range;
    let _ = writeln!(text, "\nknee            {} users", report.optimal_concurrent_users);
    let _ = writeln!(
        text,
        "peak            {:.1} req/s at {} users",
        report.peak_throughput.1, report.peak_throughput.0
    );
    let _ = writeln!(text, "linear          {first} to {last} users");
    match &report.model {
        Some(model) => {
            let few = if model.few_points { " (few levels)" } else { "" };
            let _ = writeln!(text, "law             {model}{few}");
        }
        None => text.push_str("law             - (fewer than four usable levels)\n"),
    }
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
    closing(&mut text, &report.test_results);
    text
}

/// What is said of any runs at the end: answers, machine, doubts, thresholds.
pub(super) fn closing(text: &mut String, results: &[ConcurrentTestResult]) {
    let answers: usize = results.iter().map(|r| r.successful_requests).sum();
    let wrong: usize = results.iter().map(|r| r.check_failures).sum();
    let _ = writeln!(text, "answers         {answers}, of which wrong {wrong}");
    if results.iter().any(|r| r.stopped_early) {
        text.push_str("                stopped before the planned end\n");
    }
    if let Some(first) = results.first() {
        let m = &first.machine;
        let cpu = m.cpu.as_deref().unwrap_or("unknown processor");
        let build = if m.optimised { "optimised" } else { "not optimised" };
        let _ = writeln!(text, "machine         {} cores, {cpu}, {}, {build}", m.cores, m.system);
        if m.cores <= 2 {
            text.push_str("                two cores show correctness at any level, and little about scaling beyond two\n");
        }
    }
    doubts(text, results);
    thresholds(text, results);
}

/// Throughput lost, and processor time added per answer, each with its interval.
pub(super) fn cost_in_words(cost: &Overhead) -> String {
    let figure = |value: f64, interval: Option<(f64, f64)>| match interval {
        Some((low, high)) => {
            format!("{:+.1} % (95 %: {:+.1} to {:+.1})", 100.0 * value, 100.0 * low, 100.0 * high)
        }
        None => format!("{:+.1} % (one pair, no interval)", 100.0 * value),
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
            format!(
                "{threshold} breached with {}",
                value.map_or_else(|| "no value".to_owned(), |v| format!("{v:.4}"))
            )
        }
        BreakingCause::Incomplete { completeness, oracle_error } => {
            let oracle =
                oracle_error.map_or_else(String::new, |e| format!(", {e:+} events against the oracle"));
            format!("the tracker booked {} %{oracle}", percent(Some(*completeness)))
        }
        BreakingCause::Deadlock { cycle } => format!("deadlock: {cycle}"),
    }
}

fn doubts(text: &mut String, results: &[ConcurrentTestResult]) {
    for r in results {
        for issue in r.validity.iter().filter(|i| i.forbids_conclusions()) {
            let _ = writeln!(text, "doubt           {} users: {issue}", r.concurrent_users);
        }
    }
}

fn thresholds(text: &mut String, results: &[ConcurrentTestResult]) {
    let mut told: Vec<String> = Vec::new();
    for r in results {
        for t in &r.threshold_results {
            let verdict = if t.passed { "ok    " } else { "BREACH" };
            let line = format!(
                "threshold       {verdict} {} with {} users: {}",
                t.threshold,
                r.concurrent_users,
                cell(t.value, 4)
            );
            // Rounds of one load often say the same.
            if !told.contains(&line) {
                let _ = writeln!(text, "{line}");
                told.push(line);
            }
        }
    }
}
