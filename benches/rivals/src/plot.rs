//! Processor time of all contestants on all work as one SVG: a column of dots for each kind of work, on a logarithmic
//! scale.

use std::fmt::Write as _;

use crate::common::svg::{escape, on_log_scale};
use crate::contestants::{Contestant, Keeps};

const LEFT: f64 = 230.0;
const TOP: f64 = 64.0;
const WIDTH: f64 = 620.0;
const LINE: f64 = 17.0;
const GAP: f64 = 16.0;
const RATIO_MIN: f64 = 0.5;
const RATIO_MAX: f64 = 500.0;

/// One dot: the contestant, and its processor time as a multiple of the bare allocator's.
pub struct Dot<'a> {
    pub contestant: &'a Contestant,
    pub ratio: f64,
}

/// Draws the dots of each kind of work under its title.
pub fn svg(groups: &[(&str, Vec<Dot<'_>>)], caption: &str) -> String {
    let lines: usize = groups.iter().map(|(_, dots)| dots.len() + 1).sum();
    let bottom = TOP + lines as f64 * LINE + groups.len() as f64 * GAP;
    let mut svg = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        svg,
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#ffffff"/>
<text x="12" y="22" font-size="15" font-weight="bold">Processor time of the whole process, bare System = 1</text>
<text x="12" y="40" fill="#555555">{}</text>
"##,
        LEFT + WIDTH + 70.0,
        bottom + 24.0,
        escape(caption)
    );
    for ratio in [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0] {
        let (x, color) = (place(ratio), if ratio == 1.0 { "#888888" } else { "#e4e4e4" });
        let _ = writeln!(
            svg,
            r##"<line x1="{x:.1}" y1="{TOP}" x2="{x:.1}" y2="{bottom:.1}" stroke="{color}"/><text x="{x:.1}" y="{:.1}" text-anchor="middle" fill="#555555">{ratio}×</text>"##,
            TOP - 6.0
        );
    }
    let mut y = TOP;
    for (title, dots) in groups {
        y += GAP;
        let _ = writeln!(svg, r#"<text x="12" y="{y:.1}" font-weight="bold">{}</text>"#, escape(title));
        for dot in dots {
            y += LINE;
            draw(&mut svg, dot, y);
        }
        y += LINE;
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw(svg: &mut String, dot: &Dot<'_>, y: f64) {
    let (x, color) = (place(dot.ratio), color(dot.contestant));
    let _ = writeln!(
        svg,
        r#"<text x="24" y="{y:.1}">{}</text><line x1="{:.1}" y1="{:.1}" x2="{x:.1}" y2="{:.1}" stroke="{color}"/><circle cx="{x:.1}" cy="{:.1}" r="4.5" fill="{color}"/><text x="{:.1}" y="{y:.1}">{:.2}×</text>"#,
        escape(dot.contestant.name),
        place(1.0),
        y - 4.0,
        y - 4.0,
        y - 4.0,
        x.max(place(1.0)) + 9.0,
        dot.ratio
    );
}

fn color(contestant: &Contestant) -> &'static str {
    match contestant.keeps {
        _ if contestant.program == "under_heapledger" => "#0b6e4f",
        Keeps::Queue | Keeps::Books => "#c0392b",
        Keeps::LiveBlocks => "#b9770e",
        Keeps::Counters | Keeps::Samples => "#2e6da4",
        Keeps::Nothing => "#888888",
    }
}

fn place(ratio: f64) -> f64 {
    LEFT + on_log_scale(ratio, RATIO_MIN, RATIO_MAX) * WIDTH
}
