//! How far a figure can be trusted, and why not further.
//!
//! The rules, from the strongest doubt to the weakest:
//!
//! * no ledger was installed → every figure is *unknown*;
//! * parts of the file could not be read → every figure is *uncertain*: the missing part may have held some of it;
//! * a conservation law is broken → every figure is *uncertain*: the books contradict each other;
//! * events were lost, or not booked yet → sums that only grow (blocks and bytes allocated, in all, by thread and by
//!   size; reallocs) are *lower bounds*. Live blocks can be off either way, by at most one for
//!   each such event: a lost free leaves a block too many, a lost allocation one too few. Live bytes have no such bound,
//!   because the size of a lost event is not known. The peak is a lower bound in the absence of lost frees only, and
//!   the reason counters do not tell frees from allocations, so under loss it is uncertain;
//! * events were left out by sampling → they are counted with their size, so totals and the number of live blocks stay
//!   *exact*. No table has them: sums by thread, by size and by call stack, and reallocs, are lower bounds; what else
//!   rests on single blocks is uncertain;
//! * pairings that do not add up → figures that rest on pairs (live, lifetimes, temporaries) are off by at most
//!   one block for each, or uncertain where the amount is in bytes;
//! * threads book at home → the peak is known to within what was unbooked at that instant;
//! * batched clock → lifetimes are interpolated between two marks of the clock.
//!
//! A doubt that does not touch a figure is not held against it.

use heapledger::profile::{Profile, Stacks};

/// A group of figures that stand or fall together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FigureGroup {
    /// Blocks and bytes allocated, in total.
    Totals,
    /// The same by thread, by size and by call stack.
    Breakdown,
    /// How many blocks were live at the end.
    LiveBlocks,
    /// Bytes live at the end, and the list of live blocks.
    LiveBytes,
    /// The most bytes that were live at one time.
    Peak,
    /// How long blocks lived, and what happened when.
    Lifetimes,
    /// Blocks freed right after they were allocated.
    Temporaries,
    /// Reallocs and the bytes they copied.
    Reallocs,
    /// Which call stack a block belongs to.
    Sites,
    /// The last events.
    History,
}

impl FigureGroup {
    /// Every figure, in the order in which a report lists them.
    pub const ALL: [FigureGroup; 10] = [
        FigureGroup::Totals,
        FigureGroup::Breakdown,
        FigureGroup::LiveBlocks,
        FigureGroup::LiveBytes,
        FigureGroup::Peak,
        FigureGroup::Lifetimes,
        FigureGroup::Temporaries,
        FigureGroup::Reallocs,
        FigureGroup::Sites,
        FigureGroup::History,
    ];

    /// The name used in exports, in snake case.
    pub const fn name(self) -> &'static str {
        match self {
            FigureGroup::Totals => "totals",
            FigureGroup::Breakdown => "breakdown",
            FigureGroup::LiveBlocks => "live_blocks",
            FigureGroup::LiveBytes => "live_bytes",
            FigureGroup::Peak => "peak",
            FigureGroup::Lifetimes => "lifetimes",
            FigureGroup::Temporaries => "temporaries",
            FigureGroup::Reallocs => "reallocs",
            FigureGroup::Sites => "sites",
            FigureGroup::History => "history",
        }
    }
}

/// What stands between a figure and the truth, with its amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UncertaintyCause {
    /// No ledger was installed in the process.
    NotInstalled,
    /// Parts of the file could not be read.
    Damaged(u64),
    /// Conservation laws that are broken.
    BrokenLaws(u64),
    /// Events lost.
    Lost(u64),
    /// Events left out by sampling.
    SampledOut(u64),
    /// Events made but not booked when the snapshot was taken.
    InFlight(u64),
    /// Frees without an allocation.
    UnmatchedFrees(u64),
    /// Allocations of an address that was still taken.
    DoubleAllocations(u64),
    /// Frees that two blocks could account for.
    AmbiguousPairings(u64),
    /// Frees whose size was not the allocation's.
    LayoutMismatches(u64),
    /// Bytes that were not booked at the peak: of other threads, or never, by sampling.
    UnbookedAtPeak(u64),
    /// Longest span between two marks of the clock, in nanoseconds.
    Interpolated(u64),
    /// Stacks that end before their outermost frame.
    TruncatedStacks(u64),
    /// Allocations whose stack was not taken, or found no room: their site is that of no stack.
    WithoutStack(u64),
    /// Stacks that read differently when they were walked another way.
    DoubtfulStacks(u64),
    /// No stacks were taken.
    NoStacks,
    /// Booked events that have left the bounded history.
    Evicted(u64),
}

impl UncertaintyCause {
    /// The name used in exports, in snake case and with the unit of the amount where it is not events.
    pub const fn name(self) -> &'static str {
        match self {
            UncertaintyCause::NotInstalled => "not_installed",
            UncertaintyCause::Damaged(_) => "damaged_parts",
            UncertaintyCause::BrokenLaws(_) => "broken_laws",
            UncertaintyCause::Lost(_) => "lost",
            UncertaintyCause::SampledOut(_) => "sampled_out",
            UncertaintyCause::InFlight(_) => "in_flight",
            UncertaintyCause::UnmatchedFrees(_) => "unmatched_frees",
            UncertaintyCause::DoubleAllocations(_) => "double_allocations",
            UncertaintyCause::AmbiguousPairings(_) => "ambiguous_pairings",
            UncertaintyCause::LayoutMismatches(_) => "layout_mismatches",
            UncertaintyCause::UnbookedAtPeak(_) => "unbooked_at_peak_bytes",
            UncertaintyCause::Interpolated(_) => "longest_interpolated_span_ns",
            UncertaintyCause::TruncatedStacks(_) => "truncated_stacks",
            UncertaintyCause::WithoutStack(_) => "without_stack",
            UncertaintyCause::DoubtfulStacks(_) => "doubtful_stacks",
            UncertaintyCause::NoStacks => "no_stacks",
            UncertaintyCause::Evicted(_) => "evicted",
        }
    }

    /// The amount; 0 for causes that have none.
    pub const fn amount(self) -> u64 {
        match self {
            UncertaintyCause::NotInstalled | UncertaintyCause::NoStacks => 0,
            UncertaintyCause::Damaged(n)
            | UncertaintyCause::BrokenLaws(n)
            | UncertaintyCause::Lost(n)
            | UncertaintyCause::SampledOut(n)
            | UncertaintyCause::InFlight(n)
            | UncertaintyCause::UnmatchedFrees(n)
            | UncertaintyCause::DoubleAllocations(n)
            | UncertaintyCause::AmbiguousPairings(n)
            | UncertaintyCause::LayoutMismatches(n)
            | UncertaintyCause::UnbookedAtPeak(n)
            | UncertaintyCause::Interpolated(n)
            | UncertaintyCause::TruncatedStacks(n)
            | UncertaintyCause::WithoutStack(n)
            | UncertaintyCause::DoubtfulStacks(n)
            | UncertaintyCause::Evicted(n) => n,
        }
    }
}

/// How a figure relates to the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grade {
    /// It is the truth.
    Exact,
    /// The truth differs by at most this much, in the unit of the figure (blocks, bytes or nanoseconds).
    Within(u64),
    /// The truth is at least this.
    AtLeast,
    /// It can be off either way, by an amount that is not known.
    Uncertain,
    /// It says nothing.
    Unknown,
}

impl Grade {
    /// The name used in exports.
    pub const fn name(self) -> &'static str {
        match self {
            Grade::Exact => "exact",
            Grade::Within(_) => "within",
            Grade::AtLeast => "at_least",
            Grade::Uncertain => "uncertain",
            Grade::Unknown => "unknown",
        }
    }

    /// The weaker of two grades. Two bounds add up.
    fn and(self, other: Grade) -> Grade {
        match (self, other) {
            (Grade::Exact, grade) | (grade, Grade::Exact) => grade,
            (Grade::Unknown, _) | (_, Grade::Unknown) => Grade::Unknown,
            (Grade::Within(a), Grade::Within(b)) => Grade::Within(a.saturating_add(b)),
            (Grade::AtLeast, Grade::AtLeast) => Grade::AtLeast,
            _ => Grade::Uncertain,
        }
    }
}

/// The quality of a figure: its grade, and every cause that keeps it from being exact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certainty {
    /// How the figure relates to the truth.
    pub grade: Grade,
    /// Why it is not exact; empty when it is.
    pub causes: Vec<UncertaintyCause>,
}

impl Certainty {
    /// Whether the figure is the truth.
    pub fn is_exact(&self) -> bool {
        self.grade == Grade::Exact
    }

    fn exact() -> Self {
        Certainty { grade: Grade::Exact, causes: Vec::new() }
    }

    /// Holds `cause` against the figure when its amount is not zero.
    fn weaken(mut self, cause: UncertaintyCause, grade: Grade) -> Self {
        if cause.amount() > 0 {
            self.grade = self.grade.and(grade);
            self.causes.push(cause);
        }
        self
    }

    /// The same figure, read from a file of which `parts` could not be read.
    pub fn damaged(self, parts: usize) -> Self {
        self.weaken(UncertaintyCause::Damaged(parts as u64), Grade::Uncertain)
    }

    /// The same figure, from books that break `laws` of their conservation laws.
    pub fn contradicted(self, laws: usize) -> Self {
        self.weaken(UncertaintyCause::BrokenLaws(laws as u64), Grade::Uncertain)
    }
}

/// How far a group of figures of `profile` can be trusted, by its counters alone. [`verify`](super::verify())
/// adds the damage of the file and broken laws; reports show what it says.
pub fn certainty(profile: &Profile, figure: FigureGroup) -> Certainty {
    if !profile.quality.installed {
        return Certainty { grade: Grade::Unknown, causes: vec![UncertaintyCause::NotInstalled] };
    }
    let exact = Certainty::exact();
    match figure {
        FigureGroup::Totals => uncounted(profile, exact, |_| Grade::AtLeast),
        FigureGroup::Breakdown | FigureGroup::Reallocs => missing(profile, exact, |_| Grade::AtLeast),
        FigureGroup::LiveBlocks => pairs(profile, uncounted(profile, exact, Grade::Within), Grade::Within),
        FigureGroup::LiveBytes => {
            let mismatches = UncertaintyCause::LayoutMismatches(profile.quality.anomalies.layout_mismatches);
            let certainty =
                pairs(profile, missing(profile, exact, |_| Grade::Uncertain), |_| Grade::Uncertain);
            certainty.weaken(mismatches, Grade::Uncertain)
        }
        FigureGroup::Peak => {
            let unbooked = profile.peak.uncertainty_bytes;
            let certainty =
                pairs(profile, missing(profile, exact, |_| Grade::Uncertain), |_| Grade::Uncertain);
            certainty.weaken(UncertaintyCause::UnbookedAtPeak(unbooked), Grade::Within(unbooked))
        }
        FigureGroup::Lifetimes => {
            let span = profile.clock.longest_span_ns;
            let ambiguous = UncertaintyCause::AmbiguousPairings(profile.quality.anomalies.ambiguous_pairings);
            pairs(profile, missing(profile, exact, |_| Grade::Uncertain), |_| Grade::Uncertain)
                .weaken(ambiguous, Grade::Uncertain)
                .weaken(UncertaintyCause::Interpolated(span), Grade::Within(span))
        }
        FigureGroup::Temporaries => {
            let ambiguous = UncertaintyCause::AmbiguousPairings(profile.quality.anomalies.ambiguous_pairings);
            pairs(profile, missing(profile, exact, |_| Grade::Uncertain), Grade::Within)
                .weaken(ambiguous, Grade::Within(ambiguous.amount()))
        }
        FigureGroup::Sites => sites(profile, exact),
        FigureGroup::History => {
            exact.weaken(UncertaintyCause::Lost(profile.quality.lost.total()), Grade::AtLeast)
        }
    }
}

/// Holds events that are in no table against a figure; `grade` makes a grade of their number.
fn missing(profile: &Profile, certainty: Certainty, grade: impl Fn(u64) -> Grade) -> Certainty {
    let left_out = UncertaintyCause::SampledOut(profile.quality.sampled_out);
    let certainty = certainty.weaken(left_out, grade(left_out.amount()));
    uncounted(profile, certainty, grade)
}

/// Holds events whose size nobody counted against a figure: all that are missing but those left out by sampling.
fn uncounted(profile: &Profile, certainty: Certainty, grade: impl Fn(u64) -> Grade) -> Certainty {
    let quality = &profile.quality;
    [UncertaintyCause::Lost(quality.lost.total()), UncertaintyCause::InFlight(quality.in_flight)]
        .into_iter()
        .fold(certainty, |certainty, cause| certainty.weaken(cause, grade(cause.amount())))
}

/// Holds blocks whose two ends were not both seen against a figure.
fn pairs(profile: &Profile, certainty: Certainty, grade: impl Fn(u64) -> Grade) -> Certainty {
    let anomalies = &profile.quality.anomalies;
    [
        UncertaintyCause::UnmatchedFrees(anomalies.unmatched_frees),
        UncertaintyCause::DoubleAllocations(anomalies.double_allocations),
    ]
    .into_iter()
    .fold(certainty, |certainty, cause| certainty.weaken(cause, grade(cause.amount())))
}

fn sites(profile: &Profile, certainty: Certainty) -> Certainty {
    if profile.settings.stacks == Stacks::Off {
        return Certainty { grade: Grade::Unknown, causes: vec![UncertaintyCause::NoStacks] };
    }
    let truncated = profile.stacks.iter().filter(|stack| stack.truncated).count() as u64;
    let figures = &profile.stack_figures;
    let without = figures.failed.saturating_add(figures.table_full).saturating_add(figures.left_out);
    missing(profile, certainty, |_| Grade::AtLeast)
        .weaken(UncertaintyCause::TruncatedStacks(truncated), Grade::Uncertain)
        .weaken(UncertaintyCause::WithoutStack(without), Grade::AtLeast)
        .weaken(UncertaintyCause::DoubtfulStacks(figures.check_failed), Grade::Uncertain)
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use heapledger::profile::LossReason;

    #[test]
    fn a_complete_profile_with_its_own_clock_readings_is_exact() {
        let mut profile = sample::complete();
        profile.clock.longest_span_ns = 0;
        for figure in FigureGroup::ALL.into_iter().filter(|figure| *figure != FigureGroup::Sites) {
            assert_eq!(certainty(&profile, figure), Certainty::exact(), "{figure:?}");
        }
        assert_eq!(certainty(&profile, FigureGroup::Sites).causes, [UncertaintyCause::NoStacks]);
    }

    #[test]
    fn every_loss_reason_weakens_the_sums_and_the_live_figures() {
        for reason in LossReason::ALL {
            let profile = sample::with_loss(reason, 3);
            let of = |figure| certainty(&profile, figure).grade;
            assert_eq!(of(FigureGroup::Totals), Grade::AtLeast);
            assert_eq!(of(FigureGroup::Breakdown), Grade::AtLeast);
            assert_eq!(of(FigureGroup::LiveBlocks), Grade::Within(3));
            assert_eq!(of(FigureGroup::LiveBytes), Grade::Uncertain);
            assert_eq!(of(FigureGroup::Peak), Grade::Uncertain);
            assert_eq!(certainty(&profile, FigureGroup::Totals).causes, [UncertaintyCause::Lost(3)]);
        }
    }

    #[test]
    fn what_sampling_left_out_is_in_the_totals_and_in_no_table() {
        let mut profile = sample::complete();
        profile.quality.sampled_out = 7;
        let of = |profile: &Profile, figure| certainty(profile, figure).grade;
        assert!(certainty(&profile, FigureGroup::Totals).is_exact());
        assert!(certainty(&profile, FigureGroup::LiveBlocks).is_exact());
        assert_eq!(of(&profile, FigureGroup::Breakdown), Grade::AtLeast);
        assert_eq!(of(&profile, FigureGroup::Reallocs), Grade::AtLeast);
        assert_eq!(of(&profile, FigureGroup::Peak), Grade::Uncertain);
        assert_eq!(of(&profile, FigureGroup::LiveBytes), Grade::Uncertain);
        // A loss beside it was not counted with its size.
        profile.quality.lost = sample::with_loss(LossReason::RingFull, 2).quality.lost;
        assert_eq!(certainty(&profile, FigureGroup::Totals).causes, [UncertaintyCause::Lost(2)]);
    }

    #[test]
    fn doubts_that_do_not_touch_a_figure_are_not_held_against_it() {
        let mut profile = sample::complete();
        profile.quality.anomalies.ambiguous_pairings = 4;
        profile.peak.uncertainty_bytes = 100;
        assert!(certainty(&profile, FigureGroup::Totals).is_exact());
        assert!(certainty(&profile, FigureGroup::LiveBytes).is_exact());
        assert_eq!(certainty(&profile, FigureGroup::Temporaries).grade, Grade::Within(4));
        assert_eq!(certainty(&profile, FigureGroup::Peak).grade, Grade::Within(100));
    }

    #[test]
    fn without_a_ledger_nothing_is_known_and_damage_makes_everything_uncertain() {
        let mut profile = sample::complete();
        assert_eq!(
            certainty(&profile, FigureGroup::Totals).damaged(1).causes,
            [UncertaintyCause::Damaged(1)]
        );
        assert_eq!(certainty(&profile, FigureGroup::Totals).damaged(1).grade, Grade::Uncertain);
        profile.quality.installed = false;
        assert!(
            FigureGroup::ALL.into_iter().all(|figure| certainty(&profile, figure).grade == Grade::Unknown)
        );
    }

    #[test]
    fn the_weaker_grade_wins_and_bounds_add_up() {
        assert_eq!(Grade::Within(2).and(Grade::Within(3)), Grade::Within(5));
        assert_eq!(Grade::Within(u64::MAX).and(Grade::Within(3)), Grade::Within(u64::MAX));
        assert_eq!(Grade::AtLeast.and(Grade::Within(3)), Grade::Uncertain);
        assert_eq!(Grade::Uncertain.and(Grade::Unknown), Grade::Unknown);
        assert_eq!(Grade::Exact.and(Grade::AtLeast), Grade::AtLeast);
    }
}
