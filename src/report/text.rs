//! The report a person reads: a title, then its sections in a fixed order.
//!
//! Every section is always there, so that two reports can be laid side by side and so that an empty section says
//! "none" instead of leaving the reader to wonder. The quality of the data comes first; nobody should meet a figure
//! before knowing what it is worth.

use std::io::{self, Write};

use super::detail::Detail;
use super::escape::escaped;
use super::sections::{heap, quality, sites, tables, timeline};
use super::sheet::{Layout, Sheet, Tone};
use super::units::duration;
use crate::analysis::{Origin, SiteBook, Verdict, site_book, verify};
use crate::profile::Profile;

/// The headings of the report, in order. `docs/REPORTS.md` has a section for each.
pub const SECTIONS: [&str; 12] = [
    "Quality",
    "Totals",
    "Peak",
    "Threads",
    "Sizes",
    "Lifetimes",
    "Temporaries",
    "Reallocs",
    "Timeline",
    "Live at the end",
    "Sites",
    "Changes",
];

/// What every section is written from.
pub(super) struct Subject<'a> {
    pub(super) profile: &'a Profile,
    pub(super) origin: &'a Origin,
    pub(super) verdict: Verdict,
    pub(super) detail: &'a Detail<'a>,
    /// The sites, read; `None` when no stacks were taken.
    pub(super) book: Option<SiteBook>,
}

/// Writes the report of `profile`, given what is known of its file; for a live process, `&Origin::default()`.
///
/// # Errors
///
/// Those of `out`.
pub fn write_report(
    profile: &Profile,
    origin: &Origin,
    layout: &Layout,
    out: &mut impl Write,
) -> io::Result<()> {
    write_report_with(profile, origin, layout, &Detail::default(), out)
}

/// As [`write_report`], with what is wanted of call stacks: `detail` may add the sections `Leaks` and `Call tree`, behind
/// that of the sites.
///
/// # Errors
///
/// Those of `out`.
pub fn write_report_with(
    profile: &Profile,
    origin: &Origin,
    layout: &Layout,
    detail: &Detail<'_>,
    out: &mut impl Write,
) -> io::Result<()> {
    let has_stacks = profile.sites.iter().any(|site| site.stack != 0);
    let book = has_stacks.then(|| site_book(profile, &detail.view));
    let subject = Subject { profile, origin, verdict: verify(profile, origin), detail, book };
    let sheet = &mut Sheet::new(out, layout);
    title(sheet, profile)?;
    type Section = fn(&mut Sheet<'_>, &Subject<'_>) -> io::Result<()>;
    let sections: [Section; SECTIONS.len()] = [
        quality::quality,
        heap::totals,
        heap::peak,
        tables::threads,
        tables::sizes,
        tables::lifetimes,
        heap::temporaries,
        heap::reallocs,
        timeline::timeline,
        tables::live,
        tables::sites,
        tables::changes,
    ];
    for (heading, section) in SECTIONS.iter().zip(sections) {
        sheet.heading(heading)?;
        section(sheet, &subject)?;
        if *heading == "Sites" {
            asked_for(sheet, &subject)?;
        }
    }
    Ok(())
}

/// The sections that are there when they are asked for.
fn asked_for(sheet: &mut Sheet<'_>, subject: &Subject<'_>) -> io::Result<()> {
    if let Some(direction) = subject.detail.tree {
        sheet.heading("Call tree")?;
        sites::call_tree(sheet, subject, direction)?;
    }
    if subject.detail.leaks {
        sheet.heading("Leaks")?;
        sites::leaks(sheet, subject)?;
    }
    Ok(())
}

/// The lines above the first section: which process this is.
pub(super) fn title(sheet: &mut Sheet<'_>, profile: &Profile) -> io::Result<()> {
    let process = &profile.process;
    let named = |text: &str, unnamed: &str| if text.is_empty() { unnamed.to_string() } else { escaped(text) };
    let line = format!(
        "heapledger: {} (pid {}), {} recorded, snapshot made by: {}",
        named(&process.program, "unnamed program"),
        process.pid,
        duration(process.duration_ns),
        named(&process.reason, "unknown"),
    );
    sheet.note(&line, 0, Tone::Plain)?;
    if !process.command_line.is_empty() {
        let words: Vec<String> = process.command_line.iter().map(|word| escaped(word)).collect();
        sheet.note(&format!("command: {}", words.join(" ")), 0, Tone::Faint)?;
    }
    if let Some(parent) = process.forked_from {
        sheet.note(&format!("forked from pid {parent}"), 0, Tone::Faint)?;
    }
    let platform = named(&process.platform, "unknown platform");
    let version = named(&process.heapledger_version, "(unknown)");
    sheet.note(&format!("{platform}, recorded by heapledger {version}"), 0, Tone::Faint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::sample;
    use crate::profile::LossReason;

    fn report(profile: &Profile, origin: &Origin) -> String {
        let mut out = Vec::new();
        write_report(profile, origin, &Layout::default(), &mut out).expect("a vector takes everything");
        String::from_utf8(out).expect("text")
    }

    /// The lines from a heading to the next empty line.
    fn section<'t>(text: &'t str, heading: &str) -> Vec<&'t str> {
        text.lines().skip_while(|line| *line != heading).skip(1).take_while(|line| !line.is_empty()).collect()
    }

    #[test]
    fn sections_come_in_their_order_with_quality_first() {
        for profile in [sample::complete(), sample::empty()] {
            let text = report(&profile, &Origin::default());
            let headings: Vec<&str> = text.lines().filter(|line| SECTIONS.contains(line)).collect();
            assert_eq!(headings, SECTIONS);
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

    #[cfg(feature = "cli")]
    #[test]
    fn colours_are_there_when_asked_for_only() {
        let coloured = Layout { styles: super::super::Styles::colour(), ..Layout::default() };
        let mut out = Vec::new();
        write_report(&sample::complete(), &Origin::default(), &coloured, &mut out).expect("a vector");
        assert!(out.contains(&0x1b));
        assert!(!report(&sample::complete(), &Origin::default()).contains('\u{1b}'));
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
