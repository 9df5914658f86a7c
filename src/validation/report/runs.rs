//! Single loads as text: one row for each run, with what an open load adds to a closed one.

use super::super::completeness::Overhead;
use super::super::plan::LoadModel;
use super::super::result::ConcurrentTestResult;
use super::table::{aligned, cell, closing, cost_in_words, percent};

const HEADINGS: [&str; 13] = [
    "load",
    "offered/s",
    "answered/s",
    "p50 ms",
    "p99 ms",
    "p99.9 ms",
    "service p99",
    "gap",
    "err %",
    "dropped",
    "unserved",
    "complete %",
    "overhead %",
];

/// A load in a few words.
pub(super) fn load_in_words(load: &LoadModel) -> String {
    match load {
        LoadModel::Closed { users } => format!("{users} users"),
        LoadModel::Open { rate_per_sec, max_in_flight, .. } => format!("{rate_per_sec}/s on {max_in_flight}"),
        LoadModel::Staged { stages, .. } => format!("{} stages", stages.len()),
        LoadModel::Replay { offsets_ns, .. } => format!("replay of {}", offsets_ns.len()),
    }
}

fn row(r: &ConcurrentTestResult) -> Vec<String> {
    vec![
        load_in_words(&r.load),
        cell(r.offered_rate, 1),
        cell(Some(r.requests_per_second), 1),
        cell(r.response.p50_ms, 3),
        cell(r.response.p99_ms, 3),
        cell(r.response.p999_ms, 3),
        cell(r.service.p99_ms, 3),
        cell(r.co_gap, 2),
        cell(r.error_rate.map(|e| 100.0 * e), 2),
        r.dropped_arrivals.to_string(),
        r.interrupted_requests.to_string(),
        percent(r.completeness.as_ref().and_then(|c| c.completeness)),
        cell(r.tracker_overhead.map(|o: Overhead| 100.0 * o.throughput_loss), 2),
    ]
}

/// Single loads as text.
///
/// # Examples
/// ```no_run
/// # fn example(report: &heapledger::validation::ValidationReport) {
/// print!("{}", heapledger::validation::runs_text(&report.runs));
/// # }
/// ```
pub fn runs_text(runs: &[ConcurrentTestResult]) -> String {
    let heading = HEADINGS.map(str::to_owned).to_vec();
    let rows: Vec<_> = std::iter::once(heading).chain(runs.iter().map(row)).collect();
    let mut text = aligned(&rows);
    text.push('\n');
    let mut told: Vec<String> = Vec::new();
    for r in runs {
        let Some(cost) = &r.tracker_overhead else { continue };
        // Rounds of one load share their cost.
        let line = format!("overhead        {}: {}\n", load_in_words(&r.load), cost_in_words(cost));
        if !told.contains(&line) {
            text.push_str(&line);
            told.push(line);
        }
    }
    closing(&mut text, runs);
    text
}
