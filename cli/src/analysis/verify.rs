//! Conservation laws of a profile, and the certainty of its figures.
//!
//! The *laws* are the conservation laws of `profile::check`, and further relations between tables on which readers of a
//! file depend, such as indices that exist. Each law is listed with the values of both sides and its state: it holds,
//! is broken, or cannot be checked for this profile. A law that cannot be checked is never shown as one that holds.
//!
//! The *conclusions* are the certainties of the groups of figures ([`certainty()`]). A broken law makes every figure
//! uncertain, because the tables contradict each other.

use super::{Certainty, FigureGroup, Origin, certainty};
use heapledger::profile::{self, Profile};

/// State of a law.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LawState {
    /// The two sides of the law agree.
    Holds,
    /// The two sides of the law disagree.
    Broken,
    /// The two sides of the law may differ, because events are in flight, lost or do not pair.
    NotCheckable,
}

impl LawState {
    /// Returns the word used in reports and exports.
    pub const fn name(self) -> &'static str {
        match self {
            LawState::Holds => "holds",
            LawState::Broken => "broken",
            LawState::NotCheckable => "not checkable",
        }
    }
}

/// Law, the values of its sides, and its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LawFinding {
    /// Text of the law, as an equation or inequality.
    pub law: &'static str,
    /// Value of the left side.
    pub left: u128,
    /// Value of the right side.
    pub right: u128,
    /// State of the law.
    pub state: LawState,
}

/// Certainty of one group of figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conclusion {
    /// Group of figures.
    pub figure: FigureGroup,
    /// Certainty of the group, with the effects of damage and broken laws.
    pub certainty: Certainty,
}

/// Result of a verification: the laws of a profile, and the certainties of its figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// All laws, in a fixed order.
    pub laws: Vec<LawFinding>,
    /// Conclusion for each group of figures, in the order of [`FigureGroup::ALL`].
    pub conclusions: Vec<Conclusion>,
}

impl Verification {
    /// Returns the certainty of a group of figures, including the effects of damage and broken laws.
    pub fn certainty(&self, figure: FigureGroup) -> &Certainty {
        let found = self.conclusions.iter().find(|conclusion| conclusion.figure == figure);
        &found.expect("every figure has its conclusion").certainty
    }

    /// Returns the number of broken laws.
    pub fn broken(&self) -> usize {
        self.laws.iter().filter(|law| law.state == LawState::Broken).count()
    }
}

/// Checks every law of `profile` and derives the certainty of every group of figures. Any damage in `origin` makes all
/// figures uncertain.
pub fn verify(profile: &Profile, origin: &Origin) -> Verification {
    let mut laws: Vec<LawFinding> = profile::laws(profile).into_iter().map(conservation).collect();
    laws.extend(relations(profile));
    let broken = laws.iter().filter(|law| law.state == LawState::Broken).count();
    let conclude = |figure| {
        let certainty = certainty(profile, figure).damaged(origin.damage.len()).contradicted(broken);
        Conclusion { figure, certainty }
    };
    Verification { conclusions: FigureGroup::ALL.into_iter().map(conclude).collect(), laws }
}

fn conservation(law: profile::Law) -> LawFinding {
    let state = match (law.applies, law.left == law.right) {
        (false, _) => LawState::NotCheckable,
        (true, true) => LawState::Holds,
        (true, false) => LawState::Broken,
    };
    LawFinding { law: law.law, left: law.left, right: law.right, state }
}

/// Returns the relations that `profile::check` does not check, because only readers of a file depend on them.
fn relations(profile: &Profile) -> Vec<LawFinding> {
    let (totals, peak) = (&profile.totals, &profile.peak);
    let accounted = |row: &profile::ThreadRow| {
        u128::from(row.attempted) == u128::from(row.recorded) + u128::from(row.lost.total())
    };
    let equal = |law, left: u64, right: u64, applies: bool| {
        conservation(profile::Law { law, left: u128::from(left), right: u128::from(right), applies })
    };
    let at_most = |law, left: u64, right: u64| {
        let state = if left <= right { LawState::Holds } else { LawState::Broken };
        LawFinding { law, left: u128::from(left), right: u128::from(right), state }
    };
    let highest = totals.peak_bytes.saturating_add(peak.uncertainty_bytes);
    let rows = profile.threads.len() as u64;
    let balanced = profile.threads.iter().filter(|row| accounted(row)).count() as u64;
    let (stacks, threads) = (profile.stacks.len(), profile.threads.len());
    let named = profile.sites.iter().filter(|site| (site.stack as usize) < stacks).count() as u64;
    let is_known =
        |block: &&profile::LiveBlock| (block.thread as usize) < threads && (block.stack as usize) < stacks;
    let known = profile.live.iter().filter(is_known).count() as u64;
    vec![
        equal(
            "threads that balance (attempted = recorded + lost) = all threads",
            balanced,
            rows,
            profile.quality.in_flight == 0,
        ),
        equal("peak_bytes of the totals = bytes of the peak", totals.peak_bytes, peak.bytes, true),
        at_most("live_bytes <= peak_bytes + uncertainty", totals.live_bytes, highest),
        equal("sites with a known stack = all sites", named, profile.sites.len() as u64, true),
        equal(
            "live blocks with a known stack and thread = all live blocks",
            known,
            profile.live.len() as u64,
            true,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::certainty::Grade;
    use super::super::sample;
    use super::*;
    use heapledger::profile::LossReason;

    fn broken(profile: &Profile) -> Vec<&'static str> {
        let laws = verify(profile, &Origin::default()).laws;
        laws.iter().filter(|law| law.state == LawState::Broken).map(|law| law.law).collect()
    }

    #[test]
    fn every_law_holds_for_the_sample() {
        let verdict = verify(&sample::complete(), &Origin::default());
        assert!(verdict.laws.iter().all(|law| law.state == LawState::Holds), "{verdict:#?}");
        assert_eq!(verdict.broken(), 0);
        assert_eq!(verify(&sample::empty(), &Origin::default()).broken(), 0);
    }

    #[test]
    fn each_planted_fault_breaks_the_law_it_should() {
        type Fault = fn(&mut Profile);
        let faults: [(&str, Fault); 11] = [
            ("attempted = recorded + lost + in_flight", |p| p.quality.attempted += 1),
            ("recorded = retained + evicted", |p| p.quality.evicted += 1),
            ("total_blocks = sum over sites", |p| p.sites[1].total_blocks += 1),
            ("live_blocks = number of live blocks", |p| p.live.truncate(2)),
            ("total_bytes = sum over timeline", |p| p.timeline.intervals[2].allocated_bytes += 1),
            ("freed_bytes = sum over timeline", |p| p.timeline.intervals[1].freed_bytes -= 1),
            ("threads that balance (attempted = recorded + lost) = all threads", |p| {
                p.threads[1].recorded -= 1
            }),
            ("peak_bytes of the totals = bytes of the peak", |p| p.peak.bytes += 1),
            ("live_bytes <= peak_bytes + uncertainty", |p| p.totals.peak_bytes = 1),
            ("sites with a known stack = all sites", |p| p.sites[1].stack = 9),
            ("live blocks with a known stack and thread = all live blocks", |p| p.live[0].thread = 9),
        ];
        for (law, plant) in faults {
            let mut profile = sample::complete();
            plant(&mut profile);
            assert!(broken(&profile).contains(&law), "{law}: broken were {:?}", broken(&profile));
            let verdict = verify(&profile, &Origin::default());
            assert!(verdict.conclusions.iter().all(|conclusion| !conclusion.certainty.is_exact()), "{law}");
        }
    }

    #[test]
    fn whatever_the_check_of_a_dump_finds_is_listed_as_broken() {
        let mut profile = sample::complete();
        profile.totals.total_blocks += 3;
        profile.sites[0].freed_bytes += 1;
        let found: Vec<_> = profile::check(&profile).iter().map(|violation| violation.law).collect();
        assert!(found.len() >= 3);
        assert!(found.iter().all(|law| broken(&profile).contains(law)));
    }

    #[test]
    fn under_loss_the_tables_are_not_checkable_rather_than_fine() {
        for reason in LossReason::ALL {
            let verdict = verify(&sample::with_loss(reason, 2), &Origin::default());
            assert_eq!(verdict.broken(), 0, "{reason:?}");
            let unasked = verdict.laws.iter().filter(|law| law.state == LawState::NotCheckable).count();
            assert_eq!(unasked, 11, "{reason:?}");
            assert_eq!(verdict.conclusions[0].certainty.grade, Grade::AtLeast);
        }
    }

    #[test]
    fn no_conclusion_is_exact_when_the_file_is_damaged() {
        let verdict = verify(&sample::complete(), &Origin::new(vec!["cut".into()], Vec::new()));
        assert!(verdict.conclusions.iter().all(|conclusion| !conclusion.certainty.is_exact()));
    }
}
