//! Difference between two texts, one of which is the other text with additional lines.

use std::fmt::Write;

/// Number of unchanged lines that are shown before and after a change.
const CONTEXT: usize = 2;

/// Returns the difference as lines with `+` or `-`, under the file name `name`. One of the texts must contain all lines
/// of the other text, in the same order.
pub(super) fn line_diff(name: &str, before: &str, after: &str) -> String {
    let (sign, longer, shorter) =
        if after.len() >= before.len() { ('+', after, before) } else { ('-', before, after) };
    let mut left = shorter.lines().peekable();
    let lines: Vec<(char, &str)> = longer
        .lines()
        .map(|line| if left.next_if_eq(&line).is_some() { (' ', line) } else { (sign, line) })
        .collect();
    let is_near = |at: usize| {
        let range = at.saturating_sub(CONTEXT)..(at + CONTEXT + 1).min(lines.len());
        lines[range].iter().any(|(sign, _)| *sign != ' ')
    };
    let mut text = format!("--- {name}\n+++ {name}\n");
    let mut is_gap = true;
    for (at, (sign, line)) in lines.iter().enumerate() {
        if !is_near(at) {
            is_gap = true;
            continue;
        }
        if is_gap {
            writeln!(text, "@@ line {} @@", at + 1).expect("memory takes everything");
            is_gap = false;
        }
        writeln!(text, "{sign}{line}").expect("memory takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn added_and_removed_lines_are_shown_with_their_surroundings() {
        let (before, after) = ("a\nb\nc\nd\ne\nf\n", "a\nb\nc\nd\nx\ne\nf\ny\n");
        let added = line_diff("f", before, after);
        assert_eq!(added, "--- f\n+++ f\n@@ line 3 @@\n c\n d\n+x\n e\n f\n+y\n");
        assert!(line_diff("f", after, before).ends_with(" c\n d\n-x\n e\n f\n-y\n"));
    }
}
