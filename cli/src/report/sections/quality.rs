//! Section on the quality of the data: completeness, cost of recording, and warnings with advice.

use std::io;

use super::super::certainty_text;
use super::super::escape::escaped;
use super::super::text_page::{TextPage, Tone};
use super::super::units::{bytes, bytes_exact, count, counted, duration};
use super::super::warnings::warnings;
use super::subject::Subject;
use crate::analysis::{LawState, Origin, Verification};
use heapledger::profile::{Anomalies, CompletenessTrend, OwnMemory, QualityIndicator, StackFigures};
use heapledger::quality::completeness_percent;
use heapledger::quality::display::share_percent;

pub(in super::super) fn quality(page: &mut TextPage<'_>, subject: &Subject<'_>) -> io::Result<()> {
    let verdict = &subject.verdict;
    let quality = &subject.profile.quality;
    completeness(page, quality, subject.origin.is_whole())?;
    events(page, quality)?;
    history(page, quality)?;
    books(page, verdict)?;
    file(page, subject.origin)?;
    cost(page, subject)?;
    clock(page, subject)?;
    stacks(page, subject)?;
    if !quality.recommendation.is_empty() {
        page.fact("recommendation", &escaped(&quality.recommendation))?;
    }
    let mut said = "";
    for warning in warnings(subject.profile, verdict, subject.origin) {
        page.note(&format!("Warning: {}", warning.seen), 2, Tone::Bad)?;
        // Consecutive warnings often have the same consequence, which is then written only once.
        if warning.matters != said {
            said = warning.matters;
            page.note(said, 4, Tone::Plain)?;
        }
        page.note(&warning.advice, 4, Tone::Plain)?;
    }
    Ok(())
}

fn completeness(page: &mut TextPage<'_>, quality: &QualityIndicator, whole: bool) -> io::Result<()> {
    if !quality.installed {
        return page.toned("completeness", certainty_text::no_completeness(whole), Tone::Bad);
    }
    let lost = quality.lost.total();
    let share = completeness_percent(quality.recorded, lost);
    let text = format!("{share} (target {})", percent(quality.target_completeness));
    page.toned("completeness", &text, if lost == 0 { Tone::Good } else { Tone::Bad })?;
    if let Some(windowed) = quality.windowed_completeness {
        let trend = match quality.trend {
            CompletenessTrend::Improving => "improving",
            CompletenessTrend::Stable => "stable",
            CompletenessTrend::Degrading => "degrading",
            CompletenessTrend::Unknown => "too few events for a trend",
        };
        page.fact("lately", &format!("{}, {trend}", percent(windowed)))?;
    }
    Ok(())
}

/// Returns a share in percent, with a space before the percent sign.
fn percent(share: f64) -> String {
    share_percent(share).replace('%', " %")
}

fn events(page: &mut TextPage<'_>, quality: &QualityIndicator) -> io::Result<()> {
    let own = counted(quality.own_events, "event", "events");
    page.fact("attempted", &counted(quality.attempted, "event", "events"))?;
    page.fact(
        "recorded",
        &format!("{}, {own} of heapledger itself among them", counted(quality.recorded, "event", "events")),
    )?;
    let lost = counted(quality.lost.total(), "event", "events");
    let reasons: Vec<String> = quality
        .lost
        .iter()
        .filter(|(_, events)| *events > 0)
        .map(|(reason, events)| format!("{} {}", reason.name(), count(events)))
        .collect();
    if reasons.is_empty() {
        page.fact("lost", &lost)?;
    } else {
        page.toned("lost", &format!("{lost}: {}", reasons.join(", ")), Tone::Bad)?;
    }
    if quality.sampled_out > 0 {
        page.fact("left out", &format!("{} by sampling", counted(quality.sampled_out, "event", "events")))?;
    }
    let lag = if quality.lag_ns > 0 {
        format!(", the oldest for {}", duration(quality.lag_ns))
    } else {
        String::new()
    };
    page.fact("in flight", &format!("{}{lag}", counted(quality.in_flight, "event", "events")))?;
    let tone = if quality.anomalies.total() > 0 { Tone::Bad } else { Tone::Plain };
    page.toned("anomalies", &anomalies(&quality.anomalies), tone)
}

fn anomalies(anomalies: &Anomalies) -> String {
    let kinds = [
        (anomalies.unmatched_frees, "unmatched frees"),
        (anomalies.double_allocations, "double allocations"),
        (anomalies.ambiguous_pairings, "ambiguous pairings"),
        (anomalies.layout_mismatches, "layout mismatches"),
    ];
    let found: Vec<String> =
        kinds.iter().filter(|(n, _)| *n > 0).map(|(n, kind)| format!("{kind} {}", count(*n))).collect();
    if found.is_empty() { "none".into() } else { found.join(", ") }
}

fn history(page: &mut TextPage<'_>, quality: &QualityIndicator) -> io::Result<()> {
    let retained = counted(quality.retained, "event", "events");
    page.fact("history", &format!("{retained} retained, {} evicted", count(quality.evicted)))
}

fn books(page: &mut TextPage<'_>, verdict: &Verification) -> io::Result<()> {
    let in_state = |state| verdict.laws.iter().filter(|law| law.state == state).count() as u64;
    let (held, unasked) = (in_state(LawState::Holds), in_state(LawState::NotCheckable));
    let broken: Vec<&str> =
        verdict.laws.iter().filter(|law| law.state == LawState::Broken).map(|law| law.law).collect();
    let mut text = format!("{} held", counted(held, "law", "laws"));
    if unasked > 0 {
        text.push_str(&format!(", {unasked} not checkable"));
    }
    if broken.is_empty() {
        return page.fact("books", &text);
    }
    page.toned("books", &format!("{text}, {} BROKEN: {}", broken.len(), broken.join("; ")), Tone::Bad)
}

fn file(page: &mut TextPage<'_>, origin: &Origin) -> io::Result<()> {
    for (index, part) in origin.damage.iter().enumerate() {
        page.toned(if index == 0 { "file damage" } else { "" }, &escaped(part), Tone::Bad)?;
    }
    if origin.is_whole() {
        page.fact("file damage", "none")?;
    }
    for (index, note) in origin.notes.iter().enumerate() {
        page.fact(if index == 0 { "file notes" } else { "" }, &escaped(note))?;
    }
    Ok(())
}

fn cost(page: &mut TextPage<'_>, subject: &Subject<'_>) -> io::Result<()> {
    let quality = &subject.profile.quality;
    let limit = bytes(subject.profile.settings.memory_limit_bytes);
    let OwnMemory { rings, live_blocks, sites, stacks, tables } = quality.own_memory;
    let kinds = [
        (live_blocks, "live blocks"),
        (sites, "sites"),
        (stacks, "stacks"),
        (rings, "rings"),
        (tables, "other tables"),
    ];
    let kinds: Vec<_> = kinds
        .iter()
        .filter(|(held, _)| *held > 0)
        .map(|(held, of)| format!("{of} {}", bytes(*held)))
        .collect();
    let kinds = if kinds.is_empty() { String::new() } else { format!(": {}", kinds.join(", ")) };
    page.fact("own memory", &format!("{} of at most {limit}{kinds}", bytes_exact(quality.own_bytes)))?;
    let cpu = duration(quality.own_cpu_ns);
    page.fact(
        "own CPU",
        &format!("{cpu} in heapledger's own thread; booking inside program threads not included"),
    )?;
    let high_water = counted(quality.ring_high_water_words, "word", "words");
    let folds = format!(
        "at most {high_water} waiting; booked {} at home, {} away; {}; {} taken",
        counted(quality.folds_at_home, "time", "times"),
        count(quality.folds_away),
        counted(quality.waits, "wait", "waits"),
        counted(quality.spare_segments, "spare segment", "spare segments"),
    );
    page.fact("rings", &folds)?;
    let times = &quality.turn_times;
    let (Some(mean_ns), Some(p99_ns)) = (times.mean_ns(), times.p99_ns()) else { return Ok(()) };
    let turns = format!(
        "{}, {} of them timed: {} in the mean, 99 of 100 below {}; the short path of most events is not measured",
        counted(times.turns, "turn", "turns"),
        count(times.timed),
        duration(mean_ns as u64),
        duration(p99_ns),
    );
    page.fact("recording", &turns)
}

fn clock(page: &mut TextPage<'_>, subject: &Subject<'_>) -> io::Result<()> {
    let (clock, settings) = (&subject.profile.clock, &subject.profile.settings);
    let known = |text: &str| if text.is_empty() { "unknown".to_string() } else { escaped(text) };
    let marks = match clock.longest_span_ns {
        0 => "every event stamped".to_string(),
        span => format!("marks up to {} apart", duration(span)),
    };
    let (source, why) = (known(&clock.source), known(&clock.why));
    page.fact("clock", &format!("{source} ({why}), read {}, {marks}", settings.clock.name()))?;
    page.fact("mode", settings.mode.name())
}

/// Writes how stacks were walked, and the counters of the walks. Writes nothing if no stacks were taken.
fn stacks(page: &mut TextPage<'_>, subject: &Subject<'_>) -> io::Result<()> {
    let figures = &subject.profile.stack_figures;
    if *figures == StackFigures::default() {
        return Ok(());
    }
    let known = |text: &str| if text.is_empty() { "unknown".to_string() } else { escaped(text) };
    let (walker, why) = (known(&figures.walker), known(&figures.why));
    page.fact("stacks", &format!("{walker} ({why}), {} taken", count(figures.taken)))?;
    let missing = [
        (figures.truncated, "truncated"),
        (figures.failed, "failed"),
        (figures.table_full, "without room in the table"),
    ];
    let missing: Vec<String> =
        missing.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", count(*n))).collect();
    if !missing.is_empty() {
        page.toned("stacks missing", &missing.join(", "), Tone::Bad)?;
    }
    if figures.left_out > 0 {
        page.fact("stacks left out", &format!("{} by choice", count(figures.left_out)))?;
    }
    if figures.checked > 0 {
        let tone = if figures.check_failed > 0 { Tone::Bad } else { Tone::Plain };
        let differed =
            format!("{} walked twice, {} differed", count(figures.checked), count(figures.check_failed));
        page.toned("stacks checked", &differed, tone)?;
    }
    Ok(())
}
