//! Suppressions of expected leaks, in the syntax of LeakSanitizer.
//!
//! ```text
//! # A line that begins with a number sign is a comment.
//! leak:lazy_static
//! leak:^demo::cache::*::fill$
//! leak:libcrypto.so
//! ```
//!
//! [`built_in`] has suppressions for the blocks that Rust's standard library keeps until the end of the process. These
//! need no file.
//!
//! A suppression matches a stack if its pattern matches a part of the function name, the source file or the module of
//! any frame. In a pattern, `*` matches any text, `^` the beginning and `$` the end.

use std::fmt;

/// Suppressions of the blocks that the standard library allocates for itself and never frees: before `main`, for
/// standard input and output, and for the names in backtraces. None of the listed functions calls code of the program.
const OF_STD: &str = "\
leak:^std::rt::init$
leak:^std::io::stdio::stdin$
leak:^std::io::stdio::stdout$
leak:std::backtrace_rs::symbolize::gimli::libs_dl_iterate_phdr::native_libraries
leak:std::backtrace_rs::symbolize::gimli::create_mapping
leak:std::backtrace_rs::symbolize::gimli::Context*::find_frames
leak:std::backtrace_rs::symbolize::gimli::Cache*::mapping_for_lib
";

/// Suppression: one line of a file of suppressions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// Pattern as written in the file.
    pub pattern: String,
    /// Whether the suppression is one of [`built_in`].
    pub is_built_in: bool,
    /// Texts between the `*` of the pattern. A matching text contains them in this order.
    parts: Vec<String>,
    is_from_start: bool,
    is_to_end: bool,
}

/// Error for a line that is neither a suppression nor a comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadSuppression {
    /// Number of the line, from 1.
    pub line: usize,
    /// Text of the line.
    pub text: String,
}

impl fmt::Display for BadSuppression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} is neither `leak:pattern` nor a comment: {}", self.line, self.text)
    }
}

impl std::error::Error for BadSuppression {}

/// Reads a file of suppressions.
///
/// # Errors
///
/// Returns an error with the first invalid line. A valid line is empty, a comment, or `leak:` with a pattern.
///
/// ```
/// let read = heapledger_cli::analysis::suppressions::parse("# known\nleak:^main$\n").unwrap();
/// assert!(read[0].matches("main") && !read[0].matches("domain"));
/// ```
pub fn parse(text: &str) -> Result<Vec<Suppression>, BadSuppression> {
    let mut all = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let pattern = line.strip_prefix("leak:").filter(|pattern| !pattern.is_empty());
        let Some(pattern) = pattern else {
            return Err(BadSuppression { line: index + 1, text: line.to_owned() });
        };
        all.push(Suppression::new(pattern));
    }
    Ok(all)
}

/// Returns suppressions of the blocks that the standard library keeps until the end of the process.
///
/// ```
/// let built_in = heapledger_cli::analysis::suppressions::built_in();
/// assert!(built_in.iter().any(|known| known.matches("std::rt::init")));
/// assert!(!built_in.iter().any(|known| known.matches("std::rt::lang_start")), "it calls `main`");
/// ```
pub fn built_in() -> Vec<Suppression> {
    let all = parse(OF_STD).unwrap_or_default();
    all.into_iter().map(|known| Suppression { is_built_in: true, ..known }).collect()
}

impl Suppression {
    fn new(pattern: &str) -> Self {
        let inner = pattern.strip_prefix('^').unwrap_or(pattern);
        let is_to_end = inner.ends_with('$');
        let inner = inner.strip_suffix('$').unwrap_or(inner);
        Suppression {
            pattern: pattern.to_owned(),
            is_built_in: false,
            is_from_start: pattern.starts_with('^') && !inner.starts_with('*'),
            is_to_end: is_to_end && !inner.ends_with('*'),
            parts: inner.split('*').filter(|part| !part.is_empty()).map(str::to_owned).collect(),
        }
    }

    /// Whether the pattern matches `text`, or a part of it.
    pub fn matches(&self, text: &str) -> bool {
        let Some((last, parts)) = self.parts.split_last() else {
            // The pattern has only anchors and stars. `^$` matches only the empty text; any other such pattern matches
            // every text.
            return !(self.is_from_start && self.is_to_end) || text.is_empty();
        };
        let mut rest = text;
        for (index, part) in parts.iter().enumerate() {
            let Some(behind) = behind(rest, part, index == 0 && self.is_from_start) else { return false };
            rest = behind;
        }
        let is_anchored = parts.is_empty() && self.is_from_start;
        match (is_anchored, self.is_to_end) {
            (true, true) => rest == last,
            (true, false) => rest.starts_with(last.as_str()),
            (false, true) => rest.ends_with(last.as_str()),
            (false, false) => rest.contains(last.as_str()),
        }
    }
}

/// Returns the text behind the first `part` in `text`; `None` if `text` does not contain `part`. With `is_at_start`,
/// only a `part` at the start of `text` counts.
fn behind<'t>(text: &'t str, part: &str, is_at_start: bool) -> Option<&'t str> {
    if is_at_start {
        return text.strip_prefix(part);
    }
    text.find(part).and_then(|at| text.get(at + part.len()..))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slow reference matcher: tries every way to split the text.
    fn naive(pattern: &[u8], text: &[u8]) -> bool {
        fn from_here(pattern: &[u8], text: &[u8]) -> bool {
            match pattern {
                [] => true,
                [b'$'] => text.is_empty(),
                [b'*', rest @ ..] => (0..=text.len()).any(|at| from_here(rest, &text[at..])),
                [sign, rest @ ..] => text.first() == Some(sign) && from_here(rest, &text[1..]),
            }
        }
        match pattern {
            [b'^', rest @ ..] => from_here(rest, text),
            _ => (0..=text.len()).any(|at| from_here(pattern, &text[at..])),
        }
    }

    proptest::proptest! {
        #[test]
        fn patterns_match_as_when_every_way_is_tried(pattern in r"\^?[ab*]{1,6}\$?", text in "[ab]{0,8}") {
            let fast = Suppression::new(&pattern).matches(&text);
            proptest::prop_assert_eq!(fast, naive(pattern.as_bytes(), text.as_bytes()), "{} in {}", pattern, text);
        }
    }

    #[test]
    fn every_built_in_line_is_a_suppression() {
        assert_eq!(built_in().len(), OF_STD.lines().count());
        assert!(built_in().iter().all(|known| known.is_built_in));
    }

    #[test]
    fn comments_and_empty_lines_are_passed_over_and_other_lines_are_named() {
        let read = parse("\n# a comment\n  leak:one\r\nleak:two*\n").unwrap();
        let patterns: Vec<&str> = read.iter().map(|suppression| suppression.pattern.as_str()).collect();
        assert_eq!(patterns, ["one", "two*"]);
        for (text, line) in [("leak:", 1), ("leak:a\nrace:b", 2), ("nonsense", 1)] {
            assert_eq!(parse(text).unwrap_err().line, line, "{text}");
        }
    }
}
