//! Short forms of a report: text or JSON of at most [`BRIEF_BYTES_MAX`] bytes, for machines and AI assistants, and
//! Markdown, for the summary of a pull request.
//!
//! A short form has the findings with the same words as the text report, the totals, and the first places.

use std::io::{self, Write};

use serde::Serialize;

use super::detail::Detail;
use super::escape::escaped;
use super::markdown::{Cells, code, rows};
use super::sections::{findings, places};
use super::table::cut;
use super::units::{bytes, count, duration, share};
use super::warnings::warnings;
use crate::analysis::{Origin, SiteOrder, findings as findings_of, site_book, verify};
use heapledger::profile::Profile;

/// Maximum length of a brief report, in bytes.
pub const BRIEF_BYTES_MAX: usize = 3_072;
/// Version of the JSON form, which the JSON contains.
const FORMAT_VERSION: u32 = 1;
/// Maximum length of a place or a sentence in a brief report, in characters.
const BRIEF_WIDTH: usize = 160;

/// Format of a short report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShortForm {
    /// Text of at most [`BRIEF_BYTES_MAX`] bytes.
    BriefText,
    /// One JSON object of at most [`BRIEF_BYTES_MAX`] bytes.
    BriefJson,
    /// Markdown with tables.
    Markdown,
}

#[derive(Debug, Serialize)]
struct Short {
    format_version: u32,
    program: String,
    pid: u32,
    duration_ns: u64,
    /// Whether the figures contain every event. If not, `completeness` says what is missing.
    is_complete: bool,
    completeness: String,
    findings: Vec<Line>,
    warnings: Vec<String>,
    totals: Totals,
    /// Name of the figure that ranks the places.
    ranked_by: &'static str,
    places: Vec<Place>,
    /// Number of places that are not listed.
    other_places: u64,
}

#[derive(Debug, Serialize)]
struct Line {
    kind: &'static str,
    text: String,
}

#[derive(Debug, Serialize)]
struct Totals {
    total_blocks: u64,
    total_bytes: u64,
    live_blocks: u64,
    live_bytes: u64,
    peak_blocks: u64,
    peak_bytes: u64,
}

#[derive(Debug, Serialize)]
struct Place {
    place: String,
    total_bytes: u64,
    total_blocks: u64,
    live_bytes: u64,
    peak_bytes: u64,
    temporary_blocks: u64,
}

/// Writes a short report. Uses the ranking, the number of places and the filters of `detail`.
///
/// # Errors
///
/// Returns an error if `out` does.
pub fn write_short(
    profile: &Profile,
    origin: &Origin,
    detail: &Detail<'_>,
    form: ShortForm,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut short = Short::new(profile, origin, detail);
    let written = |short: &Short| match form {
        ShortForm::BriefText => short.text(),
        ShortForm::BriefJson => serde_json::to_string(short).unwrap_or_default() + "\n",
        ShortForm::Markdown => short.markdown(),
    };
    let mut text = written(&short);
    // The report is shortened until it fits. `drop_one` drops the least important part first.
    while form != ShortForm::Markdown && text.len() > BRIEF_BYTES_MAX && short.drop_one() {
        text = written(&short);
    }
    out.write_all(text.as_bytes())
}

impl Short {
    fn new(profile: &Profile, origin: &Origin, detail: &Detail<'_>) -> Short {
        let (completeness, is_complete) = findings::completeness(profile, origin.is_whole());
        let verdict = verify(profile, origin);
        let has_stacks = profile.sites.iter().any(|site| site.stack != 0);
        let book = has_stacks.then(|| site_book(profile, &detail.view));
        let totals = &profile.totals;
        let mut short = Short {
            format_version: FORMAT_VERSION,
            program: cut(&escaped(&profile.process.program), BRIEF_WIDTH),
            pid: profile.process.pid,
            duration_ns: profile.process.duration_ns,
            is_complete,
            completeness,
            findings: Vec::new(),
            warnings: warnings(profile, &verdict, origin)
                .into_iter()
                .map(|warning| format!("{} {}", warning.seen, warning.advice))
                .collect(),
            totals: Totals {
                total_blocks: totals.total_blocks,
                total_bytes: totals.total_bytes,
                live_blocks: totals.live_blocks,
                live_bytes: totals.live_bytes,
                peak_blocks: totals.peak_blocks,
                peak_bytes: totals.peak_bytes,
            },
            ranked_by: detail.order.name(),
            places: Vec::new(),
            other_places: 0,
        };
        let Some(book) = book else { return short };
        for finding in findings_of(profile, &book) {
            let (kind, text) = findings::sentence(profile, &book, &finding, BRIEF_WIDTH);
            short.findings.push(Line { kind, text });
        }
        let ranking = book.ranking(detail.order, detail.top);
        short.other_places = ranking.other_lines;
        for row in ranking.rows {
            let account = &book.lines[row].account;
            short.places.push(Place {
                place: places::named(&book, row, BRIEF_WIDTH),
                total_bytes: account.total_bytes,
                total_blocks: account.total_blocks,
                live_bytes: SiteOrder::Live.value(account),
                peak_bytes: SiteOrder::Peak.value(account),
                temporary_blocks: account.temporary_blocks,
            });
        }
        short
    }

    /// Drops the last place, or the last warning if there are no places, or the last finding if there are no warnings
    /// either. Returns whether anything was dropped.
    fn drop_one(&mut self) -> bool {
        if self.places.pop().is_some() {
            self.other_places += 1;
            return true;
        }
        self.warnings.pop().is_some() || self.findings.pop().is_some()
    }

    fn facts(&self) -> String {
        let Totals { total_blocks, total_bytes, live_blocks, live_bytes, peak_blocks, peak_bytes } =
            self.totals;
        let (total, live, peak) = (bytes(total_bytes), bytes(live_bytes), bytes(peak_bytes));
        format!(
            "allocated {total} in {} blocks; live at the end {live} in {}; peak {peak} in {}",
            count(total_blocks),
            count(live_blocks),
            count(peak_blocks)
        )
    }

    fn text(&self) -> String {
        let time = duration(self.duration_ns);
        let mut text =
            format!("{} (pid {}), {time}\ncomplete: {}\n", self.program, self.pid, self.completeness);
        for warning in &self.warnings {
            text.push_str(&format!("warning: {warning}\n"));
        }
        for Line { kind, text: line } in &self.findings {
            text.push_str(&format!("{kind}: {line}\n"));
        }
        text.push_str(&format!("totals: {}\nplaces by {}:\n", self.facts(), self.ranked_by));
        for place in &self.places {
            text.push_str(&format!(
                "  {} in {} blocks, live {}, at peak {}: {}\n",
                bytes(place.total_bytes),
                count(place.total_blocks),
                bytes(place.live_bytes),
                bytes(place.peak_bytes),
                place.place
            ));
        }
        if self.other_places > 0 {
            text.push_str(&format!("  {} more\n", count(self.other_places)));
        }
        text
    }

    fn markdown(&self) -> String {
        let mark = if self.is_complete { "✅" } else { "⚠️" };
        let program = code(&self.program);
        let mut text = format!("### Heap of {program}\n\n{mark} complete: {}\n\n", self.completeness);
        for warning in &self.warnings {
            text.push_str(&format!("* ⚠️ {}\n", super::markdown::plain(warning)));
        }
        for Line { kind, text: line } in &self.findings {
            text.push_str(&format!("* **{kind}**: {}\n", super::markdown::plain(line)));
        }
        text.push_str(&format!("\n{}\n\n", self.facts()));
        let titles = ["share", "allocated", "blocks", "live", "at peak", "place"];
        let table: Vec<Cells> = self
            .places
            .iter()
            .map(|place| {
                vec![
                    share(place.total_bytes, self.totals.total_bytes),
                    bytes(place.total_bytes),
                    count(place.total_blocks),
                    bytes(place.live_bytes),
                    bytes(place.peak_bytes),
                    code(&place.place),
                ]
            })
            .collect();
        text.push_str(&rows(&titles, &table));
        if self.other_places > 0 {
            text.push_str(&format!("\n{} more places\n", count(self.other_places)));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::sample;
    use heapledger::profile::LossReason;

    fn written(profile: &Profile, form: ShortForm) -> String {
        let mut out = Vec::new();
        let detail = Detail { top: 1_000, ..Detail::default() };
        write_short(profile, &Origin::default(), &detail, form, &mut out).expect("a vector");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_brief_report_has_its_bound_whatever_is_in_the_profile() {
        let mut long = sample::named();
        long.process.program = "name ".repeat(10_000);
        long.symbols.strings.iter_mut().for_each(|name| name.push_str(&"\u{1b}é".repeat(5_000)));
        for profile in [sample::complete(), sample::named(), sample::empty(), long] {
            for form in [ShortForm::BriefText, ShortForm::BriefJson] {
                let text = written(&profile, form);
                assert!(
                    text.len() <= BRIEF_BYTES_MAX && !text.contains('\u{1b}'),
                    "{} B: {text}",
                    text.len()
                );
            }
        }
    }

    #[test]
    fn every_form_has_the_completeness_and_the_places() {
        let lost = sample::with_loss(LossReason::RingFull, 3);
        for form in [ShortForm::BriefText, ShortForm::BriefJson, ShortForm::Markdown] {
            assert!(written(&lost, form).contains("82.352 %"));
            let named = written(&sample::named(), form);
            assert!(named.contains("100.000 %") && named.contains("Vec<..>::push"), "{named}");
        }
        let json: serde_json::Value =
            serde_json::from_str(&written(&lost, ShortForm::BriefJson)).expect("JSON");
        assert_eq!((&json["is_complete"], &json["totals"]["total_bytes"]), (&false.into(), &5_000.into()));
    }

    #[test]
    fn names_cannot_leave_their_cell() {
        let mut profile = sample::named();
        profile.process.program = "a`|\n# b".into();
        let text = written(&profile, ShortForm::Markdown);
        assert!(!text.contains("\n# b") && text.contains("### Heap of `a'"), "{text}");
        let columns: Vec<usize> = text
            .lines()
            .filter(|line| line.starts_with('|'))
            .map(|line| line.replace("\\|", "").matches('|').count())
            .collect();
        assert!(columns.len() > 2 && columns.iter().all(|columns| *columns == 7), "{text}");
    }
}
