//! Separates flags for reports from flags for cargo. Before `--`, a command line can have both kinds in any order.

use std::ffi::OsString;

/// Command line, divided by the program that each argument is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arguments {
    /// Flags for the report, with their values.
    pub own: Vec<OsString>,
    /// Flags for cargo, and names of tests.
    pub cargo: Vec<OsString>,
    /// Arguments after `--`, for the user's program.
    pub program: Vec<OsString>,
}

/// Divides the arguments `words`. `is_own` returns `None` for a flag that is not for reports. For a flag for reports
/// such as `--top`, `is_own` returns whether a value follows the flag.
pub fn split(words: &[OsString], is_own: impl Fn(&str) -> Option<bool>) -> Arguments {
    let mut arguments = Arguments::default();
    let end = words.iter().position(|word| word == "--");
    let (before, after) = words.split_at(end.unwrap_or(words.len()));
    arguments.program = after.iter().skip(1).cloned().collect();
    let mut words = before.iter();
    while let Some(word) = words.next() {
        let text = word.to_string_lossy();
        let (flag, value) = text.split_once('=').map_or((&*text, None), |(flag, value)| (flag, Some(value)));
        match is_own(flag).filter(|_| flag.starts_with('-')) {
            Some(has_value) => {
                arguments.own.push(word.clone());
                if has_value && value.is_none() {
                    arguments.own.extend(words.next().cloned());
                }
            }
            None => arguments.cargo.push(word.clone()),
        }
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_told_apart_wherever_they_stand() {
        let is_own = |flag: &str| match flag {
            "--html" | "--top" => Some(true),
            "--open" => Some(false),
            _ => None,
        };
        let words = |text: &str| text.split_whitespace().map(OsString::from).collect::<Vec<_>>();
        let line = "--html out.html --release --bin app --open --top=3 name -- --top 4 -- x";
        let arguments = split(&words(line), is_own);
        assert_eq!(arguments.own, words("--html out.html --open --top=3"));
        assert_eq!(arguments.cargo, words("--release --bin app name"));
        assert_eq!(arguments.program, words("--top 4 -- x"));
        assert_eq!(split(&words("--features a --html"), is_own).own, words("--html"));
    }
}
