//! The page, as a browser shows it and as it reacts to keys and pointer.

use std::io::Write;
use std::path::PathBuf;

use super::browser::{Browser, find};
use super::{markup, page, synthetic};
use heapledger::Profile;

/// Returns a browser, or prints that there is none and returns `None`.
pub fn browser() -> Option<Browser> {
    let program = find();
    if program.is_none() {
        let required = std::env::var_os("HEAPLEDGER_TEST_BROWSER").is_some_and(|value| value == "required");
        assert!(!required, "a browser is required, and Chromium was not found");
        // Past the capture of the test runner: a skipped check is said where it can be seen.
        drop(writeln!(
            std::io::stderr(),
            "SKIPPED: no Chromium here, so the page was not looked at in a browser"
        ));
    }
    program.map(Browser::start)
}

struct Pages(tempfile::TempDir);

impl Pages {
    fn new() -> Pages {
        Pages(tempfile::tempdir().expect("a directory"))
    }

    fn write(&self, name: &str, profile: &Profile) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, page(profile)).expect("a file");
        if let Some(directory) = kept() {
            std::fs::copy(&path, directory.join(name)).expect("a file");
        }
        path
    }
}

/// Returns the directory in which pages and pictures are kept, if requested.
pub fn kept() -> Option<PathBuf> {
    std::env::var_os("HEAPLEDGER_TEST_PICTURES").map(PathBuf::from)
}

pub fn keep_picture(browser: &mut Browser, name: &str) {
    use base64::Engine;
    let Some(directory) = kept() else { return };
    let picture = base64::engine::general_purpose::STANDARD.decode(browser.picture()).expect("base64");
    std::fs::write(directory.join(name), picture).expect("a file");
}

pub fn assert_quiet(browser: &Browser) {
    assert!(browser.messages.is_empty(), "{:#?}", browser.messages);
}

#[test]
fn a_page_with_stacks_does_what_it_offers() {
    let Some(mut browser) = browser() else { return };
    let pages = Pages::new();
    let path = pages.write("server.html", &synthetic::with_loss(synthetic::server(2_000, 14)));
    browser.open(&path, 1280, false);
    keep_picture(&mut browser, "light.png");
    assert_eq!(browser.value("document.title"), "shop: heapledger report");
    assert_eq!(browser.text(".headline"), "99.998 %");
    assert!(browser.text(".banner").contains("ring_full 8,413"));
    timeline(&mut browser);
    flame_graph(&mut browser);
    sites(&mut browser);
    themes(&mut browser);
    assert_quiet(&browser);
}

fn timeline(browser: &mut Browser) {
    assert!(
        browser.text(".losses").contains("8,410 events lost from 24.0 s to 24.2 s"),
        "{}",
        browser.text(".losses")
    );
    // Red where events were lost: the pixels of the first loss are redder than those beside them.
    let red = "(() => { const c = document.querySelector('.plot canvas'), p = c.getContext('2d'); \
        const u = c.parentElement.querySelector('.u-over'); const left = parseFloat(u.style.left); \
        const x = (share) => (left + parseFloat(u.style.width) * share) * devicePixelRatio; \
        const row = p.getImageData(0, 30, c.width, 1).data; \
        const at = (share) => row.slice(Math.round(x(share)) * 4); \
        const [a, b] = [at(0.503), at(0.45)]; return (a[0] - a[2]) - (b[0] - b[2]); })()";
    assert!(browser.number(red) > 30.0, "the loss is not red");
    let whole = browser.text("#timeline-span");
    assert!(whole.contains("whole recording") && whole.contains("8,413 events"), "{whole}");
    browser.drag(".plot .u-over", 0.45, 0.55);
    let part = browser.text("#timeline-span");
    assert!(part.contains("selected") && part.contains("8,410 events"), "{part}");
    let selected = |browser: &mut Browser| {
        let span = browser.value("document.getElementById('timeline-span').dataset.selected");
        let ends: Vec<i32> = span.as_str().unwrap().split('-').filter_map(|end| end.parse().ok()).collect();
        ends.first().copied().zip(ends.get(1).copied())
    };
    let (first, last) = selected(browser).expect("a span");
    assert!((178..=181).contains(&first) && (218..=221).contains(&last), "{first} to {last} of 400");
    browser.focus("#timeline-plots");
    browser.key("ArrowRight");
    assert_eq!(selected(browser), Some((first + 8, last + 8)));
    browser.key_with("ArrowRight", 8);
    assert_eq!(selected(browser), Some((first + 8, last + 16)));
    browser.key("End");
    assert_eq!(selected(browser), Some((399 - (last - first) - 8, 399)));
    browser.key("Escape");
    assert_eq!(selected(browser), None);
}

fn flame_graph(browser: &mut Browser) {
    let data = |browser: &mut Browser, name: &str| {
        browser
            .value(&format!("document.getElementById('flame-graph').dataset.{name}"))
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(data(browser, "metric"), "total");
    let total = browser.text("#flame-crumbs");
    browser.click("#flame-body input[value=live] + span");
    assert_eq!(data(browser, "metric"), "live");
    assert_ne!(browser.text("#flame-crumbs"), total);
    // The sum of the graph is the sum of the report.
    let live = browser.text(".tile .value");
    assert_eq!(browser.text("#flame-crumbs"), format!("all: {live}"));
    assert!(browser.text("#flame-body .certainty-line").contains("uncertain: 8,413 events were lost"));
    for metric in ["peak", "count", "temporary", "total"] {
        browser.click(&format!("#flame-body input[value={metric}] + span"));
        assert_eq!(data(browser, "metric"), metric);
    }
    let folded: u32 = data(browser, "rectangles").parse().unwrap();
    browser.click("#flame-body input[value=whole] + span");
    assert_eq!(browser.text("#flame-crumbs"), total, "folding changes no sum");
    assert!(data(browser, "rectangles").parse::<u32>().unwrap() > folded);
    browser.focus("#flame-graph");
    browser.key("ArrowDown");
    browser.key("ArrowDown");
    let marked = browser.text("#flame-told strong");
    browser.key("Enter");
    assert_eq!(data(browser, "zoom"), "2");
    assert!(browser.text("#flame-crumbs").contains(&marked[..20]), "{marked}");
    browser.key("Backspace");
    assert_eq!(data(browser, "zoom"), "1");
    browser.key("ArrowDown");
    browser.key("ArrowRight");
    browser.key("ArrowUp");
    browser.key("Escape");
    assert_eq!(data(browser, "zoom"), "0");
    browser.key("/");
    browser.type_in("search::");
    let found = browser.text("#flame-found");
    assert!(found.contains('%') && found.contains("matching"), "{found}");
    keep_picture(browser, "search.png");
    browser.value("document.getElementById('flame-search').select()");
    browser.type_in("/[/");
    assert_eq!(browser.text("#flame-found"), "no match", "a broken expression matches nothing");
    browser.value("document.getElementById('flame-search').select()");
    browser.key("Backspace");
    browser.click("#flame-body input[value=callees] + span");
    assert!(data(browser, "rectangles").parse::<u32>().unwrap() > 50);
    assert_eq!(browser.text("#flame-crumbs"), total, "the same sum from below");
    browser.click("#flame-graph");
    assert!(data(browser, "zoom").parse::<u32>().unwrap() > 0, "a click zooms");
    browser.click("#flame-reset");
    assert_eq!(data(browser, "zoom"), "0");
    browser.click("#flame-body input[value=folded] + span");
    browser.click("#flame-body input[value=callers] + span");
}

fn sites(browser: &mut Browser) {
    let rows =
        |browser: &mut Browser| browser.number("Number(document.getElementById('sites-table').dataset.rows)");
    assert_eq!(rows(browser), 2_000.0);
    assert!(
        browser.number("document.querySelectorAll('#sites-table .line').length") < 60.0,
        "rows are virtual"
    );
    let first = "document.querySelector('#sites-table-row-0').textContent";
    let by_total = browser.value(first);
    browser.click("#sites-table [data-key=live] button");
    assert_ne!(browser.value(first), by_total);
    let sorted = "document.querySelector('#sites-table [data-key=live]').getAttribute('aria-sort')";
    assert_eq!(browser.value(sorted), "descending");
    browser.click("#sites-table [data-key=live] button");
    assert_eq!(browser.value(sorted), "ascending");
    browser.focus("#sites-filter");
    browser.type_in("reindex");
    let filtered = rows(browser);
    assert!(filtered > 0.0 && filtered < 2_000.0, "{filtered}");
    assert!(browser.text("#sites-table-status").contains("of 2,000 rows"));
    browser.focus("#sites-table");
    browser.key("ArrowDown");
    browser.key("Enter");
    let stack = browser.text("#sites-table .more .stack");
    assert!(stack.contains("reindex") && stack.contains(".rs:"), "{stack}");
    keep_picture(browser, "sites.png");
    browser.click("#sites-table .more button");
    let zoom = browser.value("document.getElementById('flame-graph').dataset.zoom");
    assert!(zoom.as_str().unwrap().parse::<u32>().unwrap() > 5, "the stack is shown in the graph");
    browser.focus("#sites-table");
    browser.key("End");
    let last = browser.value("document.querySelector('#sites-table .marked').getAttribute('aria-rowindex')");
    assert_eq!(last, format!("{}", filtered as u32 + 1));
    browser.key("Home");
    browser.key("Enter");
    assert!(browser.number("document.querySelectorAll('#sites-table .more').length") <= 1.0);
}

fn themes(browser: &mut Browser) {
    let colour = "getComputedStyle(document.body).backgroundColor";
    let light = browser.value(colour);
    browser.click("#theme");
    browser.click("#theme");
    assert_eq!(browser.text("#theme"), "Colours: dark");
    assert_ne!(browser.value(colour), light);
    keep_picture(browser, "toggled.png");
    browser.click("#theme");
    assert_eq!(browser.value(colour), light, "the system's, which is light");
}

/// Script that computes the contrast of every text and its background by WCAG 2, and returns the lowest.
pub const CONTRAST: &str = "(() => { \
    const channel = (v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }; \
    const parse = (c) => c.match(/[\\d.]+/g).map(Number); \
    const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b); \
    const behind = (one) => { for (let at = one; at; at = at.parentElement) { \
        const c = parse(getComputedStyle(at).backgroundColor); if (c.length < 4 || c[3] > 0.9) return c; } return [255, 255, 255]; }; \
    let worst = [99, '']; \
    for (const one of document.querySelectorAll('body *')) { \
        if (![...one.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()) || !one.checkVisibility()) continue; \
        if (one.disabled) continue; \
        const [a, b] = [light(parse(getComputedStyle(one).color)), light(behind(one))]; \
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05); \
        if (ratio < worst[0]) worst = [ratio, one.outerHTML.slice(0, 120)]; } \
    return worst; })()";

#[test]
fn light_and_dark_are_readable_at_both_widths() {
    let Some(mut browser) = browser() else { return };
    let pages = Pages::new();
    let server = synthetic::server(1_000, 14);
    let files = [
        ("complete", pages.write("complete.html", &server)),
        ("sampled", pages.write("sampled.html", &synthetic::sampled(server.clone()))),
        ("loss", pages.write("loss.html", &synthetic::with_loss(server))),
    ];
    for (name, path) in &files {
        for dark in [false, true] {
            for width in [1280, 390] {
                browser.open(path, width, dark);
                let wide = browser.number("document.documentElement.scrollWidth");
                assert!(wide <= f64::from(width), "{name} is {wide} wide on {width} pixels");
                browser.value("document.querySelectorAll('details').forEach((one) => { one.open = true; })");
                let worst = browser.value(CONTRAST);
                assert!(worst[0].as_f64().unwrap() >= 4.5, "{name}, dark {dark}: {worst}");
                browser.value("document.querySelectorAll('details').forEach((one) => { one.open = false; })");
                keep_picture(
                    &mut browser,
                    &format!("{name}-{width}-{}.png", if dark { "dark" } else { "light" }),
                );
            }
        }
    }
    assert_quiet(&browser);
}

#[test]
fn sampled_figures_are_shown_with_their_standard_error() {
    use heapledger::text::units::{bytes, count};
    let Some(mut browser) = browser() else { return };
    let pages = Pages::new();
    let exact = synthetic::server(300, 14);
    browser.open(&pages.write("exact.html", &exact), 1280, false);
    assert!(!browser.text("main").contains('\u{b1}'), "nothing was sampled, so nothing has an error");
    let profile = synthetic::sampled(exact);
    browser.open(&pages.write("sampled.html", &profile), 1280, false);
    let whole = |value: f64| value.round() as u64;
    let samples = browser.text(".banner .samples");
    let estimates = profile.estimates.as_ref().unwrap();
    for (blocks, size) in
        [(&estimates.total_blocks, &estimates.total_bytes), (&estimates.live_blocks, &estimates.live_bytes)]
    {
        let line = format!(
            "{} blocks \u{b1} {}, {} \u{b1} {}",
            count(whole(blocks.value)),
            count(whole(blocks.standard_error)),
            bytes(whole(size.value)),
            bytes(whole(size.standard_error)),
        );
        assert!(samples.contains(&line), "{line} is not in {samples}");
    }
    assert!(samples.contains("12,345 blocks, one in about 64.0 KiB"), "{samples}");
    assert!(browser.text("#sites-sampled").contains("One stack in 1.0 MiB allocated"));
    // Sorted by it, the first row is the site with the highest estimate, with its error.
    browser.click("#sites-table [data-key=estimated] button");
    let of = |site| heapledger_cli::analysis::estimated_bytes(&profile, site);
    let estimated = profile.sites.iter().filter_map(of);
    let highest = estimated.max_by(|a, b| a.value.total_cmp(&b.value)).unwrap();
    let (value, error) = (bytes(whole(highest.value)), bytes(whole(highest.standard_error)));
    let shown = format!("{value} \u{b1} {error}");
    assert!(browser.text("#sites-table .rows .line").contains(&shown), "{shown}");
    browser.click("#sites-table .rows .line .cell");
    assert!(browser.text("#sites-table").contains("estimated of all blocks"));
    for word in ["undefined", "NaN", "null"] {
        assert!(!browser.text("main").contains(word), "{word}");
    }
    assert_quiet(&browser);
}

#[test]
fn pages_without_stacks_or_without_anything_say_so() {
    let Some(mut browser) = browser() else { return };
    let pages = Pages::new();
    browser.open(&pages.write("empty.html", &synthetic::empty()), 1280, false);
    assert!(browser.text("#flame-body").contains("No call stacks were taken"));
    assert!(browser.text("#timeline-body").contains("No interval was recorded"));
    for word in ["undefined", "NaN", "null", "Infinity"] {
        assert!(!browser.text("main").contains(word), "{word}");
    }
    // Folding leaves something of stacks that hold nothing but library functions.
    let mut library = synthetic::server(5, 9);
    let files = library.symbols.strings.iter_mut().filter(|text| text.ends_with(".rs"));
    files.for_each(|file| *file = format!("/rustc/{file}"));
    browser.open(&pages.write("library.html", &library), 1280, false);
    assert!(browser.number("Number(document.getElementById('flame-graph').dataset.rectangles)") > 1.0);
    let mut flat = synthetic::server(1, 9);
    flat.stacks.truncate(1);
    flat.sites[0].stack = 0;
    flat.settings.stacks = heapledger::Stacks::Off;
    browser.open(&pages.write("flat.html", &flat), 390, true);
    assert!(browser.text("#flame-body").contains("HEAPLEDGER_STACKS=auto"));
    assert!(browser.text("#sites-table").contains("(no stack)"));
    for word in ["undefined", "NaN", "null", "Infinity"] {
        assert!(!browser.text("main").contains(word), "{word}");
    }
    assert_quiet(&browser);
}

#[test]
fn hostile_names_are_shown_and_do_nothing() {
    let Some(mut browser) = browser() else { return };
    let pages = Pages::new();
    let name =
        "<img src=x onerror=\"document.title='taken'\"></script><script>document.title='taken'</script>";
    browser.open(&pages.write("hostile.html", &markup::hostile(name)), 1280, false);
    assert_eq!(browser.number("document.querySelectorAll('main img, main script').length"), 0.0);
    assert!(browser.text("#program").contains("<img src=x"));
    assert!(browser.text("#threads-table").contains("<img src=x"));
    assert!(browser.text("#sites-table").contains("<img src=x"));
    assert_ne!(browser.value("document.title"), "taken");
    assert_quiet(&browser);
    // The same checks see what is planted.
    browser.value("document.querySelector('main').insertAdjacentHTML('beforeend', '<img src=\"x.png\">')");
    assert_eq!(browser.number("document.querySelectorAll('main img').length"), 1.0);
    browser.wait_for("document.querySelector('main img').complete");
    assert!(!browser.messages.is_empty(), "the policy refuses it, and that is seen");
}

#[test]
fn scripts_write_numbers_as_the_text_report_does() {
    use heapledger::text::units::{bytes, bytes_exact, count, duration, share};
    let Some(mut browser) = browser() else { return };
    let source = include_str!("../../src/report/html/page/units.js");
    let mut asked = |call: &str| browser.value(&format!("(() => {{ {source}\nreturn units.{call}; }})()"));
    let values = [
        0,
        1,
        999,
        1_000,
        1_023,
        1_024,
        1_536,
        12_345,
        999_999,
        1_000_000,
        1_048_524,
        1_048_575,
        1 << 30,
        1 << 52,
    ];
    for value in values {
        assert_eq!(asked(&format!("count({value})")), count(value));
        assert_eq!(asked(&format!("bytes({value})")), bytes(value));
        assert_eq!(asked(&format!("bytesExact({value})")), bytes_exact(value));
        assert_eq!(asked(&format!("duration({value})")), duration(value));
    }
    for ns in [59_990_000_000, 60_000_000_000, 3_661_000_000_000, 90_000_000_000_000] {
        assert_eq!(asked(&format!("duration({ns})")), duration(ns));
    }
    // Marks of an axis that are equally far apart are named so: a step of 250 ms would have the marks 1.0 s, 1.2 s, 1.5 s.
    let steps = "TIME_STEPS.map((s) => Math.round(s * 1e9)).join(' ')";
    for step in asked(steps).as_str().expect("steps").split(' ') {
        let step: u64 = step.parse().expect("a whole number");
        // The longest steps are of centuries, of which an axis has few.
        let cut = (1..=12).map_while(|mark| step.checked_mul(mark)).find(|ns| ns % shown_to_ns(*ns) != 0);
        assert_eq!(cut, None, "a step of {step} ns");
    }
    for (part, whole) in [(0, 5), (5, 5), (1, 3), (1, 10_000), (9_999, 10_000), (1, 0), (2, 3)] {
        assert_eq!(asked(&format!("share({part}, {whole})")), share(part, whole));
    }
    assert_eq!(asked("bytes(-1536)"), "-1.5 KiB");
    assert_eq!(asked("count(2 ** 60)"), "≈ 1,152,921,504,606,847,000", "a figure that was rounded says so");
}

/// Returns the length to which a duration is shown.
fn shown_to_ns(ns: u64) -> u64 {
    match ns {
        0..1_000 => 1,
        1_000..1_000_000 => 100,
        1_000_000..1_000_000_000 => 100_000,
        1_000_000_000..60_000_000_000 => 100_000_000,
        60_000_000_000..3_600_000_000_000 => 1_000_000_000,
        3_600_000_000_000..86_400_000_000_000 => 60_000_000_000,
        _ => 3_600_000_000_000,
    }
}

#[test]
fn every_metric_adds_up_to_its_total() {
    use heapledger::text::units::{bytes, counted};
    let Some(mut browser) = browser() else { return };
    let profile = synthetic::server(500, 14);
    browser.open(&Pages::new().write("sums.html", &profile), 1280, false);
    let temporary = profile.sites.iter().map(|site| site.temporary_blocks).sum();
    let totals = &profile.totals;
    let known = [
        ("live", bytes(totals.live_bytes)),
        ("peak", bytes(totals.peak_bytes)),
        ("total", bytes(totals.total_bytes)),
        ("count", counted(totals.total_blocks, "block", "blocks")),
        ("temporary", counted(temporary, "block", "blocks")),
    ];
    for direction in ["callers", "callees"] {
        browser.click(&format!("#flame-body input[value={direction}] + span"));
        for (metric, sum) in &known {
            browser.click(&format!("#flame-body input[value={metric}] + span"));
            assert_eq!(browser.text("#flame-crumbs"), format!("all: {sum}"), "{metric} from {direction}");
        }
    }
    assert_quiet(&browser);
}

/// Prints the size of the page, the time to write it, and the time until it was shown. Ignored, because it takes long.
#[test]
#[ignore = "takes long without optimisation: run it with --release"]
fn a_hundred_thousand_stacks_of_forty_frames_are_shown() {
    let Some(mut browser) = browser() else { return };
    let pages = Pages::new();
    let profile = synthetic::server(100_000, 40);
    let began = std::time::Instant::now();
    let path = pages.write("large.html", &profile);
    let written = began.elapsed();
    let size = std::fs::metadata(&path).expect("the page").len();
    let shown = browser.open(&path, 1280, false);
    let timed = |browser: &mut Browser, code: &str| {
        browser.number(&format!(
            "(() => {{ const began = performance.now(); {code}; return performance.now() - began; }})()"
        ))
    };
    let metric = timed(&mut browser, "document.querySelector('#flame-body input[value=live]').click()");
    let turned = timed(&mut browser, "document.querySelector('#flame-body input[value=callees]').click()");
    let sorted = timed(&mut browser, "document.querySelector('#sites-table [data-key=live] button').click()");
    let typed = |id: &str| {
        format!(
            "const box = document.getElementById('{id}'); box.value = 'search'; box.dispatchEvent(new Event('input'))"
        )
    };
    let searched = timed(&mut browser, &typed("flame-search"));
    let filtered = timed(&mut browser, &typed("sites-filter"));
    keep_picture(&mut browser, "large.png");
    println!(
        "{size} bytes, written in {written:?}, shown in {shown:?}; metric {metric:.0} ms, turned {turned:.0} ms, \
         sorted {sorted:.0} ms, searched {searched:.0} ms, filtered {filtered:.0} ms"
    );
    assert_eq!(
        browser.number(
            "Number(document.getElementById('sites-table').getAttribute('aria-rowcount')) > 1 ? 1 : 0"
        ),
        1.0
    );
    assert_quiet(&browser);
}
