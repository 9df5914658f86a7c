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
pub enum Figure {
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

impl Figure {
    /// Every figure, in the order in which a report lists them.
    pub const ALL: [Figure; 10] = [
        Figure::Totals,
        Figure::Breakdown,
        Figure::LiveBlocks,
        Figure::LiveBytes,
        Figure::Peak,
        Figure::Lifetimes,
        Figure::Temporaries,
        Figure::Reallocs,
        Figure::Sites,
        Figure::History,
    ];

    /// The name used in exports, in snake case.
    pub const fn name(self) -> &'static str {
        match self {
            Figure::Totals => "totals",
            Figure::Breakdown => "breakdown",
            Figure::LiveBlocks => "live_blocks",
            Figure::LiveBytes => "live_bytes",
            Figure::Peak => "peak",
            Figure::Lifetimes => "lifetimes",
            Figure::Temporaries => "temporaries",
            Figure::Reallocs => "reallocs",
            Figure::Sites => "sites",
            Figure::History => "history",
        }
    }
}

/// What stands between a figure and the truth, with its amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
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

impl Cause {
    /// The name used in exports, in snake case and with the unit of the amount where it is not events.
    pub const fn name(self) -> &'static str {
        match self {
            Cause::NotInstalled => "not_installed",
            Cause::Damaged(_) => "damaged_parts",
            Cause::BrokenLaws(_) => "broken_laws",
            Cause::Lost(_) => "lost",
            Cause::SampledOut(_) => "sampled_out",
            Cause::InFlight(_) => "in_flight",
            Cause::UnmatchedFrees(_) => "unmatched_frees",
            Cause::DoubleAllocations(_) => "double_allocations",
            Cause::AmbiguousPairings(_) => "ambiguous_pairings",
            Cause::LayoutMismatches(_) => "layout_mismatches",
            Cause::UnbookedAtPeak(_) => "unbooked_at_peak_bytes",
            Cause::Interpolated(_) => "longest_interpolated_span_ns",
            Cause::TruncatedStacks(_) => "truncated_stacks",
            Cause::WithoutStack(_) => "without_stack",
            Cause::DoubtfulStacks(_) => "doubtful_stacks",
            Cause::NoStacks => "no_stacks",
            Cause::Evicted(_) => "evicted",
        }
    }

    /// The amount; 0 for causes that have none.
    pub const fn amount(self) -> u64 {
        match self {
            Cause::NotInstalled | Cause::NoStacks => 0,
            Cause::Damaged(n)
            | Cause::BrokenLaws(n)
            | Cause::Lost(n)
            | Cause::SampledOut(n)
            | Cause::InFlight(n)
            | Cause::UnmatchedFrees(n)
            | Cause::DoubleAllocations(n)
            | Cause::AmbiguousPairings(n)
            | Cause::LayoutMismatches(n)
            | Cause::UnbookedAtPeak(n)
            | Cause::Interpolated(n)
            | Cause::TruncatedStacks(n)
            | Cause::WithoutStack(n)
            | Cause::DoubtfulStacks(n)
            | Cause::Evicted(n) => n,
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
pub struct Standing {
    /// How the figure relates to the truth.
    pub grade: Grade,
    /// Why it is not exact; empty when it is.
    pub causes: Vec<Cause>,
}

impl Standing {
    /// Whether the figure is the truth.
    pub fn is_exact(&self) -> bool {
        self.grade == Grade::Exact
    }

    fn exact() -> Self {
        Standing { grade: Grade::Exact, causes: Vec::new() }
    }

    /// Holds `cause` against the figure when its amount is not zero.
    fn doubt(mut self, cause: Cause, grade: Grade) -> Self {
        if cause.amount() > 0 {
            self.grade = self.grade.and(grade);
            self.causes.push(cause);
        }
        self
    }

    /// The same figure, read from a file of which `parts` could not be read.
    pub fn damaged(self, parts: usize) -> Self {
        self.doubt(Cause::Damaged(parts as u64), Grade::Uncertain)
    }

    /// The same figure, from books that break `laws` of their conservation laws.
    pub fn contradicted(self, laws: usize) -> Self {
        self.doubt(Cause::BrokenLaws(laws as u64), Grade::Uncertain)
    }
}

/// How far a group of figures of `profile` can be trusted, by its counters alone. [`verify`](super::verify())
/// adds the damage of the file and broken laws; reports show what it says.
pub fn standing(profile: &Profile, figure: Figure) -> Standing {
    if !profile.quality.installed {
        return Standing { grade: Grade::Unknown, causes: vec![Cause::NotInstalled] };
    }
    let exact = Standing::exact();
    match figure {
        Figure::Totals => uncounted(profile, exact, |_| Grade::AtLeast),
        Figure::Breakdown | Figure::Reallocs => missing(profile, exact, |_| Grade::AtLeast),
        Figure::LiveBlocks => pairs(profile, uncounted(profile, exact, Grade::Within), Grade::Within),
        Figure::LiveBytes => {
            let mismatches = Cause::LayoutMismatches(profile.quality.anomalies.layout_mismatches);
            let standing =
                pairs(profile, missing(profile, exact, |_| Grade::Uncertain), |_| Grade::Uncertain);
            standing.doubt(mismatches, Grade::Uncertain)
        }
        Figure::Peak => {
            let unbooked = profile.peak.uncertainty_bytes;
            let standing =
                pairs(profile, missing(profile, exact, |_| Grade::Uncertain), |_| Grade::Uncertain);
            standing.doubt(Cause::UnbookedAtPeak(unbooked), Grade::Within(unbooked))
        }
        Figure::Lifetimes => {
            let span = profile.clock.longest_span_ns;
            let ambiguous = Cause::AmbiguousPairings(profile.quality.anomalies.ambiguous_pairings);
            pairs(profile, missing(profile, exact, |_| Grade::Uncertain), |_| Grade::Uncertain)
                .doubt(ambiguous, Grade::Uncertain)
                .doubt(Cause::Interpolated(span), Grade::Within(span))
        }
        Figure::Temporaries => {
            let ambiguous = Cause::AmbiguousPairings(profile.quality.anomalies.ambiguous_pairings);
            pairs(profile, missing(profile, exact, |_| Grade::Uncertain), Grade::Within)
                .doubt(ambiguous, Grade::Within(ambiguous.amount()))
        }
        Figure::Sites => sites(profile, exact),
        Figure::History => exact.doubt(Cause::Lost(profile.quality.lost.total()), Grade::AtLeast),
    }
}

/// Holds events that are in no table against a figure; `grade` makes a grade of their number.
fn missing(profile: &Profile, standing: Standing, grade: impl Fn(u64) -> Grade) -> Standing {
    let left_out = Cause::SampledOut(profile.quality.sampled_out);
    let standing = standing.doubt(left_out, grade(left_out.amount()));
    uncounted(profile, standing, grade)
}

/// Holds events whose size nobody counted against a figure: all that are missing but those left out by sampling.
fn uncounted(profile: &Profile, standing: Standing, grade: impl Fn(u64) -> Grade) -> Standing {
    let quality = &profile.quality;
    [Cause::Lost(quality.lost.total()), Cause::InFlight(quality.in_flight)]
        .into_iter()
        .fold(standing, |standing, cause| standing.doubt(cause, grade(cause.amount())))
}

/// Holds blocks whose two ends were not both seen against a figure.
fn pairs(profile: &Profile, standing: Standing, grade: impl Fn(u64) -> Grade) -> Standing {
    let anomalies = &profile.quality.anomalies;
    [Cause::UnmatchedFrees(anomalies.unmatched_frees), Cause::DoubleAllocations(anomalies.double_allocations)]
        .into_iter()
        .fold(standing, |standing, cause| standing.doubt(cause, grade(cause.amount())))
}

fn sites(profile: &Profile, standing: Standing) -> Standing {
    if profile.settings.stacks == Stacks::Off {
        return Standing { grade: Grade::Unknown, causes: vec![Cause::NoStacks] };
    }
    let truncated = profile.stacks.iter().filter(|stack| stack.truncated).count() as u64;
    let figures = &profile.stack_figures;
    let without = figures.failed.saturating_add(figures.table_full).saturating_add(figures.left_out);
    missing(profile, standing, |_| Grade::AtLeast)
        .doubt(Cause::TruncatedStacks(truncated), Grade::Uncertain)
        .doubt(Cause::WithoutStack(without), Grade::AtLeast)
        .doubt(Cause::DoubtfulStacks(figures.check_failed), Grade::Uncertain)
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
        for figure in Figure::ALL.into_iter().filter(|figure| *figure != Figure::Sites) {
            assert_eq!(standing(&profile, figure), Standing::exact(), "{figure:?}");
        }
        assert_eq!(standing(&profile, Figure::Sites).causes, [Cause::NoStacks]);
    }

    #[test]
    fn every_loss_reason_weakens_the_sums_and_the_live_figures() {
        for reason in LossReason::ALL {
            let profile = sample::with_loss(reason, 3);
            let of = |figure| standing(&profile, figure).grade;
            assert_eq!(of(Figure::Totals), Grade::AtLeast);
            assert_eq!(of(Figure::Breakdown), Grade::AtLeast);
            assert_eq!(of(Figure::LiveBlocks), Grade::Within(3));
            assert_eq!(of(Figure::LiveBytes), Grade::Uncertain);
            assert_eq!(of(Figure::Peak), Grade::Uncertain);
            assert_eq!(standing(&profile, Figure::Totals).causes, [Cause::Lost(3)]);
        }
    }

    #[test]
    fn what_sampling_left_out_is_in_the_totals_and_in_no_table() {
        let mut profile = sample::complete();
        profile.quality.sampled_out = 7;
        let of = |profile: &Profile, figure| standing(profile, figure).grade;
        assert!(standing(&profile, Figure::Totals).is_exact());
        assert!(standing(&profile, Figure::LiveBlocks).is_exact());
        assert_eq!(of(&profile, Figure::Breakdown), Grade::AtLeast);
        assert_eq!(of(&profile, Figure::Reallocs), Grade::AtLeast);
        assert_eq!(of(&profile, Figure::Peak), Grade::Uncertain);
        assert_eq!(of(&profile, Figure::LiveBytes), Grade::Uncertain);
        // A loss beside it was not counted with its size.
        profile.quality.lost = sample::with_loss(LossReason::RingFull, 2).quality.lost;
        assert_eq!(standing(&profile, Figure::Totals).causes, [Cause::Lost(2)]);
    }

    #[test]
    fn doubts_that_do_not_touch_a_figure_are_not_held_against_it() {
        let mut profile = sample::complete();
        profile.quality.anomalies.ambiguous_pairings = 4;
        profile.peak.uncertainty_bytes = 100;
        assert!(standing(&profile, Figure::Totals).is_exact());
        assert!(standing(&profile, Figure::LiveBytes).is_exact());
        assert_eq!(standing(&profile, Figure::Temporaries).grade, Grade::Within(4));
        assert_eq!(standing(&profile, Figure::Peak).grade, Grade::Within(100));
    }

    #[test]
    fn without_a_ledger_nothing_is_known_and_damage_makes_everything_uncertain() {
        let mut profile = sample::complete();
        assert_eq!(standing(&profile, Figure::Totals).damaged(1).causes, [Cause::Damaged(1)]);
        assert_eq!(standing(&profile, Figure::Totals).damaged(1).grade, Grade::Uncertain);
        profile.quality.installed = false;
        assert!(Figure::ALL.into_iter().all(|figure| standing(&profile, figure).grade == Grade::Unknown));
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
