//! Text report: a title, then its sections in a fixed order.
//!
//! The findings come first. Their first line says how complete the data is, before any figure that depends on it. A
//! short report fits on two screens. A long report has all sections, and an empty section says `none`, so that two
//! reports can be compared line by line. Only the sections on scopes, on tracked pointers and on the memory of the
//! process are left out if they have no content. The quality of the data comes last, in detail.

use std::io::{self, Write};

use super::detail::Detail;
use super::escape::escaped;
use super::sections::subject::Subject;
use super::sections::{findings, heap, memory, quality, scopes, sites, tables, timeline, tracked};
use super::text_page::{Layout, TextPage, Tone};
use super::units::duration;
use crate::analysis::{GroupBy, Origin, grouped_book, verify};
use heapledger::profile::Profile;

/// Headings of the report, in order. `docs/REPORTS.md` has a section for each heading.
pub const SECTIONS: [&str; 13] = [
    "Findings",
    "Totals",
    "Peak",
    "Timeline",
    "Sites",
    "Temporaries",
    "Reallocs",
    "Live at the end",
    "Threads",
    "Sizes",
    "Lifetimes",
    "Changes",
    "Quality",
];
/// Headings of a short report, in order.
pub const OVERVIEW: [&str; 4] = ["Findings", "Totals", "Timeline", "Sites"];

/// Writes the report of `profile`. `origin` describes the file of the profile; pass `&Origin::default()` for a running
/// process.
///
/// # Errors
///
/// Returns an error if `out` does.
pub fn write_report(
    profile: &Profile,
    origin: &Origin,
    layout: &Layout,
    out: &mut impl Write,
) -> io::Result<()> {
    write_report_with(profile, origin, layout, &Detail::default(), out)
}

/// Writes the report as [`write_report`] does, with the ranking, filters and optional sections of `detail`. The
/// optional sections, `Call tree` and `Leaks`, come after the section on sites.
///
/// # Errors
///
/// Returns an error if `out` does.
pub fn write_report_with(
    profile: &Profile,
    origin: &Origin,
    layout: &Layout,
    detail: &Detail<'_>,
    out: &mut impl Write,
) -> io::Result<()> {
    let has_stacks = profile.sites.iter().any(|site| site.stack != 0);
    let is_by_thread = detail.view.group == GroupBy::Thread;
    let book = (has_stacks || is_by_thread).then(|| grouped_book(profile, &detail.view));
    let subject = Subject { profile, origin, verdict: verify(profile, origin), detail, book };
    let page = &mut TextPage::new(out, layout);
    title(page, profile)?;
    let all: [Section; SECTIONS.len()] = [
        findings::findings,
        heap::totals,
        heap::peak,
        timeline::timeline,
        tables::sites,
        heap::temporaries,
        heap::reallocs,
        tables::live,
        tables::threads,
        tables::sizes,
        tables::lifetimes,
        tables::changes,
        quality::quality,
    ];
    let short: [Section; OVERVIEW.len()] =
        [findings::findings, heap::overview, timeline::timeline, tables::sites];
    let headings = if detail.overview { &OVERVIEW[..] } else { &SECTIONS[..] };
    let sections = if detail.overview { &short[..] } else { &all[..] };
    for (heading, section) in headings.iter().zip(sections) {
        page.heading(heading)?;
        section(page, &subject)?;
        match *heading {
            "Sites" => {
                asked_for(page, &subject)?;
                if !profile.scopes.is_empty() {
                    page.heading(scopes::HEADING)?;
                    scopes::scopes(page, &subject)?;
                }
            }
            "Timeline" if !detail.overview && !profile.memory.is_empty() => {
                page.heading(memory::HEADING)?;
                memory::memory(page, &subject)?;
            }
            "Changes" if !profile.tracked.is_empty() => {
                page.heading(tracked::HEADING)?;
                tracked::tracked(page, &subject)?;
            }
            _ => {}
        }
    }
    if detail.overview {
        page.line("")?;
        let more =
            "--all shows every section; --by and --group rank the places otherwise; --html draws a page.";
        page.note(more, 0, Tone::Faint)?;
    }
    Ok(())
}

/// Function that writes one section.
type Section = fn(&mut TextPage<'_>, &Subject<'_>) -> io::Result<()>;

/// Writes the optional sections that `detail` requests.
fn asked_for(page: &mut TextPage<'_>, subject: &Subject<'_>) -> io::Result<()> {
    if let Some(direction) = subject.detail.tree {
        page.heading("Call tree")?;
        sites::call_tree(page, subject, direction)?;
    }
    if subject.detail.leaks {
        page.heading("Leaks")?;
        sites::leaks(page, subject)?;
    }
    Ok(())
}

/// Writes the lines that identify the process, above the first section.
pub(super) fn title(page: &mut TextPage<'_>, profile: &Profile) -> io::Result<()> {
    let process = &profile.process;
    let named = |text: &str, unnamed: &str| if text.is_empty() { unnamed.to_string() } else { escaped(text) };
    let line = format!(
        "heapledger: {} (pid {}), {} recorded, snapshot made by: {}",
        named(&process.program, "unnamed program"),
        process.pid,
        duration(process.duration_ns),
        named(&process.reason, "unknown"),
    );
    page.note(&line, 0, Tone::Plain)?;
    if !process.command_line.is_empty() {
        let words: Vec<String> = process.command_line.iter().map(|word| escaped(word)).collect();
        page.note(&format!("command: {}", words.join(" ")), 0, Tone::Faint)?;
    }
    if !process.directory.is_empty() {
        page.note(&format!("started in {}", escaped(&process.directory)), 0, Tone::Faint)?;
    }
    for source in &process.unread {
        page.note(&format!("could not be read: {}", escaped(source)), 0, Tone::Plain)?;
    }
    if let Some(parent) = process.forked_from {
        page.note(&format!("forked from pid {parent}"), 0, Tone::Faint)?;
    }
    let platform = named(&process.platform, "unknown platform");
    let version = named(&process.heapledger_version, "(unknown)");
    page.note(&format!("{platform}, recorded by heapledger {version}"), 0, Tone::Faint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::sample;
    use heapledger::profile::{LossReason, SymbolFrame};

    fn report(profile: &Profile, origin: &Origin) -> String {
        let mut out = Vec::new();
        write_report(profile, origin, &Layout::default(), &mut out).expect("a vector takes everything");
        String::from_utf8(out).expect("text")
    }

    /// Returns the lines from a heading to the next empty line.
    fn section<'t>(text: &'t str, heading: &str) -> Vec<&'t str> {
        text.lines().skip_while(|line| *line != heading).skip(1).take_while(|line| !line.is_empty()).collect()
    }

    #[test]
    fn sections_come_in_their_order_with_findings_first_and_quality_last() {
        for profile in [sample::complete(), sample::empty()] {
            let text = report(&profile, &Origin::default());
            let headings: Vec<&str> = text.lines().filter(|line| SECTIONS.contains(line)).collect();
            assert_eq!(headings, SECTIONS);
        }
    }

    #[test]
    fn a_short_report_fits_on_two_screens_and_says_how_complete_it_is() {
        let detail = Detail { overview: true, ..Detail::default() };
        for profile in [with_names(), sample::empty(), sample::with_loss(LossReason::RingFull, 3)] {
            let mut out = Vec::new();
            let (origin, layout) = (Origin::default(), Layout::default());
            write_report_with(&profile, &origin, &layout, &detail, &mut out).expect("a vector");
            let text = String::from_utf8(out).expect("text");
            let headings: Vec<&str> = text.lines().filter(|line| SECTIONS.contains(line)).collect();
            assert_eq!(headings, OVERVIEW);
            assert!(text.lines().count() <= 80, "{text}");
            let first = &section(&text, "Findings")[0];
            assert!(first.starts_with("  complete          ") || first.contains("unknown"), "{text}");
        }
    }

    #[test]
    fn the_sample_reads_as_computed_by_hand() {
        let text = report(&sample::complete(), &Origin::default());
        for line in [
            "  completeness      100.000 % (target 95 %)",
            "  lost              0 events",
            "  allocated         10 blocks, 4.9 KiB (5,000 B)",
            "  live              3 blocks, 2.1 KiB (2,200 B)",
            "  mean size         500 B",
            "  allocation rate   5/s, 2.4 KiB/s",
            "  highest           3.4 KiB (3,500 B) in 5 blocks, after 750.0 ms",
            "  certainty         exact",
            "  temporary         4 blocks (40.0 % of all), 400 B",
        ] {
            assert!(text.lines().any(|printed| printed == line), "{line}\nis not in\n{text}");
        }
        assert_eq!(section(&text, "Changes"), ["  none"]);
    }

    #[test]
    fn every_forced_loss_shows_in_the_quality_block_and_at_the_figures() {
        for reason in LossReason::ALL {
            let text = report(&sample::with_loss(reason, 3), &Origin::default());
            let quality = section(&text, "Quality").join("\n");
            assert!(quality.contains("82.352 %"), "14 of 17, rounded down\n{quality}");
            assert!(quality.contains(&format!("{} 3", reason.name())), "{quality}");
            assert!(section(&text, "Totals").join("\n").contains("a lower bound: 3 events were lost"));
            assert!(section(&text, "Timeline").join("\n").contains("3 events lost"));
        }
    }

    #[test]
    fn damage_shows_in_the_quality_block_and_takes_exactness_away() {
        let text = report(
            &sample::complete(),
            &Origin::new(vec!["section live: \u{1b}checksum".into()], vec!["a note".into()]),
        );
        let quality = section(&text, "Quality").join("\n");
        assert!(quality.contains("section live: \\u{1b}checksum"), "{quality}");
        assert!(quality.contains("  file notes        a note"), "{quality}");
        assert!(section(&text, "Totals").join("\n").contains("uncertain: 1 part of the file"));
        assert!(!text.contains("certainty         exact"));
    }

    #[test]
    fn a_broken_law_is_named_and_takes_exactness_away() {
        let mut profile = sample::complete();
        profile.quality.evicted += 1;
        let text = report(&profile, &Origin::default());
        let quality = section(&text, "Quality").join("\n");
        assert!(quality.contains("1 BROKEN: recorded = retained + evicted"), "{quality}");
        assert!(
            section(&text, "Totals")
                .join("\n")
                .contains("uncertain: the books contradict each other in 1 law")
        );
    }

    #[test]
    fn names_cannot_write_lines_or_escape_sequences() {
        let mut profile = sample::complete();
        profile.process.program = "demo\nQuality\n  completeness      100.000 %".into();
        profile.threads[0].name = "\u{1b}[31mred".into();
        let text = report(&profile, &Origin::default());
        assert_eq!(text.lines().filter(|line| *line == "Quality").count(), 1);
        assert!(!text.contains('\u{1b}') && text.contains("\\u{1b}[31mred"));
    }

    #[test]
    fn ascii_layouts_print_ascii_only() {
        let layout = Layout { unicode: false, ..Layout::default() };
        let mut out = Vec::new();
        write_report(&sample::complete(), &Origin::default(), &layout, &mut out).expect("a vector");
        assert!(out.is_ascii());
    }

    #[test]
    fn what_was_measured_and_estimated_is_printed_with_its_error() {
        use heapledger::profile::{Estimate, Estimates, TurnTimes};
        let mut profile = sample::complete();
        let none = report(&profile, &Origin::default());
        assert!(!none.contains("  samples") && !none.contains("  recording") && !none.contains("Tracked"));
        let mut durations = [0; heapledger::profile::TURN_BUCKETS];
        durations[7] = 100;
        profile.quality.turn_times = TurnTimes { turns: 1_300, timed: 100, timed_ns: 9_000, durations };
        let estimate = |value, standard_error| Estimate { value, standard_error };
        profile.estimates = Some(Estimates {
            total_blocks: estimate(1_000.4, 31.6),
            total_bytes: estimate(2_048.0, 512.0),
            live_blocks: estimate(10.0, 1.0),
            live_bytes: estimate(1_024.0, 0.0),
            mean_bytes_between_samples: 1_024,
            sampled_blocks: 7,
            ..Estimates::default()
        });
        let text = report(&profile, &Origin::default());
        for line in [
            "1,300 turns, 100 of them timed: 90 ns in the mean, 99 of 100 below 128 ns",
            "7 blocks, one in about 1.0 KiB; they say, with one standard error:",
            "1,000 blocks \u{b1} 32, 2.0 KiB \u{b1} 512 B",
            "10 blocks \u{b1} 1, 1.0 KiB \u{b1} 0 B",
        ] {
            assert!(text.contains(line), "{line}\nis not in\n{text}");
        }
    }

    #[test]
    fn tracked_pointers_come_last_with_who_holds_them() {
        use heapledger::profile::tracked::{Holder, PointerKind, TrackedPointer};
        let mut profile = sample::complete();
        let holder = |place: &str, held| Holder { place: place.into(), made: 9, held };
        profile.tracked.pointers.push(TrackedPointer {
            id: 0,
            name: "con\nfig".into(),
            type_name: "Config".into(),
            kind: PointerKind::Arc,
            created_at: "main.rs:7:5".into(),
            clones: 12,
            drops: 10,
            unwrapped: 0,
            held: 3,
            strong_high_water: 5,
            storms: 2,
            largest_burst_clones: 400,
            holders: vec![holder("a.rs:1:1", 2), holder("b.rs:2:2", 1), holder("gone.rs:3:3", 0)],
        });
        profile.tracked.storm_window_events = 1_024;
        profile.tracked.unlisted.pointers = 4;
        let text = report(&profile, &Origin::default());
        let lines = section(&text, "Tracked pointers").join("\n");
        for part in [
            "1 pointer, 1 still held",
            "con\\u{a}fig: Arc<Config> of main.rs:7:5; 3 held, 12 clones, 10 drops",
            "2 from a.rs:1:1",
            "1 from b.rs:2:2",
            "2 times, up to 400 clones in 1,024 events",
            "4 pointers found no room in the list",
        ] {
            let wanted: String = part.split_whitespace().collect();
            let printed: String = lines.split_whitespace().collect();
            assert!(printed.contains(&wanted), "{part}\nis not in\n{lines}");
        }
        assert!(!lines.contains("gone.rs"));
    }

    #[test]
    fn colours_are_there_when_asked_for_only() {
        let coloured = Layout { styles: super::super::Styles::colour(), ..Layout::default() };
        let mut out = Vec::new();
        write_report(&sample::complete(), &Origin::default(), &coloured, &mut out).expect("a vector");
        assert!(out.contains(&0x1b));
        assert!(!report(&sample::complete(), &Origin::default()).contains('\u{1b}'));
    }

    /// Returns [`sample::complete`] with symbols: stack 1 is a `Vec` that grows in `demo::fill`.
    fn with_names() -> Profile {
        let mut profile = sample::complete();
        profile.settings.stacks = heapledger::profile::Stacks::Auto;
        profile.stack_figures.walker = "frame pointers".into();
        profile.stack_figures.why = "proved sound".into();
        (profile.stack_figures.taken, profile.stack_figures.truncated) = (10, 2);
        (profile.stack_figures.checked, profile.stack_figures.check_failed) = (5, 1);
        let texts = [
            "",
            "alloc::vec::Vec<u8>::push",
            "/rustc/1/library/alloc/src/vec/mod.rs",
            "demo::fill",
            "src/\u{1b}a.rs",
        ];
        profile.symbols.strings = texts.map(str::to_owned).to_vec();
        let symbol = |function, file, line| vec![SymbolFrame { function, file, line, inlined: false }];
        profile.symbols.frames.insert(0x1000, symbol(1, 2, 9));
        profile.symbols.frames.insert(0x2000, symbol(3, 4, 42));
        profile.symbols.notes.push("libx.so has no debug information".into());
        profile.sites[1].reallocs = heapledger::profile::ReallocStats {
            count: 8,
            moved: 8,
            copied_bytes: 320,
            chains: 4,
            chain_links: 8,
            longest_chain: 2,
        };
        profile
    }

    #[test]
    fn places_are_named_with_what_they_went_through() {
        let text = report(&with_names(), &Origin::default());
        let sites = section(&text, "Sites");
        let expected = [
            "  ranked            by bytes allocated: 2 of 2 places",
            "  #   share    total  blocks     live  at peak  temporary  copied  freed elsewhere",
            "  1  92.0 %  4.5 KiB       6  2.1 KiB  3.2 KiB          0   600 B                2",
            "       (no stack)",
            "  2   8.0 %    400 B       4      0 B    200 B          4   320 B                0",
            "       demo::fill (src/\\u{1b}a.rs:42)",
            "         through alloc::vec::Vec<..>::push (src/vec/mod.rs:9)",
            "  names             libx.so has no debug information",
        ];
        assert_eq!(sites[..expected.len()], expected, "{text}");
        let quality = section(&text, "Quality").join("\n");
        for line in [
            "  stacks            frame pointers (proved sound), 10 taken",
            "  stacks missing    2 truncated",
            "  stacks checked    5 walked twice, 1 differed",
        ] {
            assert!(quality.contains(line), "{quality}");
        }
        let reallocs = section(&text, "Reallocs").join(" ");
        let reallocs = reallocs.split_whitespace().collect::<Vec<_>>().join(" ");
        let advice = "a first capacity (`with_capacity`) of the largest size seen here, 64 to 127 B, saves up to 8 \
                      reallocs (2.00 a block) and 320 B copied, over 4 blocks";
        assert!(reallocs.contains(advice), "{reallocs}");
        assert!(section(&text, "Sites").join(" ").contains("read differently when walked another way"));
    }

    #[test]
    fn sections_that_are_asked_for_stand_behind_the_sites() {
        let profile = with_names();
        let known = crate::analysis::suppressions::parse("leak:^demo$").expect("one");
        let detail = Detail {
            tree: Some(crate::analysis::Direction::Callees),
            leaks: true,
            suppressions: &known,
            ..Detail::default()
        };
        let mut out = Vec::new();
        write_report_with(&profile, &Origin::default(), &Layout::default(), &detail, &mut out)
            .expect("a vector");
        let text = String::from_utf8(out).expect("text");
        let tree = section(&text, "Call tree");
        assert_eq!(
            tree[1..3],
            ["   100.0 %     4.9 KiB  all", "     8.0 %       400 B   demo::fill (src/\\u{1b}a.rs)"]
        );
        let leaks = section(&text, "Leaks");
        assert_eq!(leaks[0], "  not freed         3 blocks, 2.1 KiB (2,200 B), from 1 place");
        assert!(leaks.contains(&"  suppressed        0 blocks, 0 B by leak:^demo$"), "{text}");
        let at = |heading| text.find(&format!("\n{heading}\n")).expect("the section is there");
        assert!(
            at("Sites") < at("Call tree") && at("Call tree") < at("Leaks") && at("Leaks") < at("Changes")
        );
    }

    #[test]
    fn an_error_of_the_writer_is_handed_back() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let failed = write_report(&sample::complete(), &Origin::default(), &Layout::default(), &mut Full);
        assert_eq!(failed.expect_err("the disk is full").kind(), io::ErrorKind::StorageFull);
    }
}
