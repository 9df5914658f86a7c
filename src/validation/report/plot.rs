//! The scalability plot: four panels over the same levels, as one SVG without script or external resources.
//!
//! The panels share their axis of users, which is logarithmic because levels usually double. Intervals are bars, the
//! fitted law is a dashed line, and an undefined figure leaves a gap. Colours are SVG attributes, which every viewer
//! supports. A style sheet replaces the colours on a dark screen if the viewer supports style sheets.

use std::fmt::Write;

use super::super::series::{LevelSummary, ScalabilityReport};

const WIDTH: f64 = 760.0;
const PANEL: f64 = 150.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 34.0;
const GAP: f64 = 40.0;

/// The colours: name of the class, colour on a light screen, colour on a dark screen.
const COLOURS: [(&str, &str, &str); 11] = [
    ("page", "#ffffff", "#1c2024"),
    ("ink", "#1a1d21", "#e7e9eb"),
    ("faint", "#70777e", "#a2abb4"),
    ("grid", "#dddddd", "#333a40"),
    ("answers", "#1f6fb4", "#7fb2e6"),
    ("efficiency", "#1f7a3f", "#7cd09b"),
    ("lock", "#b83227", "#ff9488"),
    ("cpu", "#9a5b00", "#e9bc66"),
    ("coherency", "#7d3c98", "#cfa5e6"),
    ("pool", "#0f7864", "#6fd3bf"),
    ("backlog", "#646d73", "#b3bcc2"),
];

/// Returns the style sheet with the colours of a dark screen.
pub(super) fn dark_style() -> String {
    let rule = |(class, _, dark): &(&str, &str, &str)| {
        format!(".v-{class}.f{{fill:{dark}}}.v-{class}.s{{stroke:{dark}}}")
    };
    let rules: String = COLOURS.iter().map(rule).collect();
    format!("@media (prefers-color-scheme: dark){{{rules}}}")
}

fn light(class: &str) -> &'static str {
    COLOURS.iter().find(|(name, ..)| *name == class).map_or("#000000", |(_, light, _)| light)
}

/// Returns the attributes of a shape that is filled with the colour of a class.
pub(super) fn fill(class: &str) -> String {
    format!("class=\"v-{class} f\" fill=\"{}\"", light(class))
}

/// Returns the attributes of a line in the colour of a class.
pub(super) fn stroke(class: &str) -> String {
    format!("class=\"v-{class} s\" stroke=\"{}\"", light(class))
}

/// Draws a line through points; `None` leaves a gap. The result is empty without a point.
pub(super) fn line(points: impl Iterator<Item = Option<(f64, f64)>>, class: &str, dashes: &str) -> String {
    let (mut path, mut pen) = (String::new(), 'M');
    for point in points {
        match point {
            Some((x, y)) => {
                let _ = write!(path, "{pen}{x:.1} {y:.1}");
                pen = 'L';
            }
            None => pen = 'M',
        }
    }
    let attributes = format!("fill=\"none\" {} stroke-width=\"1.5\"", stroke(class));
    match path.as_str() {
        "" => path,
        path => format!("<path d=\"{path}\" {attributes} stroke-dasharray=\"{dashes}\"/>\n"),
    }
}

fn label(x: f64, y: f64, attributes: &str, class: &str, text: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" {attributes} {}>{text}</text>\n", fill(class))
}

/// A series: its name, the class of its colour, and its value at a level.
type Series = (&'static str, &'static str, fn(&LevelSummary) -> Option<f64>);

/// One panel: its series, and the two ends of its vertical scale.
struct Panel {
    title: &'static str,
    low: f64,
    high: f64,
    series: &'static [Series],
    /// Text of an empty panel.
    empty: &'static str,
}

const CONTENTION: [Series; 6] = [
    ("lock", "lock", |l| l.contention?.lock),
    ("cpu", "cpu", |l| l.contention?.cpu),
    ("coherency", "coherency", |l| l.contention?.coherency),
    ("pool", "pool", |l| Some(l.contention?.pool)),
    ("backlog", "backlog", |l| Some(l.contention?.backlog)),
    ("all", "ink", |l| Some(l.contention?.total)),
];

/// Returns the four panels with their scales.
fn panels_of(report: &ScalabilityReport) -> [Panel; 4] {
    let top = |l: &LevelSummary| l.throughput_ci95.map_or(l.throughput, |(_, high)| high.max(l.throughput));
    let most = report.levels.iter().map(top).fold(1e-9, f64::max);
    let best_efficiency = report.efficiency_curve.iter().map(|(_, e)| *e).fold(100.0, f64::max);
    let worst = report.completeness_curve.iter().map(|(_, c)| *c).fold(1.0, f64::min);
    let panel = |title, (low, high), series, empty| Panel { title, low, high, series, empty };
    let percent = (0.0, 100.0);
    // The scale makes a loss of a thousandth visible.
    let complete = (100.0 * (worst - 0.001), 100.0);
    [
        panel("answers a second", (0.0, most), &[("", "answers", |l| Some(l.throughput))], ""),
        panel("efficiency, %", (0.0, best_efficiency), &[("", "efficiency", |l| l.efficiency)], ""),
        panel("contention, % of the response time", percent, &CONTENTION, "no baseline"),
        panel(
            "completeness of the tracker, %",
            complete,
            &[("", "answers", |l| Some(100.0 * l.completeness?))],
            "no tracker was watched",
        ),
    ]
}

/// Draws throughput, efficiency, contention and completeness over users, as one SVG.
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
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n<title>Throughput, efficiency, contention and completeness over users</title>\n<style>{}</style>\n<rect width=\"{WIDTH}\" height=\"{height}\" {}/>\n",
        dark_style(),
        fill("page")
    );
    let highest = report.levels.last().map_or(1, |l| l.users).max(2) as f64;
    let x = |users: f64| LEFT + (WIDTH - LEFT - RIGHT) * users.ln() / highest.ln();
    for (row, panel) in panels_of(report).iter().enumerate() {
        let top = TOP + row as f64 * (PANEL + GAP);
        let y = |value: f64| {
            let span = (panel.high - panel.low).max(f64::MIN_POSITIVE);
            top + PANEL * (1.0 - ((value - panel.low) / span).clamp(0.0, 1.0))
        };
        svg.push_str(&frame(panel, top, y));
        for l in &report.levels {
            let (at, below) = (x(l.users as f64), top + PANEL + 15.0);
            svg.push_str(&label(at, below, "text-anchor=\"middle\"", "faint", &l.users.to_string()));
        }
        if row == 0 {
            svg.push_str(&law_and_intervals(report, highest, x, y));
        }
        let mut is_empty = true;
        for (_, class, value) in panel.series {
            let points = report.levels.iter().filter_map(|l| Some((x(l.users as f64), y(value(l)?))));
            for (px, py) in points.clone() {
                is_empty = false;
                let _ = writeln!(svg, "<circle cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"3\" {}/>", fill(class));
            }
            svg.push_str(&line(points.map(Some), class, "none"));
        }
        if is_empty {
            svg.push_str(&label(LEFT + 10.0, top + PANEL / 2.0, "", "faint", panel.empty));
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// Draws title, legend and grid of a panel.
fn frame(panel: &Panel, top: f64, y: impl Fn(f64) -> f64) -> String {
    let mut svg = label(LEFT, top - 8.0, "font-weight=\"bold\"", "ink", panel.title);
    for (i, (name, class, _)) in panel.series.iter().filter(|(name, ..)| !name.is_empty()).enumerate() {
        svg.push_str(&label(LEFT + 300.0 + 70.0 * i as f64, top - 8.0, "", class, name));
    }
    let digits = if panel.high - panel.low < 1.0 { 3 } else { 0 };
    for share in [0.0, 0.5, 1.0] {
        let value = panel.low + share * (panel.high - panel.low);
        let _ = write!(svg, "<path d=\"M{LEFT} {:.1}H{}\" {}/>", y(value), WIDTH - RIGHT, stroke("grid"));
        let text = format!("{value:.digits$}");
        svg.push_str(&label(LEFT - 6.0, y(value) + 4.0, "text-anchor=\"end\"", "faint", &text));
    }
    svg
}

fn law_and_intervals(
    report: &ScalabilityReport,
    highest: f64,
    x: impl Fn(f64) -> f64,
    y: impl Fn(f64) -> f64,
) -> String {
    let mut svg = String::new();
    if let Some(model) = &report.model {
        let users = (0..=60).map(|i| highest.powf(f64::from(i) / 60.0));
        svg.push_str(&line(users.map(|n| Some((x(n), y(model.predict(n))))), "faint", "4 3"));
    }
    for (users, (low, high)) in report.levels.iter().filter_map(|l| Some((l.users, l.throughput_ci95?))) {
        let (at, attributes) = (x(users as f64), "stroke-width=\"3\" opacity=\".35\"");
        let _ = writeln!(
            svg,
            "<path d=\"M{at:.1} {:.1}V{:.1}\" {} {attributes}/>",
            y(low),
            y(high),
            stroke("answers")
        );
    }
    svg
}
