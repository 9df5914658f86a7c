//! Small figures: where the time went, and the window of a run.

use std::fmt::Write;

use super::super::super::contention::TimeBreakdown;
use super::super::super::result::ConcurrentTestResult;
use super::super::super::scalability::middle_run;
use super::super::runs::load_in_words;
use super::super::svg::{fill, stroke};
use super::parts::{escape, list};

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 90.0;

/// The parts of a response time, with the class of their colour, in the order in which they are drawn.
fn parts(b: &TimeBreakdown) -> [(&'static str, &'static str, f64); 7] {
    // Where the system does not tell the run queue from a sleep, both are one part.
    let (run_queue, blocked) = match (b.run_queue_ms, b.blocked_ms) {
        (Some(run_queue), Some(blocked)) => (run_queue, blocked),
        _ => (0.0, b.off_cpu_ms),
    };
    [
        ("using the processor", "coherency", b.on_cpu_ms.unwrap_or(0.0)),
        ("waiting for a core", "cpu", run_queue + b.sched_delay_ms),
        ("asleep inside a poll", "lock", blocked),
        ("waiting for a connection", "pool", b.pool_wait_ms),
        ("waiting for a worker", "backlog", b.dispatch_queue_ms),
        ("between polls", "answers", b.idle_ms),
        ("not told apart", "grid", if b.on_cpu_ms.is_none() { b.off_cpu_ms } else { 0.0 }),
    ]
}

/// One bar for each level, divided by where the mean answer of its middle run spent its time.
pub(super) fn breakdown_bars(results: &[ConcurrentTestResult]) -> String {
    let mut page = String::from("<div class=\"v-bars\">");
    let mut named: Vec<(&str, &str)> = Vec::new();
    for runs in results.chunk_by(|a, b| a.concurrent_users == b.concurrent_users) {
        let Some(breakdown) = middle_run(runs.iter()).and_then(|r| r.breakdown.as_ref()) else { continue };
        let parts = parts(breakdown);
        let sum: f64 = parts.iter().map(|(.., ms)| ms).sum();
        if sum <= 0.0 {
            continue;
        }
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
        let users = runs[0].concurrent_users;
        let _ = writeln!(
            page,
            "<div class=\"v-bar\"><span>{users} users</span><svg viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\" role=\"img\" \
             aria-label=\"Parts of the response time with {users} users\">{bar}</svg><span>{:.3} ms</span></div>",
            breakdown.response_ms
        );
    }
    page.push_str("</div><p class=\"v-legend\">");
    for (name, class) in named {
        let _ = write!(
            page,
            "<span><svg viewBox=\"0 0 10 10\" width=\"10\" height=\"10\" aria-hidden=\"true\"><rect width=\"10\" height=\"10\" {}/></svg> {name}</span> ",
            fill(class)
        );
    }
    page.push_str("</p>");
    page
}

/// Answers a second and the longest response of each slice of a run.
pub(super) fn window(r: &ConcurrentTestResult) -> String {
    let most = r.timeline.iter().map(|s| f64::from(s.ok)).fold(1.0, f64::max);
    let longest = r.timeline.iter().filter_map(|s| s.max_ms).fold(f64::MIN_POSITIVE, f64::max);
    let n = r.timeline.len().max(2) as f64 - 1.0;
    let mut lines = String::new();
    for (class, share) in [
        ("answers", (|s, most, _| Some(f64::from(s.ok) / most)) as Share),
        ("lock", |s, _, longest| s.max_ms.map(|ms| ms / longest)),
    ] {
        let mut path = String::new();
        let mut pen = 'M';
        for (i, slice) in r.timeline.iter().enumerate() {
            // A slice without answers leaves a gap.
            let Some(share) = share(slice, most, longest) else {
                pen = 'M';
                continue;
            };
            let _ = write!(path, "{pen}{:.1} {:.1}", WIDTH * i as f64 / n, HEIGHT * (1.0 - 0.95 * share));
            pen = 'L';
        }
        if !path.is_empty() {
            let _ =
                write!(lines, "<path d=\"{path}\" fill=\"none\" {} stroke-width=\"1.5\"/>", stroke(class));
        }
    }
    let slice_s = r.window_s / r.timeline.len().max(1) as f64;
    let title = format!("{}, seed {}", load_in_words(&r.load), r.seed);
    let answers = format!("up to {:.1} answers a second", most / slice_s.max(f64::MIN_POSITIVE));
    let response = format!("longest response {longest:.3} ms");
    let mut notes: Vec<String> = Vec::new();
    notes.extend(r.completeness.as_ref().filter(|c| !c.is_perfect()).map(|_| "not complete".to_owned()));
    notes.extend((!r.valid).then(|| "allows no conclusions about speed".to_owned()));
    format!(
        "<figure><figcaption>{}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\
         <path d=\"M0 {HEIGHT}H{WIDTH}\" {}/>{lines}</svg><p class=\"hint\"><span {}>{}</span>, <span {}>{}</span></p>{}</figure>\n",
        escape(&title),
        escape(&format!("{title}: {answers}, {response}")),
        stroke("grid"),
        "class=\"v-answers-text\"",
        escape(&answers),
        "class=\"v-lock-text\"",
        escape(&response),
        list(&notes)
    )
}

/// The height of a slice from 0 to 1, given the most answers and the longest response of all.
type Share = fn(&super::super::super::result::Slice, f64, f64) -> Option<f64>;
