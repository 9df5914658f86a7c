//! The scalability plot: four panels over the same levels, as one SVG without script or outside resources.
//!
//! Panels share their axis of users, which is logarithmic because levels usually double. Intervals are drawn as bars,
//! the fitted law as a line, and what is undefined leaves a gap. Colours are attributes, for any viewer, and a style
//! sheet gives those for a dark screen where the viewer knows of such.

use std::fmt::Write;

use super::super::scalability::{LevelSummary, ScalabilityReport};

const WIDTH: f64 = 760.0;
const PANEL: f64 = 150.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 34.0;
const GAP: f64 = 40.0;

/// Colours on a light screen, by class.
const COLOURS: [(&str, &str, &str); 13] = [
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
    ("all", "#1a1d21", "#e7e9eb"),
    ("complete", "#1f6fb4", "#7fb2e6"),
];

/// The style sheet that gives each class its colour on a dark screen.
pub(super) fn dark_style() -> String {
    let mut style = "@media (prefers-color-scheme: dark){".to_owned();
    for (class, _, dark) in COLOURS {
        let _ = write!(style, ".v-{class}.f{{fill:{dark}}}.v-{class}.s{{stroke:{dark}}}");
    }
    style.push('}');
    style
}

/// The attributes of something filled with the colour of a class.
pub(super) fn fill(class: &str) -> String {
    format!("class=\"v-{class} f\" fill=\"{}\"", light(class))
}

/// The attributes of something drawn in the colour of a class.
pub(super) fn stroke(class: &str) -> String {
    format!("class=\"v-{class} s\" stroke=\"{}\"", light(class))
}

fn light(class: &str) -> &'static str {
    COLOURS.iter().find(|(name, ..)| *name == class).map_or("#000000", |(_, light, _)| light)
}

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
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n<title>Throughput, efficiency, contention and completeness over users</title>\n<style>{}</style>\n<rect width=\"{WIDTH}\" height=\"{height}\" {}/>\n",
        dark_style(),
        fill("page")
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
        line(&mut svg, points, "faint", "4 3");
    }
    for l in &report.levels {
        if let Some((low, high)) = l.throughput_ci95 {
            let (at, a, b) = (x(l.users as f64), panels[0].y(low), panels[0].y(high));
            let _ = writeln!(
                svg,
                "<path d=\"M{at:.1} {a:.1}V{b:.1}\" {} stroke-width=\"3\" opacity=\".35\"/>",
                stroke("answers")
            );
        }
    }
    let series: [(usize, Figure, &str); 9] = [
        (0, |l| Some(l.throughput), "answers"),
        (1, |l| l.efficiency, "efficiency"),
        (2, |l| l.contention?.lock, "lock"),
        (2, |l| l.contention?.cpu, "cpu"),
        (2, |l| l.contention?.coherency, "coherency"),
        (2, |l| Some(l.contention?.pool), "pool"),
        (2, |l| Some(l.contention?.backlog), "backlog"),
        (2, |l| Some(l.contention?.total), "all"),
        (3, |l| Some(100.0 * l.completeness?), "complete"),
    ];
    for (panel, value, class) in series {
        let points =
            report.levels.iter().filter_map(|l| Some((x(l.users as f64), panels[panel].y(value(l)?))));
        let points: Vec<_> = points.collect();
        points.iter().for_each(|(px, py)| {
            let _ = writeln!(svg, "<circle cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"3\" {}/>", fill(class));
        });
        line(&mut svg, points.into_iter(), class, "none");
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
        "<text x=\"{LEFT}\" y=\"{:.1}\" font-weight=\"bold\" {}>{}</text>",
        panel.top - 8.0,
        fill("ink"),
        panel.title
    );
    for share in [0.0, 0.5, 1.0] {
        let value = panel.low + share * (panel.high - panel.low);
        let y = panel.y(value);
        let label = if panel.high - panel.low < 1.0 { format!("{value:.3}") } else { format!("{value:.0}") };
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {y:.1}H{right}\" {}/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" {}>{label}</text>",
            stroke("grid"),
            LEFT - 6.0,
            y + 4.0,
            fill("faint")
        );
    }
    for l in levels {
        let at = x(l.users as f64);
        let _ = writeln!(
            svg,
            "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\" {}>{}</text>",
            bottom + 15.0,
            fill("faint"),
            l.users
        );
    }
}

fn line(svg: &mut String, points: impl Iterator<Item = (f64, f64)>, class: &str, dashes: &str) {
    let mut path = String::new();
    for (i, (x, y)) in points.enumerate() {
        let _ = write!(path, "{}{x:.1} {y:.1}", if i == 0 { 'M' } else { 'L' });
    }
    if !path.is_empty() {
        let _ = writeln!(
            svg,
            "<path d=\"{path}\" fill=\"none\" {} stroke-width=\"1.5\" stroke-dasharray=\"{dashes}\"/>",
            stroke(class)
        );
    }
}

fn legend(svg: &mut String, panel: &Panel) {
    for (i, name) in ["lock", "cpu", "coherency", "pool", "backlog", "all"].into_iter().enumerate() {
        let x = LEFT + 300.0 + 70.0 * i as f64;
        let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{:.1}\" {}>{name}</text>", panel.top - 8.0, fill(name));
    }
}

fn note(svg: &mut String, panel: &Panel, text: &str) {
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" {}>{text}</text>",
        LEFT + 10.0,
        panel.top + PANEL / 2.0,
        fill("faint")
    );
}
