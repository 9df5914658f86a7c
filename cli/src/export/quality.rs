//! Quality of the data as text, shared by all formats.
//!
//! [`lines`] is for formats with comments or fields that have a name and a value. [`sentence`] is for formats with one
//! text field. Both use the counters of the profile and the result of `heapledger verify`, so all formats show the same
//! quality.

use crate::analysis::{Origin, verify};
use heapledger::profile::{Profile, QualityIndicator};

/// Returns the number of recorded events per million events that were recorded or lost, rounded down. The result is a
/// million only if no event was lost.
pub(super) fn completeness_ppm(quality: &QualityIndicator) -> u64 {
    let attempted = u128::from(quality.recorded) + u128::from(quality.lost.total());
    let ppm = (u128::from(quality.recorded) * 1_000_000).checked_div(attempted);
    ppm.map_or(1_000_000, |ppm| ppm as u64)
}

/// Returns every quality figure as one line: its name and its value. Values that are free text, such as a program name
/// or a note, are quoted and escaped, so that a line break in the text does not start a new line.
pub(super) fn lines(profile: &Profile, origin: &Origin) -> Vec<String> {
    let (quality, process, stacks) = (&profile.quality, &profile.process, &profile.stack_figures);
    let mut lines = vec![
        format!("program {:?}", process.program),
        format!("pid {}", process.pid),
        format!("duration_ns {}", process.duration_ns),
        format!("installed {}", quality.installed),
        format!("completeness_ppm {}", completeness_ppm(quality)),
        format!("attempted {}", quality.attempted),
        format!("recorded {}", quality.recorded),
        format!("lost {}", quality.lost.total()),
    ];
    lines.extend(quality.lost.iter().map(|(reason, events)| format!("lost_{} {events}", reason.name())));
    lines.extend([
        format!("in_flight {}", quality.in_flight),
        format!("sampled_out {}", quality.sampled_out),
        format!("anomalies {}", quality.anomalies.total()),
        format!("peak_uncertainty_bytes {}", profile.peak.uncertainty_bytes),
        format!("stack_walker {:?}", stacks.walker),
        format!("stacks_taken {}", stacks.taken),
        format!("stacks_truncated {}", stacks.truncated),
        format!("stacks_failed {}", stacks.failed),
        format!("stacks_table_full {}", stacks.table_full),
        format!("stacks_left_out {}", stacks.left_out),
    ]);
    let verdict = verify(profile, origin);
    lines.extend(verdict.conclusions.iter().map(|conclusion| {
        format!("standing_{} {}", conclusion.figure.name(), conclusion.certainty.grade.name())
    }));
    lines.push(format!("damaged_parts {}", origin.damage.len()));
    lines.extend(origin.damage.iter().map(|part| format!("damage {part:?}")));
    lines.extend(origin.notes.iter().map(|note| format!("note {note:?}")));
    lines.extend(profile.symbols.notes.iter().map(|note| format!("symbols {note:?}")));
    lines
}

/// Returns the completeness, losses and damage as one sentence without a line break.
pub(super) fn sentence(profile: &Profile, origin: &Origin) -> String {
    let quality = &profile.quality;
    if !quality.installed {
        let why =
            if origin.is_whole() { "no HeapLedger was the global allocator" } else { "the file is damaged" };
        return format!("completeness unknown: {why}{}", damage(origin));
    }
    let ppm = completeness_ppm(quality);
    let mut text = format!("completeness {}.{:04} %", ppm / 10_000, ppm % 10_000);
    let mut missing: Vec<String> = Vec::new();
    let lost = quality.lost.iter().filter(|(_, events)| *events > 0);
    missing.extend(lost.map(|(reason, events)| format!("{events} lost ({})", reason.name())));
    let others = [
        (quality.sampled_out, "left out by sampling"),
        (quality.in_flight, "not booked yet"),
        (quality.anomalies.total(), "that do not pair"),
    ];
    missing.extend(
        others.iter().filter(|(events, _)| *events > 0).map(|(events, what)| format!("{events} {what}")),
    );
    text.push_str(&format!(" of {} events", quality.attempted));
    if !missing.is_empty() {
        text.push_str(&format!("; {}", missing.join(", ")));
    }
    text + &damage(origin)
}

fn damage(origin: &Origin) -> String {
    let parts = origin.damage.iter().map(|part| format!("; damaged: {part:?}"));
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::sample;
    use heapledger::profile::LossReason;

    #[test]
    fn the_sentence_names_what_is_missing_and_never_rounds_it_away() {
        let mut profile = sample::with_loss(LossReason::RingFull, 3);
        let whole = Origin::default();
        assert_eq!(sentence(&sample::complete(), &whole), "completeness 100.0000 % of 14 events");
        assert_eq!(sentence(&profile, &whole), "completeness 82.3529 % of 17 events; 3 lost (ring_full)");
        profile.quality.recorded = u64::MAX;
        assert!(sentence(&profile, &whole).starts_with("completeness 99.9999 %"));
        let cut = Origin::new(vec!["a\nb".into()], Vec::new());
        assert!(sentence(&profile, &cut).ends_with("; damaged: \"a\\nb\""));
        profile.quality.installed = false;
        assert!(sentence(&profile, &whole).contains("unknown: no HeapLedger"));
    }

    #[test]
    fn every_line_is_a_name_and_a_value() {
        let origin = Origin::new(vec!["cut\nshort".into()], vec!["n".into()]);
        let lines = lines(&sample::with_loss(LossReason::NoMemory, 1), &origin);
        assert!(lines.iter().all(|line| line.contains(' ') && !line.contains('\n')), "{lines:?}");
        for line in ["lost_no_memory 1", "standing_totals uncertain", "damage \"cut\\nshort\"", "note \"n\""]
        {
            assert!(lines.iter().any(|found| found == line), "{line}: {lines:?}");
        }
    }
}
