//! Warnings of all reports.
//!
//! No other module composes warnings. Some advice also comes from the quality indicator of the library; this module
//! uses the indicator's words.

use super::units::{bytes, counted};
use crate::analysis::{Origin, Verification, dynamic_std};
use heapledger::profile::Profile;
use heapledger::quality::{QualityCause, advice_for, completeness_percent};
use serde::Serialize;

/// Warning about the data, which the user must know before relying on a figure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// Observation, as a sentence.
    pub seen: String,
    /// Consequence of the observation for the figures, as a sentence.
    pub matters: &'static str,
    /// Advice as a sentence, with the name of the setting to change.
    pub advice: String,
}

/// Returns the warnings on a profile, the most severe first.
pub fn warnings(profile: &Profile, verdict: &Verification, origin: &Origin) -> Vec<Warning> {
    let mut found = Vec::new();
    let mut warn = |applies: bool, seen: String, matters: &'static str, advice: String| {
        if applies {
            found.push(Warning { seen, matters, advice });
        }
    };
    on_the_file(profile, verdict, origin, &mut warn);
    on_missing_events(profile, &mut warn);
    on_pairs(profile, &mut warn);
    let uncertain = profile.peak.uncertainty_bytes;
    warn(
        uncertain > 0,
        {
            let (least, most) = profile.peak_bounds();
            format!(
                "The peak may have been higher, up to {}, or lower, down to {}.",
                bytes(most),
                bytes(least)
            )
        },
        "Threads book in batches; what others had not booked yet is that much.",
        "Take it as a range; a single-threaded run gives it to the byte.".into(),
    );
    let failed = profile.totals.failed;
    warn(
        failed > 0,
        format!("{} refused by the allocator underneath.", counted(failed, "request was", "requests were")),
        "The program was short of memory, or asked for too much at once.",
        "Look at the largest sizes, and at limits on the process.".into(),
    );
    found
}

/// Function that adds a warning if its first argument is true. The other arguments are the three sentences.
type Warn<'a> = dyn FnMut(bool, String, &'static str, String) + 'a;

/// Returns the advice of the quality indicator for a cause of missing or uncertain data.
fn remedy(profile: &Profile, cause: QualityCause) -> String {
    sentence(&advice_for(cause, &profile.quality, &profile.settings, None).remedy())
}

fn on_the_file(profile: &Profile, verdict: &Verification, origin: &Origin, warn: &mut Warn<'_>) {
    // If the file is damaged, `installed` may be false only because its part of the file is missing.
    warn(
        !profile.quality.installed && origin.is_whole(),
        "No HeapLedger was the global allocator of this process.".into(),
        "There is nothing to report; zeros below mean \"not observed\".",
        "Add `#[global_allocator] static HEAP: heapledger::HeapLedger = heapledger::HeapLedger::system();`."
            .into(),
    );
    warn(
        !origin.is_whole(),
        format!("{} of the file could not be read.", counted(origin.damage.len() as u64, "part", "parts")),
        "Figures that rest on those parts are missing or too small.",
        "Copy the file again or repeat the run; see which parts in this section.".into(),
    );
    let broken = verdict.broken() as u64;
    warn(
        broken > 0,
        format!("{} broken.", counted(broken, "conservation law is", "conservation laws are")),
        "The books contradict each other, so no figure is certain.",
        "Run `heapledger verify` on the file and report what it prints.".into(),
    );
}

fn on_missing_events(profile: &Profile, warn: &mut Warn<'_>) {
    let quality = &profile.quality;
    let events = |n| counted(n, "event was", "events were");
    for (reason, lost) in quality.lost.iter() {
        warn(
            lost > 0,
            format!("{} lost: {}.", events(lost), reason.name()),
            "Totals are lower bounds; each lost event can put the live blocks off by one, either way.",
            remedy(profile, QualityCause::Lost(reason)),
        );
    }
    let completeness = completeness_percent(quality.recorded, quality.lost.total());
    warn(
        quality.installed && quality.current_completeness < quality.target_completeness,
        format!("Completeness is {completeness}, below its target."),
        "More is missing than the program was set up to accept.",
        "Run with HEAPLEDGER_MODE=perfect, or lower `target_completeness` if this is enough.".into(),
    );
    warn(
        quality.sampled_out > 0,
        format!("{} left out by sampling.", events(quality.sampled_out)),
        "Totals are exact all the same; figures by site, thread, size and time have neither them nor the samples.",
        remedy(profile, QualityCause::SampledOut),
    );
    warn(
        quality.in_flight > 0,
        format!("{} not booked when the snapshot was taken.", events(quality.in_flight)),
        "Figures are as of the last booking.",
        remedy(profile, QualityCause::Lag),
    );
}

fn on_pairs(profile: &Profile, warn: &mut Warn<'_>) {
    let std = dynamic_std(profile);
    warn(
        std.is_some(),
        format!("The program is linked to std dynamically ({}).", std.unwrap_or_default()),
        "What the code of that library allocates and frees bypasses HeapLedger: frees without an allocation, and blocks \
         that seem to live on, are its.",
        "Build without `-C prefer-dynamic`.".into(),
    );
    let anomalies = &profile.quality.anomalies;
    let (frees, allocations) = (anomalies.unmatched_frees, anomalies.double_allocations);
    warn(
        frees > 0 || allocations > 0,
        format!(
            "{} no allocation, and {} of an address that was still taken.",
            counted(frees, "free has", "frees have"),
            counted(allocations, "allocation was", "allocations were"),
        ),
        "Live blocks and lifetimes may be off by that many blocks.",
        remedy(
            profile,
            if frees > 0 { QualityCause::UnmatchedFrees } else { QualityCause::DoubleAllocations },
        ),
    );
    let ambiguous = anomalies.ambiguous_pairings;
    warn(
        ambiguous > 0,
        format!("{} belong to either of two blocks.", counted(ambiguous, "free could", "frees could")),
        "Their lifetimes and call stacks may be swapped; sums hold, but for rare ones of 4,096 bytes or more.",
        remedy(profile, QualityCause::AmbiguousPairings),
    );
    let mismatches = anomalies.layout_mismatches;
    warn(
        mismatches > 0,
        format!("{} another size than the allocation.", counted(mismatches, "free gave", "frees gave")),
        "The program freed memory with a wrong layout, which Rust calls undefined behaviour.",
        remedy(profile, QualityCause::LayoutMismatches),
    );
}

/// Returns advice as a sentence, with a capital letter and a full stop.
fn sentence(remedy: &str) -> String {
    let mut letters = remedy.chars();
    let first = letters.next().map_or(String::new(), |first| first.to_uppercase().collect());
    format!("{first}{}.", letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{sample, verify};
    use heapledger::profile::LossReason;

    fn of(profile: &Profile) -> Vec<Warning> {
        warnings(profile, &verify(profile, &Origin::default()), &Origin::default())
    }

    #[test]
    fn a_complete_profile_calls_for_no_warning() {
        assert_eq!(of(&sample::complete()), []);
    }

    #[test]
    fn every_loss_reason_is_named_with_its_count_and_its_own_advice() {
        let mut advice = Vec::new();
        for reason in LossReason::ALL {
            let found = of(&sample::with_loss(reason, 7));
            assert!(found[0].seen.contains("7 events were lost"), "{}", found[0].seen);
            assert!(found[0].seen.contains(reason.name()));
            advice.push(found[0].advice.clone());
        }
        assert!(advice.iter().all(|advice| advice.ends_with('.') && advice.len() > 20), "{advice:?}");
        advice.sort();
        advice.dedup();
        assert_eq!(advice.len(), LossReason::COUNT, "each reason has advice of its own");
    }

    #[test]
    fn each_planted_fault_raises_its_warning() {
        type Fault = fn(&mut Profile);
        let faults: [(&str, Fault); 10] = [
            ("linked to std dynamically (/lib/libstd-1.so)", |p| {
                let path = "/lib/libstd-1.so".to_owned();
                p.modules.push(heapledger::profile::Module { path, ..Default::default() });
            }),
            ("No HeapLedger", |p| p.quality.installed = false),
            ("conservation law is broken", |p| p.quality.evicted += 1),
            ("below its target", |p| p.quality.current_completeness = 0.5),
            ("left out by sampling", |p| p.quality.sampled_out = 1),
            ("not booked", |p| p.quality.in_flight = 1),
            ("frees have no allocation", |p| p.quality.anomalies.unmatched_frees = 2),
            ("either of two blocks", |p| p.quality.anomalies.ambiguous_pairings = 1),
            ("another size", |p| p.quality.anomalies.layout_mismatches = 1),
            ("higher", |p| p.peak.uncertainty_bytes = 1),
        ];
        for (words, plant) in faults {
            let mut profile = sample::complete();
            plant(&mut profile);
            assert!(of(&profile).iter().any(|warning| warning.seen.contains(words)), "{words}");
        }
    }

    #[test]
    fn damage_is_a_warning() {
        let profile = sample::complete();
        let origin = Origin::new(vec!["section live: checksum".into()], Vec::new());
        let found = warnings(&profile, &verify(&profile, &origin), &origin);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].seen, "1 part of the file could not be read.");
    }
}
