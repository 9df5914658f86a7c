//! The report as a page for a browser: one file without scripts, which requests nothing.
//!
//! The page has the plot, the tables of the text report, the parts of the response time and the window of each run, in
//! the styles of all pages (`crate::text::STYLES`). Every text of a workload, a system or a user is escaped. In
//! addition, a content security policy forbids scripts and requests.

use super::super::completeness::Overhead;
use super::super::result::{ConcurrentTestResult, ThresholdResult};
use super::super::series::ScalabilityReport;
use super::document::ValidationReport;
use super::figures::{breakdown_bars, list, window};
use super::plot::{dark_style, scalability_svg};
use super::table::{Column, Table, escape, fixed, percent, range, signed};
use super::text::{FEW_CORES, changes_text, level_table, loss_percent, runs_text};
use crate::text::{STYLES, units::count};

const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// The columns of the table with the tracker's cost at each number of users.
const COSTS: [Column<(usize, Overhead)>; 7] = [
    ("users", |(users, _)| Some(users.to_string())),
    ("throughput %", |(_, o)| loss_percent(o).map(|loss| signed(-loss / 100.0))),
    ("95 %", |(_, o)| o.interval.map(|(low, high)| range((-high, -low), signed))),
    ("p50 %", |(_, o)| o.p50_rise.map(signed)),
    ("cpu per answer %", |(_, o)| o.cpu_rise.map(signed)),
    ("95 %", |(_, o)| o.cpu_interval.map(|interval| range(interval, signed))),
    ("pairs", |(_, o)| Some(o.pairs.to_string())),
];

fn threshold_columns<'a>() -> [Column<(&'a ConcurrentTestResult, &'a ThresholdResult)>; 4] {
    [
        ("threshold", |(_, t)| Some(t.threshold.clone())),
        ("load", |(r, _)| Some(r.load.in_words())),
        ("value", |(_, t)| fixed(t.value, 4)),
        ("", |(_, t)| Some(if t.passed { "met" } else { "breached" }.to_owned())),
    ]
}

/// Returns the report as one HTML file.
///
/// # Examples
/// ```no_run
/// # fn example(report: &heapledger::validation::ValidationReport) -> std::io::Result<()> {
/// std::fs::write("validation.html", heapledger::validation::validation_html(report))
/// # }
/// ```
pub fn validation_html(report: &ValidationReport) -> String {
    let all: Vec<&ConcurrentTestResult> = report.all_runs().collect();
    let name = escape(&report.workload);
    let styles = [STYLES[0], STYLES[1], include_str!("page.css"), &dark_style()].join("\n");
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{name}: validation</title>\n<style>\n{styles}\n</style>\n</head>\n<body>\n\
         <header class=\"top\"><div class=\"top-row\"><h1><span class=\"brand\">heapledger validation</span> {name}</h1></div></header>\n<main>"
    );
    page.push_str(&overview(report, &all));
    if let Some(levels) = &report.scalability {
        page.push_str(&series(levels));
    }
    if !report.runs.is_empty() {
        page.push_str(&section("runs", "Loads", &lines(&runs_text(&report.runs))));
    }
    if let Some(changes) = &report.changes {
        page.push_str(&section("changes", "Since the baseline", &lines(&changes_text(changes))));
    }
    page.push_str(&findings(&all));
    let drawn: String = all.iter().map(|r| window(r)).collect();
    page.push_str(&section("windows", "The windows", &format!("<div class=\"v-windows\">{drawn}</div>")));
    page + "</main>\n</body>\n</html>\n"
}

/// Returns a section with a heading; `inside` is markup.
fn section(id: &str, heading: &str, inside: &str) -> String {
    format!(
        "<section id=\"{id}\" aria-labelledby=\"{id}-h\">\n<h2 id=\"{id}-h\">{heading}</h2>\n{inside}\n</section>\n"
    )
}

/// Returns preformatted text.
fn lines(text: &str) -> String {
    let safe: Vec<String> = text.lines().map(escape).collect();
    format!("<pre class=\"v-lines\">{}</pre>", safe.join("\n"))
}

/// Returns the banner and the tiles, which show completeness, validity and speed.
fn overview(report: &ValidationReport, all: &[&ConcurrentTestResult]) -> String {
    let runs = all.len();
    let known = || all.iter().filter_map(|r| r.completeness.as_ref());
    let lowest = known().filter_map(|c| c.completeness).reduce(f64::min);
    let incomplete = known().filter(|c| !c.is_perfect()).count();
    let breached = all.iter().flat_map(|r| &r.threshold_results).filter(|t| !t.passed).count();
    let doubtful = all.iter().filter(|r| !r.valid).count();
    let worse = report.changes.as_ref().map_or(0, |c| c.too_much_worse().count());
    let stopped = all.iter().any(|r| r.stopped_early);
    let tone = if worse + breached + incomplete > 0 || lowest.is_some_and(|c| c < 1.0) {
        "tone-bad"
    } else if doubtful > 0 || stopped {
        "tone-note"
    } else {
        "tone-good"
    };
    let oracle = known().any(|c| c.oracle_expected.is_some());
    let verdict = match incomplete {
        0 if lowest.is_none() => "no tracker was watched".to_owned(),
        0 if oracle => format!("every event booked in all {runs} runs, equal to the workload's own count"),
        0 => format!("every event booked in all {runs} runs"),
        n => format!("{n} of {runs} runs were not complete"),
    };
    let advice = report.scalability.iter().map(|s| format!("{:?}: {}", s.recommendation, s.detail.headline));
    let remarks = [
        (breached > 0, format!("{breached} thresholds were breached")),
        (worse > 0, format!("{worse} figures are worse than in the baseline")),
        (doubtful > 0, format!("{doubtful} of {runs} runs are inconclusive about speed")),
        (stopped, "stopped before the planned end".to_owned()),
    ];
    let remarks = remarks.into_iter().filter(|(applies, _)| *applies).map(|(_, text)| text);
    let about = report.tracker.iter().map(|t| format!("tracker: {t}")).chain(all.first().map(|r| {
        let m = &r.machine;
        let load = m.load_average.map_or_else(String::new, |l| format!(", load average {l}"));
        format!(
            "machine: {}{load}{}{}",
            m.in_words(),
            if m.cores <= 2 { "; " } else { "" },
            if m.cores <= 2 { FEW_CORES } else { "" }
        )
    }));
    format!(
        "<section id=\"overview\" aria-label=\"Overview\">\n<div id=\"about\">{}</div>\n\
         <div class=\"banner {tone}\"><div class=\"banner-head\"><div><p class=\"kicker\">completeness, lowest of all runs</p>\
         <p class=\"headline\">{} %</p><p class=\"verdict\">{}</p></div><div class=\"banner-text\">{}</div></div></div>\n{}</section>\n",
        about.map(|line| format!("<p>{}</p>", escape(&line))).collect::<String>(),
        percent(lowest).unwrap_or_else(|| "-".to_owned()),
        escape(&verdict),
        list(&advice.chain(remarks).collect::<Vec<_>>()),
        tiles(report, all)
    )
}

fn tiles(report: &ValidationReport, all: &[&ConcurrentTestResult]) -> String {
    let mut tiles = Vec::new();
    if let Some(s) = &report.scalability {
        let ((users, rate), (first, last)) = (s.peak_throughput, s.linear_scaling_range);
        let knee = s.optimal_concurrent_users.to_string();
        tiles.push(("most answers a second", format!("{rate:.1}"), format!("at {users} users")));
        tiles.push(("knee", knee, "users, with the most throughput per response time".to_owned()));
        tiles.push((
            "linear",
            format!("{first} to {last}"),
            "users, with 90 % efficiency or more".to_owned(),
        ));
    }
    let answers: usize = all.iter().map(|r| r.successful_requests).sum();
    let wrong: usize = all.iter().map(|r| r.check_failures).sum();
    let events: u64 = all.iter().filter_map(|r| r.completeness.as_ref()).map(|c| c.observed).sum();
    tiles.push(("wrong answers", count(wrong as u64), format!("of {}", count(answers as u64))));
    tiles.push(("events", count(events), "observed by the tracker".to_owned()));
    let tile = |(name, value, detail): (&str, String, String)| {
        format!(
            "<div class=\"tile\"><dt>{name}</dt><dd class=\"value\">{}</dd><dd class=\"detail\">{}</dd></div>",
            escape(&value),
            escape(&detail)
        )
    };
    format!("<dl class=\"tiles\">{}</dl>\n", tiles.into_iter().map(tile).collect::<String>())
}

/// Returns the sections of a scalability test: plot, levels, law, cost, parts of the response time.
fn series(s: &ScalabilityReport) -> String {
    let hint = |text: &str| format!("<p class=\"hint\">{text}</p>");
    let mut page =
        section("plot", "Over users", &format!("<div class=\"v-plot\">{}</div>", scalability_svg(s)));
    let levels = level_table(s).html()
        + &hint(
            "+- is half the 95 % interval; lock, cpu, coherency, pool and backlog are the increase since one user, in percent \
             of the response time.",
        );
    let law =
        s.model.as_ref().map_or_else(String::new, |law| format!("<p>Law: {}</p>", escape(&law.to_string())));
    page.push_str(&section("levels", "Levels", &(levels + &law + &list(&s.detail.actions))));
    if !s.overhead_curve.is_empty() {
        let costs = Table::new(&COSTS, &s.overhead_curve).html()
            + &hint(
                "With the tracker compared to without it, in pairs of consecutive runs. Processor time per answer does not depend \
                 on the load by other programs.",
            );
        page.push_str(&section("cost", "Cost of the tracker", &costs));
    }
    page + &section("time", "Parts of the response time", &breakdown_bars(&s.test_results))
}

/// Returns the sections of thresholds, and of deadlocks, stalls and doubts; empty if there are none.
fn findings(all: &[&ConcurrentTestResult]) -> String {
    let mut page = String::new();
    let judged: Vec<_> = all.iter().flat_map(|r| r.threshold_results.iter().map(move |t| (*r, t))).collect();
    if !judged.is_empty() {
        page.push_str(&section(
            "thresholds",
            "Thresholds",
            &Table::new(&threshold_columns(), &judged).html(),
        ));
    }
    let mut found: Vec<String> = Vec::new();
    for r in all {
        let deadlocks = r.deadlocks.iter().map(|d| format!("deadlock: {}", d.cycle));
        let transient =
            r.transient_deadlocks.iter().map(|d| format!("deadlock until a time-out: {}", d.cycle));
        let stalls = r.stalls.iter().filter(|s| !s.ended).map(|s| format!("stall: {:?}", s.class));
        let doubts = r.validity.iter().map(ToString::to_string);
        let texts = deadlocks.chain(transient).chain(stalls).chain(doubts);
        found.extend(texts.map(|text| format!("{}: {text}", r.load.in_words())));
    }
    found.dedup();
    if !found.is_empty() {
        page.push_str(&section("doubts", "Findings and doubts", &list(&found)));
    }
    page
}
