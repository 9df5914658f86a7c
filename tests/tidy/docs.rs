//! Links and names in the documents refer to existing targets.

use std::path::Path;

use super::Finding;
use super::source::{Source, identifier, words};

/// Folders whose paths the documents may name.
const FOLDERS: [&str; 5] = ["src/", "docs/", "tests/", "benches/", "examples/"];

/// Finds links to a file or heading that does not exist, and paths in code marks that do not exist.
pub fn links(path: &str, text: &str, read: impl Fn(&str) -> Option<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    for (number, line) in prose_lines(text) {
        let mut missing = |what: &str| {
            findings.push(Finding::new("links", path, number, format!("{what} does not exist")));
        };
        for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { path.to_owned() } else { joined(folder, file) };
            match read(&file) {
                None => missing(target),
                Some(text) if !heading.is_empty() && !headings(&text).any(|slug| slug == heading) => {
                    missing(target)
                }
                Some(_) => {}
            }
        }
        for code in line.split('`').skip(1).step_by(2) {
            let is_path = FOLDERS.iter().any(|folder| code.starts_with(folder));
            if is_path && !code.contains([' ', '*', '<']) && read(code.trim_end_matches('/')).is_none() {
                missing(code);
            }
        }
    }
    findings
}

/// Returns the lines outside fenced blocks, with their numbers.
fn prose_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_block = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        in_block ^= is_fence;
        !in_block && !is_fence
    })
}

fn joined(folder: &str, file: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in file.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            other => parts.push(other),
        }
    }
    parts.join("/")
}

/// Returns the headings of a document, in the form that links use.
fn headings(text: &str) -> impl Iterator<Item = String> {
    prose_lines(text).filter(|(_, line)| line.starts_with('#')).map(|(_, line)| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
        kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
    })
}

/// Returns the text of a file of the package; empty for a folder.
pub fn read(path: &str) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if path.is_dir() {
        return Some(String::new());
    }
    std::fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Finds limits in the code that `docs/LIMITS.md` does not name. A limit is a constant whose name ends with `_MAX`.
pub fn limits(source: &Source, limits: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !source.path.starts_with("src/") || source.path.starts_with("src/bin/") {
        return findings;
    }
    for at in words(&source.code, "const") {
        let (name, _) = identifier(&source.code, at + 5);
        if name.ends_with("_MAX") && words(limits, &name).next().is_none() {
            findings.push(super::finding("limits", source, at, format!("{name} is not in docs/LIMITS.md")));
        }
    }
    findings
}

#[cfg(test)]
mod planted {
    use super::*;

    fn there(path: &str) -> Option<String> {
        match path {
            "README.md" => Some("# Title\n## What it `costs`, in all\n".to_owned()),
            "docs/LIMITS.md" | "src/ring" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn links_and_paths_to_nothing_are_found() {
        for text in [
            "[a](docs/NOTHING.md)",
            "[a](README.md#what-it-saves)",
            "[a](#nothing)",
            "`src/nothing.rs` and `src/ring`",
            "[a](docs/LIMITS.md), [b](b.md)",
        ] {
            assert_eq!(links("README.md", text, there).len(), 1, "{text}");
        }
        assert_eq!(links("docs/LIMITS.md", "[a](docs/LIMITS.md)", there).len(), 1);
    }

    #[test]
    fn links_and_paths_that_lead_somewhere_are_not_found() {
        for text in [
            "[a](docs/LIMITS.md) and [b](https://example.org/nothing)",
            "[a](README.md#what-it-costs-in-all)",
            "`src/ring/`, `src/**`, `src/ring`",
            "```text\n[a](nothing.md)\n```",
        ] {
            assert_eq!(links("README.md", text, there), [], "{text}");
        }
        assert_eq!(links("docs/LIMITS.md", "[a](../README.md)", there), []);
    }

    #[test]
    fn a_limit_that_is_not_written_down_is_found() {
        let source = Source::new("src/ring/lane.rs", "const WORDS_MAX: u64 = 1; const WORDS: u64 = 2;");
        assert_eq!(limits(&source, "| `LANE_WORDS_MAX` |").len(), 1);
        assert_eq!(limits(&source, "| `WORDS_MAX` |").len(), 0);
    }
}
