//! Parts of the page that are sentences and single figures: the quality banner, the key figures at the top, the
//! conservation laws and the certainties.
//!
//! The page has the same sentences as the text report: certainties come from [`certainty_text`], warnings from
//! [`mod@warnings`](super::super::warnings).

use serde::Serialize;

use super::super::certainty_text;
use super::super::escape::escaped;
use super::super::sections::heap::samples as samples_of;
use super::super::units::{
    NOT_AVAILABLE, byte_rate, bytes, bytes_exact, count, counted, duration, hundredths, rate, share,
    wide_count,
};
use super::super::warnings::{Warning, warnings};
use crate::analysis::certainty::Grade;
use crate::analysis::{FigureGroup, LawState, Origin, Verification, reallocs as reallocs_of, summary};
use heapledger::profile::{Profile, StackFigures};
use heapledger::quality::completeness_percent;

/// Certainty of a group of figures.
#[derive(Debug, Serialize)]
pub(super) struct CertaintyLine {
    /// Name of the group.
    figure: &'static str,
    /// Grade: `exact`, `within`, `at_least`, `uncertain` or `unknown`.
    grade: &'static str,
    /// Certainty in words.
    text: String,
}

/// Value with a name.
#[derive(Debug, Serialize)]
pub(super) struct Fact {
    label: &'static str,
    value: String,
}

/// Key figure at the top of the page, with its certainty.
#[derive(Debug, Serialize)]
pub(super) struct Tile {
    label: &'static str,
    value: String,
    detail: String,
    certainty: CertaintyLine,
}

/// Banner at the top of the page that shows the quality of the data.
#[derive(Debug, Serialize)]
pub(super) struct Banner {
    /// Tone that selects the colour of the banner: `good`, `note` or `bad`.
    tone: &'static str,
    /// Completeness, or the reason why the completeness is unknown.
    headline: String,
    sentence: String,
    /// Estimates from samples, with one standard error each; empty if the profile has no estimates.
    samples: Vec<Fact>,
    /// Number of lost events, by reason.
    lost: Vec<(&'static str, String)>,
    facts: Vec<Fact>,
    warnings: Vec<Warning>,
    damage: Vec<String>,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Law {
    law: &'static str,
    left: String,
    right: String,
    state: &'static str,
}

pub(super) fn certainty(verdict: &Verification, figure: FigureGroup) -> CertaintyLine {
    let found = verdict.certainty(figure);
    CertaintyLine {
        figure: certainty_text::figure_name(figure),
        grade: found.grade.name(),
        text: certainty_text::phrase(found, figure),
    }
}

pub(super) fn certainties(verdict: &Verification) -> Vec<CertaintyLine> {
    FigureGroup::ALL.into_iter().map(|figure| certainty(verdict, figure)).collect()
}

pub(super) fn banner(profile: &Profile, origin: &Origin, verdict: &Verification) -> Banner {
    let quality = &profile.quality;
    let lost = quality.lost.total();
    let found = warnings(profile, verdict, origin);
    let grave = !quality.installed || lost > 0 || !origin.is_whole() || verdict.broken() > 0;
    let tone = match (grave, found.is_empty()) {
        (true, _) => "bad",
        (false, false) => "note",
        (false, true) => "good",
    };
    let headline = if quality.installed {
        completeness_percent(quality.recorded, lost)
    } else {
        certainty_text::no_completeness(origin.is_whole()).into()
    };
    let texts = |texts: &[String]| texts.iter().map(|text| escaped(text)).collect();
    Banner {
        tone,
        headline,
        sentence: sentence(profile, origin),
        samples: samples(profile),
        lost: quality.lost.iter().filter(|(_, n)| *n > 0).map(|(why, n)| (why.name(), count(n))).collect(),
        facts: facts(profile, verdict),
        warnings: found,
        damage: texts(&origin.damage),
        notes: texts(&origin.notes),
    }
}

/// Returns the sentence below the completeness, which says what is missing.
fn sentence(profile: &Profile, origin: &Origin) -> String {
    let quality = &profile.quality;
    let (lost, left_out, waiting) = (quality.lost.total(), quality.sampled_out, quality.in_flight);
    let events = |n| counted(n, "event", "events");
    if !quality.installed {
        return "The figures below are zero because nothing was observed.".into();
    }
    if !origin.is_whole() {
        return format!(
            "{} of the file could not be read; every figure below is uncertain.",
            counted(origin.damage.len() as u64, "part", "parts")
        );
    }
    match (lost, left_out, waiting) {
        (0, 0, 0) => {
            format!("All {} that the program made are in the figures below.", events(quality.attempted))
        }
        (0, 0, waiting) => format!("{} were not booked yet when the snapshot was taken.", events(waiting)),
        (0, left_out, _) => format!("{} were left out by sampling, by choice.", events(left_out)),
        (lost, _, _) => format!("{} of {} were lost.", events(lost), count(quality.attempted)),
    }
}

/// Returns the estimates from samples. The page also shows the exact sums, for comparison.
fn samples(profile: &Profile) -> Vec<Fact> {
    let Some(estimates) = &profile.estimates else { return Vec::new() };
    let labels = ["sampled", "allocated, by the samples", "live, by the samples"];
    labels
        .into_iter()
        .zip(samples_of(estimates, "\u{b1}"))
        .map(|(label, value)| Fact { label, value })
        .collect()
}

fn facts(profile: &Profile, verdict: &Verification) -> Vec<Fact> {
    let quality = &profile.quality;
    let (clock, settings) = (&profile.clock, &profile.settings);
    let in_state = |state| verdict.laws.iter().filter(|law| law.state == state).count() as u64;
    let marks = match clock.longest_span_ns {
        0 => "every event stamped".to_string(),
        span => format!("marks up to {} apart", duration(span)),
    };
    let fact = |label, value| Fact { label, value };
    let mut facts = vec![
        fact("attempted", counted(quality.attempted, "event", "events")),
        fact("recorded", counted(quality.recorded, "event", "events")),
        fact("lost", counted(quality.lost.total(), "event", "events")),
        fact("left out by sampling", counted(quality.sampled_out, "event", "events")),
        fact("in flight", counted(quality.in_flight, "event", "events")),
        fact("anomalies", counted(quality.anomalies.total(), "event", "events")),
        fact("mode", settings.mode.name().into()),
        fact("stacks", stacks(&settings.stacks.to_string(), &profile.stack_figures)),
        fact("clock", format!("{}, read {}, {marks}", known(&clock.source), settings.clock.name())),
        fact(
            "laws",
            format!(
                "{} held, {} broken, {} not checkable",
                in_state(LawState::Holds),
                in_state(LawState::Broken),
                in_state(LawState::NotCheckable)
            ),
        ),
        fact(
            "own memory",
            format!("{} of at most {}", bytes(quality.own_bytes), bytes(settings.memory_limit_bytes)),
        ),
        fact("own CPU", format!("{} in heapledger's own thread", duration(quality.own_cpu_ns))),
    ];
    if !quality.recommendation.is_empty() {
        facts.push(fact("recommendation", escaped(&quality.recommendation)));
    }
    facts
}

fn known(text: &str) -> String {
    if text.is_empty() { "unknown".into() } else { escaped(text) }
}

fn stacks(chosen: &str, figures: &StackFigures) -> String {
    if figures.taken == 0 && figures.walker.is_empty() {
        return format!("{chosen}, none taken");
    }
    let mut text = format!("{} taken by {}", count(figures.taken), known(&figures.walker));
    let rest = [
        (figures.truncated, "end early"),
        (figures.failed, "failed"),
        (figures.table_full, "found no room"),
        (figures.left_out, "left out by choice"),
        (figures.check_failed, "differed from the check"),
    ];
    for (number, what) in rest.into_iter().filter(|(number, _)| *number > 0) {
        text.push_str(&format!(", {} {what}", count(number)));
    }
    text
}

pub(super) fn tiles(profile: &Profile, verdict: &Verification) -> Vec<Tile> {
    let found = summary(profile);
    let (totals, peak) = (&found.totals, &found.peak);
    let blocks = |n| counted(n, "block", "blocks");
    let tile =
        |label, value, detail, figure| Tile { label, value, detail, certainty: certainty(verdict, figure) };
    let mut peak_detail = format!("{}, after {}", blocks(peak.blocks), duration(peak.at_ns));
    if peak.uncertainty_bytes > 0 {
        let most = peak.bytes.saturating_add(peak.uncertainty_bytes);
        peak_detail.push_str(&format!(", at most {}", bytes(most)));
    }
    let reallocs = reallocs_of(profile);
    vec![
        tile(
            "live at the end",
            bytes(totals.live_bytes),
            format!("{}, {} of the peak", blocks(totals.live_blocks), share(totals.live_bytes, peak.bytes)),
            FigureGroup::LiveBytes,
        ),
        tile("peak", bytes(peak.bytes), peak_detail, FigureGroup::Peak),
        tile(
            "allocated in all",
            bytes(totals.total_bytes),
            format!(
                "{}, {} in the mean",
                byte_rate(found.bytes_per_second),
                found.average_bytes.map_or(NOT_AVAILABLE.into(), bytes)
            ),
            FigureGroup::Totals,
        ),
        tile("blocks", count(totals.total_blocks), rate(found.blocks_per_second), FigureGroup::Totals),
        tile(
            "temporary",
            share(found.temporary_blocks, totals.total_blocks),
            format!("{}, {}", blocks(found.temporary_blocks), bytes(found.temporary_bytes)),
            FigureGroup::Temporaries,
        ),
        tile(
            "reallocs",
            count(reallocs.all.count),
            format!("{} moved, {} copied", count(reallocs.all.moved), bytes(reallocs.all.copied_bytes)),
            FigureGroup::Reallocs,
        ),
    ]
}

/// Returns the sums of the reallocs of all sites, for the section on reallocs.
pub(super) fn realloc_facts(profile: &Profile) -> Vec<Fact> {
    let found = reallocs_of(profile);
    let all = &found.all;
    let fact = |label, value| Fact { label, value };
    vec![
        fact("calls", count(all.count)),
        fact("moved", format!("{} ({})", count(all.moved), share(all.moved, all.count))),
        fact("in place", count(found.in_place)),
        fact("copied", bytes_exact(all.copied_bytes)),
        fact("blocks freed after growing", count(all.chains)),
        fact("reallocs of such a block, mean", hundredths(found.mean_chain_hundredths)),
        fact("longest chain", count(all.longest_chain)),
    ]
}

pub(super) fn laws(verdict: &Verification) -> Vec<Law> {
    let laws = verdict.laws.iter();
    laws.map(|law| Law {
        law: law.law,
        left: wide_count(law.left),
        right: wide_count(law.right),
        state: law.state.name(),
    })
    .collect()
}

/// Whether the certainty of a group of figures is [`Grade::Unknown`].
pub(super) fn is_unknown(verdict: &Verification, figure: FigureGroup) -> bool {
    verdict.certainty(figure).grade == Grade::Unknown
}
