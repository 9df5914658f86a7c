//! The percentiles of allocations as one SVG: a panel for each workload and load, a line for each contestant. Both
//! scales are logarithmic. The horizontal scale is the share of calls that took longer, falling to the right.

use std::fmt::Write as _;

use crate::Outcome;
use crate::child::{Account, LOADS, busy_threads};
use crate::common::svg::{escape, on_log_scale};
use crate::ticks::Clock;

const LEFT: f64 = 70.0;
const TOP: f64 = 84.0;
const PANEL_WIDTH: f64 = 400.0;
const PANEL_HEIGHT: f64 = 190.0;
const GAP_X: f64 = 70.0;
const GAP_Y: f64 = 56.0;
const NS_MIN: f64 = 10.0;
const NS_MAX: f64 = 1e8;
/// Smallest drawn share of calls: one in a hundred thousand.
const SHARE_MIN: f64 = 1e-5;
/// Number of points of a line.
const POINTS: u32 = 60;
const LABELS: [(f64, &str); 6] =
    [(0.5, "p50"), (0.1, "p90"), (0.01, "p99"), (1e-3, "p99.9"), (1e-4, "p99.99"), (1e-5, "p99.999")];

/// Draws all workloads except "nothing".
pub fn svg(outcomes: &[Outcome], clock: &Clock) -> String {
    let drawn: Vec<&Outcome> = outcomes.iter().filter(|(workload, _)| !workload.is_nothing()).collect();
    let (width, height) = (
        LEFT + LOADS.len() as f64 * (PANEL_WIDTH + GAP_X),
        TOP + drawn.len() as f64 * (PANEL_HEIGHT + GAP_Y) + 10.0,
    );
    let mut svg = String::new();
    // Writing to a string cannot fail, here and below.
    let _ = writeln!(
        svg,
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">
<rect width="100%" height="100%" fill="#ffffff"/>
<text x="12" y="22" font-size="15" font-weight="bold">How long a single allocation takes, the clock's own time included</text>"##
    );
    if let Some((_, cells)) = drawn.first() {
        for (number, (contestant, _)) in cells.iter().enumerate() {
            let x = 12.0 + 155.0 * number as f64;
            let _ = writeln!(
                svg,
                r#"<line x1="{x}" y1="38" x2="{}" y2="38" stroke="{}" stroke-width="3"/><text x="{}" y="42">{}</text>"#,
                x + 22.0,
                contestant.color,
                x + 28.0,
                escape(contestant.name)
            );
            let _ = writeln!(
                svg,
                r##"<text x="{}" y="55" fill="#555555">{}</text>"##,
                x + 28.0,
                worst_completeness(&drawn, number)
            );
        }
    }
    for (row, outcome) in drawn.iter().enumerate() {
        for load in 0..LOADS.len() {
            let x = LEFT + load as f64 * (PANEL_WIDTH + GAP_X);
            let y = TOP + 14.0 + row as f64 * (PANEL_HEIGHT + GAP_Y);
            panel(&mut svg, outcome, load, (x, y), clock);
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// Returns the lowest completeness of a contestant, rounded down.
fn worst_completeness(drawn: &[&Outcome], contestant: usize) -> String {
    let loads = drawn.iter().filter_map(|(_, cells)| cells.get(contestant)).flat_map(|(_, cell)| &cell.loads);
    let share = |account: &Account| account.recorded.saturating_mul(100_000).checked_div(account.attempted);
    let worst = loads.clone().filter_map(|load| share(&load.account)).min();
    let is_sampled = loads.clone().any(|load| load.account.sampled_out > 0);
    match worst {
        None => "records nothing".to_owned(),
        Some(worst) if is_sampled => format!("{}.{:03} % of a sample", worst / 1_000, worst % 1_000),
        Some(worst) => format!("{}.{:03} % recorded", worst / 1_000, worst % 1_000),
    }
}

fn panel(svg: &mut String, (workload, cells): &Outcome, load: usize, (left, top): (f64, f64), clock: &Clock) {
    let x = |share: f64| left + on_log_scale(0.5 / share, 1.0, 0.5 / SHARE_MIN) * PANEL_WIDTH;
    let y = |ns: f64| top + PANEL_HEIGHT - on_log_scale(ns, NS_MIN, NS_MAX) * PANEL_HEIGHT;
    let busy = if LOADS[load] { busy_threads() } else { 0 };
    let _ = writeln!(
        svg,
        r#"<text x="{left}" y="{:.1}" font-weight="bold">{}, {busy} busy threads</text>"#,
        top - 8.0,
        escape(workload.name)
    );
    for (ns, name) in [
        (10.0, "10 ns"),
        (100.0, "100 ns"),
        (1e3, "1 µs"),
        (1e4, "10 µs"),
        (1e5, "100 µs"),
        (1e6, "1 ms"),
        (1e7, "10 ms"),
        (1e8, "100 ms"),
    ] {
        let _ = writeln!(
            svg,
            r##"<line x1="{left}" y1="{0:.1}" x2="{1}" y2="{0:.1}" stroke="#e4e4e4"/><text x="{2}" y="{3:.1}" text-anchor="end" fill="#555555">{name}</text>"##,
            y(ns),
            left + PANEL_WIDTH,
            left - 5.0,
            y(ns) + 4.0
        );
    }
    for (share, name) in LABELS {
        let _ = writeln!(
            svg,
            r##"<line x1="{0:.1}" y1="{top}" x2="{0:.1}" y2="{1}" stroke="#e4e4e4"/><text x="{0:.1}" y="{2}" text-anchor="middle" fill="#555555">{name}</text>"##,
            x(share),
            top + PANEL_HEIGHT,
            top + PANEL_HEIGHT + 13.0
        );
    }
    for (contestant, cell) in cells {
        let Some(figures) = cell.loads.get(load) else { continue };
        let mut points = String::new();
        for point in 0..=POINTS {
            let share = 0.5 * (SHARE_MIN / 0.5).powf(f64::from(point) / f64::from(POINTS));
            let ns = clock.ns(figures.allocs.value_at_quantile(1.0 - share));
            let _ = write!(points, "{:.1},{:.1} ", x(share), y(ns));
        }
        let _ = writeln!(
            svg,
            r#"<polyline points="{}" fill="none" stroke="{}" stroke-width="1.5"/>"#,
            points.trim_end(),
            contestant.color
        );
    }
}
