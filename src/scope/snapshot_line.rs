//! The text of a file of heap snapshots. It has comments at the start, and then one line for each name, sorted by name.
//!
//! ```text
//! # heap snapshots: see docs/HEAP_BUDGETS.md
//! parse/large allocations=12 bytes=3104~5% peak=9728 retained=0
//! parse/small allocations=3 reallocations=0 bytes=96 peak=64 retained=1 retained_bytes=32
//! ```

use super::figure::{ALL, Figure, Limit, figures};
use super::usage::Usage;

/// First line of a new file.
const HEAD: &str =
    "# Heap snapshots of the tests. `HEAPLEDGER_BLESS=1 cargo test` writes the lines of the tests that run.";

/// One figure in the line of a name, with its tolerance.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    figure: Figure,
    value: u64,
    tolerance: Tolerance,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tolerance {
    None,
    Absolute(u64),
    Percent(u64),
}

impl Kept {
    /// Returns the largest accepted difference from the value.
    fn accepted(&self) -> u64 {
        match self.tolerance {
            Tolerance::None => 0,
            Tolerance::Absolute(difference) => difference,
            Tolerance::Percent(percent) => {
                u64::try_from(u128::from(self.value) * u128::from(percent) / 100).unwrap_or(u64::MAX)
            }
        }
    }

    fn parse(word: &str) -> Result<Kept, String> {
        let unreadable =
            || format!("`{word}` is no figure: write `allocations=12`, `bytes=3104~5%` or `peak=512~64`");
        let (name, value) = word.split_once('=').ok_or_else(unreadable)?;
        let figure = ALL.into_iter().find(|figure| figure.name == name).ok_or_else(unreadable)?;
        let (value, tolerance) = match value.split_once('~') {
            None => (value, Tolerance::None),
            Some((value, tolerance)) => {
                let percent = tolerance.strip_suffix('%').map(str::parse).transpose();
                let tolerance = match percent.map_err(|_| unreadable())? {
                    Some(percent) => Tolerance::Percent(percent),
                    None => Tolerance::Absolute(tolerance.parse().map_err(|_| unreadable())?),
                };
                (value, tolerance)
            }
        };
        Ok(Kept { figure, value: value.parse().map_err(|_| unreadable())?, tolerance })
    }

    fn shown(&self) -> String {
        let Kept { figure: Figure { name, .. }, value, .. } = self;
        match self.tolerance {
            Tolerance::None => format!("{name}={value}"),
            Tolerance::Absolute(difference) => format!("{name}={value}~{difference}"),
            Tolerance::Percent(percent) => format!("{name}={value}~{percent}%"),
        }
    }

    /// Returns the upper limit of the figure, which the assertion checks.
    pub(super) fn upper(&self) -> Limit {
        let limit = self.value.saturating_add(self.accepted());
        Limit { figure: self.figure, operator: "<=", limit, holds: |figure, limit| figure <= limit }
    }

    /// Returns the lower limit of the figure. If a figure is below this limit, the value in the file can be lowered.
    /// Returns `None` for a peak that is not known exactly.
    pub(super) fn lower(&self, usage: &Usage) -> Option<Limit> {
        let limit = self.value.saturating_sub(self.accepted());
        let is_exact = usage.peak_uncertainty_bytes == 0 || self.figure.name != figures::peak.name;
        let holds: fn(u64, u64) -> bool = |figure, limit| figure >= limit;
        is_exact.then_some(Limit { figure: self.figure, operator: ">=", limit, holds })
    }

    /// Sets the value to the figure of a run if the figure is outside the tolerance.
    fn bless(&mut self, usage: &Usage) {
        let is_kept = self.upper().is_surely_kept(usage);
        if !is_kept || self.lower(usage).is_some_and(|limit| !limit.is_kept(usage)) {
            let is_peak = self.figure.name == figures::peak.name;
            let doubt = if is_peak { usage.peak_uncertainty_bytes } else { 0 };
            self.value = (self.figure.of)(usage).saturating_add(doubt);
        }
    }
}

/// Whether `name` is valid at the start of a line.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('#')
        && !name.contains(|character: char| character.is_whitespace() || character.is_control())
}

/// Returns the name at the start of a line; empty for an empty line.
fn name_of(line: &str) -> &str {
    line.split_whitespace().next().unwrap_or_default()
}

/// Returns the figures of a name, or `None` if the text has no line for the name. Returns an error if a figure in the
/// line cannot be read.
pub(super) fn find(text: &str, name: &str) -> Result<Option<Vec<Kept>>, String> {
    let Some(line) = text.lines().find(|line| name_of(line) == name) else {
        return Ok(None);
    };
    line.split_whitespace().skip(1).map(Kept::parse).collect::<Result<_, _>>().map(Some)
}

/// Returns `text` with the figures of a run in the line of `name`. Comments, other lines, tolerances, and the choice of
/// figures in the line are kept. A new line gets all figures that are known exactly.
pub(super) fn with_line(text: &str, name: &str, usage: &Usage) -> Result<String, String> {
    let kept = match find(text, name)? {
        Some(mut kept) => {
            kept.iter_mut().for_each(|kept| kept.bless(usage));
            kept
        }
        None => {
            let is_exact = |figure: &Figure| usage.peak_uncertainty_bytes == 0 || figure.name != "peak";
            let kept =
                |figure: Figure| Kept { figure, value: (figure.of)(usage), tolerance: Tolerance::None };
            ALL.into_iter().filter(is_exact).map(kept).collect()
        }
    };
    let figures: Vec<_> = kept.iter().map(Kept::shown).collect();
    let line = format!("{name} {}", figures.join(" "));
    let is_comment = |line: &&str| line.trim_start().starts_with('#');
    let mut comments: Vec<_> = text.lines().filter(is_comment).collect();
    if text.is_empty() {
        comments.push(HEAD);
    }
    let is_other = |line: &&str| !is_comment(line) && !matches!(name_of(line), "") && name_of(line) != name;
    let mut lines: Vec<_> = text.lines().filter(is_other).chain([line.as_str()]).collect();
    lines.sort_unstable_by_key(|line| name_of(line));
    Ok(comments.into_iter().chain(lines).flat_map(|line| [line, "\n"]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const USAGE: Usage = Usage {
        allocations: 12,
        reallocations: 1,
        bytes: 3104,
        retained_blocks: 0,
        retained_bytes: 0,
        peak_bytes: 9728,
        peak_uncertainty_bytes: 0,
        outside_allocations: 0,
        lost: 0,
        threads: 1,
    };

    #[test]
    fn a_new_line_has_every_figure_and_lines_are_sorted() {
        let text = with_line("", "parse/small", &USAGE).unwrap();
        let text = with_line(&text, "parse/large", &Usage { peak_uncertainty_bytes: 5, ..USAGE }).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("# Heap snapshots"));
        assert_eq!(
            lines[1],
            "parse/large allocations=12 reallocations=1 bytes=3104 retained=0 retained_bytes=0"
        );
        assert_eq!(
            lines[2],
            "parse/small allocations=12 reallocations=1 bytes=3104 peak=9728 retained=0 retained_bytes=0"
        );
        assert_eq!(lines.len(), 3);
        assert_eq!(with_line(&text, "parse/small", &USAGE).unwrap(), text, "the same figures change nothing");
    }

    #[test]
    fn blessing_keeps_tolerances_comments_and_the_choice_of_figures() {
        let text = "# ours\nz bytes=1\nparse allocations=11 bytes=3000~5% peak=9000~700\n\na bytes=2\n";
        assert_eq!(
            with_line(text, "parse", &USAGE).unwrap(),
            "# ours\na bytes=2\nparse allocations=12 bytes=3000~5% peak=9728~700\nz bytes=1\n"
        );
        let lower = Usage { bytes: 2849, ..USAGE };
        assert!(with_line(text, "parse", &lower).unwrap().contains("bytes=2849~5%"));
    }

    #[test]
    fn limits_have_the_tolerance_on_both_sides() {
        let kept = find("n bytes=1000~5% peak=100~7 retained=3", "n").unwrap().unwrap();
        let limits: Vec<_> = kept.iter().map(|kept| kept.upper().limit).collect();
        assert_eq!(limits, [1050, 107, 3]);
        let lower: Vec<_> = kept.iter().map(|kept| kept.lower(&USAGE).unwrap().limit).collect();
        assert_eq!(lower, [950, 93, 3]);
        assert!(kept[1].lower(&Usage { peak_uncertainty_bytes: 1, ..USAGE }).is_none());
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        assert!(find("n bytes=1", "m").unwrap().is_none());
        for line in ["n bytes", "n size=1", "n bytes=x", "n bytes=1~", "n bytes=1~x%", "n bytes=-1"] {
            assert!(find(line, "n").unwrap_err().contains("is no figure"), "{line}");
            assert!(with_line(line, "n", &USAGE).is_err());
        }
        assert!(is_name("parse/small"));
        assert!(["", "a b", "#a", "a\nb"].into_iter().all(|name| !is_name(name)));
    }
}
