//! How far a figure can be trusted, in words.

use super::units::{bytes, count, counted, duration};
use crate::analysis::standing::Grade;
use crate::analysis::{Cause, Figure, Standing};

/// A standing as a phrase: `exact`, or the grade and every cause.
pub(super) fn standing(standing: &Standing, figure: Figure) -> String {
    let grade = match standing.grade {
        Grade::Exact => return "exact".into(),
        Grade::Within(amount) => format!("within {}", amount_of(amount, figure)),
        Grade::AtLeast => "a lower bound".into(),
        Grade::Uncertain => "uncertain".into(),
        Grade::Unknown => "unknown".into(),
    };
    let causes: Vec<String> = standing.causes.iter().copied().map(cause).collect();
    format!("{grade}: {}", causes.join("; "))
}

fn amount_of(amount: u64, figure: Figure) -> String {
    match figure {
        Figure::Lifetimes => duration(amount),
        Figure::Peak | Figure::LiveBytes => bytes(amount),
        _ => counted(amount, "block", "blocks"),
    }
}

/// What stands in the place of completeness when no ledger is known to have been installed.
pub(super) fn no_completeness(whole: bool) -> &'static str {
    if whole {
        "unknown: no HeapLedger was the global allocator"
    } else {
        "unknown: the file is damaged, and its quality counters may be what is missing"
    }
}

/// What a group of figures is called.
pub(super) fn figure(figure: Figure) -> &'static str {
    match figure {
        Figure::Totals => "totals",
        Figure::Breakdown => "totals by thread, size",
        Figure::LiveBlocks => "live blocks",
        Figure::LiveBytes => "live bytes",
        Figure::Peak => "peak",
        Figure::Lifetimes => "lifetimes, times",
        Figure::Temporaries => "temporaries",
        Figure::Reallocs => "reallocs",
        Figure::Sites => "call stacks",
        Figure::History => "history",
    }
}

fn cause(cause: Cause) -> String {
    let events = |n| counted(n, "event was", "events were");
    match cause {
        Cause::NotInstalled => "no HeapLedger is known to have been the global allocator".into(),
        Cause::Damaged(n) => format!("{} of the file could not be read", counted(n, "part", "parts")),
        Cause::BrokenLaws(n) => format!("the books contradict each other in {}", counted(n, "law", "laws")),
        Cause::Lost(n) => format!("{} lost", events(n)),
        Cause::SampledOut(n) => format!("{} left out by sampling", events(n)),
        Cause::InFlight(n) => format!("{} not booked yet", events(n)),
        Cause::UnmatchedFrees(n) => format!("{} had no allocation", counted(n, "free", "frees")),
        Cause::DoubleAllocations(n) => {
            format!("{} of an address that was still taken", counted(n, "allocation", "allocations"))
        }
        Cause::AmbiguousPairings(n) => {
            format!("{} could belong to either of two blocks", counted(n, "free", "frees"))
        }
        Cause::LayoutMismatches(n) => {
            format!("{} gave another size than the allocation", counted(n, "free", "frees"))
        }
        Cause::UnbookedAtPeak(n) => format!("up to {} were made but not booked at that moment", bytes(n)),
        Cause::Interpolated(ns) => {
            format!("interpolated between marks of the clock up to {} apart", duration(ns))
        }
        Cause::TruncatedStacks(n) => format!("{} end early", counted(n, "stack", "stacks")),
        Cause::WithoutStack(n) => {
            format!("the stack of {} is not known", counted(n, "allocation", "allocations"))
        }
        Cause::DoubtfulStacks(n) => {
            format!("{} read differently when walked another way", counted(n, "stack", "stacks"))
        }
        Cause::NoStacks => "no call stacks were taken".into(),
        Cause::Evicted(n) => format!("{} older events have left the history", count(n)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{sample, standing as standing_of};
    use heapledger::profile::LossReason;

    #[test]
    fn grades_and_causes_become_a_phrase() {
        let profile = sample::with_loss(LossReason::RingFull, 3);
        let said = |figure| standing(&standing_of(&profile, figure), figure);
        assert_eq!(said(Figure::Totals), "a lower bound: 3 events were lost");
        assert_eq!(said(Figure::LiveBlocks), "within 3 blocks: 3 events were lost");
        assert_eq!(said(Figure::Sites), "unknown: no call stacks were taken");
        let fine = sample::complete();
        assert_eq!(standing(&standing_of(&fine, Figure::Totals), Figure::Totals), "exact");
        let expected = "within 1.0 us: interpolated between marks of the clock up to 1.0 us apart";
        assert_eq!(standing(&standing_of(&fine, Figure::Lifetimes), Figure::Lifetimes), expected);
    }
}
