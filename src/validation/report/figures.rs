//! Small figures of the page: the parts of the response time, and the window of a run.

use std::fmt::Write;

use super::super::contention::TimeBreakdown;
use super::super::result::ConcurrentTestResult;
use super::super::series::median_run;
use super::plot::{fill, line, stroke};
use super::table::escape;

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 90.0;

/// Returns the parts of a response time in drawing order: name, class of the colour, time in milliseconds.
fn parts(b: &TimeBreakdown) -> [(&'static str, &'static str, f64); 7] {
    // If the system does not separate the run queue from sleep, both are one part.
    let (run_queue, blocked) = b.run_queue_ms.zip(b.blocked_ms).unwrap_or((0.0, b.off_cpu_ms));
    [
        ("using the processor", "coherency", b.on_cpu_ms.unwrap_or(0.0)),
        ("waiting for a core", "cpu", run_queue + b.sched_delay_ms),
        ("asleep inside a poll", "lock", blocked),
        ("waiting for a connection", "pool", b.pool_wait_ms),
        ("waiting for a worker", "backlog", b.dispatch_queue_ms),
        ("between polls", "answers", b.idle_ms),
        ("not separated", "grid", if b.on_cpu_ms.is_none() { b.off_cpu_ms } else { 0.0 }),
    ]
}

/// Draws one bar for each level, divided into the parts of the mean response time. The figures are those of the level's
/// median run.
pub(super) fn breakdown_bars(results: &[ConcurrentTestResult]) -> String {
    let mut page = String::from("<div class=\"v-bars\">");
    let mut named: Vec<(&str, &str)> = Vec::new();
    for runs in results.chunk_by(|a, b| a.concurrent_users == b.concurrent_users) {
        let Some(breakdown) = median_run(runs).and_then(|r| r.breakdown.as_ref()) else { continue };
        let parts = parts(breakdown);
        let sum: f64 = parts.iter().map(|(.., ms)| ms).sum();
        let (mut bar, mut x) = (String::new(), 0.0);
        for (name, class, ms) in parts.into_iter().filter(|(.., ms)| *ms > 0.0) {
            let width = 100.0 * ms / sum;
            let _ = write!(
                bar,
                "<rect x=\"{x:.2}\" y=\"0\" width=\"{width:.2}\" height=\"10\" {}><title>{name}: {ms:.3} ms, {width:.1} %</title></rect>",
                fill(class)
            );
            x += width;
            if !named.contains(&(name, class)) {
                named.push((name, class));
            }
        }
        if !bar.is_empty() {
            let _ = writeln!(
                page,
                "<div class=\"v-bar\"><span>{users} users</span><svg viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\" role=\"img\" \
                 aria-label=\"Parts of the response time with {users} users\">{bar}</svg><span>{:.3} ms</span></div>",
                breakdown.response_ms,
                users = runs[0].concurrent_users
            );
        }
    }
    page.push_str("</div><p class=\"v-legend\">");
    for (name, class) in named {
        let _ = write!(
            page,
            "<span><svg viewBox=\"0 0 10 10\" width=\"10\" height=\"10\" aria-hidden=\"true\"><rect width=\"10\" height=\"10\" {}/></svg> {name}</span> ",
            fill(class)
        );
    }
    page + "</p>"
}

/// Draws throughput and maximum response time of each slice of a run.
pub(super) fn window(r: &ConcurrentTestResult) -> String {
    let most = r.timeline.iter().map(|s| f64::from(s.ok)).fold(1.0, f64::max);
    let longest = r.timeline.iter().filter_map(|s| s.max_ms).fold(f64::MIN_POSITIVE, f64::max);
    let n = r.timeline.len().max(2) as f64 - 1.0;
    let point = |i: usize, share: f64| (WIDTH * i as f64 / n, HEIGHT * (1.0 - 0.95 * share));
    let slices = || r.timeline.iter().enumerate();
    let rates = slices().map(|(i, s)| Some(point(i, f64::from(s.ok) / most)));
    let maxima = slices().map(|(i, s)| Some(point(i, s.max_ms? / longest)));
    let lines = line(rates, "answers", "none") + &line(maxima, "lock", "none");
    let slice_s = (r.window_s / r.timeline.len().max(1) as f64).max(f64::MIN_POSITIVE);
    let title = escape(&format!("{}, seed {}", r.load.in_words(), r.seed));
    let answers = format!("up to {:.1} answers a second", most / slice_s);
    let response = format!("longest response {longest:.3} ms");
    let incomplete = r.completeness.as_ref().is_some_and(|c| !c.is_perfect());
    let notes = [(incomplete, "not complete"), (!r.valid, "inconclusive about speed")];
    let notes = notes.into_iter().filter(|(applies, _)| *applies).map(|(_, note)| note.to_owned());
    format!(
        "<figure><figcaption>{title}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}: {answers}, {response}\">\
         <path d=\"M0 {HEIGHT}H{WIDTH}\" {}/>{lines}</svg><p class=\"hint\"><span class=\"v-answers-text\">{answers}</span>, \
         <span class=\"v-lock-text\">{response}</span></p>{}</figure>\n",
        stroke("grid"),
        list(&notes.collect::<Vec<_>>())
    )
}

/// Returns a list of texts as markup; empty if there are no texts.
pub(super) fn list(texts: &[String]) -> String {
    if texts.is_empty() {
        return String::new();
    }
    let items: String = texts.iter().map(|t| format!("<li>{}</li>", escape(t))).collect();
    format!("<ul class=\"warnings\">{items}</ul>")
}
