//! Selections in the page: a span, a thread, a scope, a frame. Every figure is compared with one computed here.

use std::collections::HashSet;

use heapledger::Profile;
use heapledger::profile::{LiveBlock, Scope, scope_address};
use heapledger::text::units::bytes;
use heapledger_cli::analysis::Origin;
use heapledger_cli::report::html::write_page_with;
use heapledger_cli::report::{Detail, SourceExtract};
use heapledger_cli::symbols::name_scopes;

use super::browser::Browser;
use super::shown::{assert_quiet, browser, keep_picture};
use super::synthetic;

const SITES: usize = 300;
const IN_SCOPE: usize = 100;

/// Returns the profile of a server with a scope around the first stacks.
fn profile() -> Profile {
    let mut profile = synthetic::server(SITES, 12);
    profile.scopes =
        vec![Scope { name: "GET /search".into(), total_blocks: 1, total_bytes: 9, ..Scope::default() }];
    for stack in &mut profile.stacks[1..=IN_SCOPE] {
        stack.frames.push(scope_address(1));
    }
    name_scopes(&mut profile);
    profile
}

fn write(profile: &Profile, path: &std::path::Path) {
    let files = profile.symbols.strings.iter().filter(|text| text.ends_with(".rs"));
    let lines: Vec<String> = (1..=2_000).map(|line| format!("let line = {line};")).collect();
    let source = |file: &String| SourceExtract {
        file: file.clone(),
        first_line: 1,
        lines: lines.clone(),
        is_newer: false,
    };
    let detail = Detail { sources: files.map(source).collect(), ..Detail::default() };
    let mut out = Vec::new();
    write_page_with(profile, &Origin::default(), &detail, &mut out).expect("a vector takes everything");
    std::fs::write(path, out).expect("a file");
}

#[test]
fn graph_tables_and_findings_follow_what_is_selected() {
    let Some(mut browser) = browser() else { return };
    let profile = profile();
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("selected.html");
    write(&profile, &path);
    browser.open(&path, 1280, false);
    let all = browser.text("#flame-crumbs");
    span(&mut browser, &profile);
    keep_picture(&mut browser, "selected.png");
    browser.click("#selection-clear");
    assert_eq!(rows(&mut browser), SITES);
    thread(&mut browser, &profile);
    browser.click("#selection-clear");
    let sorted = "document.querySelector('#sites-table [data-key=total]').getAttribute('aria-sort')";
    assert_eq!(browser.value(sorted), "descending");
    assert_eq!(browser.text("#flame-crumbs"), all, "everything is shown again");
    scope(&mut browser, &profile);
    browser.click("#chips button");
    assert_eq!(rows(&mut browser), SITES);
    frame(&mut browser);
    functions_and_sources(&mut browser);
    for word in ["undefined", "NaN", "null"] {
        assert!(!browser.text("main").contains(word), "{word}");
    }
    assert_quiet(&browser);
}

fn rows(browser: &mut Browser) -> usize {
    browser.number("Number(document.getElementById('sites-table').dataset.rows)") as usize
}

/// Compares graph and sites with the live blocks that are selected.
fn check(browser: &mut Browser, profile: &Profile, is_selected: impl Fn(&LiveBlock) -> bool) {
    let blocks: Vec<&LiveBlock> = profile.live.iter().filter(|block| is_selected(block)).collect();
    assert!(!blocks.is_empty() && blocks.len() < profile.live.len());
    let size = blocks.iter().map(|block| block.size).sum();
    assert_eq!(browser.text("#flame-crumbs"), format!("all: {}", bytes(size)));
    let sites: HashSet<u32> = blocks.iter().map(|block| block.stack).collect();
    assert_eq!(rows(browser), sites.len());
    let first = browser.text("#sites-table-row-0");
    assert!(first.contains("n/a"), "what is not known of the selection is not shown: {first}");
    assert!(browser.text("#selection-note").contains("are live at the end"));
    assert!(browser.text("#selected-findings").contains("largest live"));
    assert_eq!(browser.value("document.querySelector('#flame-body input[value=total]').disabled"), true);
}

fn span(browser: &mut Browser, profile: &Profile) {
    browser.drag(".plot .u-over", 0.2, 0.6);
    let span = browser.value("document.getElementById('timeline-span').dataset.selected");
    let ends: Vec<u64> = span.as_str().unwrap().split('-').map(|end| end.parse().unwrap()).collect();
    let interval = profile.timeline.interval_ns;
    let (from, to) = (ends[0] * interval, (ends[1] + 1) * interval);
    check(browser, profile, |block| (from..to).contains(&block.born_ns));
    assert!(browser.text("#chips").contains("span ") && browser.text("#selection-note").contains("--from"));
}

fn choose(browser: &mut Browser, id: &str, value: u32) {
    let code = format!(
        "(() => {{ const one = document.getElementById('{id}'); one.value = '{value}'; \
         one.dispatchEvent(new Event('change')); }})()"
    );
    browser.value(&code);
}

fn thread(browser: &mut Browser, profile: &Profile) {
    let counted = |thread| profile.live.iter().filter(|block| block.thread == thread).count();
    let row =
        (0..profile.threads.len() as u32).find(|row| counted(*row) > 0 && counted(*row) < profile.live.len());
    let Some(row) = row else { return };
    choose(browser, "pick-thread", row);
    check(browser, profile, |block| block.thread == row);
}

fn scope(browser: &mut Browser, profile: &Profile) {
    browser.click("#scopes-table .rows button");
    let inside = profile.sites.iter().filter(|site| profile.scope_of_stack(site.stack) == 1);
    let (count, size) = inside.fold((0, 0), |(count, size), site| (count + 1, size + site.total_bytes));
    assert_eq!((rows(browser), count), (IN_SCOPE, IN_SCOPE));
    assert_eq!(browser.text("#flame-crumbs"), format!("all: {}", bytes(size)));
    assert!(!browser.text("#sites-table-row-0").contains("n/a"), "a scope has all figures");
    browser.focus("#flame-graph");
    browser.key("ArrowDown");
    assert_eq!(browser.text("#flame-told strong"), "[scope GET /search]", "the scope is the outermost frame");
}

fn frame(browser: &mut Browser) {
    browser.focus("#flame-graph");
    for key in ["ArrowDown", "ArrowDown", "ArrowRight", "Enter"] {
        browser.key(key);
    }
    let selected = rows(browser);
    assert!(selected > 0 && selected < SITES, "{selected}");
    assert!(browser.text("#chips").contains("frame "), "{}", browser.text("#chips"));
    browser.key("Escape");
    assert_eq!(rows(browser), SITES);
}

fn functions_and_sources(browser: &mut Browser) {
    assert!(browser.number("Number(document.getElementById('functions-table').dataset.rows)") > 10.0);
    browser.click("#functions-table .rows .line .cell");
    let opened = browser.text("#functions-table .more");
    assert!(
        opened.contains("Callers") && opened.contains("Callees") && opened.contains("let line = "),
        "{opened}"
    );
    browser.click("#sites-table .rows .line .cell");
    let marked = browser.text("#sites-table .source .marked");
    assert!(marked.contains("let line = "), "{marked}");
    let first = browser.text("#sites-table .stack li");
    assert!(first.contains("shop::"), "the program's own function comes first: {first}");
}
