//! A comparison with a baseline as text.

use std::fmt::Write;

use super::super::baseline::{BaselineComparison, Figure, FigureChange, LoadChange, Verdict};
use super::runs::load_in_words;
use super::table::{aligned, cell, percent};
use crate::text::escape::escaped;

const HEADINGS: [&str; 7] = ["load", "figure", "before", "now", "change %", "interval", "verdict"];

pub(super) fn changes_text(c: &BaselineComparison) -> String {
    if !c.reasons.is_empty() {
        return c
            .reasons
            .iter()
            .map(|why| format!("baseline        not comparable: {}\n", escaped(why)))
            .collect();
    }
    let mut text = format!(
        "baseline        intervals hold all at once with {:.0} %, each by itself with {:.2} %; Welch's t over windows\n",
        100.0 * c.confidence,
        100.0 * c.confidence_each
    );
    let heading = HEADINGS.map(str::to_owned).to_vec();
    let rows = c.loads.iter().flat_map(|l| l.figures.iter().filter(|f| own_row(l, f)).map(|f| row(l, f)));
    text.push_str(&aligned(&std::iter::once(heading).chain(rows).collect::<Vec<_>>()));
    for load in &c.loads {
        if let Some(why) = shared_reason(load) {
            let _ = writeln!(text, "not comparable  {}: {}", load_in_words(&load.load), escaped(why));
        }
    }
    for (load, change) in c.too_much_worse() {
        let allowed = match change.figure {
            Figure::Completeness => "events were lost".to_owned(),
            _ => format!("by more than {} %", 100.0 * c.worse_by),
        };
        let _ =
            writeln!(text, "worse           {}: {}, {allowed}", load_in_words(load), change.figure.name());
    }
    text
}

/// The reason that keeps more than one figure of a load from being compared.
fn shared_reason(load: &LoadChange) -> Option<&str> {
    let reason = |f: &FigureChange| match &f.verdict {
        Verdict::NotComparable(why) => Some(why.clone()),
        _ => None,
    };
    let first = load.figures.first()?;
    let why = reason(first)?;
    let shared = load.figures.iter().filter(|f| reason(f).as_ref() == Some(&why)).count() > 1;
    match &first.verdict {
        Verdict::NotComparable(why) if shared => Some(why),
        _ => None,
    }
}

/// Whether a figure says something that the line about its whole load does not.
fn own_row(load: &LoadChange, figure: &FigureChange) -> bool {
    !matches!(&figure.verdict, Verdict::NotComparable(why) if shared_reason(load) == Some(why))
}

fn row(load: &LoadChange, f: &FigureChange) -> Vec<String> {
    let share = |v: f64| format!("{:+.1}", 100.0 * v);
    let counted = f.figure == Figure::Completeness;
    let value = |v: Option<f64>| if counted { percent(v) } else { cell(v, 3) };
    let exact = |v: f64| match 100.0 * v {
        // One event of a billion is no zero.
        points if counted && points != 0.0 && points.abs() < 1e-3 => format!("{points:+.0e}"),
        points if counted => format!("{points:+.3}"),
        _ => share(v),
    };
    vec![
        load_in_words(&load.load),
        f.figure.name().to_owned(),
        value(f.baseline),
        value(f.now),
        f.change.map_or_else(|| "-".to_owned(), exact),
        f.interval.map_or_else(|| "-".to_owned(), |(low, high)| format!("{} to {}", exact(low), exact(high))),
        match &f.verdict {
            Verdict::Better => "better".to_owned(),
            Verdict::Worse => "worse".to_owned(),
            Verdict::NoDifferenceSeen => "no difference seen".to_owned(),
            Verdict::NotComparable(why) => format!("not comparable: {}", escaped(why)),
        },
    ]
}
