//! Certainty of figures: exact, bounded, or uncertain, with the causes.
//!
//! The causes that weaken a figure, the strongest first, with their effects:
//!
//! * no ledger was installed → every figure is *unknown*;
//! * parts of the file could not be read → every figure is *uncertain*, because a missing part may hold a share of any
//!   figure;
//! * a conservation law is broken → every figure is *uncertain*, because the tables contradict each other;
//! * events were lost, or not booked yet → sums that only grow (reallocs, and blocks and bytes allocated: in total, by
//!   thread and by size) are *lower bounds*. Each such event changes the number of live blocks by at most one: a lost
//!   free leaves one block too many, a lost allocation one block too few. Live bytes have no bound, because the size of
//!   a lost event is unknown. The peak is *uncertain*: it would be a lower bound if only allocations were lost, but the
//!   loss counters do not separate frees from allocations;
//! * events were sampled out → sampling counts these events with their sizes, so totals and the number of live blocks
//!   stay *exact*. Reallocs and sums by thread, by size and by call stack do not contain sampled-out events, so they
//!   are *lower bounds*. Figures that depend on single blocks are *uncertain*;
//! * a free has no allocation, or an allocation no free → each such event changes the figures that depend on pairs
//!   (live, lifetimes, temporaries) by at most one block. Figures in bytes are *uncertain*;
//! * threads book their events in batches → the peak is known to within the bytes that were not booked at the peak;
//! * the clock is read once for many events → lifetimes are interpolated between two clock readings.
//!
//! Each cause weakens only the figures that it affects.

use heapledger::profile::{Profile, Stacks};

/// Group of figures with the same certainty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FigureGroup {
    /// Blocks and bytes allocated, in total.
    Totals,
    /// Blocks and bytes allocated, by thread, by size and by call stack.
    Breakdown,
    /// Number of blocks live at the end.
    LiveBlocks,
    /// Bytes live at the end, and the list of live blocks.
    LiveBytes,
    /// Maximum number of bytes live at one time.
    Peak,
    /// Lifetimes of blocks, and times of events.
    Lifetimes,
    /// Number and bytes of temporary blocks: those freed soon after their allocation.
    Temporaries,
    /// Reallocs, and the bytes copied by reallocs.
    Reallocs,
    /// Attribution of blocks to call stacks.
    Sites,
    /// List of the last events of the recording.
    History,
}

impl FigureGroup {
    /// All groups, in the order in which a report lists their certainties.
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

    /// Returns the name used in exports, in snake case.
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

/// Cause that keeps a figure from being exact, with its amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UncertaintyCause {
    /// No ledger was installed in the process.
    NotInstalled,
    /// Number of parts of the file that could not be read.
    Damaged(u64),
    /// Number of broken conservation laws.
    BrokenLaws(u64),
    /// Number of lost events.
    Lost(u64),
    /// Number of sampled-out events.
    SampledOut(u64),
    /// Number of events that were not booked when the snapshot was taken.
    InFlight(u64),
    /// Number of frees for which no allocation is known.
    UnmatchedFrees(u64),
    /// Number of allocations at an address that was still live.
    DoubleAllocations(u64),
    /// Number of frees that can belong to either of two blocks.
    AmbiguousPairings(u64),
    /// Number of frees whose size differs from the size of the allocation.
    LayoutMismatches(u64),
    /// Largest possible difference between the true peak and the recorded peak, in bytes. The difference comes from
    /// events that were sampled out, or not booked yet when the peak was recorded.
    UnbookedAtPeak(u64),
    /// Longest time between two clock readings, in nanoseconds. Times of the events in between are interpolated.
    Interpolated(u64),
    /// Number of stacks that end before their outermost frame.
    TruncatedStacks(u64),
    /// Number of allocations without a stack: the stack was not taken, or did not fit into the table. These allocations
    /// belong to the site with stack 0.
    WithoutStack(u64),
    /// Number of stacks for which two unwinding methods disagreed.
    DoubtfulStacks(u64),
    /// The program is linked to std dynamically. Allocations and frees in std's code then bypass the recorded
    /// allocator.
    DynamicStd,
    /// No stacks were taken.
    NoStacks,
    /// Number of booked events that were evicted from the history.
    Evicted(u64),
}

impl UncertaintyCause {
    /// Returns the name used in exports, in snake case. The name includes the unit of the amount, unless the amount is
    /// a number of events.
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
            UncertaintyCause::DynamicStd => "dynamic_std",
            UncertaintyCause::NoStacks => "no_stacks",
            UncertaintyCause::Evicted(_) => "evicted",
        }
    }

    /// Returns the amount of the cause; 0 for a cause without an amount.
    pub const fn amount(self) -> u64 {
        match self {
            UncertaintyCause::NotInstalled | UncertaintyCause::NoStacks | UncertaintyCause::DynamicStd => 0,
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

/// Relation of a figure to the true value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grade {
    /// The figure is the true value.
    Exact,
    /// The true value differs from the figure by at most this amount, in the unit of the figure (blocks, bytes or
    /// nanoseconds).
    Within(u64),
    /// The true value is at least the figure.
    AtLeast,
    /// The figure can be too large or too small, by an unknown amount.
    Uncertain,
    /// Nothing was recorded for the figure, so its value has no meaning.
    Unknown,
}

impl Grade {
    /// Returns the name used in exports.
    pub const fn name(self) -> &'static str {
        match self {
            Grade::Exact => "exact",
            Grade::Within(_) => "within",
            Grade::AtLeast => "at_least",
            Grade::Uncertain => "uncertain",
            Grade::Unknown => "unknown",
        }
    }

    /// Combines two grades: returns the weaker grade. Two bounds (`Within`) are added; a bound and `AtLeast` give
    /// `Uncertain`.
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

/// Grade of a figure, and every cause that keeps the figure from being exact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certainty {
    /// Relation of the figure to the true value.
    pub grade: Grade,
    /// Causes of the grade; empty if the figure is exact.
    pub causes: Vec<UncertaintyCause>,
}

impl Certainty {
    /// Whether the figure is exact.
    pub fn is_exact(&self) -> bool {
        self.grade == Grade::Exact
    }

    fn exact() -> Self {
        Certainty { grade: Grade::Exact, causes: Vec::new() }
    }

    /// Adds `cause` and weakens the grade by `grade`; changes nothing if the amount of the cause is zero.
    fn weaken(mut self, cause: UncertaintyCause, grade: Grade) -> Self {
        if cause.amount() > 0 {
            self.grade = self.grade.and(grade);
            self.causes.push(cause);
        }
        self
    }

    /// Weakens the certainty of a figure whose file has `parts` unreadable parts.
    pub fn damaged(self, parts: usize) -> Self {
        self.weaken(UncertaintyCause::Damaged(parts as u64), Grade::Uncertain)
    }

    /// Weakens the certainty of a figure of a program whose std uses another allocator than the recorded one.
    fn bypassed(mut self, figure: FigureGroup) -> Self {
        let only_grows = matches!(
            figure,
            FigureGroup::Totals
                | FigureGroup::Breakdown
                | FigureGroup::Reallocs
                | FigureGroup::Sites
                | FigureGroup::History
        );
        self.grade = self.grade.and(if only_grows { Grade::AtLeast } else { Grade::Uncertain });
        self.causes.push(UncertaintyCause::DynamicStd);
        self
    }

    /// Weakens the certainty of a figure whose profile breaks `laws` conservation laws.
    pub fn contradicted(self, laws: usize) -> Self {
        self.weaken(UncertaintyCause::BrokenLaws(laws as u64), Grade::Uncertain)
    }
}

/// Returns the certainty of a group of figures, derived only from the quality counters of `profile`.
/// [`verify`](super::verify()) also considers damage of the file and broken laws; reports show the certainty from
/// there.
pub fn certainty(profile: &Profile, figure: FigureGroup) -> Certainty {
    if !profile.quality.installed {
        return Certainty { grade: Grade::Unknown, causes: vec![UncertaintyCause::NotInstalled] };
    }
    let exact = Certainty::exact();
    let certainty = match figure {
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
            let (least, most) = profile.peak_bounds();
            let peak = profile.peak.bytes;
            let unbooked = most.saturating_sub(peak).max(peak.saturating_sub(least));
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
    };
    if dynamic_std(profile).is_some() { certainty.bypassed(figure) } else { certainty }
}

/// Returns the path of std if the program is linked to it dynamically.
pub fn dynamic_std(profile: &Profile) -> Option<&str> {
    let is_std = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or_default();
        name.starts_with("libstd-") && name.contains(".so")
    };
    profile.modules.iter().map(|module| module.path.as_str()).find(|path| is_std(path))
}

/// Weakens the certainty of a figure that does not contain sampled-out, lost and unbooked events. `grade` returns the
/// grade for a number of missing events.
fn missing(profile: &Profile, certainty: Certainty, grade: impl Fn(u64) -> Grade) -> Certainty {
    let left_out = UncertaintyCause::SampledOut(profile.events_in_no_table());
    let certainty = certainty.weaken(left_out, grade(left_out.amount()));
    uncounted(profile, certainty, grade)
}

/// Weakens the certainty of a figure by the events whose size is unknown: the lost events, and the events that are not
/// booked yet.
fn uncounted(profile: &Profile, certainty: Certainty, grade: impl Fn(u64) -> Grade) -> Certainty {
    let quality = &profile.quality;
    [UncertaintyCause::Lost(quality.lost.total()), UncertaintyCause::InFlight(quality.in_flight)]
        .into_iter()
        .fold(certainty, |certainty, cause| certainty.weaken(cause, grade(cause.amount())))
}

/// Weakens the certainty of a figure by the blocks for which the allocation or the free is missing.
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
        let mut drawn = sample::complete();
        drawn.estimates = Some(heapledger::profile::Estimates { sampled_blocks: 1, ..Default::default() });
        assert_eq!(of(&drawn, FigureGroup::Breakdown), Grade::AtLeast, "each block was drawn");
        assert_eq!(of(&profile, FigureGroup::Peak), Grade::Uncertain);
        assert_eq!(of(&profile, FigureGroup::LiveBytes), Grade::Uncertain);
        // A lost event is not counted with its size; a sampled-out event is.
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
        assert_eq!(
            certainty(&profile, FigureGroup::Peak).grade,
            Grade::Within(500),
            "the timeline has 3,000"
        );
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
    fn a_std_that_is_linked_dynamically_is_named_as_the_cause_of_doubt() {
        let mut profile = sample::complete();
        let path = "/root/toolchain/lib/libstd-0123456789abcdef.so".to_owned();
        profile.modules.push(heapledger::profile::Module { path, ..Default::default() });
        let of = |figure| certainty(&profile, figure);
        assert_eq!(of(FigureGroup::Totals).grade, Grade::AtLeast);
        assert_eq!(of(FigureGroup::LiveBlocks).grade, Grade::Uncertain);
        assert!(
            FigureGroup::ALL
                .into_iter()
                .all(|figure| of(figure).causes.contains(&UncertaintyCause::DynamicStd))
        );
        profile.modules[0].path = "/usr/lib/libstdc++.so.6".into();
        profile.modules.truncate(1);
        assert!(certainty(&profile, FigureGroup::Totals).is_exact());
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
