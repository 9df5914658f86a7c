//! The rules of the code: the layers that a layer may use, the files that order memory, the files that may be unsafe,
//! code that must not allocate, limits on lengths, and names in documents that must exist.
//!
//! Each rule is a function from text to findings. Its tests plant text that the rule must find. `docs/ARCHITECTURE.md`
//! gives the reasons for the rules.

#[path = "tidy/circles.rs"]
mod circles;
#[path = "tidy/docs.rs"]
mod docs;
#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/paths.rs"]
mod paths;
#[path = "tidy/portable.rs"]
mod portable;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/statics.rs"]
mod statics;
#[path = "tidy/style.rs"]
mod style;
#[path = "tidy/wording.rs"]
mod wording;

use std::fs;
use std::sync::OnceLock;

use source::{Source, files, relative, sources};

/// A place that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    rule: &'static str,
    path: String,
    line: usize,
    text: String,
}

impl Finding {
    fn new(rule: &'static str, path: &str, line: usize, text: String) -> Finding {
        Finding { rule, path: path.to_owned(), line, text }
    }
}

fn finding(rule: &'static str, source: &Source, at: usize, text: String) -> Finding {
    Finding::new(rule, &source.path, source.line_of(at), text)
}

/// Applies the rules that look at a single file.
fn rules(source: &Source) -> Vec<Finding> {
    let rules = [layers::uses, layers::orderings, style::sizes, style::no_heap, portable::systems];
    rules.iter().flat_map(|rule| rule(source)).collect()
}

#[cfg(test)]
fn rules_found(path: &str, text: &str) -> Vec<&'static str> {
    rules(&Source::new(path, text)).into_iter().map(|finding| finding.rule).collect()
}

#[track_caller]
fn assert_none(findings: &[Finding]) {
    let line = |finding: &Finding| {
        let Finding { rule, path, line, text } = finding;
        format!("{path}:{line}: {rule}: {text}\n")
    };
    assert!(findings.is_empty(), "\n{}", findings.iter().map(line).collect::<String>());
}

/// Returns all code of the package, read once.
fn all_sources() -> &'static [Source] {
    static ALL: OnceLock<Vec<Source>> = OnceLock::new();
    let all = ALL.get_or_init(|| sources(&["src", "cli", "tests", "benches", "examples"]));
    assert!(all.len() > 50, "the package has been found: {}", all.len());
    all
}

fn documents() -> Vec<(String, String)> {
    let mut paths = files("docs", ".md");
    for name in ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"] {
        paths.push(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name));
    }
    paths.iter().map(|path| (relative(path), fs::read_to_string(path).expect("a document"))).collect()
}

#[test]
fn each_file_keeps_the_rules_for_single_files() {
    let findings: Vec<Finding> = all_sources().iter().flat_map(rules).collect();
    assert_none(&findings);
}

#[test]
fn files_of_a_room_form_no_circle() {
    assert_none(&circles::circles(all_sources()));
}

#[test]
fn statics_with_state_are_listed_with_what_a_fork_does_to_them() {
    assert_none(&statics::statics(all_sources()));
}

#[test]
fn names_comments_and_messages_use_plain_words() {
    assert_none(&wording::wording(all_sources()));
}

#[test]
fn every_folder_and_file_has_module_documentation() {
    assert_none(&style::rooms(all_sources()));
}

#[test]
fn every_exception_is_still_needed() {
    assert_none(&style::spare_exceptions(all_sources()));
}

#[test]
fn unsafe_code_is_in_opened_modules_and_has_a_reason() {
    let sources = all_sources();
    let opened = style::opened(sources);
    assert!(opened.iter().any(|path| path == "src/recorder"), "{opened:?}");
    let findings: Vec<Finding> =
        sources.iter().flat_map(|source| style::unsafe_code(source, &opened)).collect();
    assert_none(&findings);
}

#[test]
fn file_names_are_specific_and_no_note_is_left() {
    let sources = all_sources();
    let texts = sources.iter().map(|source| (&source.path, &source.text));
    let documents = documents();
    let texts = texts.chain(documents.iter().map(|(path, text)| (path, text)));
    let findings: Vec<Finding> = texts.flat_map(|(path, text)| style::names(path, text)).collect();
    assert_none(&findings);
}

#[test]
fn documents_name_what_exists() {
    let findings: Vec<Finding> =
        documents().iter().flat_map(|(path, text)| docs::links(path, text, docs::read)).collect();
    assert_none(&findings);
}

#[test]
fn every_limit_is_written_down() {
    let text = docs::read("docs/LIMITS.md").expect("the document");
    let findings: Vec<Finding> =
        all_sources().iter().flat_map(|source| docs::limits(source, &text)).collect();
    assert_none(&findings);
}
