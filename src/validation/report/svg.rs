//! The scalability plot: four panels over the same levels, as one SVG without script or outside resources.
//!
//! Panels share their axis of users, which is logarithmic because levels usually double. Intervals are drawn as bars,
//! the fitted law as a line, and what is undefined leaves a gap.

use std::fmt::Write;

use super::super::scalability::{LevelSummary, ScalabilityReport};

const WIDTH: f64 = 760.0;
const PANEL: f64 = 150.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 34.0;
const GAP: f64 = 40.0;

/// What a series draws of a level; `None` leaves a gap.
type Figure = fn(&LevelSummary) -> Option<f64>;

/// One panel: what is drawn, from the bottom to the top of its scale.
struct Panel {
    title: &'static str,
    top: f64,
    low: f64,
    high: f64,
}

impl Panel {
    fn y(&self, value: f64) -> f64 {
        let span = (self.high - self.low).max(f64::MIN_POSITIVE);
        self.top + PANEL * (1.0 - ((value - self.low) / span).clamp(0.0, 1.0))
    }
}

/// Throughput, efficiency, contention and completeness over users.
///
/// # Examples
/// ```no_run
/// # fn example(report: &heapledger::validation::ScalabilityReport) -> std::io::Result<()> {
/// std::fs::write("scalability.svg", heapledger::validation::scalability_svg(report))
/// # }
/// ```
pub fn scalability_svg(report: &ScalabilityReport) -> String {
    let height = TOP + 4.0 * (PANEL + GAP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    let highest = report.levels.last().map_or(1, |l| l.users).max(2) as f64;
    let x = |users: f64| LEFT + (WIDTH - LEFT - RIGHT) * users.ln() / highest.ln();
    let panels = panels_of(report);
    for panel in &panels {
        frame(&mut svg, panel, &report.levels, &x);
    }
    if let Some(model) = &report.model {
        let points = (0..=60)
            .map(|i| highest.powf(f64::from(i) / 60.0))
            .map(|n| (x(n), panels[0].y(model.predict(n))));
        line(&mut svg, points, "#999", "4 3");
    }
    for l in &report.levels {
        if let Some((low, high)) = l.throughput_ci95 {
            let (at, a, b) = (x(l.users as f64), panels[0].y(low), panels[0].y(high));
            let _ = writeln!(
                svg,
                "<path d=\"M{at:.1} {a:.1}V{b:.1}\" stroke=\"#1f6fb4\" stroke-width=\"3\" opacity=\".35\"/>"
            );
        }
    }
    let series: [(usize, Figure, &str); 9] = [
        (0, |l| Some(l.throughput), "#1f6fb4"),
        (1, |l| l.efficiency, "#2a8a4a"),
        (2, |l| l.contention?.lock, "#c0392b"),
        (2, |l| l.contention?.cpu, "#e08e0b"),
        (2, |l| l.contention?.coherency, "#7d3c98"),
        (2, |l| Some(l.contention?.pool), "#16a085"),
        (2, |l| Some(l.contention?.backlog), "#7f8c8d"),
        (2, |l| Some(l.contention?.total), "#222"),
        (3, |l| Some(100.0 * l.completeness?), "#1f6fb4"),
    ];
    for (panel, value, colour) in series {
        let points =
            report.levels.iter().filter_map(|l| Some((x(l.users as f64), panels[panel].y(value(l)?))));
        let points: Vec<_> = points.collect();
        points.iter().for_each(|(px, py)| {
            let _ = writeln!(svg, "<circle cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"3\" fill=\"{colour}\"/>");
        });
        line(&mut svg, points.into_iter(), colour, "none");
    }
    legend(&mut svg, &panels[2]);
    if report.completeness_curve.is_empty() {
        note(&mut svg, &panels[3], "no tracker was watched");
    }
    if report.contention_curve.is_empty() {
        note(&mut svg, &panels[2], "no baseline");
    }
    svg.push_str("</svg>\n");
    svg
}

/// The four panels with their scales.
fn panels_of(report: &ScalabilityReport) -> [Panel; 4] {
    let top = |row: f64| TOP + row * (PANEL + GAP);
    let most = report
        .levels
        .iter()
        .map(|l| l.throughput_ci95.map_or(l.throughput, |(_, high)| high.max(l.throughput)))
        .fold(0.0, f64::max);
    let best_efficiency = report.efficiency_curve.iter().map(|(_, e)| *e).fold(100.0, f64::max);
    let worst = report.completeness_curve.iter().map(|(_, c)| *c).fold(1.0, f64::min);
    [
        Panel { title: "answers a second", top: top(0.0), low: 0.0, high: most.max(1e-9) },
        Panel { title: "efficiency, %", top: top(1.0), low: 0.0, high: best_efficiency },
        Panel { title: "contention, % of the response time", top: top(2.0), low: 0.0, high: 100.0 },
        // A loss of a thousandth must be visible, and none must not look like noise.
        Panel {
            title: "completeness of the tracker, %",
            top: top(3.0),
            low: 100.0 * (worst - 0.001),
            high: 100.0,
        },
    ]
}

fn frame(svg: &mut String, panel: &Panel, levels: &[LevelSummary], x: &impl Fn(f64) -> f64) {
    let (bottom, right) = (panel.top + PANEL, WIDTH - RIGHT);
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"{:.1}\" font-weight=\"bold\">{}</text>",
        panel.top - 8.0,
        panel.title
    );
    for share in [0.0, 0.5, 1.0] {
        let value = panel.low + share * (panel.high - panel.low);
        let y = panel.y(value);
        let label = if panel.high - panel.low < 1.0 { format!("{value:.3}") } else { format!("{value:.0}") };
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {y:.1}H{right}\" stroke=\"#ddd\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            LEFT - 6.0,
            y + 4.0
        );
    }
    for l in levels {
        let at = x(l.users as f64);
        let _ = writeln!(
            svg,
            "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            bottom + 15.0,
            l.users
        );
    }
}

fn line(svg: &mut String, points: impl Iterator<Item = (f64, f64)>, colour: &str, dashes: &str) {
    let mut path = String::new();
    for (i, (x, y)) in points.enumerate() {
        let _ = write!(path, "{}{x:.1} {y:.1}", if i == 0 { 'M' } else { 'L' });
    }
    if !path.is_empty() {
        let _ = writeln!(
            svg,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" stroke-dasharray=\"{dashes}\"/>"
        );
    }
}

fn legend(svg: &mut String, panel: &Panel) {
    let entries = [
        ("lock", "#c0392b"),
        ("cpu", "#e08e0b"),
        ("coherency", "#7d3c98"),
        ("pool", "#16a085"),
        ("backlog", "#7f8c8d"),
        ("all", "#222"),
    ];
    for (i, (name, colour)) in entries.iter().enumerate() {
        let x = LEFT + 300.0 + 70.0 * i as f64;
        let _ =
            writeln!(svg, "<text x=\"{x:.1}\" y=\"{:.1}\" fill=\"{colour}\">{name}</text>", panel.top - 8.0);
    }
}

fn note(svg: &mut String, panel: &Panel, text: &str) {
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"#888\">{text}</text>",
        LEFT + 10.0,
        panel.top + PANEL / 2.0
    );
}
