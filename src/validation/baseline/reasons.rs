//! Reasons against a comparison.

use serde::Serialize;
use serde_json::Value;

use super::super::plan::LoadModel;
use super::super::report::ValidationReport;
use super::super::result::ConcurrentTestResult;
use crate::text::escape::escaped;

/// Minimum number of windows on each side for an interval.
const WINDOWS_MIN: usize = 2;
/// Fields of the machine that may differ between the reports, because versions are compared with each other.
const MACHINE_MAY_DIFFER: [&str; 2] = ["load_average", "version"];
/// Fields of the configuration that may differ between the reports, because they change no figure.
const CONFIG_MAY_DIFFER: [&str; 5] =
    ["repetitions", "thresholds", "target_completeness", "max_foreign_cpu", "max_concurrent_users"];
/// Maximum allowed difference of the lengths of two windows, as a share.
const LENGTHS_DIFFER_FROM: f64 = 0.01;
/// Maximum number of characters of a text quoted from a file.
const QUOTED: usize = 160;

/// Returns the reasons why the two reports as a whole cannot be compared; empty if there are none.
pub(super) fn of_all(baseline: &ValidationReport, now: &ValidationReport) -> Vec<String> {
    let mut found = Vec::new();
    if baseline.workload != now.workload {
        found.push(format!("workload {} now, {} before", quoted(&now.workload), quoted(&baseline.workload)));
    }
    let (old, new) = (settings(baseline), settings(now));
    if old != new {
        let said = |s: Option<&str>| s.map_or_else(|| "no tracker".to_owned(), quoted);
        found.push(format!("{} now, {} before", said(new), said(old)));
    }
    found.extend(differences("configuration", &baseline.config, &now.config, &CONFIG_MAY_DIFFER));
    match (baseline.all_runs().next(), now.all_runs().next()) {
        (Some(old), Some(new)) => {
            found.extend(differences("machine", &old.machine, &new.machine, &MACHINE_MAY_DIFFER));
        }
        (None, _) => found.push("the baseline has no runs".to_owned()),
        (_, None) => found.push("there are no runs".to_owned()),
    }
    found
}

/// Returns the settings of the tracker, without the tracker's name and version; `None` without a tracker.
fn settings(report: &ValidationReport) -> Option<&str> {
    let text = report.tracker.as_deref()?;
    Some(text.split_once(", ").map_or(text, |(_, settings)| settings))
}

/// Returns one text for each field that differs between two values and is not in `may_differ`.
fn differences<T: Serialize>(of: &str, old: &T, new: &T, may_differ: &[&str]) -> Vec<String> {
    let (Ok(Value::Object(old)), Ok(Value::Object(new))) =
        (serde_json::to_value(old), serde_json::to_value(new))
    else {
        return vec![format!("the {of} cannot be read")];
    };
    let differs = |(name, new): (&String, &Value)| {
        let old = old.get(name)?;
        let counts = old != new && !may_differ.contains(&name.as_str());
        let [old, new] = [old, new].map(|v| quoted(&v.to_string()));
        counts.then(|| format!("{of}: {name} is {new} now, {old} before"))
    };
    new.iter().filter_map(differs).collect()
}

/// Returns the reason why the baseline has no runs for a load.
pub(super) fn of_no_such_load(load: &LoadModel, old: &[&ConcurrentTestResult]) -> String {
    let other_kind = old.iter().all(|r| r.load.is_open() != load.is_open());
    match (other_kind, load.is_open()) {
        (true, true) => "an open load now, closed ones before".to_owned(),
        (true, false) => "a closed load now, open ones before".to_owned(),
        _ => "the baseline has no such load".to_owned(),
    }
}

/// Returns the reason why the speed at one load cannot be compared; `None` if there is none.
pub(super) fn of_speed(old: &[&ConcurrentTestResult], new: &[&ConcurrentTestResult]) -> Option<String> {
    let (Some(first_old), Some(first_new)) = (old.first(), new.first()) else {
        return Some("no whole window on one side".to_owned());
    };
    let length = first_old.window_s;
    if let Some(other) = new.iter().chain(old).find(|r| !alike(length, r.window_s)) {
        let now = if alike(length, first_new.window_s) { other.window_s } else { first_new.window_s };
        return Some(format!("windows of {now:.3} s and of {length:.3} s"));
    }
    if old.iter().chain(new).any(|r| r.completeness.is_some() != first_old.completeness.is_some()) {
        return Some("a tracker was watched in some windows and not in others".to_owned());
    }
    for (side, runs) in [("now", new), ("before", old)] {
        if let Some(issue) = runs.iter().find_map(|r| why_invalid(r)) {
            return Some(format!("inconclusive {side}: {issue}"));
        }
        if runs.iter().any(|r| lost_events(r)) {
            return Some(format!("not every event was booked {side}"));
        }
        if runs.iter().any(|r| r.check_failures > 0) {
            return Some(format!("wrong answers {side}"));
        }
    }
    (old.len() < WINDOWS_MIN || new.len() < WINDOWS_MIN).then(|| {
        format!("{} windows now, {} before: an interval takes {WINDOWS_MIN} of each", new.len(), old.len())
    })
}

fn alike(a: f64, b: f64) -> bool {
    (a - b).abs() <= LENGTHS_DIFFER_FROM * a.abs()
}

fn why_invalid(run: &ConcurrentTestResult) -> Option<String> {
    let issue = run.doubts().next().map(|issue| quoted_plain(&issue.to_string()));
    issue.or_else(|| (!run.valid).then(|| "marked as invalid".to_owned()))
}

/// Whether the tracker lost events, by its counts or by the counts of the workload.
pub(super) fn lost_events(run: &ConcurrentTestResult) -> bool {
    run.completeness.as_ref().is_some_and(|c| {
        c.aggregated < c.observed
            || c.completeness.is_some_and(|share| share < 1.0)
            || !c.conserved
            || c.oracle_error.unwrap_or(0) != 0
    })
}

/// Returns a text from a file, shortened, on one line and in quotes.
fn quoted(text: &str) -> String {
    format!("\"{}\"", quoted_plain(text.trim_matches('"')))
}

/// Returns a text from a file, shortened and on one line.
pub(super) fn quoted_plain(text: &str) -> String {
    let short: String = text.chars().take(QUOTED).collect();
    let dots = if short.len() < text.len() { "…" } else { "" };
    escaped(&short) + dots
}
