//! All advice of the reports, in one place.
//!
//! A [`Warning`] is a case with its figures. Its text has three parts: what was [seen](Warning::seen), why it
//! [matters](Warning::matters), and what to [do](Warning::advice) about it, with the name of the knob. Nothing
//! else in the crate composes a warning of a report from strings; what the quality indicator recommends as well is
//! taken from there, so that both say the same.

use super::units::{bytes, counted};
use crate::analysis::{Origin, Verdict};
use heapledger::profile::{LossReason, Profile};
use heapledger::quality::{Cause, advice_for, completeness_percent};

/// Something the reader should know before believing a figure.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// No ledger was installed.
    NotInstalled,
    /// Parts of the file could not be read.
    Damaged {
        /// How many.
        parts: u64,
    },
    /// Conservation laws are broken.
    BrokenLaws {
        /// How many.
        laws: u64,
    },
    /// Events were lost for a reason.
    Lost {
        /// The reason.
        reason: LossReason,
        /// How many events.
        events: u64,
        /// What to do about it, as the quality indicator says it.
        remedy: String,
    },
    /// Completeness is below the target.
    BelowTarget {
        /// Events booked.
        recorded: u64,
        /// Events lost.
        lost: u64,
    },
    /// Sampling left events out.
    SampledOut {
        /// How many events.
        events: u64,
        /// What to do about it, as the quality indicator says it.
        remedy: String,
    },
    /// Events were not booked when the snapshot was taken.
    InFlight {
        /// How many events.
        events: u64,
        /// What to do about it, as the quality indicator says it.
        remedy: String,
    },
    /// Frees without an allocation, or allocations of a taken address.
    UnpairedEvents {
        /// Frees without an allocation.
        unmatched_frees: u64,
        /// Allocations of an address that was still taken.
        double_allocations: u64,
        /// What to do about it, as the quality indicator says it.
        remedy: String,
    },
    /// Frees that two blocks could account for.
    AmbiguousPairings {
        /// How many frees.
        frees: u64,
        /// What to do about it, as the quality indicator says it.
        remedy: String,
    },
    /// Frees with another size than the allocation.
    LayoutMismatches {
        /// How many frees.
        frees: u64,
        /// What to do about it, as the quality indicator says it.
        remedy: String,
    },
    /// The peak is known to within this much.
    PeakUncertain {
        /// Bytes that may have been live on top.
        bytes: u64,
    },
    /// The program asked for memory and was refused.
    FailedAllocations {
        /// How many times.
        calls: u64,
    },
}

impl Warning {
    /// What was seen, as a sentence.
    pub fn seen(&self) -> String {
        let events = |n: u64| counted(n, "event was", "events were");
        match self {
            Warning::NotInstalled => "No HeapLedger was the global allocator of this process.".into(),
            Warning::Damaged { parts } => {
                format!("{} of the file could not be read.", counted(*parts, "part", "parts"))
            }
            Warning::BrokenLaws { laws } => {
                format!("{} broken.", counted(*laws, "conservation law is", "conservation laws are"))
            }
            Warning::Lost { reason, events: n, .. } => format!("{} lost: {}.", events(*n), reason.name()),
            Warning::BelowTarget { recorded, lost } => {
                format!("Completeness is {}, below its target.", completeness_percent(*recorded, *lost))
            }
            Warning::SampledOut { events: n, .. } => format!("{} left out by sampling.", events(*n)),
            Warning::InFlight { events: n, .. } => {
                format!("{} not booked when the snapshot was taken.", events(*n))
            }
            Warning::UnpairedEvents { unmatched_frees, double_allocations, .. } => format!(
                "{} no allocation, and {} of an address that was still taken.",
                counted(*unmatched_frees, "free has", "frees have"),
                counted(*double_allocations, "allocation was", "allocations were"),
            ),
            Warning::AmbiguousPairings { frees, .. } => {
                format!("{} belong to either of two blocks.", counted(*frees, "free could", "frees could"))
            }
            Warning::LayoutMismatches { frees, .. } => {
                format!("{} another size than the allocation.", counted(*frees, "free gave", "frees gave"))
            }
            Warning::PeakUncertain { bytes: n } => {
                format!("The peak may have been up to {} higher.", bytes(*n))
            }
            Warning::FailedAllocations { calls } => {
                format!(
                    "{} refused by the allocator underneath.",
                    counted(*calls, "request was", "requests were")
                )
            }
        }
    }

    /// Why it matters, as a sentence.
    pub fn matters(&self) -> &'static str {
        match self {
            Warning::NotInstalled => "There is nothing to report; zeros below mean \"not observed\".",
            Warning::Damaged { .. } => "Figures that rest on those parts are missing or too small.",
            Warning::BrokenLaws { .. } => "The books contradict each other, so no figure is certain.",
            Warning::Lost { .. } => {
                "Totals are lower bounds; each lost event can put the live blocks off by one, either way."
            }
            Warning::BelowTarget { .. } => "More is missing than the program was set up to accept.",
            Warning::SampledOut { .. } => {
                "Totals are exact all the same; figures by site, thread, size and time have neither them nor the samples."
            }
            Warning::InFlight { .. } => "Figures are as of the last booking.",
            Warning::UnpairedEvents { .. } => "Live blocks and lifetimes may be off by that many blocks.",
            Warning::AmbiguousPairings { .. } => {
                "Their lifetimes and call stacks may be swapped; sums hold, but for rare ones of 4,096 bytes or more."
            }
            Warning::LayoutMismatches { .. } => {
                "The program freed memory with a wrong layout, which Rust calls undefined behaviour."
            }
            Warning::PeakUncertain { .. } => {
                "Threads book in batches; what others had not booked yet is that much."
            }
            Warning::FailedAllocations { .. } => {
                "The program was short of memory, or asked for too much at once."
            }
        }
    }

    /// What to do about it, as a sentence.
    ///
    /// Where the quality indicator has advice for the same case, it is in the same words.
    pub fn advice(&self) -> String {
        match self {
            Warning::Lost { remedy, .. }
            | Warning::SampledOut { remedy, .. }
            | Warning::InFlight { remedy, .. }
            | Warning::UnpairedEvents { remedy, .. }
            | Warning::AmbiguousPairings { remedy, .. }
            | Warning::LayoutMismatches { remedy, .. } => sentence(remedy),
            Warning::NotInstalled => {
                "Add `#[global_allocator] static HEAP: heapledger::HeapLedger = heapledger::HeapLedger::system();`.".into()
            }
            Warning::Damaged { .. } => "Copy the file again or repeat the run; see which parts in this section.".into(),
            Warning::BrokenLaws { .. } => "Run `heapledger verify` on the file and report what it prints.".into(),
            Warning::BelowTarget { .. } => {
                "Run with HEAPLEDGER_MODE=perfect, or lower `target_completeness` if this is enough.".into()
            }
            Warning::PeakUncertain { .. } => "Take it as a range; a single-threaded run gives it to the byte.".into(),
            Warning::FailedAllocations { .. } => "Look at the largest sizes, and at limits on the process.".into(),
        }
    }
}

/// With a capital and a full stop.
fn sentence(remedy: &str) -> String {
    let mut letters = remedy.chars();
    let first = letters.next().map_or(String::new(), |first| first.to_uppercase().collect());
    format!("{first}{}.", letters.as_str())
}

/// The warnings that a profile calls for, the gravest first.
pub fn warnings(profile: &Profile, verdict: &Verdict, origin: &Origin) -> Vec<Warning> {
    let (quality, anomalies) = (&profile.quality, &profile.quality.anomalies);
    let lost = quality.lost.total();
    let remedy = |cause| advice_for(cause, quality, &profile.settings, None).remedy();
    let mut found = Vec::new();
    let mut warn = |applies: bool, warning: Warning| {
        if applies {
            found.push(warning);
        }
    };
    // In a damaged file the flag itself may be what is missing.
    warn(!quality.installed && origin.is_whole(), Warning::NotInstalled);
    warn(!origin.is_whole(), Warning::Damaged { parts: origin.damage.len() as u64 });
    warn(verdict.broken() > 0, Warning::BrokenLaws { laws: verdict.broken() as u64 });
    for (reason, events) in quality.lost.iter() {
        warn(events > 0, Warning::Lost { reason, events, remedy: remedy(Cause::Lost(reason)) });
    }
    let below = quality.current_completeness < quality.target_completeness;
    warn(quality.installed && below, Warning::BelowTarget { recorded: quality.recorded, lost });
    warn(
        quality.sampled_out > 0,
        Warning::SampledOut { events: quality.sampled_out, remedy: remedy(Cause::SampledOut) },
    );
    warn(quality.in_flight > 0, Warning::InFlight { events: quality.in_flight, remedy: remedy(Cause::Lag) });
    let (unmatched_frees, double_allocations) = (anomalies.unmatched_frees, anomalies.double_allocations);
    let unpaired = unmatched_frees > 0 || double_allocations > 0;
    let first = if unmatched_frees > 0 { Cause::UnmatchedFrees } else { Cause::DoubleAllocations };
    warn(unpaired, Warning::UnpairedEvents { unmatched_frees, double_allocations, remedy: remedy(first) });
    let ambiguous = anomalies.ambiguous_pairings;
    warn(
        ambiguous > 0,
        Warning::AmbiguousPairings { frees: ambiguous, remedy: remedy(Cause::AmbiguousPairings) },
    );
    let mismatches = anomalies.layout_mismatches;
    warn(
        mismatches > 0,
        Warning::LayoutMismatches { frees: mismatches, remedy: remedy(Cause::LayoutMismatches) },
    );
    let uncertain = profile.peak.uncertainty_bytes;
    warn(uncertain > 0, Warning::PeakUncertain { bytes: uncertain });
    warn(profile.totals.failed > 0, Warning::FailedAllocations { calls: profile.totals.failed });
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{sample, verify};

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
            assert!(found[0].seen().contains("7 events were lost"), "{}", found[0].seen());
            assert!(found[0].seen().contains(reason.name()));
            advice.push(found[0].advice());
        }
        assert!(advice.iter().all(|advice| advice.ends_with('.') && advice.len() > 20), "{advice:?}");
        advice.sort();
        advice.dedup();
        assert_eq!(advice.len(), LossReason::COUNT, "each reason has advice of its own");
    }

    #[test]
    fn each_planted_fault_raises_its_warning() {
        type Fault = fn(&mut Profile);
        let faults: [(&str, Fault); 9] = [
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
            assert!(of(&profile).iter().any(|warning| warning.seen().contains(words)), "{words}");
        }
    }

    #[test]
    fn damage_is_a_warning() {
        let profile = sample::complete();
        let origin = Origin::new(vec!["section live: checksum".into()], Vec::new());
        let found = warnings(&profile, &verify(&profile, &origin), &origin);
        assert_eq!(found, [Warning::Damaged { parts: 1 }]);
    }
}
