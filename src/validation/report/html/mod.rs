//! The report as a page for a browser: one file without script, that asks the network for nothing.
//!
//! What the text report says comes first, then the plot, then what text has no room for: where the time went, the
//! window of each run, the loads one by one. It wears the styles of the page of a dump (`crate::text::STYLES`). Every
//! text that a workload, a system or a user chose goes through `escape`; a policy forbids scripts and requests in any
//! case.

mod figures;
mod parts;

use std::fmt::Write;

use super::super::result::ConcurrentTestResult;
use super::super::scalability::ScalabilityReport;
use super::ValidationReport;
use super::svg::{dark_style, scalability_svg};
use super::table::{cell, percent};
use crate::text::units::count;
use figures::{breakdown_bars, window};
use parts::{Markup, Tone, escape, list, table, tile};

const STYLES: [&str; 3] = [crate::text::STYLES[0], crate::text::STYLES[1], include_str!("page.css")];

const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// The report as one HTML file.
///
/// # Examples
/// ```no_run
/// # fn example(report: &heapledger::validation::ValidationReport) -> std::io::Result<()> {
/// std::fs::write("validation.html", heapledger::validation::validation_html(report))
/// # }
/// ```
pub fn validation_html(report: &ValidationReport) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}: validation</title>\n<style>\n{}\n{}\n</style>\n</head>\n<body>\n",
        escape(&report.workload),
        STYLES.join("\n"),
        dark_style()
    );
    let _ = writeln!(
        page,
        "<header class=\"top\"><div class=\"top-row\"><h1><span class=\"brand\">heapledger validation</span> {}</h1></div></header>\n<main>",
        escape(&report.workload)
    );
    let all = every_run(report);
    page.push_str(&overview(report, &all));
    if let Some(levels) = &report.scalability {
        page.push_str(&series(levels));
    }
    if !report.runs.is_empty() {
        page.section("runs", "Loads", &parts::lines(&super::runs_text(&report.runs)));
    }
    if let Some(changes) = &report.changes {
        page.section("changes", "Since the baseline", &parts::lines(&super::changes::changes_text(changes)));
    }
    page.push_str(&findings(&all));
    page.push_str(&every_window(&all));
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn every_run(report: &ValidationReport) -> Vec<&ConcurrentTestResult> {
    report.scalability.iter().flat_map(|s| &s.test_results).chain(&report.runs).collect()
}

/// The banner and the tiles: how complete, how valid, how fast.
fn overview(report: &ValidationReport, all: &[&ConcurrentTestResult]) -> String {
    let known = all.iter().filter_map(|r| r.completeness.as_ref());
    let lowest = known.clone().filter_map(|c| c.completeness).reduce(f64::min);
    let wrong_books = known.clone().filter(|c| !c.is_perfect()).count();
    let breached = all.iter().flat_map(|r| &r.threshold_results).filter(|t| !t.passed).count();
    let doubtful = all.iter().filter(|r| !r.valid).count();
    let worse = report.changes.as_ref().map_or(0, |c| c.too_much_worse().count());
    let tone = match () {
        () if worse > 0 || breached > 0 || wrong_books > 0 || lowest.is_some_and(|c| c < 1.0) => Tone::Bad,
        () if doubtful > 0 || all.iter().any(|r| r.stopped_early) => Tone::Note,
        () => Tone::Good,
    };
    let mut verdict = match wrong_books {
        0 if lowest.is_some() => format!("every event booked in all {} runs", all.len()),
        0 => "no tracker was watched".to_owned(),
        n => format!("{n} of {} runs were not complete", all.len()),
    };
    let oracle = known.filter(|c| c.oracle_expected.is_some()).count();
    if oracle > 0 && wrong_books == 0 {
        let _ = write!(verdict, ", and as many as the workload says it made");
    }
    let mut text = vec![];
    text.extend(report.scalability.iter().map(|s| format!("{:?}: {}", s.recommendation, s.detail.headline)));
    text.extend((breached > 0).then(|| format!("{breached} thresholds were breached")));
    text.extend((worse > 0).then(|| format!("{worse} figures are worse than in the baseline")));
    text.extend(
        (doubtful > 0).then(|| format!("{doubtful} of {} runs allow no conclusions about speed", all.len())),
    );
    text.extend(all.iter().any(|r| r.stopped_early).then(|| "stopped before the planned end".to_owned()));
    let mut about: Vec<String> = report.tracker.iter().map(|t| format!("tracker: {t}")).collect();
    about.extend(all.first().map(|r| parts::machine(&r.machine)));
    format!(
        "<section id=\"overview\" aria-label=\"Overview\">\n<div id=\"about\">{}</div>\n\
         <div class=\"banner {}\"><div class=\"banner-head\"><div><p class=\"kicker\">completeness, lowest of all runs</p>\
         <p class=\"headline\">{} %</p><p class=\"verdict\">{}</p></div><div class=\"banner-text\">{}</div></div></div>\n{}</section>\n",
        about.iter().map(|line| format!("<p>{}</p>", escape(line))).collect::<String>(),
        tone.class(),
        percent(lowest),
        escape(&verdict),
        list(&text),
        tiles(report, all)
    )
}

fn tiles(report: &ValidationReport, all: &[&ConcurrentTestResult]) -> String {
    let mut tiles = String::from("<dl class=\"tiles\">");
    if let Some(s) = &report.scalability {
        let (users, rate) = s.peak_throughput;
        tiles.push_str(&tile("most answers a second", &format!("{rate:.1}"), &format!("at {users} users")));
        let knee = s.optimal_concurrent_users.to_string();
        tiles.push_str(&tile("knee", &knee, "users, with the most throughput per response time"));
        let (first, last) = s.linear_scaling_range;
        tiles.push_str(&tile("linear", &format!("{first} to {last}"), "users, with 90 % efficiency or more"));
    }
    let answers: usize = all.iter().map(|r| r.successful_requests).sum();
    let wrong: usize = all.iter().map(|r| r.check_failures).sum();
    tiles.push_str(&tile("wrong answers", &count(wrong as u64), &format!("of {}", count(answers as u64))));
    let events: u64 = all.iter().filter_map(|r| r.completeness.as_ref()).map(|c| c.observed).sum();
    tiles.push_str(&tile("events", &count(events), "seen by the tracker"));
    tiles.push_str("</dl>\n");
    tiles
}

/// A series of levels: plot, table, law, cost, time.
fn series(s: &ScalabilityReport) -> String {
    let mut page = String::new();
    page.section("plot", "Over users", &format!("<div class=\"v-plot\">{}</div>", scalability_svg(s)));
    let mut levels = parts::level_table(s);
    levels.push_str("<p class=\"hint\">± is half the 95 % interval; lock, cpu, coherency, pool and backlog are percent of the \
                     response time that were not there with one user.</p>");
    if let Some(model) = &s.model {
        let _ = write!(levels, "<p>Law: {}</p>", escape(&model.to_string()));
    }
    levels.push_str(&list(&s.detail.actions));
    page.section("levels", "Levels", &levels);
    if !s.overhead_curve.is_empty() {
        let rows = s.overhead_curve.iter().map(|(users, o)| {
            let share = |v: f64| format!("{:+.1}", 100.0 * v);
            let interval = |i: Option<(f64, f64)>| {
                i.map_or_else(|| "-".to_owned(), |(a, b)| format!("{} to {}", share(a), share(b)))
            };
            vec![
                users.to_string(),
                share(-o.throughput_loss),
                interval(o.interval.map(|(a, b)| (-b, -a))),
                o.p50_rise.map_or_else(|| "-".to_owned(), share),
                o.cpu_rise.map_or_else(|| "-".to_owned(), share),
                interval(o.cpu_interval),
                o.pairs.to_string(),
            ]
        });
        let headings = ["users", "throughput %", "95 %", "p50 %", "cpu per answer %", "95 %", "pairs"];
        let hint = "<p class=\"hint\">With the tracker against without it, in pairs of runs next to each other. Processor time per \
                    answer does not depend on how often a core was to be had.</p>";
        page.section("cost", "What the tracker costs", &(table(&headings, rows) + hint));
    }
    page.section("time", "Where the time went", &breakdown_bars(&s.test_results));
    page
}

/// Thresholds, doubts, deadlocks and stalls, where there are any.
fn findings(all: &[&ConcurrentTestResult]) -> String {
    let mut page = String::new();
    let judged: Vec<Vec<String>> = all
        .iter()
        .flat_map(|r| r.threshold_results.iter().map(move |t| (r, t)))
        .map(|(r, t)| {
            let verdict = if t.passed { "met" } else { "breached" };
            vec![
                t.threshold.clone(),
                super::runs::load_in_words(&r.load),
                cell(t.value, 4),
                verdict.to_owned(),
            ]
        })
        .collect();
    if !judged.is_empty() {
        page.section(
            "thresholds",
            "Thresholds",
            &table(&["threshold", "load", "value", ""], judged.into_iter()),
        );
    }
    let said =
        |r: &ConcurrentTestResult, what: String| format!("{}: {what}", super::runs::load_in_words(&r.load));
    let mut found: Vec<String> = Vec::new();
    for r in all {
        found.extend(r.deadlocks.iter().map(|d| said(r, format!("deadlock: {}", d.cycle))));
        found.extend(
            r.transient_deadlocks.iter().map(|d| said(r, format!("deadlock until a time-out: {}", d.cycle))),
        );
        found.extend(r.stalls.iter().filter(|s| !s.ended).map(|s| said(r, format!("stall: {:?}", s.class))));
        found.extend(r.validity.iter().map(|v| said(r, v.to_string())));
    }
    found.dedup();
    if !found.is_empty() {
        page.section("doubts", "Findings and doubts", &list(&found));
    }
    page
}

/// The window of each run, slice by slice.
fn every_window(all: &[&ConcurrentTestResult]) -> String {
    let mut page = String::new();
    let drawn: String = all.iter().map(|r| window(r)).collect();
    page.section("windows", "The windows", &format!("<div class=\"v-windows\">{drawn}</div>"));
    page
}
