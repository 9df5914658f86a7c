//! Reasons against comparing two profiles.

use std::collections::HashSet;

use super::super::{CodeOwner, CodeOwners, Frame, Origin, StackReader};
use heapledger::profile::{Profile, Stacks};

/// Profile with the damage and notes of its file.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// Profile to compare.
    pub profile: &'a Profile,
    /// Damage and notes of the file that holds the profile.
    pub origin: &'a Origin,
}

/// Reason against comparing two profiles. A pair of numbers or texts belongs to the first and the second profile, in
/// this order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ComparabilityIssue {
    /// No ledger was installed in one of the processes.
    NotInstalled,
    /// Parts of the files could not be read.
    Damaged(u64, u64),
    /// Events were lost.
    Lost(u64, u64),
    /// Events were sampled out.
    SampledOut(u64, u64),
    /// Only one of the profiles has call stacks, so the sites cannot be matched.
    StacksInOneOnly,
    /// Some allocations have no stack: the stack was sampled out, the walk failed, or the table was full.
    WithoutStack(u64, u64),
    /// The programs have different names, and no function in common.
    OtherProgram(String, String),
    /// The programs have different names, but are copies or builds of one program.
    Renamed(String, String),
    /// The profiles come from different builds of this object, and frames in it have no names. So equal offsets can be
    /// different functions.
    OtherBuildWithoutNames(String),
    /// The profiles come from different builds of the program. Functions are matched by name all the same.
    OtherBuild,
    /// Some events were not booked yet.
    InFlight(u64, u64),
    /// Some allocations and frees do not pair, pair ambiguously, or differ in size.
    Anomalies(u64, u64),
}

impl ComparabilityIssue {
    /// Whether the issue forbids the comparison. If not, a report shows the issue beside the result.
    pub fn forbids(&self) -> bool {
        !matches!(
            self,
            ComparabilityIssue::OtherBuild
                | ComparabilityIssue::Renamed(..)
                | ComparabilityIssue::InFlight(..)
                | ComparabilityIssue::Anomalies(..)
                | ComparabilityIssue::WithoutStack(..)
        )
    }

    /// Returns the name used in exports, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            ComparabilityIssue::NotInstalled => "not_installed",
            ComparabilityIssue::Damaged(..) => "damaged_parts",
            ComparabilityIssue::Lost(..) => "lost",
            ComparabilityIssue::SampledOut(..) => "sampled_out",
            ComparabilityIssue::StacksInOneOnly => "stacks_in_one_only",
            ComparabilityIssue::WithoutStack(..) => "without_stack",
            ComparabilityIssue::OtherProgram(..) => "other_program",
            ComparabilityIssue::Renamed(..) => "renamed",
            ComparabilityIssue::OtherBuildWithoutNames(_) => "other_build_without_names",
            ComparabilityIssue::OtherBuild => "other_build",
            ComparabilityIssue::InFlight(..) => "in_flight",
            ComparabilityIssue::Anomalies(..) => "anomalies",
        }
    }

    /// Returns the amounts in the first and the second profile; `None` for an issue without amounts.
    pub const fn amounts(&self) -> Option<(u64, u64)> {
        match self {
            ComparabilityIssue::Damaged(a, b)
            | ComparabilityIssue::Lost(a, b)
            | ComparabilityIssue::SampledOut(a, b)
            | ComparabilityIssue::WithoutStack(a, b)
            | ComparabilityIssue::InFlight(a, b)
            | ComparabilityIssue::Anomalies(a, b) => Some((*a, *b)),
            _ => None,
        }
    }
}

/// Returns the reasons against comparing two profiles; the reasons that forbid the comparison come first.
pub fn issues(before: Side<'_>, after: Side<'_>) -> Vec<ComparabilityIssue> {
    let mut issues = Vec::new();
    let both = |figure: fn(Side<'_>) -> u64| (figure(before), figure(after));
    let mut amount = |issue: fn(u64, u64) -> ComparabilityIssue, (first, second): (u64, u64)| {
        if first > 0 || second > 0 {
            issues.push(issue(first, second));
        }
    };
    amount(|_, _| ComparabilityIssue::NotInstalled, both(|side| u64::from(!side.profile.quality.installed)));
    amount(ComparabilityIssue::Damaged, both(|side| side.origin.damage.len() as u64));
    amount(ComparabilityIssue::Lost, both(|side| side.profile.quality.lost.total()));
    amount(ComparabilityIssue::SampledOut, both(|side| side.profile.quality.sampled_out));
    amount(
        ComparabilityIssue::WithoutStack,
        both(|side| {
            let figures = &side.profile.stack_figures;
            figures.failed.saturating_add(figures.table_full).saturating_add(figures.left_out)
        }),
    );
    amount(ComparabilityIssue::InFlight, both(|side| side.profile.quality.in_flight));
    amount(ComparabilityIssue::Anomalies, both(|side| side.profile.quality.anomalies.total()));
    let (before, after) = (before.profile, after.profile);
    if has_stacks(before) != has_stacks(after) {
        issues.push(ComparabilityIssue::StacksInOneOnly);
    }
    let (first, second) = (&before.process.program, &after.process.program);
    if first != second {
        let (first, second) = (first.clone(), second.clone());
        issues.push(if is_one_program(before, after) {
            ComparabilityIssue::Renamed(first, second)
        } else {
            ComparabilityIssue::OtherProgram(first, second)
        });
    }
    let unnamed = unnamed_in_other_build(before, after).or_else(|| unnamed_in_other_build(after, before));
    issues.extend(unnamed.map(ComparabilityIssue::OtherBuildWithoutNames));
    let build = |profile: &Profile| profile.modules.first().map(|module| module.build_id.clone());
    if build(before) != build(after) {
        issues.push(ComparabilityIssue::OtherBuild);
    }
    issues.sort_by_key(|issue| !issue.forbids());
    issues
}

/// Whether both profiles come from one program: the executables have the same build id, or a function of the program in
/// common.
fn is_one_program(before: &Profile, after: &Profile) -> bool {
    let build = |profile: &Profile| profile.modules.first().map(|module| module.build_id.clone());
    if build(before).is_some_and(|id| !id.is_empty() && Some(id) == build(after)) {
        return true;
    }
    let own = |profile: &Profile| -> HashSet<String> {
        let (owners, reader) = (CodeOwners::of(profile), StackReader::new(profile));
        let frames = profile.symbols.frames.keys().flat_map(|address| reader.functions(*address));
        let own =
            frames.filter(|frame| owners.owner(frame) == CodeOwner::Program && frame.function.contains("::"));
        own.map(|frame| frame.function.to_owned()).collect()
    };
    !own(before).is_disjoint(&own(after))
}

fn has_stacks(profile: &Profile) -> bool {
    profile.settings.stacks != Stacks::Off && profile.stacks.iter().any(|stack| !stack.frames.is_empty())
}

/// Returns the first object of `profile` that has an unnamed frame, and another build id in the `other` profile.
fn unnamed_in_other_build(profile: &Profile, other: &Profile) -> Option<String> {
    let file = |path: &str| path.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
    let reader = StackReader::new(profile);
    let is_moved = |frame: &Frame<'_>| {
        let module = frame.module.filter(|_| frame.function.is_empty())?;
        let name = file(&module.path);
        let like = other.modules.iter().find(|like| file(&like.path) == name)?;
        (like.build_id != module.build_id).then_some(name)
    };
    let mut seen = HashSet::new();
    profile.sites.iter().find_map(|site| {
        let frames = reader.frames(site.stack);
        frames.iter().filter(|frame| seen.insert(frame.address)).find_map(is_moved)
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::sample;
    use super::*;
    use heapledger::profile::LossReason;

    fn found(before: &Profile, after: &Profile) -> Vec<&'static str> {
        let origin = Origin::default();
        let found =
            issues(Side { profile: before, origin: &origin }, Side { profile: after, origin: &origin });
        found.iter().map(ComparabilityIssue::name).collect()
    }

    #[test]
    fn each_thing_that_stands_against_a_comparison_is_named() {
        let fine = sample::named();
        assert_eq!(found(&fine, &fine), [""; 0]);
        type Plant = fn(&mut Profile);
        let planted: [(&str, Plant); 8] = [
            ("not_installed", |profile| profile.quality.installed = false),
            ("lost", |profile| profile.quality.lost.add(LossReason::RingFull, 1)),
            ("sampled_out", |profile| profile.quality.sampled_out = 1),
            ("stacks_in_one_only", |profile| profile.settings.stacks = Stacks::Off),
            ("without_stack", |profile| profile.stack_figures.failed = 1),
            ("other_build", |profile| profile.modules[0].build_id = "cd".into()),
            ("in_flight", |profile| profile.quality.in_flight = 1),
            ("anomalies", |profile| profile.quality.anomalies.unmatched_frees = 1),
        ];
        for (name, plant) in planted {
            let mut other = sample::named();
            plant(&mut other);
            assert_eq!(found(&fine, &other), [name]);
            assert_eq!(found(&other, &fine), [name]);
        }
        let cut = Origin::new(vec!["cut".into()], Vec::new());
        let origin = Origin::default();
        let found = issues(Side { profile: &fine, origin: &origin }, Side { profile: &fine, origin: &cut });
        assert_eq!((found.as_slice(), found[0].forbids()), (&[ComparabilityIssue::Damaged(0, 1)][..], true));
    }

    #[test]
    fn a_renamed_copy_can_be_compared_and_another_program_cannot() {
        let fine = sample::named();
        let mut other = sample::named();
        other.process.program = "other".into();
        assert_eq!(found(&fine, &other), ["renamed"]);
        other.modules[0].build_id = "cd".into();
        for text in &mut other.symbols.strings {
            text.insert_str(0, "other::");
        }
        assert_eq!(found(&fine, &other), ["other_program", "other_build"]);
        let issue = ComparabilityIssue::Renamed("a".into(), "b".into());
        assert!(!issue.forbids());
    }

    #[test]
    fn offsets_in_another_build_are_other_places() {
        let fine = sample::named();
        let mut other = sample::named();
        other.modules[1].build_id = "ef".into();
        assert_eq!(found(&fine, &other), ["other_build_without_names"]);
        // If all frames have names, another build does not prevent the comparison.
        let mut names = sample::named();
        names.modules[1].build_id = "ef".into();
        let symbol = vec![heapledger::profile::SymbolFrame { function: 3, ..Default::default() }];
        names.symbols.frames.insert(0x8124, symbol.clone());
        let mut fine = fine;
        fine.symbols.frames.insert(0x8124, symbol);
        assert_eq!(found(&fine, &names), [""; 0]);
    }
}
