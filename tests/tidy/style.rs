//! Sizes, names, unsafe blocks, and items that the low rooms must not use.

use super::source::{Source, block_end, identifier, skip_space, words};
use super::{Finding, finding};

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 600;
/// Maximum distance of a comment above its unsafe block, in lines.
const SAFETY_LINES: usize = 8;

/// The rooms whose code runs inside the program's allocator.
const NO_HEAP: [&str; 5] = ["src/sys/", "src/ring/", "src/ledger/", "src/fold/", "src/recorder/"];

/// Items of the low rooms that would allocate, take a lock of std, or panic.
const FORBIDDEN: &[&str] = &[
    "Vec",
    "Box",
    "String",
    "Rc",
    "Arc",
    "HashMap",
    "BTreeMap",
    "VecDeque",
    "Mutex",
    "RwLock",
    "OnceLock",
    "vec!",
    "format!",
    "print!",
    "println!",
    "eprint!",
    "eprintln!",
    "panic!",
    "unreachable!",
    "todo!",
    "unimplemented!",
    "unwrap",
    "expect",
    "to_owned",
    "to_vec",
    "to_string",
    "Instant::now",
    "thread::spawn",
];

/// Exceptions, each with its reason.
const ALLOWED: &[(&str, &[&str], &str)] = &[
    (
        "src/recorder/overflow_pool.rs",
        &["Box"],
        "the pool is made once, by the aggregator, in an own section",
    ),
    ("src/ledger/changes.rs", &["Vec"], "the list is copied for a snapshot, into room made before"),
    ("src/ledger/history.rs", &["Vec"], "the reading side of the history: filled before the latch is taken"),
    ("src/ledger/sites.rs", &["Vec"], "sites are copied for a snapshot, into room made before"),
    ("src/ledger/timeline.rs", &["Vec"], "the snapshot makes the copy, with room, before"),
    (
        "src/recorder/options.rs",
        &["String"],
        "the Debug form of a path, which nothing on the recording path prints",
    ),
    ("src/sys/sockets.rs", &["Vec"], "only the endpoint's thread waits for many sockets"),
    ("src/sys/clock.rs", &["Instant::now"], "portable twin: it does not allocate"),
];

pub fn sizes(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = source.text.lines().count();
    if lines > FILE_LINES_MAX {
        findings.push(finding("file length", source, 0, format!("{lines} lines")));
    }
    let code = &source.all_code;
    for at in words(code, "fn") {
        let (name, rest) = identifier(code, at + 2);
        // `fn(` is a type.
        if name.is_empty() {
            continue;
        }
        let stop = rest + code[rest..].find(['{', ';']).unwrap_or(code.len() - rest);
        if code[stop..].starts_with('{') {
            let lines = code[at..block_end(code, stop)].lines().count();
            if lines > FUNCTION_LINES_MAX {
                findings.push(finding("function length", source, at, format!("{name}: {lines} lines")));
            }
        }
    }
    findings
}

/// Finds names without meaning, and notes that belong elsewhere.
pub fn names(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let name = path.rsplit('/').next().unwrap_or(path);
    let stem = name.split('.').next().unwrap_or(name);
    for word in ["util", "utils", "helper", "helpers", "manager", "misc", "common"] {
        if stem.split(['_', '-']).any(|part| part == word) {
            findings.push(Finding::new("file name", path, 1, format!("{word} says nothing")));
        }
    }
    for note in [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")] {
        for (number, line) in (1..).zip(text.lines()) {
            if words(line, note).next().is_some() {
                findings.push(Finding::new("note", path, number, note.to_owned()));
            }
        }
    }
    findings
}

/// Returns the modules that a `lib.rs` or `mod.rs` opens for unsafe code, as prefixes of their files' paths.
pub fn opened(sources: &[Source]) -> Vec<String> {
    let mut opened = Vec::new();
    for source in sources {
        let Some((folder, "lib.rs" | "mod.rs")) = source.path.rsplit_once('/') else { continue };
        for (at, _) in source.code.match_indices("#[allow(unsafe_code") {
            let end = at + source.code[at..].find(']').unwrap_or(0);
            let item = &source.code[end..];
            let name = words(item, "mod").next().map(|place| identifier(item, place + 3).0);
            opened.extend(name.map(|name| format!("{folder}/{name}")));
        }
    }
    opened
}

/// Finds unsafe code outside opened modules, modules opened elsewhere, and unsafe blocks without a reason.
pub fn unsafe_code(source: &Source, opened: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_root = source.path.ends_with("/lib.rs") || source.path.ends_with("/mod.rs");
    let is_opened = opened.iter().any(|path| {
        let rest = source.path.strip_prefix(path.as_str());
        rest.is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
    });
    if source.path.starts_with("src/") {
        for (at, _) in source.code.match_indices("allow(unsafe_code") {
            let attribute = &source.text[at..at + source.text[at..].find(']').unwrap_or(0)];
            if !is_root {
                findings.push(finding("unsafe", source, at, "opened outside lib.rs and mod.rs".to_owned()));
            } else if !attribute.contains("reason =") {
                findings.push(finding("unsafe", source, at, "opened without a reason".to_owned()));
            }
        }
        for at in words(&source.code, "unsafe").filter(|_| !is_opened) {
            findings.push(finding("unsafe", source, at, "this module is not opened for it".to_owned()));
        }
    }
    let code = &source.all_code;
    let lines: Vec<&str> = source.text.lines().collect();
    for at in words(code, "unsafe") {
        let (word, _) = identifier(code, at + 6);
        let is_block = code[skip_space(code, at + 6)..].starts_with('{');
        let line = source.line_of(at);
        let near = &lines[line.saturating_sub(SAFETY_LINES + 1)..line];
        if (is_block || word == "impl")
            && !near.iter().any(|line| line.contains("//") && line.contains("SAFETY:"))
        {
            findings.push(finding("safety comment", source, at, "no `SAFETY:` above".to_owned()));
        }
    }
    findings
}

/// Finds items in the low rooms that allocate, lock or panic.
pub fn no_heap(source: &Source) -> Vec<Finding> {
    if !NO_HEAP.iter().any(|room| source.path.starts_with(room)) {
        return Vec::new();
    }
    let exceptions = ALLOWED.iter().filter(|(path, ..)| *path == source.path);
    let excepted: Vec<&str> = exceptions.flat_map(|(_, names, _)| names.iter().copied()).collect();
    let forbidden = FORBIDDEN.iter().filter(|name| !excepted.contains(*name));
    let found = forbidden.flat_map(|name| words(&source.code, name).map(move |at| (at, *name)));
    found.map(|(at, name)| finding("no heap", source, at, format!("{name} has no place here"))).collect()
}

/// Finds exceptions that are no longer needed.
pub fn spare_exceptions(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, names, reason) in ALLOWED {
        assert!(!reason.is_empty());
        let source = sources.iter().find(|source| source.path == *path);
        for name in *names {
            if source.is_none_or(|source| words(&source.code, name).next().is_none()) {
                findings.push(Finding::new(
                    "no heap",
                    path,
                    1,
                    format!("{name} is allowed and does not occur"),
                ));
            }
        }
    }
    findings
}

/// Finds folders of `src` whose `mod.rs` does not describe them, and files without a description in their first line.
pub fn rooms(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.path.starts_with("src/")) {
        let folder = source.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut head = ["mod.rs", "lib.rs", "main.rs"].map(|name| format!("{folder}/{name}")).to_vec();
        if folder.matches('/').count() > 1 {
            // Inside a layer, the file that the folder belongs to may be next to the folder.
            head.push(format!("{folder}.rs"));
        }
        if !sources.iter().any(|other| head.contains(&other.path)) {
            findings.push(Finding::new("room", &source.path, 1, format!("{folder} has no mod.rs")));
        }
        // A file that only tests compile needs no module doc: the file that includes it is enough.
        let is_for_tests = source.code.is_empty();
        if !is_for_tests && !source.text.starts_with("//!") && !source.text.starts_with("#![doc") {
            findings.push(Finding::new(
                "room",
                &source.path,
                1,
                "no module doc in the first line".to_owned(),
            ));
        }
    }
    findings
}

#[cfg(test)]
mod planted {
    use super::*;
    use crate::rules_found;

    #[test]
    fn long_functions_and_files_are_found() {
        let long = format!("fn a() {{\n{}}}\n", "    b();\n".repeat(FUNCTION_LINES_MAX));
        assert_eq!(rules_found("src/report/a.rs", &long), ["function length"]);
        let right = format!("fn a() {{\n{}}}\n", "    b();\n".repeat(FUNCTION_LINES_MAX - 2));
        assert_eq!(rules_found("src/report/a.rs", &right), [""; 0]);
        assert_eq!(rules_found("src/report/a.rs", &"\n".repeat(FILE_LINES_MAX + 1)), ["file length"]);
        let kind = "type A = fn(u8) -> u8; trait B { fn c(&self); }";
        assert_eq!(rules_found("src/report/a.rs", kind), [""; 0]);
    }

    #[test]
    fn empty_names_and_notes_are_found() {
        assert_eq!(names("src/ring/ring_utils.rs", "").len(), 1);
        assert_eq!(names("src/ring/manager.rs", "").len(), 1);
        assert_eq!(names("src/ring/lane.rs", concat!("// TO", "DO later")).len(), 1);
        assert_eq!(names("docs/LIMITS.md", concat!("a FIX", "ME here")).len(), 1);
        assert_eq!(names("src/ring/lane.rs", "let a = 1;").len(), 0);
    }

    #[test]
    fn unsafe_code_is_found_where_it_is_not_opened_or_not_explained() {
        let plain = concat!("// SAF", "ETY: because.\nunsafe { b() }\n");
        let opened = ["src/room/open".to_owned()];
        let found = |path: &str, text: &str| unsafe_code(&Source::new(path, text), &opened).len();
        assert_eq!(found("src/room/open.rs", plain), 0);
        assert_eq!(found("src/room/open/inner.rs", plain), 0);
        assert_eq!(found("src/room/closed.rs", plain), 1);
        assert_eq!(found("src/room/opened.rs", plain), 1);
        assert_eq!(found("src/room/open.rs", "unsafe { b() }"), 1);
        assert_eq!(found("src/room/open.rs", "unsafe impl Sync for A {}"), 1);
        assert_eq!(found("src/room/open.rs", "unsafe fn a() {}"), 0);
        assert_eq!(found("src/room/closed.rs", "#![allow(unsafe_code, reason = \"x\")]"), 1);
        assert_eq!(found("src/room/mod.rs", "#[allow(unsafe_code)]\nmod open;"), 1);
        assert_eq!(found("src/room/mod.rs", "#[allow(unsafe_code, reason = \"x\")]\nmod open;"), 0);
    }

    #[test]
    fn the_modules_that_are_opened_are_read_from_the_attributes() {
        let text = "#[cfg(not(loom))]\n#[allow(unsafe_code, reason = \"mod is a word\")]\npub(crate) mod open;\nmod shut;";
        assert_eq!(opened(&[Source::new("src/room/mod.rs", text)]), ["src/room/open"]);
        assert_eq!(opened(&[Source::new("src/room/file.rs", text)]), [""; 0]);
    }

    #[test]
    fn heap_locks_and_panics_are_found_in_the_low_rooms_only() {
        for text in [
            "fn a() { let b: Vec<u8> = c(); }",
            "fn a() { Box::new(1); }",
            "fn a() { format!(\"{b}\"); }",
            "fn a() { println!(); }",
            "fn a() { b.unwrap(); }",
            "fn a() { b.expect(\"c\"); }",
            "fn a() { panic!(); }",
            "use std::collections::HashMap;",
            "use std::sync::Mutex;",
            "fn a() { b(Instant::now()); }",
            "fn a() { \"b\".to_owned(); }",
        ] {
            assert_eq!(rules_found("src/ring/lane.rs", text), ["no heap"], "{text}");
            assert_eq!(rules_found("src/report/text.rs", text), [""; 0], "{text}");
        }
        let fine = "fn a() { b.unwrap_or(0); } // a Vec\n#[cfg(test)]\nmod tests { fn a() { vec![1].pop().unwrap(); } }";
        assert_eq!(rules_found("src/ring/lane.rs", fine), [""; 0]);
        assert_eq!(rules_found("src/recorder/overflow_pool.rs", "fn a() { Box::new(1); }"), [""; 0]);
        assert_eq!(rules_found("src/recorder/overflow_pool.rs", "fn a() { vec![1]; }"), ["no heap"]);
    }

    #[test]
    fn an_exception_that_is_not_needed_is_found() {
        assert!(!spare_exceptions(&[]).is_empty());
    }

    #[test]
    fn a_folder_without_mod_rs_and_a_file_without_doc_are_found() {
        let with = |paths: &[(&str, &str)]| {
            let sources: Vec<Source> = paths.iter().map(|(path, text)| Source::new(path, text)).collect();
            rooms(&sources).len()
        };
        assert_eq!(with(&[("src/room/a.rs", "//! A.")]), 1);
        assert_eq!(with(&[("src/room/a.rs", "fn a() {}"), ("src/room/mod.rs", "//! Room.")]), 1);
        assert_eq!(with(&[("src/room/a.rs", "//! A."), ("src/room/mod.rs", "//! Room.")]), 0);
        let beside = [("src/room/a.rs", "//! A."), ("src/room.rs", "//! Room."), ("src/lib.rs", "//! L.")];
        assert_eq!(with(&beside), 1, "a layer has a mod.rs");
        assert_eq!(
            with(&[
                ("src/room/in/a.rs", "//! A."),
                ("src/room/in.rs", "//! In."),
                ("src/room/mod.rs", "//! R.")
            ]),
            0
        );
    }
}
