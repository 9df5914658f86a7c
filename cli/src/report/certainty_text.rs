//! Text for certainties of figures.

use super::units::{bytes, count, counted, duration};
use crate::analysis::certainty::Grade;
use crate::analysis::{Certainty, FigureGroup, UncertaintyCause};

/// Returns the text for a certainty: `exact`, or the grade with all causes.
pub(super) fn phrase(certainty: &Certainty, figure: FigureGroup) -> String {
    let grade = match certainty.grade {
        Grade::Exact => return "exact".into(),
        Grade::Within(amount) => format!("within {}", amount_of(amount, figure)),
        Grade::AtLeast => "a lower bound".into(),
        Grade::Uncertain => "uncertain".into(),
        Grade::Unknown => "unknown".into(),
    };
    let causes: Vec<String> = certainty.causes.iter().copied().map(cause).collect();
    format!("{grade}: {}", causes.join("; "))
}

fn amount_of(amount: u64, figure: FigureGroup) -> String {
    match figure {
        FigureGroup::Lifetimes => duration(amount),
        FigureGroup::Peak | FigureGroup::LiveBytes => bytes(amount),
        _ => counted(amount, "block", "blocks"),
    }
}

/// Returns the text in place of the completeness of a profile whose `installed` is false. `whole` says whether the file
/// is undamaged.
pub(super) fn no_completeness(whole: bool) -> &'static str {
    if whole {
        "unknown: no HeapLedger was the global allocator"
    } else {
        "unknown: the file is damaged, and its quality counters may be what is missing"
    }
}

/// Returns the name of a group of figures.
pub(super) fn figure_name(figure: FigureGroup) -> &'static str {
    match figure {
        FigureGroup::Totals => "totals",
        FigureGroup::Breakdown => "totals by thread, size",
        FigureGroup::LiveBlocks => "live blocks",
        FigureGroup::LiveBytes => "live bytes",
        FigureGroup::Peak => "peak",
        FigureGroup::Lifetimes => "lifetimes, times",
        FigureGroup::Temporaries => "temporaries",
        FigureGroup::Reallocs => "reallocs",
        FigureGroup::Sites => "call stacks",
        FigureGroup::History => "history",
    }
}

fn cause(cause: UncertaintyCause) -> String {
    let events = |n| counted(n, "event was", "events were");
    match cause {
        UncertaintyCause::NotInstalled => "no HeapLedger is known to have been the global allocator".into(),
        UncertaintyCause::Damaged(n) => {
            format!("{} of the file could not be read", counted(n, "part", "parts"))
        }
        UncertaintyCause::BrokenLaws(n) => {
            format!("the books contradict each other in {}", counted(n, "law", "laws"))
        }
        UncertaintyCause::Lost(n) => format!("{} lost", events(n)),
        UncertaintyCause::SampledOut(n) => format!("{} left out by sampling", events(n)),
        UncertaintyCause::InFlight(n) => format!("{} not booked yet", events(n)),
        UncertaintyCause::UnmatchedFrees(n) => format!("{} had no allocation", counted(n, "free", "frees")),
        UncertaintyCause::DoubleAllocations(n) => {
            format!("{} of an address that was still taken", counted(n, "allocation", "allocations"))
        }
        UncertaintyCause::AmbiguousPairings(n) => {
            format!("{} could belong to either of two blocks", counted(n, "free", "frees"))
        }
        UncertaintyCause::LayoutMismatches(n) => {
            format!("{} gave another size than the allocation", counted(n, "free", "frees"))
        }
        UncertaintyCause::UnbookedAtPeak(n) => {
            format!("up to {} were made but not booked at that moment", bytes(n))
        }
        UncertaintyCause::Interpolated(ns) => {
            format!("interpolated between marks of the clock up to {} apart", duration(ns))
        }
        UncertaintyCause::TruncatedStacks(n) => format!("{} end early", counted(n, "stack", "stacks")),
        UncertaintyCause::WithoutStack(n) => {
            format!("the stack of {} is not known", counted(n, "allocation", "allocations"))
        }
        UncertaintyCause::DoubtfulStacks(n) => {
            format!("{} read differently when walked another way", counted(n, "stack", "stacks"))
        }
        UncertaintyCause::DynamicStd => {
            "std is linked dynamically, and its own allocations and frees bypass this allocator".into()
        }
        UncertaintyCause::NoStacks => "no call stacks were taken".into(),
        UncertaintyCause::Evicted(n) => format!("{} older events have left the history", count(n)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{certainty, sample};
    use heapledger::profile::LossReason;

    #[test]
    fn grades_and_causes_become_a_phrase() {
        let profile = sample::with_loss(LossReason::RingFull, 3);
        let said = |figure| phrase(&certainty(&profile, figure), figure);
        assert_eq!(said(FigureGroup::Totals), "a lower bound: 3 events were lost");
        assert_eq!(said(FigureGroup::LiveBlocks), "within 3 blocks: 3 events were lost");
        assert_eq!(said(FigureGroup::Sites), "unknown: no call stacks were taken");
        let fine = sample::complete();
        assert_eq!(phrase(&certainty(&fine, FigureGroup::Totals), FigureGroup::Totals), "exact");
        let expected = "within 1.0 us: interpolated between marks of the clock up to 1.0 us apart";
        assert_eq!(phrase(&certainty(&fine, FigureGroup::Lifetimes), FigureGroup::Lifetimes), expected);
    }
}
