//! No profile makes a report or an export panic, print NaN or infinity, or hide losses.
//!
//! A profile can come from a damaged or hostile file. So these profiles have random counts, indices without a target,
//! empty tables, zero durations, and names with control characters and markup.

use std::io::ErrorKind;

use heapledger::profile::{
    Anomalies, Change, ClockInfo, CompletenessTrend, Histogram, Interval, LiveBlock, Module, Peak,
    ProcessInfo, ReallocStats, Scope, ScopeCounts, Settings, Site, Stack, StackFigures, SymbolFrame, Symbols,
    ThreadRow, Timeline,
};
use heapledger::quality::WithEmoji;
use heapledger::{
    ClockMode, ConcurrencyConfig, DataQualityMode, ForkPolicy, HeapStats, HistoryLimits, LossCounts,
    LossReason, Profile, QualityIndicator, Stacks,
};
use heapledger_cli::analysis::{Direction, Origin, SiteOrder, View, suppressions, verify};
use heapledger_cli::export::{Format, export};
use heapledger_cli::report::{
    Detail, Layout, SECTIONS, Styles, write_report, write_report_with, write_verdict,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// Returns counts of all magnitudes, including the smallest and the largest.
fn count() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(1), Just(u64::MAX), 0..10_000u64, any::<u64>()]
}

fn counts<const N: usize>() -> impl Strategy<Value = [u64; N]> {
    vec(count(), N).prop_map(|counts| counts.try_into().expect("as many as asked for"))
}

fn float() -> impl Strategy<Value = f64> {
    prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(0.0), Just(1.0), Just(-1.0), 0.0..1.0, any::<f64>()]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("\u{1b}[31m\u{7}\r\nQuality\n".to_string()),
        Just("<script>\"',;=#{}\u{202e}\u{0}</script>".to_string()),
        any::<String>(),
    ]
}

fn lost() -> impl Strategy<Value = LossCounts> {
    prop_oneof![Just(LossCounts::default()), counts().prop_map(LossCounts::from_counts)]
}

fn quality() -> impl Strategy<Value = QualityIndicator> {
    let floats = (float(), float(), proptest::option::of(float()));
    (any::<bool>(), floats, name(), lost(), counts::<19>()).prop_map(
        |(installed, floats, recommendation, lost, n)| QualityIndicator {
            installed,
            current_completeness: floats.0,
            target_completeness: floats.1,
            windowed_completeness: floats.2,
            trend: CompletenessTrend::Degrading,
            recommendation,
            mode: DataQualityMode::BestEffort,
            attempted: n[0],
            recorded: n[1],
            in_flight: n[2],
            lost,
            sampled_out: n[3],
            retained: n[4],
            evicted: n[5],
            anomalies: Anomalies {
                unmatched_frees: n[6],
                double_allocations: n[7],
                ambiguous_pairings: n[8],
                layout_mismatches: n[9],
            },
            own_events: n[10],
            lag_ns: n[11],
            ring_high_water_words: n[12],
            folds_at_home: n[13],
            folds_away: n[14],
            waits: n[15],
            spare_segments: n[16],
            own_bytes: n[17],
            own_cpu_ns: n[18],
            ..QualityIndicator::default()
        },
    )
}

fn totals() -> impl Strategy<Value = HeapStats> {
    counts::<10>().prop_map(|n| HeapStats {
        total_blocks: n[0],
        total_bytes: n[1],
        freed_blocks: n[2],
        freed_bytes: n[3],
        live_blocks: n[4],
        live_bytes: n[5],
        peak_blocks: n[6],
        peak_bytes: n[7],
        reallocs: n[8],
        failed: n[9],
        ..HeapStats::default()
    })
}

fn histogram() -> impl Strategy<Value = Histogram> {
    vec(count(), 0..60).prop_map(|counts| Histogram { counts })
}

fn site() -> impl Strategy<Value = Site> {
    (any::<u32>(), counts::<10>(), counts::<6>(), histogram(), histogram()).prop_map(
        |(stack, n, r, sizes, lifetimes)| Site {
            stack: stack % 4,
            total_blocks: n[0],
            total_bytes: n[1],
            freed_blocks: n[2],
            freed_bytes: n[3],
            own_peak_bytes: n[4],
            at_peak_bytes: n[5],
            at_peak_blocks: n[6],
            temporary_blocks: n[7],
            temporary_bytes: n[8],
            cross_thread_frees: n[9],
            reallocs: ReallocStats {
                count: r[0],
                moved: r[1],
                copied_bytes: r[2],
                chains: r[3],
                chain_links: r[4],
                longest_chain: r[5],
            },
            sizes,
            lifetimes,
        },
    )
}

fn thread() -> impl Strategy<Value = ThreadRow> {
    (name(), any::<bool>(), proptest::option::of(count()), lost(), counts::<10>()).prop_map(
        |(name, own, ended_ns, lost, n)| ThreadRow {
            index: 0,
            name,
            os_id: n[0],
            started_ns: n[1],
            ended_ns,
            threads: n[2],
            own,
            attempted: n[3],
            recorded: n[4],
            lost,
            total_blocks: n[5],
            total_bytes: n[6],
            freed_blocks: n[7],
            freed_bytes: n[8],
            cross_thread_frees: n[9],
        },
    )
}

fn timeline() -> impl Strategy<Value = Timeline> {
    let interval = counts::<6>().prop_map(|n| Interval {
        allocated_blocks: n[0],
        allocated_bytes: n[1],
        freed_blocks: n[2],
        freed_bytes: n[3],
        peak_bytes: n[4],
        lost: n[5],
    });
    (count(), vec(interval, 0..200)).prop_map(|(interval_ns, intervals)| Timeline { interval_ns, intervals })
}

fn live() -> impl Strategy<Value = Vec<LiveBlock>> {
    let block = (counts::<3>(), any::<u32>(), any::<u32>()).prop_map(|(n, stack, thread)| LiveBlock {
        address: n[0],
        size: n[1],
        born_ns: n[2],
        stack: stack % 4,
        thread,
        ..LiveBlock::default()
    });
    vec(block, 0..40)
}

fn process() -> impl Strategy<Value = ProcessInfo> {
    (any::<u32>(), name(), vec(name(), 0..3), name(), counts::<2>()).prop_map(
        |(pid, program, command_line, text, n)| ProcessInfo {
            pid,
            forked_from: Some(pid),
            program,
            command_line,
            platform: text.clone(),
            heapledger_version: text.clone(),
            started_unix_ns: n[0],
            duration_ns: n[1],
            reason: text,
            ..ProcessInfo::default()
        },
    )
}

fn settings() -> Settings {
    Settings {
        mode: DataQualityMode::PerfectAccuracy,
        stacks: Stacks::Off,
        clock: ClockMode::Batched,
        history: HistoryLimits::DEFAULT,
        concurrency: ConcurrencyConfig::DEFAULT,
        fork: ForkPolicy::Fresh,
        memory_limit_bytes: u64::MAX,
    }
}

/// Returns names for the low addresses, with some numbers that refer to nothing.
fn symbols() -> impl Strategy<Value = Symbols> {
    let frame = (0u32..6, 0u32..6, any::<u32>(), any::<bool>())
        .prop_map(|(function, file, line, inlined)| SymbolFrame { function, file, line, inlined });
    let frames = proptest::collection::btree_map(0u64..8, vec(frame, 0..4), 0..8);
    (vec(name(), 0..5), frames, vec(name(), 0..9)).prop_map(|(strings, frames, notes)| Symbols {
        strings,
        frames,
        notes,
    })
}

/// Returns a scope that may lie in itself, in a later scope, or in one that there is not.
fn scope(name: &str, row: u32, n: &[u64; 5]) -> Scope {
    Scope {
        name: name.to_owned(),
        parent: row * 2,
        total_blocks: n[1],
        total_bytes: n[2],
        freed_blocks: n[3],
        freed_bytes: n[4],
        ..Scope::default()
    }
}

fn profile() -> impl Strategy<Value = Profile> {
    let address = prop_oneof![0u64..8, any::<u64>()];
    let stack = vec(address, 0..4).prop_map(|frames| Stack { frames, truncated: true });
    let module = (name(), counts::<3>()).prop_map(|(path, n)| Module {
        build_id: path.clone(),
        path,
        start: n[0],
        end: n[1],
        bias: n[2],
    });
    let change = (count(), name()).prop_map(|(at_ns, what)| Change { at_ns, what });
    let tables =
        (vec(site(), 0..6), vec(stack, 0..3), vec(module, 0..3), vec(thread(), 0..20), vec(change, 0..3));
    let rest = (totals(), counts::<5>(), name(), live(), (timeline(), symbols(), counts::<7>()));
    (quality(), process(), tables, rest).prop_map(|(quality, process, tables, rest)| {
        let (sites, stacks, modules, threads, changes) = tables;
        let (totals, n, text, live, (timeline, symbols, of_stacks)) = rest;
        Profile {
            quality,
            process,
            settings: settings(),
            clock: ClockInfo { source: text.clone(), why: text.clone(), longest_span_ns: n[0] },
            totals,
            peak: Peak { bytes: n[1], blocks: n[2], at_ns: n[3], uncertainty_bytes: n[4] },
            sites,
            scope_counts: ScopeCounts { without_room: n[0], out_of_order: n[1], late_tokens: n[2] },
            scopes: (0..n[0] % 4).map(|row| scope(&text, row as u32, &n)).collect(),
            stacks,
            stack_figures: StackFigures {
                walker: text.clone(),
                why: text.clone(),
                taken: of_stacks[0],
                truncated: of_stacks[1],
                failed: of_stacks[2],
                table_full: of_stacks[3],
                left_out: of_stacks[4],
                checked: of_stacks[5],
                check_failed: of_stacks[6],
            },
            modules,
            symbols,
            live,
            threads,
            timeline,
            changes,
            ..Profile::default()
        }
    })
}

/// Returns the output of every report and export for a profile, each with its name.
fn faces(profile: &Profile, origin: &Origin, layout: &Layout) -> Vec<(String, String)> {
    let mut faces: Vec<(String, Vec<u8>)> = Vec::new();
    let mut out = Vec::new();
    write_report(profile, origin, layout, &mut out).expect("a vector takes everything");
    faces.push(("report".into(), out));
    for direction in [Direction::Callers, Direction::Callees] {
        let (known, is_short) = (suppressions::parse("leak:*a$").expect("one"), |text: &str| text.len() < 9);
        let detail = Detail {
            order: SiteOrder::Live,
            top: layout.rows,
            tree: Some(direction),
            leaks: true,
            suppressions: &known,
            view: View { ignore: vec![&is_short], ..View::default() },
            looked_at: "\u{1b}".into(),
            ..Detail::default()
        };
        let mut out = Vec::new();
        write_report_with(profile, origin, layout, &detail, &mut out).expect("a vector takes everything");
        faces.push(("report".into(), out));
    }
    let (mut out, verdict) = (Vec::new(), verify(profile, origin));
    write_verdict(profile, &verdict, origin, layout, &mut out).expect("a vector takes everything");
    faces.push(("verify".into(), out));
    for format in Format::ALL {
        let mut out = Vec::new();
        match export(*format, profile, origin, &mut out) {
            // heaptrack's format has a line for each event; a profile of too many is refused.
            Err(error) if error.kind() == ErrorKind::Unsupported => continue,
            result => result.expect("a vector takes everything"),
        }
        faces.push((format.to_string(), if format.is_text() { out } else { texts_of(&out) }));
    }
    faces.push(("indicator".into(), profile.quality.to_string().into_bytes()));
    faces.push(("pictures".into(), WithEmoji(&profile.quality).to_string().into_bytes()));
    faces.into_iter().map(|(face, out)| (face, String::from_utf8(out).expect("text"))).collect()
}

/// Returns the texts in a compressed profile, without its binary parts.
fn texts_of(zipped: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(zipped), &mut bytes).expect("gzip");
    String::from_utf8_lossy(&bytes).replace(char::is_control, " ").into_bytes()
}

/// Whether an output is JSON, which does not escape the delete character and U+0080 to U+009F.
fn is_json(face: &str) -> bool {
    ["json", "dhat", "speedscope", "firefox"].contains(&face)
}

/// Whether an output has a place for the quality of the data.
fn carries_quality(face: &str) -> bool {
    face != "collapsed"
}

/// Whether a word of `text` is Rust's text for NaN or infinity. The profile must have no names, which can be any text.
fn prints_no_number(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| matches!(word, "NaN" | "inf" | "Infinity"))
}

fn without_names(mut profile: Profile) -> Profile {
    profile.process = ProcessInfo { duration_ns: profile.process.duration_ns, ..ProcessInfo::default() };
    profile.clock = ClockInfo { longest_span_ns: profile.clock.longest_span_ns, ..ClockInfo::default() };
    profile.quality.recommendation.clear();
    profile.threads.iter_mut().for_each(|row| row.name.clear());
    profile.modules.clear();
    profile.changes.clear();
    profile.symbols = Symbols::default();
    profile.stack_figures.walker.clear();
    profile.stack_figures.why.clear();
    profile
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn every_face_survives_every_profile(profile in profile(), width in 0..300usize, rows in 0..5usize, unicode: bool) {
        let layout = Layout { width, unicode, rows, styles: Styles::none() };
        let origin = Origin::new(vec!["section \"live\": \u{1b}[2J\ncut".into()], vec!["\u{1b}note".into()]);
        for (face, text) in faces(&profile, &origin, &layout) {
            if face != "indicator" && face != "pictures" {
                let unsafe_characters = |c: char| c.is_control() && c != '\n' && (!is_json(&face) || c < ' ');
                prop_assert!(!text.contains(unsafe_characters), "{face} prints control characters:\n{text}");
            }
            if face == "report" {
                let headings: Vec<&str> = text.lines().filter(|line| SECTIONS.contains(line)).collect();
                prop_assert_eq!(headings, SECTIONS, "a name forged a heading:\n{}", text);
            }
        }
        let nameless = without_names(profile);
        for (face, text) in faces(&nameless, &Origin::default(), &layout) {
            prop_assert!(!prints_no_number(&text), "{face}:\n{text}");
        }
    }

    #[test]
    fn no_loss_prints_as_complete(recorded in count(), events in 1..u64::MAX, reason in 0..LossReason::COUNT) {
        let mut profile = empty();
        profile.quality.recorded = recorded;
        profile.quality.lost.add(LossReason::ALL[reason], events);
        let share = QualityIndicator::completeness_of(recorded, events);
        profile.quality.current_completeness = share;
        for (face, text) in faces(&profile, &Origin::default(), &Layout::default()) {
            let complete = ["100.000 %", "100.0000 %", "\"completeness\": 1.0,", "completeness_ppm 1000000"];
            prop_assert!(!complete.iter().any(|claim| text.contains(claim)), "{face}:\n{text}");
            let says_why = !carries_quality(&face) || text.contains(LossReason::ALL[reason].name());
            prop_assert!(says_why, "{face}:\n{text}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_page_holds_a_document_that_nothing_can_end(profile in profile(), damage in vec(name(), 0..3)) {
        let mut out = Vec::new();
        heapledger_cli::report::html::write_page(&profile, &Origin::new(damage, Vec::new()), &mut out).expect("a vector");
        let page = String::from_utf8(out).expect("text");
        prop_assert_eq!(page.matches("<script").count(), 2);
        prop_assert_eq!(page.matches("</script").count(), 2);
        let document = page.split("id=\"document\">").nth(1).and_then(|rest| rest.split("</script>").next());
        let document: serde_json::Value = serde_json::from_str(document.expect("a document")).expect("JSON");
        prop_assert_eq!(document["sites"]["total"].as_array().map(Vec::len), Some(profile.sites.len()));
        let complete = document["banner"]["tone"] == "good";
        prop_assert!(!complete || profile.quality.lost.total() == 0, "{}", document["banner"]);
    }
}

/// A loss for any reason is in the report, in the verdict and in the JSON, with its count.
#[test]
fn every_reason_for_loss_is_shown_with_its_count() {
    for reason in LossReason::ALL {
        let mut profile = empty();
        profile.quality.recorded = 9_000;
        profile.quality.attempted = 10_234;
        profile.quality.lost.add(reason, 1_234);
        profile.quality.current_completeness = QualityIndicator::completeness_of(9_000, 1_234);
        let (origin, said) = (Origin::default(), format!("{} 1,234", reason.name()));
        let mut report = Vec::new();
        write_report(&profile, &origin, &Layout::default(), &mut report).expect("a vector");
        let report = String::from_utf8(report).expect("text");
        assert!(report.contains(&said), "no {said:?} in\n{report}");
        let verdict = verify(&profile, &origin);
        assert!(
            !verdict.certainty(heapledger_cli::analysis::FigureGroup::LiveBlocks).is_exact(),
            "{reason:?}"
        );
        let mut text = Vec::new();
        write_verdict(&profile, &verdict, &origin, &Layout::default(), &mut text).expect("a vector");
        assert!(String::from_utf8(text).expect("text").contains(&said), "{reason:?}");
        let mut json = Vec::new();
        export(Format::Json, &profile, &origin, &mut json).expect("a vector");
        let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
        assert_eq!(json["quality"]["lost_by_reason"][reason.name()], 1_234);
    }
}

fn empty() -> Profile {
    Profile {
        quality: QualityIndicator { installed: true, ..QualityIndicator::default() },
        settings: settings(),
        ..heapledger::Profile::default()
    }
}

#[test]
fn the_check_for_numbers_that_are_none_sees_them() {
    assert!(prints_no_number("rate: NaN/s") && prints_no_number("-inf %"));
    assert!(!prints_no_number("information: none"));
}

#[test]
fn damage_shows_in_every_face_that_reads_files() {
    let origin = Origin::new(vec!["section \"live\": its checksum does not fit".into()], Vec::new());
    for (face, text) in faces(&empty(), &origin, &Layout::default()) {
        if face != "indicator" && face != "pictures" && carries_quality(&face) {
            assert!(text.contains("checksum does not fit"), "{face}:\n{text}");
        }
    }
}

#[test]
fn every_heading_of_the_report_is_explained_in_the_documentation() {
    let page = include_str!("../../docs/REPORTS.md");
    for heading in SECTIONS {
        assert!(
            page.contains(&format!("\n## {heading}\n")),
            "docs/REPORTS.md does not explain \"{heading}\""
        );
    }
}

#[test]
fn every_format_is_explained_in_the_documentation() {
    let page = include_str!("../../docs/EXPORTS.md");
    for format in Format::ALL {
        let name = format.name();
        assert!(page.contains(&format!("\n## {name}\n")), "docs/EXPORTS.md does not explain {name}");
        assert!(page.contains(&format!("\n| `{name}` |")), "docs/EXPORTS.md does not list {name}");
    }
}

#[test]
fn every_label_of_the_report_is_explained_under_its_heading() {
    let page = include_str!("../../docs/REPORTS.md");
    let mut profile = busy();
    profile.quality.windowed_completeness = Some(0.5);
    let seen = check_labels(&profile, page);
    assert!(seen >= 25, "only {seen} labels were looked at");
    take_stacks(&mut profile);
    let more = check_labels(&profile, page);
    assert!(more >= seen + 15, "only {more} labels were looked at, {seen} without stacks");
}

/// Searches every label of a report in the section of the page with the same heading. Returns the number of labels.
fn check_labels(profile: &Profile, page: &str) -> usize {
    let known = suppressions::parse("leak:nothing").expect("one suppression");
    let detail = Detail {
        tree: Some(Direction::Callers),
        leaks: true,
        suppressions: &known,
        looked_at: "focus x".into(),
        top: 1,
        ..Detail::default()
    };
    let mut out = Vec::new();
    let origin = Origin::new(vec!["cut".into()], vec!["note".into()]);
    write_report_with(profile, &origin, &Layout::default(), &detail, &mut out)
        .expect("a vector takes everything");
    let text = String::from_utf8(out).expect("text");
    let mut heading = "";
    let mut seen = 0;
    for line in text.lines() {
        if let Some(found) = SECTIONS.iter().chain(&["Call tree", "Leaks"]).find(|section| **section == line)
        {
            heading = found;
        }
        // A fact is a word of at most 16 characters after two spaces, and its value from column 20 on.
        let is_fact = line.starts_with("  ") && line.as_bytes().get(2).is_some_and(u8::is_ascii_lowercase);
        let Some((label, _)) = line.get(2..).and_then(|rest| rest.split_once("  ")).filter(|_| is_fact)
        else {
            continue;
        };
        let is_value_aligned =
            line.as_bytes().get(18..20) == Some(b"  ") && line.as_bytes().get(20) != Some(&b' ');
        if heading.is_empty() || !is_value_aligned || matches!(heading, "Threads" | "Changes") {
            continue;
        }
        let part = page.split(&format!("\n## {heading}\n")).nth(1).unwrap_or_default();
        let part = part.split("\n## ").next().unwrap_or_default();
        assert!(part.contains(&format!("`{label}`")), "\"{label}\" under \"{heading}\" is not explained");
        seen += 1;
    }
    seen
}

/// Adds figures of stacks to a profile, so that the reports have a line on them.
fn take_stacks(profile: &mut Profile) {
    let mut texts = vec![String::new()];
    for stack in 1..4u32 {
        profile.stacks.push(Stack { frames: vec![u64::from(stack)], truncated: true });
        texts.push(format!("f{stack}"));
        let frame = SymbolFrame { function: stack, file: 0, line: stack, inlined: false };
        profile.symbols.frames.insert(stack.into(), vec![frame]);
        let reallocs =
            ReallocStats { count: 4, copied_bytes: 9, chains: 2, chain_links: 4, ..ReallocStats::default() };
        let sizes = profile.sites[0].sizes.clone();
        profile.sites.push(Site {
            stack,
            total_bytes: 5,
            total_blocks: 1,
            reallocs,
            sizes,
            ..Site::default()
        });
        profile.live.push(LiveBlock { size: 10, stack, ..LiveBlock::default() });
    }
    profile.symbols.strings = texts;
    profile.symbols.notes.push("app is not on this machine".into());
    let one = StackFigures {
        taken: 1,
        truncated: 1,
        failed: 1,
        table_full: 1,
        left_out: 1,
        ..StackFigures::default()
    };
    profile.stack_figures = StackFigures { checked: 1, check_failed: 1, ..one };
}

/// Returns a profile with content for every section.
fn busy() -> Profile {
    let mut profile = empty();
    let mut histogram = Histogram::default();
    histogram.add(100, 3);
    profile.sites =
        vec![Site { total_blocks: 3, sizes: histogram.clone(), lifetimes: histogram, ..Site::default() }];
    profile.threads = vec![ThreadRow { threads: 1, ..ThreadRow::default() }];
    profile.live = vec![LiveBlock { size: 10, ..LiveBlock::default() }];
    profile.timeline = Timeline {
        interval_ns: 1_000,
        intervals: vec![Interval { allocated_bytes: 5, lost: 1, ..Interval::default() }],
    };
    profile.peak.uncertainty_bytes = 5;
    profile.quality.sampled_out = 1;
    profile.quality.recommendation = "set HEAPLEDGER_MODE=perfect".into();
    profile
}
