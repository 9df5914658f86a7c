//! The report that a person reads: one row per level, then what follows from it.

use std::fmt::Write;

use super::super::result::ConcurrentTestResult;
use super::super::scalability::{BreakingCause, LevelSummary, ScalabilityReport};

/// A figure, or a dash where it is undefined.
fn cell(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |v| format!("{v:.digits$}"))
}

/// Percent of a share, rounded down: 99.9995 % must not read as 100 %.
fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |v| format!("{:.3}", (v * 1e5).floor() / 1e3))
}

const HEADINGS: [&str; 14] = [
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

fn row(l: &LevelSummary) -> Vec<String> {
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

fn aligned(rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> =
        (0..HEADINGS.len()).map(|i| rows.iter().map(|r| r[i].len()).max().unwrap_or(0)).collect();
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
    if let Some(first) = report.test_results.first() {
        let m = &first.machine;
        let cpu = m.cpu.as_deref().unwrap_or("unknown processor");
        let build = if m.optimised { "optimised" } else { "not optimised" };
        let _ = writeln!(text, "machine         {} cores, {cpu}, {}, {build}", m.cores, m.system);
        if m.cores <= 2 {
            text.push_str("                two cores show correctness at any level, and little about scaling beyond two\n");
        }
    }
    doubts(&mut text, &report.test_results);
    thresholds(&mut text, &report.test_results);
    text
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
    for r in results {
        for t in &r.threshold_results {
            let verdict = if t.passed { "ok    " } else { "BREACH" };
            let _ = writeln!(
                text,
                "threshold       {verdict} {} with {} users: {}",
                t.threshold,
                r.concurrent_users,
                cell(t.value, 4)
            );
        }
    }
}
